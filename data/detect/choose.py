"""The detector that a user names: the one that ships, rtmlib's, or an ONNX file."""

from __future__ import annotations

from pathlib import Path

import torch

from bodyfit.data.detect.detector import Detector, ShippedDetector
from bodyfit.data.errors import BodyfitError

HELP = (
    "auto or builtin: the included detector; none; rtmlib (pip install rtmlib onnxruntime; it downloads its "
    "models when it first runs); or the path of an ONNX file of a whole-body model (extra onnx)"
)


def load_detector(name: str, device: torch.device | str = "cpu") -> Detector | None:
    """The detector called `name`, as `HELP` lists them; None for "none".

    Raises:
        BodyfitError: for another name, a missing file, or a package that is not installed.
    """
    if name == "none":
        return None
    if name in ("auto", "builtin"):
        return ShippedDetector(device=device)
    if name == "rtmlib":
        from bodyfit.data.detect.rtmlib_detector import RtmlibDetector

        return RtmlibDetector(device)
    if name.lower().endswith(".onnx"):
        from bodyfit.data.detect.onnx_detector import OnnxDetector

        return OnnxDetector(Path(name), device)
    raise BodyfitError(
        f"--detector {name}: no such detector. Expected auto, builtin, none, rtmlib or a file PATH.onnx."
    )
