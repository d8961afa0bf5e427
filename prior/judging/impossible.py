"""Impossible poses made from real ones: a prior's score has to separate the two."""

import math

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.prior.model import parts
from bodyfit.prior.model.rotations import rotation_angles

Rotations = Float[Tensor, "B 21 3 3"]

_KNEES_AND_ELBOWS = parts.joint_indices("left_knee", "right_knee", "left_elbow", "right_elbow")
# Bending the wrong way in the rest pose's axes: a knee bends by +x; a left elbow by -y, a right one by +y.
_HYPEREXTENSION_AXIS = torch.tensor([[-1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])


def hyperextend(rotations: Rotations, generator: torch.Generator | None = None) -> Rotations:
    """A random knee or elbow is bent 40 to 90 degrees the wrong way."""
    count = len(rotations)
    choice = torch.randint(4, (count,), generator=generator)
    angle = torch.empty(count).uniform_(math.radians(40), math.radians(90), generator=generator)
    result = rotations.clone()
    bent = roma.rotvec_to_rotmat(_HYPEREXTENSION_AXIS[choice] * angle[:, None]).to(rotations)
    result[torch.arange(count), torch.tensor(_KNEES_AND_ELBOWS)[choice]] = bent
    return result


def turn_joints(rotations: Rotations, generator: torch.Generator | None = None) -> Rotations:
    """Three random joints are rotated by a further 60 to 120 degrees about random axes."""
    count = len(rotations)
    result = rotations.clone()
    joints = torch.rand(count, rotations.shape[1], generator=generator).argsort(1)[:, :3]
    axis = torch.nn.functional.normalize(torch.randn(count, 3, 3, generator=generator), dim=-1)
    angle = torch.empty(count, 3, 1).uniform_(math.radians(60), math.radians(120), generator=generator)
    rows = torch.arange(count)[:, None]
    result[rows, joints] = result[rows, joints] @ roma.rotvec_to_rotmat(axis * angle).to(rotations)
    return result


def swap_limbs(rotations: Rotations, generator: torch.Generator | None = None) -> Rotations:
    """Exchanges the rotations of arms and legs; poses that this changes by less than 60 degrees are left out.

    Left and right are not swapped without mirroring: that turns hanging arms into raised ones, which are possible.
    A pose with arms straight out and legs straight down stays the same, hence the 60 degrees.
    """
    arms, legs = parts.LEFT_ARM[1:] + parts.RIGHT_ARM[1:], parts.LEFT_LEG[:3] + parts.RIGHT_LEG[:3]
    result = rotations.clone()
    result[:, arms + legs] = rotations[:, legs + arms]
    changed = rotation_angles(result, rotations).amax(-1) > math.radians(60)
    return result[changed]


IMPOSSIBLE = {"hyperextended": hyperextend, "turned": turn_joints, "swapped": swap_limbs}
