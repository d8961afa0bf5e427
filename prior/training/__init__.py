"""Training of a prior: from motion capture to weights."""
