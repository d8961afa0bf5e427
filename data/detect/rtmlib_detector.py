"""The whole-body detector of the package rtmlib (RTMW and a person detector, with ONNX Runtime)."""

from __future__ import annotations

import logging

import numpy as np
import torch
from jaxtyping import UInt8

from bodyfit.data.detect.wholebody import from_wholebody
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.detections import Detections

log = logging.getLogger(__name__)


class RtmlibDetector:
    """rtmlib's `Wholebody`. It downloads its models itself, into its own cache, the first time that it is used."""

    name = "rtmlib"

    def __init__(self, device: torch.device | str = "cpu", mode: str = "balanced"):
        """Load the models. Raises BodyfitError if rtmlib is missing or cannot get its models."""
        try:
            from rtmlib import Wholebody
        except ImportError as cause:
            raise BodyfitError(
                f"--detector rtmlib needs the package rtmlib ({cause}): pip install rtmlib onnxruntime. "
                "The included detector needs nothing: --detector auto."
            ) from cause
        log.info("rtmlib: its models are downloaded unless it has them already")
        try:
            kind = "cuda" if torch.device(device).type == "cuda" else "cpu"
            self._model = Wholebody(mode=mode, backend="onnxruntime", device=kind)
        except Exception as cause:  # whatever a download or ONNX Runtime may raise
            raise BodyfitError(f"rtmlib could not load its models: {cause}. Is there a network?") from cause

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """Everybody in an upright RGB picture, the largest first."""
        points, scores = self._model(np.ascontiguousarray(image[..., ::-1]))  # OpenCV's order of colours
        size = (image.shape[1], image.shape[0])
        return from_wholebody(np.asarray(points), np.asarray(scores), name=self.name, image_size=size)
