"""The variational autoencoder and everything needed to load and use it."""
