"""The prior and the start network of a fitter, and what comes of both: the predicted pose."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import asdict, dataclass
from typing import TypeVar

import torch
from torch import Tensor

from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.start.network import StartNetwork, start_network_of
from bodyfit.fitting.start.predicted_pose import PosePredictor
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.prior.model.vposer import VPoser

Module = TypeVar("Module", bound=torch.nn.Module)


@dataclass(frozen=True)
class Networks:
    """What a fitter knows from training, frozen and on its device."""

    prior: VPoser
    start: StartNetwork | None
    """None: fits start from clusters of poses alone."""
    predictor: PosePredictor | None
    """None: the prior of poses is the same for everybody."""

    def identity(self) -> dict[str, str]:
        """What results depend on: prior and start network, each with a hash."""
        start = "none" if self.start is None else _hash_of(self.start.state_dict())
        prior = f"{self.prior.name} {asdict(self.prior.config)} {_hash_of(self.prior.state_dict())}"
        return {"prior": prior, "network": start}


def load_networks(
    prior: VPoser | None,
    network: StartNetwork | None,
    config: FitConfig,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Networks:
    """The prior and the start network, copies where they are the caller's.

    Args:
        prior: default: the one that ships with bodyfit.
        network: default: `start.safetensors` beside the prior's weights, else the shipped one, where the configuration
            wants one.
        config: says whether there is a network, and whether it predicts poses.
        device, dtype: to compute in.
    """
    to = device, dtype
    prior = _frozen(load_prior(), *to) if prior is None else _own_copy(prior, *to)
    if network is not None:
        network = _own_copy(network, *to)
    elif config.start.learned and (found := start_network_of(prior)) is not None:
        network = _frozen(found, *to)
    predicts = network is not None and network.examples.numel() and config.energy.pose_prior == "predicted"
    return Networks(prior, network, PosePredictor(prior, network) if predicts else None)


def _own_copy(module: Module, device: torch.device, dtype: torch.dtype) -> Module:
    """A frozen copy on a device: casting a module in place would change it for those who gave it."""
    return _frozen(copy.deepcopy(module), device, dtype)


def _frozen(module: Module, device: torch.device, dtype: torch.dtype) -> Module:
    """The module itself, on a device, never to be trained."""
    return module.to(device, dtype).eval().requires_grad_(False)


def _hash_of(tensors: dict[str, Tensor]) -> str:
    """A hash of names and numbers."""
    total = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        total.update(f"{name} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().numpy().data)
    return total.hexdigest()[:16]
