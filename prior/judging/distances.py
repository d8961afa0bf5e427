"""Distances between sets of poses: FID, precision and recall, nearest neighbours, diversity."""

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

_ROWS_AT_ONCE = 2048


def frechet_distance(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]) -> float:
    """Frechet distance between Gaussians fitted to two sets of features (Heusel et al., 2017), in features squared."""
    a, b = a.double().numpy(), b.double().numpy()
    covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # trace sqrt(A B) by the symmetric root: real and numerically stable, unlike sqrtm of the product.
    root = _symmetric_root(covariance_a)
    cross = np.sqrt(np.clip(scipy.linalg.eigvalsh(root @ covariance_b @ root), 0, None)).sum()
    shift = np.square(a.mean(0) - b.mean(0)).sum()
    return float(shift + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross)


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = scipy.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def nearest_distances(
    queries: Float[Tensor, "N D"], references: Float[Tensor, "M D"], k: int = 1
) -> Float[Tensor, "N k"]:
    """Euclidean distances to the k nearest references, ascending, computed for a slice of the queries at a time."""
    return torch.cat(
        [torch.cdist(rows, references).topk(k, largest=False).values for rows in queries.split(_ROWS_AT_ONCE)]
    )


def precision_and_recall(
    real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"], k: int = 3
) -> tuple[float, float]:
    """Share of generated poses within the real ones' manifold, and of real ones within the generated ones'.

    The manifold is the union of balls around its poses that reach their k-th neighbour (Kynkaanniemi et al., 2019).
    """
    return _share_inside(generated, real, k), _share_inside(real, generated, k)


def _share_inside(queries: Tensor, manifold: Tensor, k: int) -> float:
    radius = nearest_distances(manifold, manifold, k + 1)[:, -1]  # the nearest is the pose itself
    inside = [(torch.cdist(rows, manifold) <= radius).any(1) for rows in queries.split(_ROWS_AT_ONCE)]
    return float(torch.cat(inside).double().mean())


def average_pairwise_distance(positions: Float[Tensor, "N J 3"]) -> float:
    """Mean distance of corresponding joints over all pairs of poses, in the positions' unit (metres)."""
    count = len(positions)
    total = sum(
        (torch.cdist(positions[:, joint], positions[:, joint]).double().sum()) for joint in range(positions.shape[1])
    )
    return float(total) / (positions.shape[1] * count * (count - 1))


def roc_auc(positive: Float[Tensor, " N"], negative: Float[Tensor, " M"]) -> float:
    """Probability that a positive's score exceeds a negative's (ties count half)."""
    negative = negative.sort().values
    below = torch.searchsorted(negative, positive, right=False)
    not_above = torch.searchsorted(negative, positive, right=True)
    return float((below + not_above).double().mean() / 2 / len(negative))
