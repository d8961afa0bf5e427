"""Synthetic people with known truth: random bodies, random cameras, and simulated detections.

Used by the benchmark and to train the start network. Everything is drawn from one seed, at thousands of people per
second, since only landmarks are posed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import PosedBody, pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined, read_json
from bodyfit.data.landmarks import FACE, LANDMARK_INDEX, LANDMARK_NAMES, LEFT_HAND, MIRRORED, RIGHT_HAND
from bodyfit.data.motion.mocap import read_motion
from bodyfit.fitting.energy.age_curve import AgeCurve
from bodyfit.fitting.energy.landmark_model import FLIP_Y_Z, LandmarkModel
from bodyfit.fitting.energy.projection import project
from bodyfit.prior.model.vposer import VPoser
from bodyfit.prior.training.synthesis import draw_poses

# Joints of SMPL-X that are not among the keypoints of BODY_25, hands and face.
_UNDETECTED = ("spine1", "spine2", "spine3", "left_foot", "right_foot", "left_collar", "right_collar", "head", "jaw")
_UNDETECTED += ("left_eye_smplhf", "right_eye_smplhf")
DETECTED: tuple[int, ...] = tuple(i for i, name in enumerate(LANDMARK_NAMES) if name not in _UNDETECTED)
"""Indices in LANDMARK_NAMES of the points that OpenPose's BODY_25 with hands and face knows."""

_ASPECTS = (9 / 16, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 16 / 9)  # image width / height
_CROP_LINES = {"hips": ("left_hip", "right_hip"), "knees": ("left_knee", "right_knee")}
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


@dataclass(frozen=True)
class SyntheticOptions:
    """How people, cameras and the detector are drawn. Shares are probabilities."""

    distance_m: tuple[float, float] = (2.0, 8.0)
    """Nearest and farthest distance of the body from the camera."""
    focal_px: tuple[float, float] = (600.0, 5000.0)
    """Shortest and longest focal length; log-uniform between."""
    pitch_deg: float = 12.0
    """Standard deviation of the pitch of the camera."""
    roll_deg: float = 4.0
    """Standard deviation of the camera's roll."""
    beta_spread: float = 1.0
    """Standard deviation of the shape numbers, truncated at 2.5 standard deviations."""
    ages: tuple[float, float] | None = None
    """Youngest and oldest in years, drawn evenly; for bodies with a kid axis. None: adults."""
    kid_spread: float = 0.03
    """Standard deviation of the kid beta at an age."""
    expression_spread: float = 0.7
    """Standard deviation of the expression numbers."""
    jaw_open_rad: float = 0.12
    """Standard deviation of the opening of the jaw (half-normal distribution)."""
    hand_spread_rad: float = 0.5
    """Spread of the first hand component, in radians over the 45 angles; the others fall off as 1 / sqrt(number)."""
    hand_components: int = 12
    """Hand components that are drawn."""
    noise_share: float = 0.004
    """Detector noise (standard deviation along x and y) as a share of the person's size: 2 px of 500."""
    hand_noise: float = 1.0
    """Factor on the noise of finger points."""
    face_noise: float = 1.0
    """Factor on the noise of face points."""
    outliers: float = 0.0
    """Share of outliers: ten times as noisy, with a confidence that does not show it."""
    dropped: float = 0.05
    """Share of points that the detector misses."""
    lost_hands: float = 0.0
    """Share of hands that are missed completely."""
    lost_faces: float = 0.0
    """Share of faces of which only nose, eyes and ears are found."""
    swapped_legs: float = 0.0
    """Share of people whose left and right legs the detector exchanges."""
    hide_turned_faces: bool = True
    """Whether nose, eyes, ears and face points that face away from the camera are unseen."""
    cropped: float = 0.10
    """Share of people who are cropped by the edge of the image."""
    crop: str = "edge"
    """Where they are cropped: "edge" (10 to 40 % outside of any edge), "hips" or "knees" (by the lower edge)."""


@dataclass(frozen=True)
class SyntheticPeople:
    """N people: ground truth and detections. Camera frame, metres, radians, pixels."""

    global_orient: Float[Tensor, "N 3"]
    transl: Float[Tensor, "N 3"]
    body_pose: Float[Tensor, "N 63"]
    betas: Float[Tensor, "N Nb"]
    expression: Float[Tensor, "N Ne"]
    jaw_pose: Float[Tensor, "N 3"]
    left_hand_pose: Float[Tensor, "N 45"]
    """With the mean of the hands added."""
    right_hand_pose: Float[Tensor, "N 45"]
    focal_px: Float[Tensor, " N"]
    center_px: Float[Tensor, "N 2"]
    image_size: Float[Tensor, "N 2"]
    """Width and height, whole pixels."""
    size_px: Float[Tensor, " N"]
    """Longer side of the box around the whole body, including what is cropped."""
    landmarks: Float[Tensor, "N 144 3"]
    """True landmarks in LANDMARK_NAMES order; zeros where the body model lacks them."""
    keypoints_px: Float[Tensor, "N 144 2"]
    """As detected; 0 where unseen."""
    confidence: Float[Tensor, "N 144"]
    """0 where unseen."""

    def __len__(self) -> int:
        return len(self.focal_px)

    def select(self, rows: Tensor | slice) -> SyntheticPeople:
        """A subset of the people."""
        return SyntheticPeople(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def split(self, count: int) -> list[SyntheticPeople]:
        """All of them, in parts of `count` people."""
        return [self.select(slice(first, first + count)) for first in range(0, len(self), count)]

    def pose(self, body: BodyModel) -> PosedBody:
        """Their true joints and vertices."""
        names = ["global_orient", "transl", "body_pose", "betas"]
        if body.kind != "smpl":
            names += ["left_hand_pose", "right_hand_pose"]
        if body.kind == "smplx":
            names += ["expression", "jaw_pose"]
        return pose_body(body, **{name: getattr(self, name) for name in names})


class PeopleMaker:
    """Makes people of one body model. Reuse it: building the landmark model takes longer than making a thousand people.

    Args:
        body: any body model; points that it lacks stay unseen.
        options: how to draw.
        names: landmarks that are posed; the others stay unseen. Without the 17 contour points, which depend on
            the head yaw, this is three times as fast. Hips, knees and head must be among them.
        dtype, device: of the result.
        draw_on: where random numbers are drawn. On the CPU, devices agree up to rounding; on a GPU it is faster.
    """

    def __init__(
        self,
        body: BodyModel,
        options: SyntheticOptions | None = None,
        *,
        names: tuple[str, ...] = LANDMARK_NAMES,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        draw_on: torch.device | str = "cpu",
    ):
        self.options = options or SyntheticOptions()
        if self.options.crop not in ("edge", *_CROP_LINES):
            raise ValueError(f"crop must be 'edge', 'hips' or 'knees', got {self.options.crop!r}")
        self.body, self.dtype, self.device, self.draw_on = body, dtype, torch.device(device), torch.device(draw_on)
        self.model = LandmarkModel(body, names=names, dtype=dtype, device=device)
        self.places = torch.tensor([LANDMARK_INDEX[name] for name in self.model.names], device=self.device)
        self.noise = torch.ones(len(LANDMARK_NAMES), dtype=dtype, device=self.device)
        self.noise[list(LEFT_HAND + RIGHT_HAND)] = self.options.hand_noise
        self.noise[list(FACE)] = self.options.face_noise
        self.usual_confidence = torch.full((len(LANDMARK_NAMES),), 0.85, dtype=dtype, device=self.device)
        self.usual_confidence[list(LEFT_HAND + RIGHT_HAND)] = 0.65
        self.present = torch.zeros(len(LANDMARK_NAMES), dtype=torch.bool, device=self.device)
        self.present[[i for i in self.places.tolist() if i in DETECTED]] = True

    def _draw(self, count: int, seed: int) -> _Draw:
        return _Draw(count, torch.Generator(self.draw_on).manual_seed(seed), self.dtype, self.device)

    def make(
        self, body_pose: Float[Tensor, "N 63"], root_orient: Float[Tensor, "N 3"] | None = None, *, seed: int
    ) -> SyntheticPeople:
        """People in the given poses.

        Args:
            body_pose: axis-angle of the 21 body joints.
            root_orient: axis-angle of the root in a world with y up; upright where None. A random yaw is added.
            seed: the same seed makes the same people.
        """
        draw = self._draw(len(body_pose), seed)
        truth = self._truth(draw, body_pose.to(self.device, self.dtype), root_orient)
        turns, camera = truth.pop("rotations"), self._camera(draw)
        shape, origin = torch.cat([truth["betas"], truth["expression"]], dim=1), turns.new_zeros(1, 3)
        bare = self.model(turns, shape, origin, derivatives=False)
        placed = self._place(draw, bare.points, camera)
        points = bare.points + placed["transl"][:, None]
        landmarks = points.new_zeros(len(points), len(LANDMARK_NAMES), 3).index_copy(1, self.places, points)
        people = SyntheticPeople(
            **truth, **placed, focal_px=camera["focal_px"], landmarks=landmarks,
            keypoints_px=landmarks[..., :2], confidence=landmarks[..., 0],
        )  # fmt: skip
        head = bare.kinematics.rotations[self.model.level_rank[self.model.joint_names.index("head")]]
        return self._detect(draw, people, head)

    @staticmethod
    def with_kid_beta(people: SyntheticPeople) -> SyntheticPeople:
        """Adults as people of a body with a kid axis: one more shape number, 0."""
        return replace(people, betas=torch.nn.functional.pad(people.betas, (0, 1)))

    def detect(self, people: SyntheticPeople, head: Float[Tensor, "N 3 3"], *, seed: int) -> SyntheticPeople:
        """The same people with detections drawn anew.

        Args:
            people: with true landmarks, camera and size.
            head: rotation of each head to the camera frame.
            seed: the same seed makes the same detections.
        """
        return self._detect(self._draw(len(people), seed), people, head)

    def _truth(self, draw: _Draw, body_pose: Tensor, root_orient: Tensor | None) -> dict[str, Tensor]:
        """Parameters without the translation, and the rotations of all joints."""
        opt, body, count = self.options, self.body, len(body_pose)
        orient = self._orientation(draw, root_orient)
        hands = {side: self._hand(draw, side) for side in ("left", "right")}
        opening = draw.normal(count, 3) * draw.constant((opt.jaw_open_rad, opt.jaw_open_rad / 8, opt.jaw_open_rad / 8))
        jaw = torch.cat([opening[:, :1].abs(), opening[:, 1:]], dim=1)
        betas = self._betas(draw)
        expression = (draw.normal(count, body.num_expression) * opt.expression_spread).clamp(-2.5, 2.5)
        eyes = body_pose.new_zeros(count, 6)
        pose = {
            "smplx": [body_pose, jaw, eyes, hands["left"], hands["right"]],
            "smplh": [body_pose, hands["left"], hands["right"]],
            "smpl": [body_pose, eyes],
        }[body.kind]
        local = roma.rotvec_to_rotmat(torch.cat(pose, dim=1).unflatten(1, (-1, 3)))
        return {
            "global_orient": roma.rotmat_to_rotvec(orient),
            "body_pose": body_pose,
            "betas": betas,
            "expression": expression,
            "jaw_pose": jaw,
            "left_hand_pose": hands["left"],
            "right_hand_pose": hands["right"],
            "rotations": torch.cat([orient[:, None], local], dim=1),
        }

    def _betas(self, draw: _Draw) -> Float[Tensor, "N Nb"]:
        """Shape numbers; where there is a kid axis, it is that of the ages, and children differ less in metres."""
        body, opt = self.body, self.options
        betas = (draw.normal(draw.count, body.num_betas) * opt.beta_spread).clamp(-2.5, 2.5)
        if not body.has_kid_axis:
            return betas
        kid = torch.zeros_like(betas[:, -1])
        if opt.ages is not None:
            years = draw.uniform(*opt.ages, draw.count)
            known = np.interp(years.cpu().numpy(), *body.kid_ages)
            kid = torch.as_tensor(known).to(betas) + opt.kid_spread * draw.normal(draw.count)
        betas = betas * (1 - 0.6 * kid.clamp(0, 1))[:, None]
        curve = AgeCurve.of(body, betas)
        if opt.ages is not None and curve is not None:
            betas[:, :-1] += curve.at(kid)[0]
        betas[:, -1] = kid
        return betas

    def _orientation(self, draw: _Draw, root_orient: Tensor | None) -> Float[Tensor, "N 3 3"]:
        """Root orientation in the camera frame: a random yaw, then the tilt of the camera."""
        opt, count = self.options, draw.count
        yaw, pitch, roll = (draw.constant(axis) for axis in ((0.0, 1, 0), (1.0, 0, 0), (0.0, 0, 1)))
        to_camera = torch.diag(draw.constant(FLIP_Y_Z)) @ _turn(yaw, draw.uniform(-math.pi, math.pi, count))
        pitched = _turn(pitch, draw.normal(count) * math.radians(opt.pitch_deg))
        orient = _turn(roll, draw.normal(count) * math.radians(opt.roll_deg)) @ pitched @ to_camera
        if root_orient is None:
            return orient
        return orient @ roma.rotvec_to_rotmat(root_orient.to(self.device, self.dtype))

    def _hand(self, draw: _Draw, side: str) -> Float[Tensor, "N 45"]:
        mean, basis = (getattr(self.body, f"hand_{what}_{side}") for what in ("mean", "components"))
        if mean is None:
            return draw.constant((0.0,) * 45).expand(draw.count, 45)
        basis = basis[: self.options.hand_components]
        size = np.sqrt(np.arange(1, len(basis) + 1)) * np.linalg.norm(basis, axis=1).clip(1e-6)
        spread = basis * (self.options.hand_spread_rad / size)[:, None]
        return draw.constant(mean) + draw.normal(draw.count, len(basis)) @ draw.constant(spread)

    def _camera(self, draw: _Draw) -> dict[str, Tensor]:
        low, high = (math.log(f) for f in self.options.focal_px)
        return {
            "focal_px": draw.uniform(low, high, draw.count).exp(),
            "distance": draw.uniform(*self.options.distance_m, draw.count),
        }

    def _place(self, draw: _Draw, points: Float[Tensor, "N K 3"], camera: dict[str, Tensor]) -> dict[str, Tensor]:
        """Place each body in front of its camera, choose the image around it, and move it to its place in the image."""
        focal, distance, zero = camera["focal_px"], camera["distance"], points.new_zeros(len(points), 2)
        middle = (points.amin(1) + points.amax(1)) / 2
        on_axis = torch.cat([-middle[:, :2], (distance - middle[:, 2])[:, None]], dim=1)
        pixels = project(points + on_axis[:, None], focal, zero)
        low, high = pixels.amin(1), pixels.amax(1)
        size = (high - low).amax(1)
        height = torch.minimum(size / draw.uniform(0.35, 0.95, draw.count), 1.3 * focal)
        height = torch.maximum(height, 1.06 * (high - low)[:, 1])
        aspect = draw.constant(_ASPECTS)[draw.integers(len(_ASPECTS))]
        width = torch.maximum(height * aspect, 1.06 * (high - low)[:, 0])
        image = torch.stack([width, height], dim=1).round()
        shift = self._shift(draw, pixels, low, high, image / 2)
        transl = on_axis + torch.cat([shift * (distance / focal)[:, None], shift.new_zeros(len(shift), 1)], dim=1)
        return {"transl": transl, "image_size": image, "center_px": (image - 1) / 2, "size_px": size}

    def _shift(self, draw: _Draw, pixels: Tensor, low: Tensor, high: Tensor, half: Tensor) -> Float[Tensor, "N 2"]:
        """Random displacement of each body in the image: inside, or across an edge."""
        lowest, highest = -half - low, half - high
        shift = lowest + (highest - lowest) * draw.uniform(0.02, 0.98, draw.count, 2)
        chosen = draw.chance(self.options.cropped)
        if self.options.crop != "edge":
            line = pixels[:, [self.model.names.index(n) for n in _CROP_LINES[self.options.crop]], 1].mean(1)
            across = torch.stack([shift[:, 0], half[:, 1] - line], dim=1)
        else:
            axis, end = draw.integers(2), draw.integers(2)
            beyond = draw.uniform(0.1, 0.4, draw.count)[:, None] * (high - low)
            moved = torch.where(end[:, None] == 0, lowest - beyond, highest + beyond)
            across = torch.where(torch.arange(2, device=self.device) == axis[:, None], moved, shift)
        return torch.where(chosen[:, None], across, shift)

    def _detect(self, draw: _Draw, people: SyntheticPeople, head: Float[Tensor, "N 3 3"]) -> SyntheticPeople:
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
        mirrored = _constant(tuple(MIRRORED), torch.long, self.device)
        pixels = torch.where(swapped[..., None], pixels[:, mirrored], pixels)
        confidence = torch.where(swapped, confidence[:, mirrored], confidence)
        return replace(people, keypoints_px=pixels * (confidence > 0)[..., None], confidence=confidence)

    def _confidence(self, draw: _Draw, count: int) -> Float[Tensor, "N 144"]:
        """Bodies and faces are found with more confidence than fingers; the level varies from person to person."""
        base = self.usual_confidence
        level = draw.normal(count, 1) * 0.05
        return (base + level + 0.1 * draw.normal(count, len(base))).clamp(0.1, 1.0)


class _Draw:
    """Random numbers for `count` people from one generator, drawn where it is and carried to the device."""

    def __init__(self, count: int, generator: torch.Generator, dtype: torch.dtype, device: torch.device):
        self.count, self.generator, self.to = count, generator, {"dtype": dtype, "device": device}
        self.from_generator = {"generator": generator, "device": generator.device}

    def constant(self, values: tuple | np.ndarray) -> Tensor:
        """Numbers as a tensor; those of a tuple are not copied again, since every copy waits for the device."""
        if isinstance(values, tuple):
            return _constant(values, **self.to)
        return torch.as_tensor(values, **self.to)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, **self.from_generator).to(**self.to)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(shape, **self.from_generator)).to(**self.to)

    def integers(self, below: int) -> Tensor:
        return torch.randint(below, (self.count,), **self.from_generator).to(self.to["device"])

    def chance(self, share: float, *columns: int) -> Bool[Tensor, "N ..."]:
        return (torch.rand(self.count, *columns, **self.from_generator) < share).to(self.to["device"])


@lru_cache(maxsize=256)
def _constant(values: tuple, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of these numbers that is shared: it must not be changed in place."""
    return torch.as_tensor(np.asarray(values), dtype=dtype, device=device)


@lru_cache(maxsize=64)
def _among(landmarks: tuple[int, ...], device: torch.device) -> Bool[Tensor, " 144"]:
    """True for these landmarks."""
    chosen = torch.zeros(len(LANDMARK_NAMES), dtype=torch.bool)
    chosen[list(landmarks)] = True
    return chosen.to(device)


def _turn(axis: Float[Tensor, " 3"], angle: Float[Tensor, " N"]) -> Float[Tensor, "N 3 3"]:
    return roma.rotvec_to_rotmat(angle[:, None] * axis)


def _faces_camera(landmarks: Float[Tensor, "N 144 3"], head: Float[Tensor, "N 3 3"]) -> Bool[Tensor, "N 144"]:
    """False for points of the head that face away from the camera."""
    direction, least = (_constant(column, head.dtype, head.device) for column in _VIEWS)
    to_camera = torch.nn.functional.normalize(-landmarks[:, LANDMARK_INDEX["head"]], dim=-1)
    cosine = (to_camera[:, None] @ head)[:, 0] @ direction.T
    return ~_among(_ON_HEAD, head.device) | (cosine > least)


def make_people(
    body: BodyModel,
    body_pose: Float[Tensor, "N 63"],
    root_orient: Float[Tensor, "N 3"] | None = None,
    *,
    seed: int,
    options: SyntheticOptions | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> SyntheticPeople:
    """People in the given poses: `PeopleMaker(body, options).make(body_pose, root_orient, seed=seed)`."""
    return PeopleMaker(body, options, dtype=dtype, device=device).make(body_pose, root_orient, seed=seed)


def mocap_poses(
    folder: Path | str, count: int, *, seed: int, split: str | None = None
) -> tuple[Float[Tensor, "N 63"], Float[Tensor, "N 3"]]:
    """Poses and root orientations (y up) from a folder of motion files: a random frame of a random clip, `count` times.

    Args:
        folder: holds .npz clips, at any depth, and, where `split` is given, splits.json with a list of them by name.
        split: "train", "validation", "test", ...; all clips where None.

    Raises:
        BodyfitError: if there are no clips.
    """
    folder, draw = Path(folder), np.random.default_rng(seed)
    clips = sorted(folder.rglob("*.npz")) if split is None else split_clips(folder, split)
    if not clips:
        raise BodyfitError(f"{folder}: no .npz motion files. Expected a folder of AMASS-like clips")
    poses, orients, read = [], [], {}
    for place in draw.integers(len(clips), size=count):
        if place not in read:
            read[place] = read_motion(clips[place])
        clip = read[place]
        frame = draw.integers(len(clip.body_pose))
        poses.append(clip.body_pose[frame])
        orients.append(clip.root_orient[frame] if clip.flavour == "root and body" else y_up(clip.root_orient[frame]))
    return tuple(torch.from_numpy(np.stack(rows).astype(np.float32)) for rows in (poses, orients))


def check_share(share: float, of: str = "synthetic poses") -> None:
    """Raises BodyfitError for a share that is not between 0 and 1."""
    if not 0 <= share <= 1:
        raise BodyfitError(f"the share of {of} must be between 0 and 1, got {share}")


def with_synthetic(
    poses: Float[Tensor, "N 63"], roots: Float[Tensor, "N 3"], share: float, *, seed: int
) -> tuple[Float[Tensor, "N 63"], Float[Tensor, "N 3"]]:
    """Poses and roots, of which a share, the last ones, is replaced by poses from `prior.training.synthesis`.

    Raises:
        BodyfitError: if the share is not between 0 and 1.
    """
    check_share(share)
    made = round(share * len(poses))
    if made == 0:
        return poses, roots
    kept, drawn = len(poses) - made, draw_poses(made, seed=seed).axis_angles()
    return torch.cat([poses[:kept], drawn[0].to(poses)]), torch.cat([roots[:kept], drawn[1].to(roots)])


def y_up(root_orient: Float[np.ndarray, "*T 3"]) -> Float[np.ndarray, "*T 3"]:
    """From the world frame of AMASS, z up."""
    quarter = torch.tensor([-math.pi / 2, 0.0, 0.0], dtype=torch.float64)
    return roma.rotvec_composition([quarter, torch.from_numpy(root_orient)]).numpy()


def split_clips(folder: Path, split: str) -> list[Path]:
    """The motion files that splits.json lists under a name."""
    path = folder / "splits.json"
    if not path.is_file():
        raise BodyfitError(f"{path}: not found. A split ({split!r}) needs this file: lists of clips by split name")
    splits = read_json(path)
    if not isinstance(splits, dict) or not all(isinstance(names, list) for names in splits.values()):
        raise BodyfitError(f"{path}: expected lists of clips by split name")
    if split not in splits:
        raise BodyfitError(f"{path}: no split {split!r}. It has {', '.join(splits)}")
    return [confined(folder, str(name)) for name in splits[split]]


def prior_poses(prior: VPoser, count: int, *, seed: int) -> Float[Tensor, "N 63"]:
    """Poses drawn from the prior."""
    with torch.no_grad():
        latent = prior.sample(count, torch.Generator().manual_seed(seed))
        return prior.decode_axis_angle(latent)
