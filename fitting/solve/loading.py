"""A fitter from the names of its files, as a run's settings give them."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter, pick_device
from bodyfit.fitting.solve.threads import one_thread
from bodyfit.prior.model.checkpoint import load_prior

log = logging.getLogger(__name__)


class NamedFiles(Protocol):
    """The settings that name what a fitter is made of (`run.config_files.RunConfig`)."""

    fit: FitConfig
    body: Path | None
    gender: str
    num_betas: int
    prior: Path | None


def load_fitter(config: NamedFiles, device: str) -> Fitter:
    """Read body, prior and start network.

    Raises:
        BodyfitError: for files that are missing or wrong, and for a device that is not there.
    """
    one = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with one_thread(), ThreadPoolExecutor(1, **one) as beside:
        prior = beside.submit(load_prior, config.prior)
        body = load_body_model(config.body, gender=config.gender, num_betas=config.num_betas)
        if body.num_betas < config.num_betas:
            log.warning("%s: has %d shape components; all are fitted", body.path.name, body.num_betas)
        beside.submit(getattr, body, "fingerprint")  # spheres and the run ask for it next
        return Fitter(body, prior.result(), config.fit, device=pick_device(device))
