"""Keypoint files of every detector: which photo they belong to, what their points are, who is in them."""
