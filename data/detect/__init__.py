"""Keypoints from the picture itself: people, feet, hands and faces, by networks that ship with the package."""
