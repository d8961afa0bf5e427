"""Synthetic clips of mocap by one or several cameras, and what joint fits of them reach beside single ones."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.data.motion.mocap import read_motion
from bodyfit.data.photo.intrinsics import Extrinsics
from bodyfit.data.results.track import Track
from bodyfit.fitting.benchmark.accuracy import JOINTS_WITH_PELVIS, aligned, mean_distance_mm
from bodyfit.fitting.benchmark.clip_noise import NO_CLIP_NOISE, ClipNoise, lasting_errors, lost_points, occluded_points
from bodyfit.fitting.benchmark.skating import skating_mm
from bodyfit.fitting.energy.floor import foot_points
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.sequence.ages import fitter_of
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import GroundConfig
from bodyfit.fitting.sequence.group import Sighting, fit_group
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.start.pose_sources import prior_poses, y_up
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions, SyntheticPeople
from bodyfit.prior.model.vposer import VPoser

IMAGE_PX, FOCAL_PX, DISTANCE_M, CAMERA_HEIGHT_M = (1280, 960), 1100.0, 4.5, 0.6
KEY_SECONDS = 0.6  # between poses of imagined motion
Z_TO_Y = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # files of AMASS have z up


@dataclass(frozen=True)
class Clip:
    """One person over time with known truth."""

    joints: Float[Tensor, "T 22 3"]
    """In the frame of the fit: the camera's of one camera, else the world, m."""
    feet: Float[Tensor, "T F 3"]
    """The points of the feet that can touch a floor (`floor.FOOT_POINTS`), in the same frame."""
    sightings: list[Sighting]
    fps: float


@dataclass(frozen=True)
class Recording:
    """A motion at the moments of a clip, in a world with y up."""

    pose: Float[Tensor, "T 22 3"]
    """Root and body, axis-angle."""
    path_m: Float[Tensor, "T 3"]
    """Where the root is, relative to its mean."""


def recorded(path: Path, fps: float, moments: int) -> Recording:
    """A motion file at another frame rate, from its beginning, by splines: between frames motion then is as smooth as
    real motion. Linear pieces would have accelerations at their joints alone.

    Frames that were left out of the file (`frame_index`) are bridged; without a path (`trans`) the root stays.
    """
    motion = read_motion(path)
    pose = np.concatenate([motion.root_orient, motion.body_pose], 1).reshape(len(motion.root_orient), -1, 3)
    with np.load(path) as file:
        trans = np.asarray(file["trans"], float) if "trans" in file else np.zeros((len(pose), 3))
        index = np.asarray(file["frame_index"], float) if "frame_index" in file else np.arange(len(pose))
    if motion.flavour != "root and body":
        pose[:, 0], trans = y_up(pose[:, 0]), trans @ Z_TO_Y.T
    if len(pose) == 1:
        return Recording(torch.from_numpy(pose).float(), torch.zeros(1, 3))
    known = (index - index[0]) / max(np.median(np.diff(index)), 1) / motion.frame_rate
    times = np.arange(0, known[-1] + 1e-9, 1 / fps)[:moments]
    turned = [RotationSpline(known, Rotation.from_rotvec(pose[:, j]))(times).as_rotvec() for j in range(pose.shape[1])]
    place = CubicSpline(known, trans - trans.mean(0))(times)
    return Recording(*(torch.from_numpy(a).float() for a in (np.stack(turned, 1), place - place.mean(0))))


def imagined(prior: VPoser, fps: float, moments: int, seed: int) -> Recording:
    """Motion without a recording: splines through poses of the prior, upright, a slow turn."""
    keys = int(moments / fps / KEY_SECONDS) + 3
    pose = prior_poses(prior, keys, seed=seed).double().unflatten(1, (-1, 3)).numpy()
    known, times = KEY_SECONDS * np.arange(keys), np.arange(moments) / fps
    turned = [RotationSpline(known, Rotation.from_rotvec(pose[:, j]))(times).as_rotvec() for j in range(pose.shape[1])]
    root = np.stack([np.zeros(moments), 0.5 * times, np.zeros(moments)], 1)
    whole = np.stack([root, *turned], 1)
    return Recording(torch.from_numpy(whole).float(), torch.zeros(moments, 3))


def make_clip(
    body: BodyModel,
    motion: Path | Recording,
    *,
    cameras: int,
    seed: int,
    fps: float = 30.0,
    moments: int = 90,
    options: SyntheticOptions | None = None,
    noise: ClipNoise = NO_CLIP_NOISE,
    hidden: range = range(0),
) -> Clip:
    """A clip of mocap seen by cameras around it.

    Args:
        body: its shape is drawn from the seed.
        motion: a motion file, or what was made of one.
        cameras: how many, evenly around the person. With one, the clip is in its frame and it has no extrinsics.
        seed: of shape, direction and detections.
        fps, moments: frame rate and length at most.
        options: the detector in single pictures.
        noise: its errors over time.
        hidden: moments that no camera sees.
    """
    options = replace(options or SyntheticOptions(), cropped=0.0)
    maker = PeopleMaker(body, options)
    if isinstance(motion, Path):
        motion = recorded(motion, fps, moments)
    pose, transl = motion.pose, motion.path_m
    draw = torch.Generator().manual_seed(seed)
    count, model = len(pose), maker.model
    betas = torch.randn(1, body.num_betas, generator=draw).clamp(-2.5, 2.5).expand(count, -1)
    truth = true_parameters(body, pose, betas, transl)
    points, head = posed_in_world(model, truth)
    start, far = 2 * math.pi * float(torch.rand((), generator=draw)), _distance(transl)
    given = {"cameras": cameras, "start": start, "far": far, "noise": noise, "hidden": hidden}
    return seen_around(maker, truth, points, head, fps=fps, seed=seed, **given)


def seen_around(
    maker: PeopleMaker,
    truth: dict,
    points: Tensor,
    head: Tensor,
    *,
    cameras: int,
    start: float,
    far: float,
    fps: float,
    seed: int,
    noise: ClipNoise = NO_CLIP_NOISE,
    hidden: range = range(0),
) -> Clip:
    """What cameras around the origin make of a person.

    Args:
        maker: the detector in single pictures.
        truth: parameters in the world.
        points, head: `posed_in_world`.
        cameras: how many, evenly around. With one, the clip is in its frame and it has no extrinsics.
        start, far: direction of the first, radians, and their distance, m.
        fps, noise, seed: frame rate; the detector's errors over time; of detections.
        hidden: moments that no camera sees.
    """
    sightings, views = [], []
    for n in range(cameras):
        rotation, translation = _camera(start + 2 * math.pi * n / cameras, far)
        seen = seen_by_camera(maker, truth, points @ rotation.T + translation, rotation @ head, seed + n)
        views.append(_disturbed(seen, noise, fps, torch.Generator().manual_seed(1000 + seed + n)))
        known = None if cameras == 1 else Extrinsics(tuple(map(tuple, rotation.tolist())), tuple(translation.tolist()))
        frames = _frames(views[-1], known)
        sightings += [Sighting(t, f) for t, f in enumerate(frames) if t not in hidden and not f.detections.problems[0]]
    there = views[0].landmarks if cameras == 1 else points
    return Clip(there[:, :JOINTS_WITH_PELVIS], there[:, clip_feet(maker.body)], sightings, fps)


def seen_over_time(
    maker: PeopleMaker, truth: dict, landmarks: Tensor, head: Tensor, noise: ClipNoise, fps: float, seed: int
) -> Clip:
    """What one uncalibrated camera makes of a person.

    Args:
        maker: the detector in single pictures.
        truth: parameters in the world.
        landmarks, head: `posed_in_world`, brought to the camera's frame.
        noise: the detector's errors over time.
        fps: frames per second.
        seed: of detections.
    """
    seen = seen_by_camera(maker, truth, landmarks, head, seed)
    view = _disturbed(seen, noise, fps, torch.Generator().manual_seed(1000 + seed))
    sightings = [Sighting(t, f) for t, f in enumerate(_frames(view, None)) if not f.detections.problems[0]]
    feet = view.landmarks[:, clip_feet(maker.body)]
    return Clip(view.landmarks[:, :JOINTS_WITH_PELVIS], feet, sightings, fps)


def clip_feet(body: BodyModel) -> list[int]:
    """Numbers of the landmarks that can touch a floor."""
    return [LANDMARK_NAMES.index(name) for name in foot_points(body)]


def true_parameters(body: BodyModel, pose: Tensor, betas: Tensor, transl: Tensor) -> dict[str, Tensor]:
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


def posed_in_world(
    model: LandmarkModel, truth: dict[str, Tensor]
) -> tuple[Float[Tensor, "T 144 3"], Float[Tensor, "T 3 3"]]:
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


def _distance(path: Float[Tensor, "T 3"]) -> float:
    """How far cameras stand: the whole path is in view."""
    return DISTANCE_M + float(path[:, [0, 2]].norm(dim=1).max())


def _camera(angle: float, distance: float) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
    """Rotation and translation of a camera that looks at the origin of a world with y up."""
    place = torch.tensor([distance * math.sin(angle), CAMERA_HEIGHT_M, distance * math.cos(angle)])
    forward = torch.nn.functional.normalize(-place, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 1.0, 0.0])), dim=0)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    return rotation, -rotation @ place


def seen_by_camera(maker: PeopleMaker, truth: dict, landmarks: Tensor, head: Tensor, seed: int) -> SyntheticPeople:
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


def _disturbed(people: SyntheticPeople, noise: ClipNoise, fps: float, draw: torch.Generator) -> SyntheticPeople:
    """The same detections with errors that last, and without the points that are missed or hidden for a while."""
    errors = lasting_errors(noise, people.size_px, fps, draw)
    gone = lost_points(noise, len(people), fps, draw) | occluded_points(noise, len(people), fps, draw)
    seen = people.confidence * ~gone
    return replace(people, keypoints_px=(people.keypoints_px + errors) * (seen > 0)[..., None], confidence=seen)


def _frames(people: SyntheticPeople, extrinsics: Extrinsics | None) -> list[Frame]:
    center, frames = tuple(people.center_px[0].tolist()), []
    for t in range(len(people)):
        xy, confidence = (a[t : t + 1].double().numpy() for a in (people.keypoints_px, people.confidence))
        found = Detections.from_points(xy, confidence, format="synthetic", source=Path("synthetic"))
        frames.append(Frame(f"{t:05d}", found, IMAGE_PX, FOCAL_PX, "given", center, extrinsics=extrinsics))
    return frames


def track_joints(fitter: Fitter, track: Track) -> Float[Tensor, "T 22 3"]:
    """Fitted joints, in the frame of the track, m."""
    return track_landmarks(fitter, track)[:, :JOINTS_WITH_PELVIS]


def track_landmarks(fitter: Fitter, track: Track) -> Float[Tensor, "T 144 3"]:
    """Fitted landmarks, in the frame of the track, m."""
    truth = {name: torch.as_tensor(value).float() for name, value in track.parameters().items()}
    return posed_in_world(fitter_of(fitter, track).everything, truth)[0]


def measure_clip(
    fitter: Fitter, clip: Clip, config: SequenceConfig | None = None, *, ground: bool = False
) -> dict[str, float]:
    """Errors of the joint fit, and of a monocular clip's frames fitted one by one, over the moments that were seen.

    With `ground`, also of the joint fit whose feet stand on the ground.
    """
    row = _of_joint_fit(fitter, clip, config)
    if ground:
        given = GroundConfig() if config is None or config.ground is None else config.ground
        standing = _of_joint_fit(fitter, clip, replace(config or SequenceConfig(), ground=given))
        row |= {f"ground_{name}": value for name, value in standing.items()}
    if not clip.sightings[0].frame.extrinsics:
        row |= {f"single_{name}": value for name, value in _of_single_fits(fitter, clip).items()}
    return row


def _of_joint_fit(fitter: Fitter, clip: Clip, config: SequenceConfig | None) -> dict[str, float]:
    began = time.perf_counter()
    track = fit_group(fitter, clip.sightings, fps=clip.fps, config=config)
    seconds = time.perf_counter() - began
    landmarks, row = (
        track_landmarks(fitter, track),
        {"moments": len(track), "moments_per_second": len(track) / seconds},
    )
    seen = torch.as_tensor(track.views > 0)
    row |= clip_errors(landmarks, clip, track.moments, seen, clip_feet(fitter.body))
    if not seen.all():
        joints, truth = landmarks[:, :JOINTS_WITH_PELVIS], clip.joints[track.moments]
        row["unseen_pa_mpjpe_mm"] = float(_pa_mpjpe_mm(joints, truth)[~seen].mean())
    return row


def _of_single_fits(fitter: Fitter, clip: Clip) -> dict[str, float]:
    began = time.perf_counter()
    results = fitter.fit([s.frame for s in clip.sightings])
    seconds = time.perf_counter() - began
    places = np.array([s.moment for s in clip.sightings])
    moments = np.arange(places.min(), places.max() + 1)
    seen = torch.as_tensor(np.isin(moments, places))
    alone = torch.full((len(moments), len(LANDMARK_NAMES), 3), torch.nan)
    alone[seen] = torch.as_tensor(np.stack([result.landmarks for result in results])[places.argsort()]).float()
    return clip_errors(alone, clip, moments, seen, clip_feet(fitter.body)) | {
        "moments_per_second": len(results) / seconds
    }


def _pa_mpjpe_mm(joints: Tensor, truth: Tensor) -> Float[Tensor, " T"]:
    return mean_distance_mm(aligned(joints, truth), truth)


def clip_errors(
    landmarks: Float[Tensor, "T 144 3"], clip: Clip, moments: np.ndarray, seen: Bool[Tensor, " T"], feet: list[int]
) -> dict[str, float]:
    """Of the moments that were seen; accelerations where all three moments were, skating where feet rest."""
    joints, truth = landmarks[:, :JOINTS_WITH_PELVIS], clip.joints[moments]
    slides = skating_mm(landmarks[:, feet], clip.feet[moments], clip.fps, seen)
    true_slides = skating_mm(clip.feet[moments], clip.feet[moments], clip.fps, seen)
    skating = {} if slides is None else {"skating_mm": slides, "true_skating_mm": true_slides}
    three, away = (seen[2:] & seen[1:-1] & seen[:-2]), joints - truth
    thigh, true_thigh = ((j[seen][:, 4] - j[seen][:, 1]).norm(dim=-1).mean() for j in (joints, truth))
    accelerations = {name: _accelerations_mm(j)[three].mean() for name, j in (("own", joints), ("true", truth))}
    return skating | {
        "pa_mpjpe_mm": float(_pa_mpjpe_mm(joints[seen], truth[seen]).mean()),
        "mpjpe_mm": float(mean_distance_mm(joints[seen], truth[seen]).mean()),
        "root_mpjpe_mm": float(mean_distance_mm(joints - joints[:, :1], truth - truth[:, :1])[seen].mean()),
        "size_error_share": abs(float(thigh / true_thigh) - 1),
        "acceleration_error_mm": float(_accelerations_mm(away)[three].mean()),
        "acceleration_mm": float(accelerations["own"]),
        "true_acceleration_mm": float(accelerations["true"]),
    }


def _accelerations_mm(joints: Float[Tensor, "T 22 3"]) -> Float[Tensor, " T-2"]:
    """Mean length of second differences, mm per frame squared."""
    return 1000 * (joints[2:] - 2 * joints[1:-1] + joints[:-2]).norm(dim=-1).mean(1)
