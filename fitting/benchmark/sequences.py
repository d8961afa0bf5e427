"""Synthetic clips of mocap by one or several cameras, and what joint fits of them reach beside single ones."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.data.motion.mocap import read_motion
from bodyfit.data.photo.intrinsics import Extrinsics
from bodyfit.data.results.track import Track
from bodyfit.fitting.benchmark.accuracy import JOINTS_WITH_PELVIS, aligned, mean_distance_mm
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.group import Sighting, fit_group
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.start.synthetic import PeopleMaker, SyntheticOptions, SyntheticPeople, y_up

IMAGE_PX, FOCAL_PX, DISTANCE_M, CAMERA_HEIGHT_M = (1280, 960), 1100.0, 4.5, 0.6
SWAY_M, SWAY_PERIOD_S = 0.3, 4.0  # the mocap has no translation: bodies are moved along a slow circle


@dataclass(frozen=True)
class Clip:
    """One person over time with known truth."""

    joints: Float[Tensor, "T 22 3"]
    """In the frame of the fit: the camera's of one camera, else the world, m."""
    sightings: list[Sighting]
    fps: float


def resampled(rotvecs: Float[np.ndarray, "T J 3"], rate: float, fps: float, moments: int) -> Float[Tensor, "M J 3"]:
    """At most so many moments at another frame rate, by spherical interpolation."""
    turns = roma.rotvec_to_unitquat(torch.from_numpy(np.ascontiguousarray(rotvecs)))
    places = torch.arange(0, len(rotvecs) - 1, rate / fps, dtype=torch.float64)[:moments]
    low = places.floor().long()
    share = (places - low)[:, None, None].expand(-1, turns.shape[1], 1)
    first, last = turns[low], turns[low + 1]
    last = torch.where((first * last).sum(-1, keepdim=True) < 0, -last, last)
    return roma.unitquat_to_rotvec(torch.nn.functional.normalize(first + share * (last - first), dim=-1))


def make_clip(
    body: BodyModel,
    path: Path,
    *,
    cameras: int,
    seed: int,
    fps: float = 30.0,
    moments: int = 90,
    options: SyntheticOptions | None = None,
    hidden: range = range(0),
) -> Clip:
    """A clip of mocap seen by cameras around it.

    Args:
        body: its shape is drawn from the seed.
        path: motion file.
        cameras: how many, evenly around the person. With one, the clip is in its frame and it has no extrinsics.
        seed: of shape, direction and detections.
        fps, moments: frame rate and length at most.
        options: the detector.
        hidden: moments that no camera sees.
    """
    options = replace(options or SyntheticOptions(), cropped=0.0)
    maker, motion = PeopleMaker(body, options), read_motion(path)
    root = motion.root_orient if motion.flavour == "root and body" else y_up(motion.root_orient)
    pose = np.concatenate([root, motion.body_pose], 1).reshape(len(root), -1, 3)
    pose = resampled(pose, motion.frame_rate, fps, moments).float()
    draw = torch.Generator().manual_seed(seed)
    count, model = len(pose), maker.model
    betas = torch.randn(1, body.num_betas, generator=draw).clamp(-2.5, 2.5).expand(count, -1)
    angle = 2 * math.pi / SWAY_PERIOD_S * torch.arange(count) / fps
    transl = SWAY_M * torch.stack([angle.cos(), torch.zeros(count), angle.sin()], 1)
    truth = _truth(body, pose, betas, transl)
    points, head = _posed(model, truth)
    start, views = 2 * math.pi * float(torch.rand((), generator=draw)), []
    for n in range(cameras):
        rotation, translation = _camera(start + 2 * math.pi * n / cameras)
        views.append(_seen(maker, truth, points @ rotation.T + translation, rotation @ head, seed + n))
    sightings, places = [], [_camera(start + 2 * math.pi * n / cameras) for n in range(cameras)]
    for people, (rotation, translation) in zip(views, places, strict=True):
        known = None if cameras == 1 else Extrinsics(tuple(map(tuple, rotation.tolist())), tuple(translation.tolist()))
        sightings += [Sighting(t, frame) for t, frame in enumerate(_frames(people, known)) if t not in hidden]
    joints = views[0].landmarks[:, :JOINTS_WITH_PELVIS] if cameras == 1 else points[:, :JOINTS_WITH_PELVIS]
    return Clip(joints, sightings, fps)


def _truth(body: BodyModel, pose: Tensor, betas: Tensor, transl: Tensor) -> dict[str, Tensor]:
    count = len(pose)
    hands = {s: torch.as_tensor(np.asarray(getattr(body, f"hand_mean_{s}"))).float() for s in ("left", "right")}
    return {
        "global_orient": pose[:, 0],
        "body_pose": pose[:, 1:].flatten(1),
        "betas": betas,
        "transl": transl,
        "expression": torch.zeros(count, body.num_expression),
        "jaw_pose": torch.zeros(count, 3),
        **{f"{side}_hand_pose": mean.expand(count, 45) for side, mean in hands.items()},
    }


def _posed(model: LandmarkModel, truth: dict[str, Tensor]) -> tuple[Float[Tensor, "T 144 3"], Float[Tensor, "T 3 3"]]:
    """Landmarks in LANDMARK_NAMES order and rotations of the head, in the world."""
    names = ("global_orient", "body_pose", "jaw_pose")
    eyes = torch.zeros(len(truth["transl"]), 6)
    pose = torch.cat([*(truth[n] for n in names), eyes, truth["left_hand_pose"], truth["right_hand_pose"]], 1)
    turns = roma.rotvec_to_rotmat(pose.unflatten(1, (-1, 3)))
    shape = torch.cat([truth["betas"], truth["expression"]], 1)
    state = model(turns, shape, truth["transl"], derivatives=False)
    places = [LANDMARK_NAMES.index(name) for name in model.names]
    points = state.points.new_zeros(len(turns), len(LANDMARK_NAMES), 3)
    points[:, places] = state.points
    return points, state.kinematics.rotations[model.level_rank[model.joint_names.index("head")]]


def _camera(angle: float) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
    """Rotation and translation of a camera that looks at the origin of a world with y up."""
    place = torch.tensor([DISTANCE_M * math.sin(angle), CAMERA_HEIGHT_M, DISTANCE_M * math.cos(angle)])
    forward = torch.nn.functional.normalize(-place, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 1.0, 0.0])), dim=0)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    return rotation, -rotation @ place


def _seen(maker: PeopleMaker, truth: dict, landmarks: Tensor, head: Tensor, seed: int) -> SyntheticPeople:
    """What a camera's detector makes of the clip; parameters stay those of the world."""
    count, size = len(landmarks), torch.tensor(IMAGE_PX).float()
    focal, center = torch.full((count,), FOCAL_PX), ((size - 1) / 2).expand(count, 2)
    pixels = project(landmarks, focal, center)[:, maker.places]
    extent = (pixels.amax(1) - pixels.amin(1)).amax(1)
    people = SyntheticPeople(
        **truth,
        focal_px=focal,
        center_px=center,
        image_size=size.expand(count, 2),
        size_px=extent,
        landmarks=landmarks,
        keypoints_px=landmarks[..., :2],
        confidence=landmarks[..., 0],
    )
    return maker.detect(people, head, seed=seed)


def _frames(people: SyntheticPeople, extrinsics: Extrinsics | None) -> list[Frame]:
    center, frames = tuple(people.center_px[0].tolist()), []
    for t in range(len(people)):
        xy, confidence = (a[t : t + 1].double().numpy() for a in (people.keypoints_px, people.confidence))
        found = Detections.from_points(xy, confidence, format="synthetic", source=Path("synthetic"))
        frames.append(Frame(f"{t:05d}", found, IMAGE_PX, FOCAL_PX, "given", center, extrinsics=extrinsics))
    return frames


def track_joints(fitter: Fitter, track: Track) -> Float[Tensor, "T 22 3"]:
    """Fitted joints, in the frame of the track, m."""
    truth = {name: torch.as_tensor(value).float() for name, value in track.parameters().items()}
    return _posed(fitter.everything, truth)[0][:, :JOINTS_WITH_PELVIS]


def acceleration_error_mm(joints: Float[Tensor, "T 22 3"], truth: Float[Tensor, "T 22 3"]) -> float:
    """Mean distance of second differences, mm per frame squared."""
    away = joints - truth
    return float(1000 * (away[2:] - 2 * away[1:-1] + away[:-2]).norm(dim=-1).mean())


def acceleration_mm(joints: Float[Tensor, "T 22 3"]) -> float:
    """Mean length of second differences, mm per frame squared."""
    return acceleration_error_mm(joints, torch.zeros_like(joints))


def measure_clip(fitter: Fitter, clip: Clip, config: SequenceConfig | None = None) -> dict[str, float]:
    """Errors of the joint fit; of a monocular clip, those of single fits, too (frames that failed are left out)."""
    began = time.perf_counter()
    track = fit_group(fitter, clip.sightings, fps=clip.fps, config=config)
    seconds = time.perf_counter() - began
    joints, row = track_joints(fitter, track), {"moments": len(track), "moments_per_second": len(track) / seconds}
    row |= _errors(joints, clip.joints)
    if clip.sightings[0].frame.extrinsics or len(clip.sightings) < len(clip.joints):
        return row
    began = time.perf_counter()
    results = fitter.fit([s.frame for s in clip.sightings])
    seconds = time.perf_counter() - began
    landmarks = np.stack([result.landmarks for result in results])
    alone = torch.as_tensor(landmarks[:, :JOINTS_WITH_PELVIS]).float()
    row |= {f"single_{name}": value for name, value in _errors(alone, clip.joints).items()}
    return row | {"single_moments_per_second": len(track) / seconds}


def _errors(joints: Tensor, truth: Tensor) -> dict[str, float]:
    return {
        "pa_mpjpe_mm": float(mean_distance_mm(aligned(joints, truth), truth).mean()),
        "mpjpe_mm": float(mean_distance_mm(joints, truth).mean()),
        "acceleration_error_mm": acceleration_error_mm(joints, truth),
        "acceleration_ratio": acceleration_mm(joints) / acceleration_mm(truth),
    }
