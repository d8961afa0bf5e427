"""The pose prior: a variational autoencoder over SMPL body poses, its training, judging and serving."""
