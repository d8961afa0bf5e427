"""Training data of the start network: synthetic people, as a noisy detector reports them, with ground truth.

Poses come from motion capture, shapes and cameras are drawn at random, whole parts of people are
unseen. Nothing is stored: a minibatch is determined by its number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_INDEX, SMPL_JOINT_NAMES
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.start.network import FULL_WEIGHT, INPUT_NAMES, NUM_BETAS, normalise
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions, SyntheticPeople
from bodyfit.prior.model.rotations import axis_angle_from_matrices, matrices_from_axis_angle, mirror_half
from bodyfit.prior.training.augment import exchange_limbs, fill_still_joints

SIDES = ("left", "right")

# Two kinds of cameras: as people take photos, and from anywhere.
USUAL = SyntheticOptions(
    distance_m=(1.5, 10.0), pitch_deg=14.0, roll_deg=6.0, beta_spread=1.2, noise_share=0.006, outliers=0.01,
    dropped=0.06, swapped_legs=0.01, cropped=0.1, hide_turned_faces=True,
)  # fmt: skip
ODD = replace(USUAL, distance_m=(1.2, 4.0), pitch_deg=50.0, roll_deg=60.0, hide_turned_faces=False)
ODD_SHARE = 0.2


def points_body(body: BodyModel) -> BodyModel:
    """A body of only the network's landmarks and the 22 joints, which is fast to pose.

    Points keep their blend weights, with fingers merged into wrists, jaw and eyes into the head; a face point becomes
    one vertex with the mean weights of its triangle; pose correctives are left out. Its kind is "smpl" (24 joints, the
    last two at the wrists).
    """
    joint_rows = np.array([*range(22), 20, 21])
    carrier = np.array([_kept_joint(j, body.parents) for j in range(len(JOINT_NAMES))])
    sources = [_point_source(body, name) for name in INPUT_NAMES if name not in SMPL_JOINT_NAMES]
    regressor = body.joint_regressor[joint_rows]
    rows = np.concatenate([regressor, *[row[None] for row, _ in sources]])
    weights = np.zeros((len(rows), len(joint_rows)))
    weights[np.arange(24), np.arange(24)] = 1
    for i, (_, share) in enumerate(sources):
        np.add.at(weights[24 + i], carrier, share)
    skin = [name for name in INPUT_NAMES if name not in SMPL_JOINT_NAMES]
    return replace(
        body,
        kind="smpl",
        v_template=rows @ body.v_template,
        faces=np.zeros((0, 3), dtype=np.int64),
        shapedirs=np.einsum("pv,vcs->pcs", rows, body.shapedirs[:, :, :NUM_BETAS]),
        exprdirs=np.zeros((len(rows), 3, 0)),
        posedirs=np.zeros((len(rows), 3, 9 * 23)),
        joint_regressor=np.eye(24, len(rows)),
        weights=weights,
        parents=np.array([*body.parents[:22], 20, 21]),
        joint_names=SMPL_JOINT_NAMES,
        hand_mean_left=None,
        hand_mean_right=None,
        hand_components_left=None,
        hand_components_right=None,
        extra_vertex_ids={name: 24 + i for i, name in enumerate(skin)},
        face_landmark_faces=None,
        contour_faces=None,
    )


def _kept_joint(joint: int, parents: np.ndarray) -> int:
    while joint >= 22:
        joint = int(parents[joint])
    return joint


def _point_source(body: BodyModel, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A landmark as a row over vertices, and its blend weights over SMPL-X's joints."""
    if name in JOINT_NAMES:
        joint = JOINT_NAMES.index(name)
        return body.joint_regressor[joint], np.eye(len(JOINT_NAMES))[joint]
    row = np.zeros(body.num_vertices)
    if name in body.extra_vertex_ids:
        row[body.extra_vertex_ids[name]] = 1
    else:
        k = LANDMARK_INDEX[name] - 76
        row[body.faces[body.face_landmark_faces[k]]] = body.face_landmark_bary[k]
    return row, row @ body.weights


# ---- occlusion and detector noise ----------------------------------------------------------------------------------


def _columns(*parts: str) -> list[int]:
    return [INPUT_NAMES.index(f"{side}_{part}") for part in parts for side in SIDES]


_FEET = _columns("heel", "big_toe", "small_toe")
_LEGS = _columns("knee", "ankle") + _FEET
_HIPS = _columns("hip")
_KNUCKLES = _columns("index1", "pinky1")
_MOUTH = _columns("mouth_1")
_HEAD = [INPUT_NAMES.index("nose"), *_columns("eye", "ear"), *_MOUTH]
_ARMS = {side: [INPUT_NAMES.index(f"{side}_{p}") for p in ("elbow", "wrist", "index1", "pinky1")] for side in SIDES}
_ONE_LEG = {
    side: [INPUT_NAMES.index(f"{side}_{p}") for p in ("knee", "ankle", "heel", "big_toe", "small_toe")]
    for side in SIDES
}
_HALF = {side: [i for i, name in enumerate(INPUT_NAMES) if name.startswith(side)] for side in SIDES}
HIDDEN_PARTS: tuple[tuple[float, list[int]], ...] = (
    (0.5, _KNUCKLES), (0.5, _MOUTH), (0.25, _FEET), (0.08, _LEGS), (0.06, _LEGS + _HIPS), (0.05, _HEAD),
    (0.03, _ARMS["left"]), (0.03, _ARMS["right"]), (0.03, _ONE_LEG["left"]), (0.03, _ONE_LEG["right"]),
    (0.015, _HALF["left"]), (0.015, _HALF["right"]),
)  # fmt: skip
"""Probability that each part is unseen: by framing, by occlusion, or because the detector has no such points."""


@lru_cache(maxsize=8)
def _hidden_parts(device: torch.device) -> tuple[Float[Tensor, " P"], Bool[Tensor, "P K"]]:
    """Probability and points of each part."""
    among = torch.zeros(len(HIDDEN_PARTS), len(INPUT_NAMES), dtype=torch.bool)
    for row, (_, part) in zip(among, HIDDEN_PARTS, strict=True):
        row[part] = True
    return torch.tensor([probability for probability, _ in HIDDEN_PARTS], device=device), among.to(device)


WHOLE_SHARE = 0.35
"""Share of people who are seen completely."""
LEAST_SEEN = 5


def hide_parts(
    pixels: Float[Tensor, "B K 2"],
    weights: Float[Tensor, "B K"],
    generator: torch.Generator,
    *,
    whole: Float[Tensor, " B"] | float = WHOLE_SHARE,
    at_hips: float = 0.0,
) -> Float[Tensor, "B K"]:
    """Weights after removing whole parts, or all below a line (portraits), for most people; at least five points remain
    for everybody.

    Args:
        pixels, weights: landmarks as detected.
        generator: what is drawn from.
        whole: probability that a person is seen completely.
        at_hips: probability that the line of the others is that of the hips, where they are seen.
    """
    batch, draw = len(weights), {"generator": generator, "device": weights.device}
    probability, parts = _hidden_parts(weights.device)
    chosen = torch.stack([torch.rand(batch, **draw) for _ in HIDDEN_PARTS], dim=1) < probability
    hidden = (chosen[:, :, None] & parts).any(1)
    seen = weights > 0
    low = pixels[..., 1].masked_fill(~seen, torch.inf).amin(1)
    high = pixels[..., 1].masked_fill(~seen, -torch.inf).amax(1)
    line = low + (high - low) * (0.25 + 0.7 * torch.rand(batch, **draw))
    portrait = torch.rand(batch, **draw) < 0.15
    hidden |= portrait[:, None] & (pixels[..., 1] > line[:, None])
    spared = torch.rand(batch, **draw) < whole
    if at_hips:
        hips = torch.where(seen[:, _HIPS], pixels[:, _HIPS, 1], torch.inf).mean(1)  # no line where one is not seen
        cut = torch.rand(batch, **draw) < at_hips
        hidden |= cut[:, None] & (pixels[..., 1] > hips[:, None])
    spared |= ((weights > 0) & ~hidden).sum(1) < LEAST_SEEN
    return torch.where(hidden & ~spared[:, None], 0.0, weights)


_VAGUE = {"hip": 0.015, "ear": 0.008, "heel": 0.006, "big_toe": 0.006, "small_toe": 0.006}
DOUBTFUL_SHARE, DOUBTFUL_NOISE = 0.04, 0.03


@lru_cache(maxsize=8)
def _blur(device: torch.device) -> Float[Tensor, " K"]:
    return torch.tensor([_VAGUE.get(name.partition("_")[2], 0.0) for name in INPUT_NAMES], device=device)


def doubt(
    pixels: Float[Tensor, "B K 2"],
    weights: Float[Tensor, "B K"],
    size_px: Float[Tensor, " B"],
    generator: torch.Generator,
) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
    """Systematic offsets between detectors and body model, and a few outliers with low weight."""
    draw = {"generator": generator, "device": weights.device}
    doubtful = torch.rand(weights.shape, **draw) < DOUBTFUL_SHARE
    spread = torch.where(doubtful, DOUBTFUL_NOISE, _blur(weights.device)) * size_px[:, None]
    little = FULL_WEIGHT * torch.rand(weights.shape, **draw).clamp_min(0.05)
    pixels = pixels + spread[..., None] * torch.randn(pixels.shape, **draw)
    return pixels, torch.where(doubtful, torch.minimum(weights, little), weights)


@dataclass(frozen=True)
class TrainingBatch:
    """Input of the network, and the truth in the frame of the ray."""

    features: Float[Tensor, "B F"]
    rotations: Float[Tensor, "B 22 3 3"]
    betas: Float[Tensor, "B 10"]
    points: Float[Tensor, "B P 3"]
    """True joints and landmarks relative to the pelvis."""
    rays: Float[Tensor, "B K 2"]
    """True projections, seen along the ray, focal length 1."""
    weights: Float[Tensor, "B K"]
    size: Float[Tensor, " B"]


class TrainingBatches:
    """Infinitely many batches.

    Args:
        body: SMPL-X or the open body.
        poses, roots: axis-angle body poses, and root orientations in a world with y up.
        batch: people per minibatch.
        exchange: probability that legs, an arm or the head come from another pose.
        at_hips: share of people cropped at the hips, besides those cropped anywhere.
        synthetic: how many of the poses, the last ones, are synthetic.
        synthetic_whole: share of their people who are seen completely.
        seed: with the number of a minibatch, determines its content (on one kind of device).
        device: where batches are made, random numbers included.
        at_once: how many batches are made in one go. A GPU makes several as fast as one; the content differs.
    """

    def __init__(
        self,
        body: BodyModel,
        poses: Float[Tensor, "N 63"],
        roots: Float[Tensor, "N 3"],
        *,
        batch: int,
        exchange: float = 0.0,
        at_hips: float = 0.0,
        synthetic: int = 0,
        synthetic_whole: float = WHOLE_SHARE,
        seed: int = 0,
        device: torch.device | str = "cpu",
        at_once: int = 1,
    ):
        self.device, self.at_once = torch.device(device), at_once
        self._made: tuple[int, TrainingBatch] | None = None
        self.poses, self.roots = poses.to(self.device), roots.to(self.device)
        self.batch, self.exchange, self.seed, self.at_hips = batch, exchange, seed, at_hips
        self.first_synthetic, self.synthetic_whole = len(poses) - synthetic, synthetic_whole
        small, to = points_body(body), {"device": self.device}
        kinds = ((1 - ODD_SHARE, USUAL), (ODD_SHARE, ODD))
        self.makers = [(share, PeopleMaker(small, kind, **to, draw_on=self.device)) for share, kind in kinds]
        names = (*JOINT_NAMES[:22], *(n for n in INPUT_NAMES if n not in JOINT_NAMES[:22]))
        self.model = LandmarkModel(small, names=names, **to)
        self.inputs = torch.tensor([self.model.names.index(name) for name in INPUT_NAMES], **to)
        self.columns = torch.tensor([LANDMARK_INDEX[name] for name in INPUT_NAMES], **to)
        self.points = torch.tensor([LANDMARK_INDEX[name] for name in self.model.names], **to)

    def __call__(self, number: int) -> TrainingBatch:
        first, part = divmod(number, self.at_once)
        if self._made is None or self._made[0] != first:
            self._made = first, self._make(first)
        made = self._made[1]
        if self.at_once == 1:
            return made
        # Every at_once-th person: each batch gets its share of both kinds of cameras.
        return TrainingBatch(**{name: getattr(made, name)[part :: self.at_once] for name in made.__dataclass_fields__})

    def _make(self, number: int) -> TrainingBatch:
        seed = self.seed * 1_000_003 + number
        generator = torch.Generator(self.device).manual_seed(seed)
        parts = []
        for i, (share, maker) in enumerate(self.makers):
            rows = torch.randint(
                len(self.poses), (round(share * self.batch * self.at_once),), generator=generator, device=self.device
            )
            pose = self._vary(self.poses[rows], generator)
            people = maker.make(pose, self.roots[rows], seed=2 * seed + i)
            whole = torch.full_like(people.size_px, WHOLE_SHARE)
            whole = whole.masked_fill(rows >= self.first_synthetic, self.synthetic_whole)
            parts.append(self._minibatch(people, whole, generator))
        columns = [[getattr(part, name) for part in parts] for name in TrainingBatch.__dataclass_fields__]
        return TrainingBatch(*map(torch.cat, columns))

    def _vary(self, pose: Float[Tensor, "B 63"], generator: torch.Generator) -> Float[Tensor, "B 63"]:
        rotations = mirror_half(matrices_from_axis_angle(pose), generator)
        rotations = exchange_limbs(rotations, self.exchange, generator)
        return axis_angle_from_matrices(fill_still_joints(rotations, 0.08, generator))

    def _minibatch(
        self, people: SyntheticPeople, whole: Float[Tensor, " B"], generator: torch.Generator
    ) -> TrainingBatch:
        pixels, weights = people.keypoints_px[:, self.columns], people.confidence[:, self.columns]
        pixels, weights = doubt(pixels, weights, people.size_px, generator)
        weights = hide_parts(pixels, weights, generator, whole=whole, at_hips=self.at_hips)
        pixels = torch.where((weights > 0)[..., None], pixels, people.center_px[:, None])
        view = normalise(pixels, weights, people.focal_px, people.center_px)
        truth = people.landmarks[:, self.points] @ view.camera_from_ray
        orient = view.camera_from_ray.transpose(1, 2) @ roma.rotvec_to_rotmat(people.global_orient)
        rotations = torch.cat([orient[:, None], matrices_from_axis_angle(people.body_pose)], dim=1)
        seen = truth[:, self.inputs]
        return TrainingBatch(
            view.features, rotations, people.betas, truth - truth[:, :1], seen[..., :2] / seen[..., 2:].clamp_min(0.1),
            (weights > 0).to(weights), view.size,
        )  # fmt: skip
