"""Clips: people over time from a video, from pictures or from calibrated cameras, tracked, fitted and written."""
