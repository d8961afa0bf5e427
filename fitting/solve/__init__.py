"""The fit: frames in, hypotheses, stages, results out."""
