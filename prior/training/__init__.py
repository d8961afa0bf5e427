"""From motion capture to weights."""
