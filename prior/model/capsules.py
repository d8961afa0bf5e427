"""Self-intersection of a body made of capsules around the bones: a fast substitute for mesh collision."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.prior.model.skeleton import pose_skeleton

# (name, from joint, to joint, radius in metres). Radii of a slim adult: contact is not intersection.
_CAPSULES: tuple[tuple[str, str, str, float], ...] = (
    ("belly", "pelvis", "spine3", 0.10),
    ("chest", "spine3", "neck", 0.10),
    ("head", "neck", "head", 0.07),
    *(
        (f"{side}_{name}", f"{side}_{start}", f"{side}_{end}", radius)
        for side in ("left", "right")
        for name, start, end, radius in (
            ("upper_arm", "shoulder", "elbow", 0.04),
            ("forearm", "elbow", "wrist", 0.035),
            ("thigh", "hip", "knee", 0.06),
            ("shin", "knee", "ankle", 0.045),
            ("foot", "ankle", "foot", 0.035),
        )
    ),
)
_DEPTH = 0.03


def _pairs() -> list[tuple[int, int]]:
    """Pairs that are tested; neighbours on a limb are left out, and thighs, which touch in every sitting pose."""
    names = [capsule[0] for capsule in _CAPSULES]
    joints = [{capsule[1], capsule[2]} for capsule in _CAPSULES]
    skipped = [{"left_upper_arm", "chest"}, {"right_upper_arm", "chest"}, {"left_thigh", "right_thigh"}]
    skipped += [{f"{side}_thigh", "belly"} for side in ("left", "right")]
    skipped += [{f"{side}_upper_arm", "head"} for side in ("left", "right")]
    return [
        (a, b)
        for a in range(len(names))
        for b in range(a + 1, len(names))
        if not joints[a] & joints[b] and {names[a], names[b]} not in skipped
    ]


_PAIRS = _pairs()


def self_intersecting(rotations: Float[Tensor, "B 21 3 3"]) -> Bool[Tensor, " B"]:
    """Whether two parts of the body intersect by more than 3 cm."""
    joints = pose_skeleton(rotations)[0]
    index = {name: i for i, name in enumerate(JOINT_NAMES[:22])}
    start = joints[:, [index[capsule[1]] for capsule in _CAPSULES]]
    end = joints[:, [index[capsule[2]] for capsule in _CAPSULES]]
    radius = torch.tensor([capsule[3] for capsule in _CAPSULES], dtype=joints.dtype)
    first, second = [a for a, _ in _PAIRS], [b for _, b in _PAIRS]
    distance = segment_distance(start[:, first], end[:, first], start[:, second], end[:, second])
    return (distance < radius[first] + radius[second] - _DEPTH).any(1)


def segment_distance(
    a0: Float[Tensor, "*batch 3"],
    a1: Float[Tensor, "*batch 3"],
    b0: Float[Tensor, "*batch 3"],
    b1: Float[Tensor, "*batch 3"],
) -> Float[Tensor, "*batch"]:
    """Shortest distance between two line segments (Ericson, Real-Time Collision Detection, 5.1.9)."""
    along_a, along_b, between = a1 - a0, b1 - b0, a0 - b0

    def dot(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(-1)

    aa, bb, ab = dot(along_a, along_a).clamp(min=1e-12), dot(along_b, along_b).clamp(min=1e-12), dot(along_a, along_b)
    a_between, b_between = dot(along_a, between), dot(along_b, between)
    s = ((ab * b_between - a_between * bb) / (aa * bb - ab * ab).clamp(min=1e-12)).clamp(0, 1)
    t = ((ab * s + b_between) / bb).clamp(0, 1)
    s = ((ab * t - a_between) / aa).clamp(0, 1)
    return (a0 + s[..., None] * along_a - b0 - t[..., None] * along_b).norm(dim=-1)
