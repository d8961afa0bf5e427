"""The pose prior: a variational autoencoder over SMPL body poses, its training and its evaluation."""
