"""A whole-body network in an ONNX file of the user's own: RTMPose, RTMW or DWPose, one person at a time.

People are found by the detector that ships; the file's network says the 133 points of each. Its outputs are scores of
columns and of rows (SimCC: Li et al., 2022), as these models are published: (people, 133, width x 2) and (people, 133,
height x 2).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from bodyfit.data.detect.crops import Picture
from bodyfit.data.detect.detector import ShippedDetector
from bodyfit.data.detect.people import box_of
from bodyfit.data.detect.wholebody import from_wholebody
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.detections import Detections

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
"""Of ImageNet's pictures, RGB, in [0, 255]: what these networks were trained with."""
PADDING = 1.25
"""Width and height of the crop over those of the box around the person."""
BINS = 2
"""Scores for each pixel of the crop, along a side."""


class OnnxDetector:
    """One whole-body ONNX file behind the shipped search for people."""

    def __init__(self, path: Path, device: torch.device | str = "cpu"):
        """Open the file. Raises BodyfitError for a missing file, a missing package, or another kind of network."""
        if not path.is_file():
            raise BodyfitError(f"{path}: no such file. Expected a whole-body pose network as an ONNX file.")
        try:
            import onnxruntime
        except ImportError as cause:
            raise BodyfitError(f'{path}: ONNX files need ONNX Runtime: pip install "bodyfit[onnx]".') from cause
        cuda = torch.device(device).type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), providers=["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
            )
        except Exception as cause:  # ONNX Runtime has many of its own
            raise BodyfitError(f"{path}: not an ONNX file that can be run ({cause}).") from cause
        shape, outputs = self._session.get_inputs()[0].shape, self._session.get_outputs()
        if len(shape) != 4 or len(outputs) != 2 or not all(isinstance(n, int) for n in shape[2:]):
            raise BodyfitError(
                f"{path}: a network with input {shape} and {len(outputs)} outputs. Expected one person's picture "
                "(people, 3, height, width) and two outputs: scores of columns and of rows (RTMPose, RTMW, DWPose)."
            )
        self.name = path.name
        self._height, self._width = shape[2:]
        self._people = ShippedDetector(device=device)

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Detections:
        """Everybody in an upright RGB picture, the largest first."""
        picture = Picture(image)
        people = self._people.people(picture)
        points, scores = np.zeros((len(people), 133, 2)), np.zeros((len(people), 133))
        low, high = box_of(people.xy, people.confidence)
        for i in range(len(people)):
            points[i], scores[i] = self._read(picture, (low[i] + high[i]) / 2, high[i] - low[i])
        return from_wholebody(points, scores, name=self.name, image_size=(image.shape[1], image.shape[0]))

    def _read(
        self, picture: Picture, center: Float[np.ndarray, " 2"], size: Float[np.ndarray, " 2"]
    ) -> tuple[Float[np.ndarray, "133 2"], Float[np.ndarray, " 133"]]:
        """Points of the person in a box, pixels, and their scores."""
        scale = max(size[0] / self._width, size[1] / self._height, 1e-3) * PADDING  # picture pixels in a crop's pixel
        corner = center - scale * (np.array([self._width, self._height]) - 1) / 2
        crop = picture.cut(center, np.diag([scale * self._width, scale * self._height]), (self._width, self._height))
        values = ((crop - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
        columns, rows = self._session.run(None, {self._session.get_inputs()[0].name: values})
        if columns.shape[1] != 133 or rows.shape[1] != 133:
            raise BodyfitError(f"{self.name}: gives {columns.shape[1]} points. Expected a whole-body network's 133.")
        place = np.stack([columns[0].argmax(axis=1), rows[0].argmax(axis=1)], axis=1) / BINS
        return corner + scale * place, np.minimum(columns[0].max(axis=1), rows[0].max(axis=1))
