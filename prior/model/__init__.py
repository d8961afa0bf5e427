"""The variational autoencoder, and what is needed to load and use it."""
