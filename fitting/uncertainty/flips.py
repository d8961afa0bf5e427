"""Limbs flipped in depth: the other poses that look the same.

Seen by one camera, a bone that points towards it looks as one that points away by as much (Lee and Chen 1985): the
ray through a joint meets the sphere about its parent twice. Sminchisescu and Triggs (2003) jump between the minima of a
fit by such flips. A flipped limb gets joint rotations that a body can have, since elbows and knees are hinges; the pose
goes through the encoder of the prior, which brings it to where poses are plausible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import JOINT_NAMES, LIMBS
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.vposer import VPoser

FLIPPED_BY = math.radians(30.0)
"""A bone is flipped where its mirror image in depth is nearer to the truth by this angle and more."""
_ROWS = torch.tensor([[JOINT_NAMES.index(name) for name in joints] for joints in LIMBS])
BONE_ROWS = torch.stack([_ROWS[:, :2], _ROWS[:, 1:]], 1).flatten(0, 1)
"""Joints that each of LIMB_BONES joins, the upper one first."""
_HINGE_AXES = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""The rotation vector of each limb's elbow or knee that bends it by one radian as it can bend."""
_STRAIGHT = 0.25  # rad: a limb bent by less does not tell about which axis it bends


@dataclass(frozen=True)
class Flipped:
    """A flipped limb of each of N people."""

    latent: Float[Tensor, "N Z"]
    places: Float[Tensor, "N 2 3"]
    """Where the limb's middle and end joint are then, camera frame, m."""


class LimbFlipper:
    """Flips limbs of solutions.

    Args:
        body, unknowns, prior: what was fitted.
        dtype, device: to compute in.
    """

    def __init__(
        self, body: BodyModel, unknowns: Unknowns, prior: VPoser, *, dtype: torch.dtype, device: torch.device | str
    ):
        self.unknowns, self.prior = unknowns, prior
        self.model = LandmarkModel(body, names=JOINT_NAMES[:22], dtype=dtype, device=device)
        self._parents = torch.as_tensor(self.model.parents[:22], device=device)
        self._rows, self._hinges = _ROWS.to(device), _HINGE_AXES.to(device, dtype)

    def joints(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N 22 3"]:
        """The body's joints of people at x, camera frame, m."""
        return self._posed(x, self.unknowns.decode(x))[0]

    def __call__(self, x: Float[Tensor, "N D"], limb: Int[Tensor, " N"], bones: Bool[Tensor, "N 2"]) -> Flipped:
        """Flip one limb of each person.

        Args:
            x: solutions.
            limb: which of LIMBS.
            bones: whether its upper and lower bone are flipped; at least one.
        """
        body = self.unknowns.decode(x)
        points, world = self._posed(x, body)
        n, (a, b, c) = torch.arange(len(x), device=x.device), self._rows[limb].unbind(1)
        ends = tuple(points[n, joint] for joint in (a, b, c))
        places = flipped_places(*ends, bones[:, :1], bones[:, 1:])
        root, hinge = self._bent(ends, world[n, a], world[n, b], self._hinges[limb], places)
        pose = body.clone()
        pose[n, a - 1], pose[n, b - 1] = world[n, self._parents[a]].mT @ root, hinge
        latent = self.prior.encode(roma.rotmat_to_rotvec(pose).flatten(-2)).mean.to(x)
        return Flipped(latent, torch.stack(places, 1))

    def _posed(self, x: Tensor, body: Tensor) -> tuple[Float[Tensor, "N 22 3"], Float[Tensor, "N 22 3 3"]]:
        """Joints, and their rotations in the camera frame."""
        unknowns, transl = self.unknowns, x[:, self.unknowns.layout["transl"]]
        state = self.model(unknowns.rotations(x, body), unknowns.shape(x), transl, derivatives=False)
        return state.points, state.kinematics.rotations[self.model.level_rank[:22]].transpose(0, 1)

    @staticmethod
    def _bent(
        ends: tuple[Tensor, Tensor, Tensor], upper: Tensor, lower: Tensor, axis: Tensor, places: tuple[Tensor, Tensor]
    ) -> tuple[Float[Tensor, "N 3 3"], Float[Tensor, "N 3 3"]]:
        """World rotation of the upper joint and the hinge's own, which bring the limb to its new places.

        Args:
            ends: the limb's joints.
            upper, lower: world rotations of its upper and middle joint.
            axis: of the hinge.
            places: new ones of the middle and the end joint.
        """
        a, b, c = ends
        first, second = _unit(_turned_back(upper, b - a)), _unit(_turned_back(lower, c - b))  # in their own frames
        new_first, new_second = _unit(places[0] - a), _unit(places[1] - places[0])
        bend = torch.atan2(torch.linalg.cross(new_first, new_second).norm(dim=1), (new_first * new_second).sum(1))
        hinge = roma.rotvec_to_rotmat(axis * _hinge_angle(axis, first, second, bend)[:, None])
        bent = (hinge @ second[..., None])[..., 0]
        by_plane = _frame(new_first, new_second) @ _frame(first, bent).mT
        by_turn = _smallest_turn(_unit(b - a), new_first) @ upper
        return torch.where((bend > _STRAIGHT)[:, None, None], by_plane, by_turn), hinge


def flipped_places(
    a: Float[Tensor, "N 3"],
    b: Float[Tensor, "N 3"],
    c: Float[Tensor, "N 3"],
    upper: Bool[Tensor, "N 1"],
    lower: Bool[Tensor, "N 1"],
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
    """Places of a limb's middle and end joint, some of its bones flipped; both stay on their rays from the camera.

    Args:
        a, b, c: the limb's joints, camera frame, m.
        upper, lower: whether the bones from a to b and from b to c are flipped.
    """
    ray, nearest = _unit(b), (_unit(b) * a).sum(1, keepdim=True)
    middle = torch.where(upper, ray * (2 * nearest - b.norm(dim=1, keepdim=True)), b)
    ray, length = _unit(c), (c - b).norm(dim=1, keepdim=True)
    before = c.norm(dim=1, keepdim=True) < (ray * b).sum(1, keepdim=True)  # nearer than the point closest to b
    nearest = (ray * middle).sum(1, keepdim=True)
    across = (middle - nearest * ray).norm(dim=1, keepdim=True)
    beyond = (length.square() - across.square()).clamp_min(0).sqrt()
    return middle, ray * (nearest + torch.where(before ^ lower, -beyond, beyond))


def flipped_bones(points: Float[Tensor, "N J 3"], truth: Float[Tensor, "N J 3"]) -> Bool[Tensor, "N 8"]:
    """Which of LIMB_BONES are flipped in depth: mirrored in the plane through their upper joint that is perpendicular
    to the ray from the camera, they are nearer to the truth by 30 degrees and more.

    Args:
        points, truth: joints in the order of JOINT_NAMES, camera frame, m.
    """
    upper, lower = BONE_ROWS.to(points.device).unbind(1)
    mine, true = (_unit(p[:, lower] - p[:, upper]) for p in (points, truth))
    ray = _unit(points[:, upper])
    mirrored = mine - 2 * (mine * ray).sum(-1, keepdim=True) * ray
    angle, other = ((bone * true).sum(-1).clamp(-1, 1).acos() for bone in (mine, mirrored))
    return angle - other > FLIPPED_BY


def depth_sines(points: Float[Tensor, "N J 3"]) -> Float[Tensor, "N 8"]:
    """Sine of the angle by which each of LIMB_BONES leaves the plane perpendicular to the ray; positive: away."""
    upper, lower = BONE_ROWS.to(points.device).unbind(1)
    return (_unit(points[:, lower] - points[:, upper]) * _unit(points[:, upper])).sum(-1)


def _unit(vector: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N 3"]:
    return torch.nn.functional.normalize(vector, dim=-1)


def _turned_back(rotation: Float[Tensor, "N 3 3"], vector: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    return (rotation.mT @ vector[..., None])[..., 0]


def _hinge_angle(
    axis: Float[Tensor, "N 3"], first: Float[Tensor, "N 3"], second: Float[Tensor, "N 3"], bend: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """The rotation about a hinge's axis at which two bones, given at rest, enclose the angle `bend`, or as near as they
    can: the cosine between them is a constant and a sinusoid of the rotation."""
    along = (first * axis).sum(1) * (second * axis).sum(1)
    cosine, sine = (first * second).sum(1) - along, (first * torch.linalg.cross(axis, second)).sum(1)
    most = torch.hypot(cosine, sine).clamp_min(1e-6)
    return torch.atan2(sine, cosine) + ((bend.cos() - along) / most).clamp(-1, 1).acos()


def _frame(first: Float[Tensor, "N 3"], second: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3 3"]:
    """A rotation whose first column is `first` and whose third is orthogonal to both."""
    normal = _unit(torch.linalg.cross(first, second))
    return torch.stack([first, torch.linalg.cross(normal, first), normal], dim=-1)


def _smallest_turn(source: Float[Tensor, "N 3"], target: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3 3"]:
    """The rotation by the smallest angle that takes one direction to another."""
    axis = torch.linalg.cross(source, target)
    angle = torch.atan2(axis.norm(dim=1), (source * target).sum(1))
    return roma.rotvec_to_rotmat(_unit(axis) * angle[:, None])
