"""Readers of keypoint files, one file per family of producers."""
