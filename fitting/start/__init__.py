"""Initialisation of a fit: the start network, its training, synthetic people."""
