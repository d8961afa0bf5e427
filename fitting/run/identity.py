"""What all results of a run depend on, as one hash: an input with another one is fitted anew."""

from __future__ import annotations

import hashlib
import json

from bodyfit.fitting.run.config_files import RunConfig, as_document
from bodyfit.fitting.solve.fitter import Fitter


def run_identity(fitter: Fitter, config: RunConfig) -> str:
    """What all results of a run depend on, as a hash: settings, body, prior and start network, files that are named."""
    document = as_document(config)
    for name in (
        "batch",
        "device",
        "body",
        "prior",
        "clip",
    ):  # of body and prior the numbers count; a clip has a key of its own
        del document[name]
    named = [path for path in (config.camera.camera, config.init) if path is not None and path.is_file()]
    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in named]
    return hashlib.sha256(json.dumps([document, fitter.identity, files], sort_keys=True).encode()).hexdigest()[:16]
