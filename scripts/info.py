"""`bodyfit info`: what this installation has and can do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
from dataclasses import dataclass
from typing import Any

EXTRAS = {
    **{"train": "lightning", "view": "viser", "video": "av", "onnx": "onnxruntime", "bench": "igl", "assets": "anny"},
    **{"test": "pytest", "cluster": "ray", "tables": "pyarrow"},
}
"""Each extra of pyproject.toml, and a module that comes with it."""


@dataclass(frozen=True)
class InfoCommand:
    """Versions, devices, the shipped body and prior, how pictures are drawn, and which extras are installed."""

    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Print it."""
        found = collect()
        print(json.dumps(found, indent=1) if self.json else "\n".join(f"{k:<16} {_line(v)}" for k, v in found.items()))
        return 0


def collect() -> dict[str, Any]:
    """All entries, by name."""
    import torch

    from bodyfit.data.body.body_model import load_body_model
    from bodyfit.data.detect.detector import ShippedDetector
    from bodyfit.data.keypoints.formats import BODY_FORMATS
    from bodyfit.fitting.draw.render import backend_name
    from bodyfit.fitting.start.network import load_start_network
    from bodyfit.prior.model.checkpoint import load_prior

    body, prior, network = load_body_model(), load_prior(), load_start_network()
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    extras = {name: importlib.util.find_spec(module) is not None for name, module in EXTRAS.items()}
    return {
        "bodyfit": importlib.metadata.version("bodyfit"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "devices": ["cpu", *cuda],
        "body": f"{body.name}: {body.num_vertices} vertices, {body.num_joints} joints, {body.num_betas} betas",
        "prior": f"{prior.name}: latent of {prior.latent_dim}",
        "start network": "installed" if network is not None else "none: fits start from hypotheses alone",
        "detector": ShippedDetector().name,
        "pictures": backend_name(),
        "keypoints": sorted(BODY_FORMATS),
        "extras": [f"{name} ({'installed' if there else 'not installed'})" for name, there in extras.items()],
    }


def _line(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
