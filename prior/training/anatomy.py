"""Anatomical joint angles: their normal ranges, how they limit each other, and the rotations they stand for.

Ranges in degrees are those of healthy adults, rounded: the values of the American Academy of Orthopaedic Surgeons as
tabled in Norkin and White, *Measurement of Joint Motion* (appendix A), and the Merck Manual's "Normal Values for Range
of Motion of Joints". Marked (m) are figures given from memory, without a source at hand.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.prior.model.parts import BODY_JOINT_INDEX, NUM_BODY_JOINTS


class Range(NamedTuple):
    """Where an angle lies, degrees."""

    low: float
    typical: float
    high: float


SIDES = ("left", "right")
_TRUNK: dict[str, Range] = {
    "spine_flexion": Range(-25, 8, 80),
    "spine_bend": Range(-35, 0, 35),  # to the left
    "spine_twist": Range(-45, 0, 45),  # to the left
    "neck_flexion": Range(-45, 5, 45),
    "neck_bend": Range(-45, 0, 45),
    "neck_twist": Range(-60, 0, 60),
}
_LIMBS: dict[str, Range] = {
    "hip_flexion": Range(-25, 20, 122),
    "hip_abduction": Range(-25, 8, 45),
    "hip_rotation": Range(-40, 5, 45),  # outwards
    "knee_flexion": Range(0, 25, 140),
    "ankle_dorsiflexion": Range(-48, 0, 20),
    "ankle_inversion": Range(-20, 0, 33),
    "toe_extension": Range(-30, 0, 70),
    "collar_elevation": Range(-8, 0, 12),  # at rest; arm elevation adds to it (m)
    "collar_protraction": Range(-20, 0, 20),  # (m)
    "arm_plane": Range(-90, 40, 130),  # 0: sideways, 90: forward, beyond: across the chest; negative: behind
    "arm_elevation": Range(0, 35, 178),  # from hanging
    "arm_rotation": Range(-70, 0, 90),  # outwards
    "elbow_flexion": Range(0, 40, 147),
    "forearm_supination": Range(-80, 0, 82),
    "wrist_flexion": Range(-70, 0, 75),
    "wrist_deviation": Range(-20, 0, 33),  # towards the little finger
}
RANGES: dict[str, Range] = _TRUNK | {f"{side}_{name}": value for side in SIDES for name, value in _LIMBS.items()}
"""Every angle of the body and its normal range; limbs are `left_...` and `right_...`."""
ANGLE_INDEX: dict[str, int] = {name: i for i, name in enumerate(RANGES)}

# How far an arm can be raised in each plane (m): backwards 60 degrees (AAOS), across the chest about 120.
_ARM_PLANES = (-90.0, -45.0, -10.0, 95.0, 130.0)
_ARM_HIGHEST = (60.0, 95.0, 178.0, 178.0, 120.0)


def complete_ranges(changes: Mapping[str, tuple[float, float, float]]) -> dict[str, Range]:
    """All ranges, with some replaced; a limb's name without its side stands for both sides."""
    unknown = [name for name in changes if name not in RANGES and name not in _LIMBS]
    if unknown:
        raise KeyError(f"no such angle: {', '.join(unknown)}")
    both = {f"{side}_{name}": value for name, value in changes.items() if name in _LIMBS for side in SIDES}
    one = {name: value for name, value in changes.items() if name in RANGES}
    return {name: Range(*value) for name, value in (RANGES | both | one).items()}


def draw_angles(
    ranges: Mapping[str, Range],
    normal: Float[Tensor, "B A"],
    spread: Float[Tensor, "B 1"],
    flexibility: Float[Tensor, "B 1"],
) -> Float[Tensor, "B A"]:
    """Angles in degrees from standard normal numbers: logit-normal within the ranges, around the typical value.

    Args:
        ranges: every angle's range.
        normal: a number for each angle.
        spread: of the person: small numbers keep near the typical pose, large ones reach the limits.
        flexibility: degrees that this person's two-joint muscles allow beyond the usual.
    """
    low, typical, high = (normal.new_tensor(column) for column in zip(*(ranges[n] for n in RANGES), strict=True))
    centre = ((typical - low) / (high - low).clamp_min(1e-3)).clamp(0.03, 0.97).logit()
    share = torch.sigmoid(centre + spread * normal)
    low, high = low.expand_as(share).clone(), high.expand_as(share).clone()
    for side in SIDES:
        at = {name: ANGLE_INDEX[f"{side}_{name}"] for name in _LIMBS}

        def angle(name: str, at: dict[str, int] = at) -> Float[Tensor, " B"]:
            return (low + (high - low) * share)[:, at[name]]

        knee = angle("knee_flexion")
        # Hamstrings: 62 degrees of hip flexion with a straight knee, 90 with 31 degrees at the knee (Gajdosik et al.,
        # JOSPT 1993: straight leg raise and passive knee extension of 30 men).
        _at_most(high, low, at["hip_flexion"], 64 + 0.9 * knee + flexibility[:, 0])
        # Rectus femoris: less hip extension with a bent knee (m).
        _at_least(high, low, at["hip_flexion"], -25 + 0.4 * (knee - 90).clamp_min(0) - flexibility[:, 0])
        # Gastrocnemius: 10 degrees less dorsiflexion with a straight knee (m).
        _at_most(high, low, at["ankle_dorsiflexion"], 10 + knee.clamp(max=30) / 3 + flexibility[:, 0])
        highest = _interpolate(angle("arm_plane"), _ARM_PLANES, _ARM_HIGHEST)
        _at_most(high, low, at["arm_elevation"], highest)
        raised = angle("arm_elevation")
        # Triceps: less elbow flexion with the arm overhead (m). Rotation of a raised arm: 20 degrees less inwards (m).
        _at_most(high, low, at["elbow_flexion"], 147 - 0.15 * (raised - 90).clamp_min(0))
        _at_least(high, low, at["arm_rotation"], -70 + 0.4 * (raised - 90).clamp_min(0))
    return low + (high - low) * share


def _at_most(high: Tensor, low: Tensor, column: int, limit: Float[Tensor, " B"]) -> None:
    """Narrow a range from above; where a family asks for more than the limit, it is moved down instead."""
    high[:, column] = torch.minimum(high[:, column], limit)
    low[:, column] = torch.minimum(low[:, column], high[:, column] - 1)


def _at_least(high: Tensor, low: Tensor, column: int, limit: Float[Tensor, " B"]) -> None:
    low[:, column] = torch.maximum(low[:, column], limit)
    high[:, column] = torch.maximum(high[:, column], low[:, column] + 1)


def _interpolate(x: Float[Tensor, " B"], places: tuple[float, ...], values: tuple[float, ...]) -> Float[Tensor, " B"]:
    result = torch.full_like(x, values[0])
    for a, b, low, high in zip(places, places[1:], values, values[1:], strict=False):
        result = torch.where(x > a, low + (high - low) * ((x - a) / (b - a)).clamp(0, 1), result)
    return result


def rotations_of(angles: Float[Tensor, "B A"]) -> Float[Tensor, "B 21 3 3"]:
    """Joint rotations of anatomical angles (degrees), from the rest pose with the arms out.

    Hips: flexion about the pelvis' axis, then abduction, then rotation about the thigh (the order of Grood and Suntay).
    Arms are raised from hanging in their plane, by the collar and the shoulder together.
    """
    radians = torch.deg2rad(angles)
    value = {name: radians[:, i] for name, i in ANGLE_INDEX.items()}
    identity = torch.eye(3, dtype=angles.dtype, device=angles.device)
    result = identity.repeat(len(angles), NUM_BODY_JOINTS, 1, 1)

    def put(joint: str, rotation: Float[Tensor, "B 3 3"]) -> None:
        result[:, BODY_JOINT_INDEX[joint]] = rotation

    shares = {"spine1": (0.35, 0.2), "spine2": (0.35, 0.35), "spine3": (0.3, 0.45)}  # of flexion and bend, of twist (m)
    for joint, (bent, twisted) in shares.items():
        put(joint, _trunk(value, "spine", bent, twisted))
    for joint in ("neck", "head"):
        put(joint, _trunk(value, "neck", 0.5, 0.5))
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        limb = {name: value[f"{side}_{name}"] for name in _LIMBS}
        put(
            f"{side}_hip",
            _turn(0, -limb["hip_flexion"])
            @ _turn(2, sign * limb["hip_abduction"])
            @ _turn(1, sign * limb["hip_rotation"]),
        )
        put(f"{side}_knee", _turn(0, limb["knee_flexion"]))
        put(f"{side}_ankle", _turn(0, -limb["ankle_dorsiflexion"]) @ _turn(2, -sign * limb["ankle_inversion"]))
        put(f"{side}_foot", _turn(0, -limb["toe_extension"]))
        collar, shoulder = _arm(limb, sign)
        put(f"{side}_collar", collar)
        put(f"{side}_shoulder", shoulder)
        # Half of the forearm's turn belongs to the elbow, half to the wrist, as in retargeted motion capture.
        half = _turn(0, -limb["forearm_supination"] / 2)
        put(f"{side}_elbow", _turn(1, -sign * limb["elbow_flexion"]) @ half)
        put(
            f"{side}_wrist",
            half @ _turn(2, -sign * limb["wrist_flexion"]) @ _turn(1, sign * limb["wrist_deviation"]),
        )
    return result


def _trunk(value: Mapping[str, Tensor], part: str, bent: float, twisted: float) -> Float[Tensor, "B 3 3"]:
    flexion, bend, twist = (value[f"{part}_{way}"] for way in ("flexion", "bend", "twist"))
    return _turn(1, twisted * twist) @ _turn(0, bent * flexion) @ _turn(2, -bent * bend)


def _arm(limb: Mapping[str, Tensor], sign: float) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B 3 3"]]:
    """Collar and shoulder. From 30 degrees on, a quarter of the arm's elevation is the collar's (m)."""
    plane, raised = limb["arm_plane"], limb["arm_elevation"]
    lifted = limb["collar_elevation"] + ((raised - math.radians(30)).clamp_min(0) / 4).clamp(max=math.radians(32))
    collar = _turn(1, -sign * limb["collar_protraction"]) @ _turn(2, sign * lifted)
    axis = torch.stack([-plane.sin(), torch.zeros_like(plane), sign * plane.cos()], dim=-1)
    hanging = _turn(2, torch.full_like(plane, -sign * math.pi / 2))
    arm = roma.rotvec_to_rotmat(raised[:, None] * axis) @ hanging @ _turn(0, -limb["arm_rotation"])
    return collar, collar.transpose(1, 2) @ arm


def _turn(axis: int, angle: Float[Tensor, " B"]) -> Float[Tensor, "B 3 3"]:
    """Rotation about a coordinate axis."""
    return roma.rotvec_to_rotmat(angle[:, None] * torch.eye(3, dtype=angle.dtype, device=angle.device)[axis])
