"""Where the fit of a person over time starts: single fits of all views, brought to the world and to one shape."""

from __future__ import annotations

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.sequence.views import Views
from bodyfit.fitting.solve.fitter import Fitter

_OWN_DEPTH = 1e-3  # trust in a single view's depth, relative to that in its direction


def start_of_group(
    fitter: Fitter, views: Views, single: Float[Tensor, "V D"], cost: Float[Tensor, " V"], moments: int
) -> Float[Tensor, "T D"]:
    """Each moment's start: the pose of its best view, the median shape, the pelvis where the views' rays meet.

    Args:
        fitter: its unknowns and body.
        views: all sightings.
        single: solutions of each view alone, in its camera's frame.
        cost: their costs; infinite where there is no solution.
        moments: T. Those without a usable view lie between their neighbours.

    Raises:
        ValueError: if there is no usable view at all.
    """
    layout, good = fitter.unknowns.layout, torch.isfinite(cost) & torch.isfinite(single).all(1)
    if not good.any():
        raise ValueError("no view has a usable fit")
    betas = single[good][:, layout["betas"]].median(0).values
    x, known = single.new_zeros(moments, layout.size), torch.zeros(moments, dtype=torch.bool, device=single.device)
    in_camera = _pelvis(fitter, single) + single[:, layout["transl"]]
    pelvis = _where_rays_meet(views, in_camera, good, moments)
    mean_cost = cost / (views.seen.weights > 0).sum(1).clamp_min(1)
    for n in _best_of_each(views.moment, torch.where(good, mean_cost, torch.inf)):
        t = int(views.moment[n])
        x[t], known[t] = single[n], True
        turned = views.rotation[n].T @ roma.rotvec_to_rotmat(single[n, layout["global_orient"]])
        x[t, layout["global_orient"]] = roma.rotmat_to_rotvec(turned)
    x[:, layout["betas"]], x[:, layout["log_focal"]] = betas, 0
    x[:, layout["transl"]] = pelvis - _pelvis(fitter, x)
    return fill_gaps(x, known, fitter.unknowns)


def _pelvis(fitter: Fitter, x: Float[Tensor, "B D"]) -> Float[Tensor, "B 3"]:
    """The pelvis, about which the root turns, before translation."""
    model, shape = fitter.everything, fitter.unknowns.shape(x)
    still = torch.eye(3, dtype=x.dtype, device=x.device).expand(len(x), len(fitter.unknowns.names), 3, 3)
    return model.kinematics(still, shape, derivatives=False).positions[0]


def _where_rays_meet(
    views: Views, in_camera: Float[Tensor, "V 3"], good: Bool[Tensor, " V"], moments: int
) -> Float[Tensor, "T 3"]:
    """The point nearest to all views' rays; of one ray, the point at its own depth."""
    place = ((in_camera - views.translation)[:, None] @ views.rotation)[:, 0]
    ray = torch.nn.functional.normalize((in_camera[:, None] @ views.rotation)[:, 0], dim=1)
    eye = torch.eye(3, dtype=place.dtype, device=place.device)
    across = (1 + _OWN_DEPTH) * eye - ray[:, :, None] * ray[:, None]
    across = torch.where(good[:, None, None], across, 0.0)
    matrix = place.new_zeros(moments, 3, 3).index_add(0, views.moment, across)
    right = place.new_zeros(moments, 3).index_add(0, views.moment, (across @ place.nan_to_num()[..., None])[..., 0])
    seen = matrix.diagonal(dim1=1, dim2=2).sum(1) > 0
    matrix = torch.where(seen[:, None, None], matrix, eye)
    return torch.linalg.solve(matrix.double(), right.double()[..., None])[..., 0].to(place)


def _best_of_each(moment: Int[Tensor, " V"], cost: Float[Tensor, " V"]) -> list[int]:
    """The cheapest view of each moment that has one with a finite cost."""
    best: dict[int, tuple[float, int]] = {}
    for n, (t, value) in enumerate(zip(moment.tolist(), cost.tolist(), strict=True)):
        if value < best.get(t, (float("inf"), n))[0]:
            best[t] = value, n
    return [n for _, n in best.values()]


def fill_gaps(x: Float[Tensor, "T D"], known: Bool[Tensor, " T"], unknowns: Unknowns) -> Float[Tensor, "T D"]:
    """Put unknown moments between the nearest known ones: linear, the root along the shortest turn."""
    places = known.nonzero()[:, 0]
    here = torch.arange(len(x), device=x.device)
    after = torch.searchsorted(places, here).clamp(max=len(places) - 1)
    before = (torch.searchsorted(places, here, right=True) - 1).clamp(min=0)
    low, high = places[before], places[after]
    share = ((here - low) / (high - low).clamp_min(1)).to(x)[:, None]
    out = x[low] + share * (x[high] - x[low])
    root = unknowns.layout["global_orient"]
    first, last = (roma.rotvec_to_rotmat(x[rows][:, root]) for rows in (low, high))
    turn = roma.rotmat_to_rotvec(first.mT @ last)
    out[:, root] = roma.rotmat_to_rotvec(first @ roma.rotvec_to_rotmat(share * turn))
    out[known] = x[known]
    return out
