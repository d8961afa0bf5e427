"""Where a fit begins: the start network, its training, synthetic people."""
