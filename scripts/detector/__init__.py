"""Makes the weights that ship with the detector from MediaPipe's published files; not part of the package."""
