"""Pose correctives (`posedirs`), which preserve the volume of blended joints.

Linear blend skinning loses volume where a limb twists or bends. A better deformer gives the target: twist spread
evenly over the blend instead of averaged, then delta mush (Mancewicz et al. 2014), which smooths the posed skin and
restores its detail in local frames. Sampled poses of one joint at a time give, in the rest pose, the offset that blend
skinning lacks; a ridge regression on the nine entries of R - I, which is what SMPL's `posedirs` multiply, describes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.scripts.open_body.rig import JOINT_INDEX, Surface, joint_parents


@dataclass(frozen=True)
class Motion:
    """How one left joint moves: its swing in degrees about x, y and z, and its twist about the limb's axis."""

    swing: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    twist_axis: tuple[float, float, float]
    twist: tuple[float, float]
    smoothing: int  # passes of delta mush; a pass reaches about a centimetre further
    # limb directions with a lower y look as MakeHuman sculpted them: no smoothing there
    sculpted_below: float | None = None


MOTIONS = {
    "shoulder": Motion(((0, 0), (-110, 40), (-85, 85)), (1, 0, 0), (-80, 80), 30, sculpted_below=-0.45),
    "elbow": Motion(((0, 0), (-145, 0), (-10, 10)), (1, 0, 0), (-100, 100), 12),
    "wrist": Motion(((0, 0), (-35, 35), (-80, 75)), (1, 0, 0), (-90, 90), 8),
    "hip": Motion(((-115, 35), (0, 0), (-25, 50)), (0, -1, 0), (-45, 45), 25),
    "knee": Motion(((0, 140), (0, 0), (-5, 5)), (0, -1, 0), (-50, 50), 15),
    "ankle": Motion(((-35, 50), (-15, 15), (-20, 20)), (0, -1, 0), (-45, 45), 8),
}
ROUNDNESS = 0.6  # before smoothing, bends are blend skinning (0, caves in) or rotations shared by weight (1, bulge)
NOTICEABLE = 0.0004  # metres; skin that no sampled pose corrects by more is left alone, so that files stay small


@dataclass(frozen=True)
class JointCorrective:
    """Columns of `posedirs` for one left joint, and the mean distance from the better deformer on held-out poses."""

    vertices: Bool[np.ndarray, " V"]
    directions: Float[np.ndarray, "V 3 9"]
    error_before: float  # metres, blend skinning alone
    error_after: float  # metres, with the correctives


def fit_pose_correctives(
    surface: Surface,
    template: Float[np.ndarray, "V 3"],
    weights: Float[np.ndarray, "V 55"],
    joints: Float[np.ndarray, "55 3"],
    samples: int = 160,
) -> tuple[Float[np.ndarray, "V 3 486"], dict[str, JointCorrective]]:
    """`posedirs`, with the left side's correctives mirrored to the right, and the fit of each left joint."""
    posedirs = np.zeros((len(template), 3, 9 * (len(JOINT_NAMES) - 1)))
    fits = {}
    for name, motion in MOTIONS.items():
        fit = _fit_joint(surface, template, weights, joints, f"left_{name}", motion, samples)
        fits[name] = fit
        for side in ("left", "right"):
            first = 9 * (JOINT_INDEX[f"{side}_{name}"] - 1)
            posedirs[:, :, first : first + 9] += (
                fit.directions if side == "left" else mirror_directions(surface, fit.directions)
            )
    return posedirs, fits


def mirror_directions(surface: Surface, directions: Float[np.ndarray, "V 3 9"]) -> Float[np.ndarray, "V 3 9"]:
    """The same for the other side: entry (r, c) of a mirrored rotation changes sign when one of r and c is x."""
    flip = np.array([-1.0, 1, 1])
    return directions[surface.mirror] * flip[:, None] * np.outer(flip, flip).ravel()


def _fit_joint(
    surface: Surface,
    template: np.ndarray,
    weights: np.ndarray,
    joints: np.ndarray,
    name: str,
    motion: Motion,
    samples: int,
) -> JointCorrective:
    joint = JOINT_INDEX[name]
    share = weights[:, _below(joint)].sum(1)  # what hangs below the joint moves with it as one piece
    mush = DeltaMush.around(surface, template, _blended(share, surface, motion.smoothing), motion.smoothing)
    rng = np.random.default_rng(joint)
    rotations, offsets = [], []
    for _ in range(samples):
        swing, twist = _sample_rotation(rng, motion)
        rotations.append((swing * twist).as_matrix() - np.eye(3))
        strength = _mush_strength(motion, swing)
        offsets.append(_missing_offset(template, share, joints[joint], swing, twist, mush, strength))
    features, targets = np.stack(rotations).reshape(samples, 9), np.stack(offsets)
    kept = np.linalg.norm(targets, axis=2).max(0) > NOTICEABLE
    held = np.arange(samples) % 5 == 0
    known, wanted = features[~held], targets[~held][:, kept].reshape((~held).sum(), -1)
    ridge = 0.003 * len(known) * np.eye(9)
    solution = np.linalg.solve(known.T @ known + ridge, known.T @ wanted)
    directions = np.zeros((len(template), 3, 9))
    directions[kept] = np.moveaxis(solution.reshape(9, -1, 3), 0, 2)
    rest = targets[held][:, kept] - np.einsum("sf,vcf->svc", features[held], directions[kept])
    before, after = (np.linalg.norm(values, axis=2).mean() for values in (targets[held][:, kept], rest))
    return JointCorrective(kept, directions, float(before), float(after))


def _below(joint: int) -> list[int]:
    parents = joint_parents()
    below = [joint]
    for other in range(joint + 1, len(parents)):
        if parents[other] in below:
            below.append(other)
    return below


def _sample_rotation(rng: np.random.Generator, motion: Motion) -> tuple[Rotation, Rotation]:
    angles = [rng.uniform(low, high) for low, high in motion.swing]
    swing = Rotation.from_rotvec(np.radians(angles))
    # Half of the poses hardly twist: mirrors how limbs are used, and keeps plain bends well described.
    twist = rng.uniform(*motion.twist) * (1.0 if rng.uniform() < 0.5 else 0.2)
    return swing, Rotation.from_rotvec(np.radians(twist) * np.array(motion.twist_axis, dtype=float))


def _mush_strength(motion: Motion, swing: Rotation) -> float:
    """How much delta mush to apply: none where blend skinning reproduces a sculpted shape, as with the arms down."""
    if motion.sculpted_below is None:
        return 1.0
    height = swing.apply(np.array(motion.twist_axis, dtype=float))[1]
    return float(np.clip((height - motion.sculpted_below) / 0.4, 0, 1))


def _missing_offset(
    template: np.ndarray,
    share: np.ndarray,
    pivot: np.ndarray,
    swing: Rotation,
    twist: Rotation,
    mush: DeltaMush,
    strength: float,
) -> Float[np.ndarray, "V 3"]:
    """Rest-pose offset with which blend skinning of one joint reaches the better deformer's skin."""
    centred = template - pivot
    near = mush.region
    blended = _blend(share, swing, centred)
    turned = Rotation.from_rotvec(share[:, None] * swing.as_rotvec()).apply(centred)
    better = blended + strength * (mush((1 - ROUNDNESS) * blended + ROUNDNESS * turned) - blended)
    swung = np.zeros_like(template)
    swung[near] = _unblend(share[near], swing, better[near]) - centred[near]
    # Twist is applied first, in the rest pose, so that smoothing does not thin the limb.
    twisted = Rotation.from_rotvec(share[:, None] * twist.as_rotvec()).apply(centred + swung)
    offset = np.zeros_like(template)
    offset[near] = _unblend(share[near], swing * twist, _blend(share[near], swing, twisted[near])) - centred[near]
    return offset


def _blend(share: np.ndarray, rotation: Rotation, points: np.ndarray) -> np.ndarray:
    """Linear blend skinning about the origin."""
    return (1 - share)[:, None] * points + share[:, None] * rotation.apply(points)


def _unblend(share: np.ndarray, rotation: Rotation, points: np.ndarray) -> np.ndarray:
    """Rest points that linear blend skinning takes to `points`."""
    blend = (1 - share)[:, None, None] * np.eye(3) + share[:, None, None] * rotation.as_matrix()
    return np.linalg.solve(blend, points[:, :, None])[:, :, 0]


def _blended(share: np.ndarray, surface: Surface, passes: int) -> Bool[np.ndarray, " V"]:
    """Skin where the joint's weight is neither 0 nor 1, grown by as many rings as the smoothing reaches noticeably."""
    region = (share > 0.002) & (share < 0.998)
    for _ in range(max(3, passes // 3)):
        touched = region[surface.faces].any(1)
        region[np.unique(surface.faces[touched])] = True
    return region


@dataclass(frozen=True)
class DeltaMush:
    """Smooths deformed skin within a region and restores the rest pose's detail in each vertex's own frame."""

    region: Bool[np.ndarray, " V"]
    smoother: scipy.sparse.csr_matrix  # one pass; rows outside the region are identity
    passes: int
    tangent: np.ndarray  # (V,) a neighbour of each vertex, which fixes its frame
    faces: np.ndarray
    detail: Float[np.ndarray, "V 3"]

    @classmethod
    def around(cls, surface: Surface, template: np.ndarray, region: Bool[np.ndarray, " V"], passes: int) -> DeltaMush:
        """Prepare for the region; `template` is the rest pose."""
        count = len(template)
        edges = np.concatenate([surface.faces[:, [0, 1]], surface.faces[:, [1, 2]], surface.faces[:, [2, 0]]])
        edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
        length = np.linalg.norm(template[edges[:, 0]] - template[edges[:, 1]], axis=1)
        inside = region[edges[:, 0]]
        average = scipy.sparse.csr_matrix((1 / length[inside], edges[inside].T), shape=(count, count))
        average = scipy.sparse.diags(np.where(region, 1 / np.maximum(average.sum(1).A1, 1e-9), 0)) @ average
        half = np.where(region, 0.5, 1.0)
        smoother = (scipy.sparse.diags(half) + scipy.sparse.diags(1 - half) @ average).tocsr()
        tangent = np.zeros(count, dtype=int)
        tangent[edges[::-1, 0]] = edges[::-1, 1]
        faces = surface.faces[region[surface.faces].any(1)]
        bare = cls(region, smoother, passes, tangent, faces, np.zeros_like(template))
        smooth = bare.smooth(template)
        detail = np.einsum("vba,vb->va", bare.frames(smooth), template - smooth)
        return cls(region, smoother, passes, tangent, faces, detail)

    def smooth(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
        for _ in range(self.passes):
            vertices = self.smoother @ vertices
        return vertices

    def frames(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3 3"]:
        """Orthonormal frames (columns: normal, tangent, their cross product) of the region's skin; zero elsewhere."""
        a, b, c = (vertices[self.faces[:, i]] for i in range(3))
        face_normals = np.cross(b - a, c - a)
        normals = np.zeros_like(vertices)
        for corner in range(3):
            np.add.at(normals, self.faces[:, corner], face_normals)
        frames = np.zeros((len(vertices), 3, 3))
        normal = normals[self.region] / np.linalg.norm(normals[self.region], axis=1, keepdims=True)
        tangent = (vertices[self.tangent] - vertices)[self.region]
        tangent -= normal * (normal * tangent).sum(1, keepdims=True)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        frames[self.region] = np.stack([normal, tangent, np.cross(normal, tangent)], axis=2)
        return frames

    def __call__(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
        smooth = self.smooth(vertices)
        return smooth + np.einsum("vab,vb->va", self.frames(smooth), self.detail)
