"""Synthetic photos of several people with known truth: on one floor, some of them in the air, or side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.keypoints.detections import Detections
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.benchmark.sequences import FOCAL_PX, IMAGE_PX, posed_in_world, seen_by_camera, true_parameters
from bodyfit.fitting.energy.floor import FOOT_POINTS, Feet
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.shared_space import Obstacles
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.start.pose_sources import mocap_poses
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions

JUMP_M = 0.3
"""How high those who are in the air are above the floor."""
AGES = (2.0, 7.0)
"""Of children, years."""
CHILD_BETAS = 0.6
"""Standard deviation of their shape numbers."""
_UPRIGHT = 0.35  # rad between a body and the vertical
_TRIES = 40  # poses drawn for each person that is upright


@dataclass(frozen=True)
class GroupPhoto:
    """One photo of P people, in the camera's frame."""

    frame: Frame
    landmarks: Float[Tensor, "P 144 3"]
    """True ones, m."""
    height_m: Float[Tensor, "P F"]
    """Of each point of the feet above the floor, less what it is above the sole."""
    in_air: Bool[Tensor, " P"]
    children: Bool[Tensor, " P"]
    up: Float[Tensor, " 3"]
    """The floor's normal."""


class GroupMaker:
    """Makes photos of people in poses of a mocap folder.

    Args:
        fitter: its body; with the kid axis where there are children.
        poses, split: the folder, and which of its splits.
        seed: the same seed makes the same photos.
        children: their share, of `AGES` years.
    """

    def __init__(self, fitter: Fitter, poses: Path, split: str | None, seed: int, children: float = 0.0):
        self.children = children
        self.fitter, self.draw = fitter, torch.Generator().manual_seed(seed)
        self.maker = PeopleMaker(fitter.body, SyntheticOptions(cropped=0.0, noise_share=0.004))
        self.feet_model = LandmarkModel(fitter.body, names=FOOT_POINTS)
        self.feet = Feet(fitter.body, self.feet_model)
        self.poses, self.split, self.seed = poses, split, seed

    def on_floor(self, photos: int, people: int, *, jumping: float) -> list[GroupPhoto]:
        """People who stand about on a floor, 3 to 7 m away; a share of them is in the air."""
        return _with_enough_points(self._photo(n, people, jumping) for n in range(photos))

    def side_by_side(self, photos: int) -> list[GroupPhoto]:
        """Two people as near to each other as they can be without being in each other."""
        return _with_enough_points(self._photo(n, 2, 0.0, touching=True) for n in range(photos))

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return uniform(self.draw, *shape, low=low, high=high)

    def _photo(self, n: int, people: int, jumping: float, *, touching: bool = False) -> GroupPhoto:
        pose = self._upright(people, 7919 * self.seed + n)
        betas = torch.randn(people, self.fitter.body.num_betas, generator=self.draw).clamp(-2.5, 2.5)
        child = torch.zeros(people, dtype=torch.bool)
        if self.fitter.body.has_kid_axis:
            child = self._uniform(people) < self.children
            betas = torch.where(child[:, None], CHILD_BETAS * betas, betas)
            betas[:, -1] = torch.where(child, self._kid_betas(people), 0.0)
        in_air = self._uniform(people) < jumping
        across = torch.linspace(-1.2, 1.2, people) + self._uniform(people, low=-0.2, high=0.2)
        place = torch.stack([across, torch.zeros(people), self._uniform(people, low=3.0, high=7.0)], 1)
        truth = true_parameters(self.fitter.body, pose, betas, place)
        below = self._landmarks(truth)[:, self._foot_rows()]
        lift = (below[..., 1] - self.feet.clearance_m).amin(1)
        truth["transl"][:, 1] -= lift - JUMP_M * in_air
        if touching:
            self._bring_together(truth)
        landmarks, head = posed_in_world(self.maker.model, truth)
        rotation, shift = camera_above_floor(self.draw)
        heights = landmarks[:, self._foot_rows(), 1] - self.feet.clearance_m
        seen = seen_by_camera(self.maker, truth, landmarks @ rotation.T + shift, rotation @ head, self.seed + n)
        xy, confidence = (a.double().numpy() for a in (seen.keypoints_px, seen.confidence))
        found = Detections.from_points(xy, confidence, format="synthetic", source=Path("synthetic"))
        frame = Frame(f"{n:05d}", found, IMAGE_PX, FOCAL_PX, "given", tuple(seen.center_px[0].tolist()))
        return GroupPhoto(frame, seen.landmarks, heights, in_air, child, rotation[:, 1])

    def _kid_betas(self, people: int) -> Float[Tensor, " P"]:
        years, known = self._uniform(people, low=AGES[0], high=AGES[1]).numpy(), self.fitter.body.kid_ages
        return torch.as_tensor(np.interp(years, *known)).float()

    def _upright(self, people: int, seed: int) -> Float[Tensor, "P 22 3"]:
        """Poses of people who stand upright, turned about the vertical at random."""
        pose, root = mocap_poses(self.poses, _TRIES * people, seed=seed, split=self.split)
        up = roma.rotvec_to_rotmat(root)[:, 1, 1].clamp(max=1)
        chosen = (up > math.cos(_UPRIGHT)).nonzero()[:people, 0]
        turn = torch.zeros(len(chosen), 3)
        turn[:, 1] = self._uniform(len(chosen), low=-math.pi, high=math.pi)
        root = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(turn) @ roma.rotvec_to_rotmat(root[chosen]))
        return torch.cat([root[:, None], pose[chosen].unflatten(1, (-1, 3))], 1)

    def _bring_together(self, truth: dict[str, Tensor]) -> None:
        """Move the second person towards the first from some side until they touch."""
        angle = float(self._uniform(1, high=2 * math.pi))
        side = torch.tensor([math.cos(angle), 0.0, math.sin(angle)])
        truth["transl"][0, [0, 2]] = torch.tensor([0.0, 4.0])
        centres, radii = self._spheres(truth)
        nobody = torch.zeros(1, dtype=torch.long)
        for distance in torch.arange(1.5, 0.1, -0.02).tolist():
            place = truth["transl"].clone()
            place[1, [0, 2]] = place[0, [0, 2]] + distance * side[[0, 2]]
            there = centres + place[:, None]
            if len(Obstacles(there[1:], radii[1:]).overlaps_of(there[:1], radii[:1], nobody, 1).item):
                break
            truth["transl"] = place

    def _spheres(self, truth: dict[str, Tensor]) -> tuple[Float[Tensor, "P S 3"], Float[Tensor, "P S"]]:
        """Without the translation."""
        given = [{name: value[n] for name, value in truth.items()} for n in range(len(truth["betas"]))]
        x = torch.stack([self.fitter.unknowns_of(one) for one in given])
        unknowns, spheres = self.fitter.unknowns, self.fitter.spheres
        turns = unknowns.rotations(x, roma.rotvec_to_rotmat(truth["body_pose"].unflatten(1, (-1, 3))))
        shape = unknowns.shape(x)
        bones = self.feet_model.kinematics(turns, shape, derivatives=False)
        return spheres.centres(bones, shape).transpose(0, 1), spheres.radii(shape)

    def _landmarks(self, truth: dict[str, Tensor]) -> Float[Tensor, "P 144 3"]:
        return posed_in_world(self.maker.model, truth)[0]

    def _foot_rows(self) -> list[int]:
        return [LANDMARK_NAMES.index(name) for name in self.feet_model.names]


def _with_enough_points(photos: Iterable[GroupPhoto]) -> list[GroupPhoto]:
    """Those in which everybody can be fitted."""
    return [photo for photo in photos if not any(photo.frame.detections.problems)]


def uniform(draw: torch.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Numbers between two."""
    return low + (high - low) * torch.rand(shape, generator=draw)


def camera_above_floor(draw: torch.Generator) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
    """A camera 1 to 2 m above the floor, tilted by up to 12 degrees, rolled by up to 3; from a world with y up."""
    pitch, roll = uniform(draw, 1, low=-0.05, high=0.2), uniform(draw, 1, low=-0.05, high=0.05)
    flip = torch.diag(torch.tensor([1.0, -1.0, 1.0])) @ torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    turn = roma.rotvec_to_rotmat(torch.tensor([1.0, 0, 0]) * pitch) @ roma.rotvec_to_rotmat(
        torch.tensor([0.0, 0, 1]) * roll
    )
    rotation = turn @ flip  # x to the left, y down, z on: half a turn about the optical axis of the world
    height = float(uniform(draw, 1, low=1.0, high=2.0))
    return rotation, -rotation @ torch.tensor([0.0, height, 0.0])


def floor_errors(photos: Sequence[GroupPhoto], results: Sequence[FitResult]) -> dict[str, float]:
    """What fits of photos with floors got wrong, whether or not they knew of floors."""
    true = torch.cat([photo.landmarks for photo in photos])
    ours = torch.as_tensor(np.stack([result.landmarks for result in results])).float()
    sizes = [len(photo.landmarks) for photo in photos]
    depth = (ours[:, 0, 2] / true[:, 0, 2]).log().split(sizes)
    relative = torch.cat([part - part.mean() for part in depth]).abs()
    away = 1000 * (ours[:, :22] - true[:, :22]).norm(dim=-1).mean(1)
    figures = {"people": len(true), "relative_depth_error_percent": 100 * float(relative.mean())}
    child = torch.cat([photo.children for photo in photos])
    if child.any():
        figures["children_depth_error_percent"] = 100 * float(torch.cat(depth).abs()[child].mean())
        figures["children_mpjpe_mm"] = float(away[child].mean())
    figures |= {"mpjpe_mm": float(away.mean()), "root_mpjpe_mm": float(_pelvis_on_pelvis(ours, true).mean())}
    height = torch.cat([photo.height_m for photo in photos])
    side = torch.tensor([int(name.startswith("right")) for name in FOOT_POINTS])
    touches = torch.stack([height[:, side == s].amin(1) for s in (0, 1)], 1)
    known = torch.tensor([bool(result.floor.size) for result in results])
    figures["floor_found_share"] = float(known.double().mean())
    if not known.any():
        return figures
    said = torch.tensor([["left" in r.touching, "right" in r.touching] for r in results])
    on, off = (touches < 0.02) & known[:, None], (touches > 0.08) & known[:, None]
    figures["touching_said_share"] = float(said[on].double().mean())
    if off.any():
        figures["touching_said_wrongly_share"] = float(said[off].double().mean())
    ups = torch.cat([photo.up.expand(n, 3) for photo, n in zip(photos, sizes, strict=True)])
    normals = torch.as_tensor(np.stack([r.floor[:3] for r in results if r.floor.size])).float()
    tilt = (normals * ups[known]).sum(1).clamp(max=1).acos()
    figures["normal_error_degrees"] = math.degrees(float(tilt.mean()))
    return figures


@torch.no_grad()
def with_and_without_floor(fitter: Fitter, photos: Sequence[GroupPhoto]) -> dict[str, dict[str, float]]:
    """Errors of fits without and with a floor; all are fitted as adults unless there are children."""
    found, kind = {}, "auto" if any(bool(photo.children.any()) for photo in photos) else "adult"
    config = replace(fitter.config, age=replace(fitter.config.age, kind=kind))
    for name, on in (("without", False), ("with", True)):
        config = replace(config, ground=replace(config.ground, on=on))
        one = Fitter(fitter.body, config=config, like=fitter)
        began = time.perf_counter()
        results = one.fit([photo.frame for photo in photos])
        found[name] = floor_errors(photos, results) | {"seconds": time.perf_counter() - began}
    return found


def _pelvis_on_pelvis(ours: Tensor, true: Tensor) -> Float[Tensor, " N"]:
    return 1000 * ((ours - ours[:, :1]) - (true - true[:, :1]))[:, :22].norm(dim=-1).mean(1)
