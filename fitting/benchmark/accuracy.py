"""How far fitted people are from the truth: the field's error measures, one number per person."""

from __future__ import annotations

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.data.body.posing import PosedBody
from bodyfit.data.landmarks import FACE, LANDMARK_INDEX, LEFT_HAND, RIGHT_HAND

JOINTS_WITH_PELVIS = 22  # the 21 body joints and the root
_HANDS = {"left_wrist": LEFT_HAND, "right_wrist": RIGHT_HAND}


def aligned(
    points: Float[Tensor, "B N 3"], truth: Float[Tensor, "B N 3"], weights: Float[Tensor, "B N"] | None = None
) -> Float[Tensor, "B N 3"]:
    """Points after the rotation, scale and translation that bring them nearest to the truth (weighted Procrustes)."""
    turn, shift, scale = roma.rigid_points_registration(points, truth, weights=weights, compute_scaling=True)
    return scale[:, None, None] * points @ turn.transpose(1, 2) + shift[:, None]


def rigidly_aligned(points: Float[Tensor, "B N 3"], truth: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """Points after the rotation and translation that bring them nearest to the truth; sizes stay."""
    turn, shift = roma.rigid_points_registration(points, truth)
    return points @ turn.transpose(1, 2) + shift[:, None]


def mean_distance_mm(points: Float[Tensor, "B N 3"], truth: Float[Tensor, "B N 3"]) -> Float[Tensor, " B"]:
    """Mean distance of corresponding points, mm."""
    return 1000 * (points - truth).norm(dim=-1).mean(dim=1)


def in_view_error_mm(
    joints: Float[Tensor, "B N 3"], truth: Float[Tensor, "B N 3"], in_view: Bool[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Mean distance of the joints in view after aligning these alone, mm; at least three per person must be."""
    weights = in_view.to(joints.dtype)
    distance = (aligned(joints, truth, weights) - truth).norm(dim=-1)
    return 1000 * (distance * weights).sum(1) / weights.sum(1)


def body_errors(
    landmarks: Float[Tensor, "B 144 3"], fitted: PosedBody, true_landmarks: Float[Tensor, "B 144 3"], truth: PosedBody
) -> dict[str, Float[Tensor, " B"]]:
    """Errors in 3D, mm.

    Returns:
        pa_mpjpe_mm: the 22 joints of the body after Procrustes alignment. mpjpe_mm: with pelvis on pelvis only.
        pa_vertex_mm: all vertices after alignment of the vertices. hands_mm and face_mm: finger points with wrist on
        wrist, face points with nose on nose, without turning. hands_pa_mm, face_pa_mm: each aligned by itself.
    """
    joints, true_joints = landmarks[:, :JOINTS_WITH_PELVIS], true_landmarks[:, :JOINTS_WITH_PELVIS]
    errors = {
        "pa_mpjpe_mm": mean_distance_mm(aligned(joints, true_joints), true_joints),
        "mpjpe_mm": mean_distance_mm(joints - joints[:, :1], true_joints - true_joints[:, :1]),
        "pa_vertex_mm": mean_distance_mm(aligned(fitted.vertices, truth.vertices), truth.vertices),
    }
    hands = [_part_errors(landmarks, true_landmarks, wrist, members) for wrist, members in _HANDS.items()]
    errors["hands_mm"], errors["hands_pa_mm"] = (torch.stack(pair).mean(0) for pair in zip(*hands, strict=True))
    errors["face_mm"], errors["face_pa_mm"] = _part_errors(landmarks, true_landmarks, "nose", FACE)
    return errors


def _part_errors(landmarks: Tensor, truth: Tensor, root: str, members: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Root-relative and aligned error of a part."""
    rows, root_row = list(members), LANDMARK_INDEX[root]
    relative = [points[:, rows] - points[:, root_row : root_row + 1] for points in (landmarks, truth)]
    return mean_distance_mm(*relative), mean_distance_mm(aligned(relative[0], relative[1]), relative[1])


def image_error_share(
    pixels: Float[Tensor, "B K 2"],
    targets_px: Float[Tensor, "B K 2"],
    seen: Float[Tensor, "B K"],
    size_px: Float[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """Median distance in the image over the seen points, as a share of the person's size."""
    distance = (pixels - targets_px).norm(dim=-1).masked_fill(seen <= 0, torch.nan)
    return distance.nanmedian(dim=1).values / size_px


def turned_away(global_orient: Float[Tensor, "B 3"], truth: Float[Tensor, "B 3"]) -> Float[Tensor, " B"]:
    """1 where the body's front points more than 90 degrees away from the true one, else 0."""
    fronts = [roma.rotvec_to_rotmat(orient)[:, :, 2] for orient in (global_orient, truth)]
    return ((fronts[0] * fronts[1]).sum(1) < 0).to(truth.dtype)
