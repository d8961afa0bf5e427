"""Evaluation of a prior: protocols, baselines, figures."""
