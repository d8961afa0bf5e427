"""Detections as a keypoint detector would give them: noise, missed and exchanged points, no faces from behind."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.landmarks import FACE, LANDMARK_INDEX, LANDMARK_NAMES, LEFT_HAND, MIRRORED, RIGHT_HAND
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.start.draws import Draw, constant
from bodyfit.fitting.start.synthetic_people import SyntheticOptions, SyntheticPeople

# Joints of SMPL-X that are not among the keypoints of BODY_25, hands and face.
_UNDETECTED = ("spine1", "spine2", "spine3", "left_foot", "right_foot", "left_collar", "right_collar", "head", "jaw")
_UNDETECTED += ("left_eye_smplhf", "right_eye_smplhf")
DETECTED: tuple[int, ...] = tuple(i for i, name in enumerate(LANDMARK_NAMES) if name not in _UNDETECTED)
"""Indices in LANDMARK_NAMES of the points that OpenPose's BODY_25 with hands and face knows."""

_LEG_POINTS = tuple(
    LANDMARK_INDEX[f"{side}_{part}"]
    for side in ("left", "right")
    for part in ("hip", "knee", "ankle", "big_toe", "small_toe", "heel")
)
# The outward direction of each point of the head (in the axes of the head: x left, z forward), and the smallest cosine
# between it and the direction to the camera at which a detector still finds the point. Other face points follow the
# face.
_FACE_VIEW = ((0.0, 0.0, 1.0), 0.0)
_HEAD_VIEWS = {
    "nose": ((0.0, 0.0, 1.0), -0.1),
    "left_eye": ((0.5, 0.0, 0.866), -0.1),
    "right_eye": ((-0.5, 0.0, 0.866), -0.1),
    "left_ear": ((1.0, 0.0, 0.0), -0.35),
    "right_ear": ((-1.0, 0.0, 0.0), -0.35),
}
_VIEWS = tuple(zip(*(_HEAD_VIEWS.get(name, _FACE_VIEW) for name in LANDMARK_NAMES), strict=True))
_ON_HEAD = (*(LANDMARK_INDEX[name] for name in _HEAD_VIEWS), *FACE)


class SimulatedDetector:
    """Detects synthetic people.

    Args:
        options: how noisy it is, and what it misses.
        known: indices in LANDMARK_NAMES of the points that the people have.
        dtype, device: of the people.
    """

    def __init__(self, options: SyntheticOptions, known: list[int], dtype: torch.dtype, device: torch.device):
        self.options, self.device = options, device
        self.noise = torch.ones(len(LANDMARK_NAMES), dtype=dtype, device=device)
        self.noise[list(LEFT_HAND + RIGHT_HAND)] = self.options.hand_noise
        self.noise[list(FACE)] = self.options.face_noise
        self.usual_confidence = torch.full((len(LANDMARK_NAMES),), 0.85, dtype=dtype, device=device)
        self.usual_confidence[list(LEFT_HAND + RIGHT_HAND)] = 0.65
        self.present = torch.zeros(len(LANDMARK_NAMES), dtype=torch.bool, device=self.device)
        self.present[[i for i in known if i in DETECTED]] = True

    def detect(self, draw: Draw, people: SyntheticPeople, head: Float[Tensor, "N 3 3"]) -> SyntheticPeople:
        """Simulated detections: noise, missed points, nothing outside the image, no faces from behind."""
        opt, count, shape = self.options, len(people), people.confidence.shape
        pixels = project(people.landmarks, people.focal_px, people.center_px)
        spread = opt.noise_share * people.size_px[:, None] * self.noise
        spread = spread * torch.where(draw.chance(opt.outliers, shape[1]), 10.0, 1.0)
        pixels = pixels + spread[..., None] * draw.normal(*shape, 2)
        seen = ~draw.chance(opt.dropped, shape[1])
        seen &= self.present & (people.landmarks[..., 2] > 0.1)
        seen &= ((pixels > -0.5) & (pixels < people.image_size[:, None] - 0.5)).all(-1)
        for part in (LEFT_HAND, RIGHT_HAND):
            seen &= ~(draw.chance(opt.lost_hands)[:, None] & _among(part, self.device))
        seen &= ~(draw.chance(opt.lost_faces)[:, None] & _among(tuple(FACE), self.device))
        if opt.hide_turned_faces:
            seen &= _faces_camera(people.landmarks, head)
        confidence = torch.where(seen, self._confidence(draw, count), 0.0)
        swapped = draw.chance(opt.swapped_legs)[:, None] & _among(_LEG_POINTS, self.device)
        mirrored = constant(tuple(MIRRORED), torch.long, self.device)
        pixels = torch.where(swapped[..., None], pixels[:, mirrored], pixels)
        confidence = torch.where(swapped, confidence[:, mirrored], confidence)
        return replace(people, keypoints_px=pixels * (confidence > 0)[..., None], confidence=confidence)

    def _confidence(self, draw: Draw, count: int) -> Float[Tensor, "N 144"]:
        """Bodies and faces are found with more confidence than fingers; the level varies from person to person."""
        base = self.usual_confidence
        level = draw.normal(count, 1) * 0.05
        return (base + level + 0.1 * draw.normal(count, len(base))).clamp(0.1, 1.0)


@lru_cache(maxsize=64)
def _among(landmarks: tuple[int, ...], device: torch.device) -> Bool[Tensor, " 144"]:
    """True for these landmarks."""
    chosen = torch.zeros(len(LANDMARK_NAMES), dtype=torch.bool)
    chosen[list(landmarks)] = True
    return chosen.to(device)


def _faces_camera(landmarks: Float[Tensor, "N 144 3"], head: Float[Tensor, "N 3 3"]) -> Bool[Tensor, "N 144"]:
    """False for points of the head that face away from the camera."""
    direction, least = (constant(column, head.dtype, head.device) for column in _VIEWS)
    to_camera = torch.nn.functional.normalize(-landmarks[:, LANDMARK_INDEX["head"]], dim=-1)
    cosine = (to_camera[:, None] @ head)[:, 0] @ direction.T
    return ~_among(_ON_HEAD, head.device) | (cosine > least)
