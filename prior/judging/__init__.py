"""How good a prior is: protocols, baselines, figures."""
