"""The pose prior: a variational autoencoder over SMPL body poses, its training, judging and serving."""

from bodyfit.prior.checkpoint import PriorError, load_prior, save_prior
from bodyfit.prior.train import train_prior
from bodyfit.prior.vposer import VPoser, VPoserConfig

__all__ = ["PriorError", "VPoser", "VPoserConfig", "load_prior", "save_prior", "train_prior"]
