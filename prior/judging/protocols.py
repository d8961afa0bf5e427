"""The protocols that evaluate a pose prior, as in Pose-NDF and DPoser-X (arXiv 2508.00599). Each returns numbers."""

import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import pose_body
from bodyfit.prior.judging import distances
from bodyfit.prior.judging.baselines import PoseModel
from bodyfit.prior.judging.impossible import IMPOSSIBLE
from bodyfit.prior.model import rotations as rot
from bodyfit.prior.model.capsules import self_intersecting
from bodyfit.prior.model.parts import COMPLETION_PARTS
from bodyfit.prior.model.skeleton import pose_skeleton
from bodyfit.prior.model.vposer import VPoser

Poses = Float[Tensor, "N 63"]
DENOISING_MM = (20, 40, 100)
_HYPOTHESES = 10


def features(rotations: Float[Tensor, "N 21 3 3"]) -> Float[Tensor, "N 126"]:
    """The features for distances between sets of poses: two columns of each joint's rotation matrix."""
    return rotations[..., :2].flatten(-3)


@torch.no_grad()
def reconstruction(prior: VPoser, poses: Poses, body: BodyModel | None, seed: int = 0) -> dict[str, float]:
    """Rotation error (degrees), joints and vertices (mm) of the posterior's mean and of a sample of it."""
    torch.manual_seed(seed)
    target = rot.matrices_from_axis_angle(poses)
    posterior = prior.encode(poses)
    figures = {}
    for name, latent in (("mean", posterior.mean), ("sample", posterior.sample())):
        result = prior.decode(latent)
        joints = joint_errors_mm(target, result)
        figures[f"{name}_degrees"] = float(torch.rad2deg(rot.rotation_angles(target, result)).mean())
        figures[f"{name}_joints_mm"] = float(joints.mean())
        if name == "mean":
            figures["mean_joints_mm_99th"] = float(joints.mean(-1).quantile(0.99))
    if body is not None:
        some = poses[torch.linspace(0, len(poses) - 1, min(len(poses), 256)).long()]
        figures["mean_vertices_mm"] = _vertex_error_mm(prior, some, body)
    return figures


def joint_errors_mm(a: Tensor, b: Tensor) -> Float[Tensor, "*batch 21"]:
    """Distances of the 21 joints other than the pelvis, which is fixed, in mm."""
    return 1000 * (pose_skeleton(a)[0] - pose_skeleton(b)[0]).norm(dim=-1)[..., 1:]


def _vertex_error_mm(prior: VPoser, poses: Poses, body: BodyModel) -> float:
    total = 0.0
    for some in poses.split(64):
        result = prior.decode_axis_angle(prior.encode(some).mean)
        both = torch.cat([some, result])
        zeros = both.new_zeros(len(both), 3)
        betas = both.new_zeros(len(both), body.shapedirs.shape[-1])
        vertices = pose_body(body, betas=betas, global_orient=zeros, body_pose=both).vertices
        total += float(1000 * (vertices[: len(some)] - vertices[len(some) :]).norm(dim=-1).mean()) * len(some)
    return total / len(poses)


def generation(
    generated: Float[Tensor, "M 21 3 3"], real: dict[str, Float[Tensor, "N 21 3 3"]], training: Tensor
) -> dict[str, float]:
    """Diversity, nearest training pose and self-intersection of samples; FID, precision and recall against each set."""
    figures = {
        "apd_cm": 100 * distances.average_pairwise_distance(pose_skeleton(generated[:500])[0]),
        "dnn": float(distances.nearest_distances(features(generated[:2000]), features(training)).mean()),
        "self_intersecting": float(self_intersecting(generated).double().mean()),
    }
    for name, poses in real.items():
        precision, recall = distances.precision_and_recall(features(poses), features(generated))
        fid = distances.frechet_distance(features(poses), features(generated))
        figures |= {f"{name}_fid": fid, f"{name}_precision": precision, f"{name}_recall": recall}
    return figures


def completion(model: PoseModel, poses: Poses, seed: int = 0) -> dict[str, float]:
    """Error of the hidden joints' positions (mm): best and mean of ten hypotheses, for each part."""
    target = rot.matrices_from_axis_angle(poses)
    figures = {}
    for name, part in COMPLETION_PARTS.items():
        generator = torch.Generator().manual_seed(seed)
        result = model.complete(target, part, _HYPOTHESES, generator)
        errors = joint_errors_mm(result, target[:, None])[..., list(part)].mean(-1)
        figures[f"{name}_best_mm"] = float(errors.amin(1).mean())
        figures[f"{name}_mean_mm"] = float(errors.mean())
    return figures


def denoising(model: PoseModel, poses: Poses, seed: int = 0) -> dict[str, float]:
    """Mean joint error (mm) before and after, for Gaussian noise of each size on every coordinate of every joint."""
    target = rot.matrices_from_axis_angle(poses)
    positions = pose_skeleton(target)[0]
    figures = {}
    for millimetres in DENOISING_MM:
        generator = torch.Generator().manual_seed(seed)
        noise = millimetres / 1000 * torch.randn(positions.shape, generator=generator)
        result = model.denoise(positions + noise, millimetres / 1000, generator)
        figures[f"{millimetres}mm_before_mm"] = float(1000 * noise.norm(dim=-1)[:, 1:].mean())
        figures[f"{millimetres}mm_after_mm"] = float(joint_errors_mm(target, result).mean())
    return figures


def separation(model: PoseModel, poses: Poses, seed: int = 0) -> dict[str, float]:
    """ROC AUC of the score between held-out poses and impossible ones made from them, for each kind."""
    rotations = rot.matrices_from_axis_angle(poses)
    valid = model.score(poses)
    figures = {}
    for name, break_pose in IMPOSSIBLE.items():
        broken = break_pose(rotations, torch.Generator().manual_seed(seed))
        figures[name] = distances.roc_auc(valid, model.score(rot.axis_angle_from_matrices(broken)))
    return figures
