"""What the collision term does: penetration and errors of fits with and without it, and the prior's samples."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.posing import pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.benchmark.groups import GroupPhoto, floor_errors
from bodyfit.fitting.benchmark.measure import Bench
from bodyfit.fitting.benchmark.penetration import SEEN_M, Penetration, PenetrationMeter
from bodyfit.fitting.energy.collisions import SelfCollision
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions, minimise
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.terms import Gaussian
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.start.synthetic_people import SyntheticPeople

SAMPLE_SIGMA = 0.3
"""How far samples of the prior may move, in standard deviations of the unit prior, at a cost of one."""
SAMPLE_DEPTH_M = 0.005
"""Depth to which spheres may overlap there at a cost of one: nothing that was seen is given up for it."""
Figures = dict[str, float]


def with_and_without(config: FitConfig | None = None, device: str | torch.device = "cpu") -> dict[str, Fitter]:
    """Two fitters that differ in the collision term alone."""
    config = config or FitConfig()
    off = replace(config, energy=replace(config.energy, collision_sigma_m=math.inf))
    return {"without": Fitter(config=off, device=device), "with": Fitter(config=config, device=device)}


@torch.no_grad()
def of_people(fitters: dict[str, Fitter], people: SyntheticPeople) -> dict[str, Figures]:
    """Penetration of synthetic people as they are, and penetration and errors of their fits; PA-MPJPE also of those
    alone whose true body does not pass through itself: motion capture on other bodies often does."""
    meter = PenetrationMeter(next(iter(fitters.values())).body)
    truth = list(map(meter.measure, people.pose(meter.body).vertices.double().cpu().numpy()))
    apart = torch.tensor([one.deepest_mm < 1000 * SEEN_M for one in truth])
    found = {"truth": in_short(truth) | {"people_apart": float(apart.sum())}}
    each: dict[str, list[np.ndarray]] = {}
    for name, fitter in fitters.items():
        bench = Bench(fitter, people)
        solution = bench.solve(people)
        found[name] = in_short(map(meter.measure, _vertices(fitter, solution.x)))
        found[name] |= {"iterations": float(solution.iterations.double().mean())}
        errors = bench.errors(people, solution.x)
        for error in ("pa_mpjpe_mm", "image_error_percent"):
            found[name] |= {error: float(errors[error].mean()), f"{error}_median": float(errors[error].median())}
            each.setdefault(error, []).append(errors[error].double().cpu().numpy())
        found[name]["pa_mpjpe_mm_of_people_apart"] = float(errors["pa_mpjpe_mm"].cpu()[apart].mean())
    for error, pair in each.items():
        found["with"] |= paired(error, *pair)
    return found


def of_photos(fitters: dict[str, Fitter], frames: Sequence[Frame]) -> dict[str, Figures]:
    """Penetration and error in the image of everybody whom all fitters fitted."""
    results = {name: fitter.fit(frames) for name, fitter in fitters.items()}
    both = [n for n, row in enumerate(zip(*results.values(), strict=True)) if all(r.status != "failed" for r in row)]
    if not both:
        raise BodyfitError("nobody in the photos could be fitted.")
    meter, found = PenetrationMeter(next(iter(fitters.values())).body), {}  # children have the same mesh
    each = []
    for name in fitters:
        mine = [results[name][n] for n in both]
        found[name] = in_short(meter.measure(np.asarray(r.mesh().vertices)) for r in mine)
        each.append(100 * np.array([r.error_share for r in mine]))
        found[name] |= {"error_percent": float(each[-1].mean()), "error_percent_median": float(np.median(each[-1]))}
    found["with"] |= paired("error_percent", *each)
    return found


def paired(error: str, without: Float[np.ndarray, " P"], after: Float[np.ndarray, " P"]) -> Figures:
    """How much each person's own error changes, in percent: quartiles. Medians of all people's errors may move apart
    though nearly everybody stays where they were."""
    change = 100 * (after / without - 1)
    quartiles = np.percentile(change, (25, 50, 75))
    return {f"{error}_change_{q}": float(v) for q, v in zip(("lower", "median", "upper"), quartiles, strict=True)}


@torch.no_grad()
def of_pairs(fitter: Fitter, photos: Sequence[GroupPhoto]) -> dict[str, Figures]:
    """Penetration between the two people of each photo, fitted alone and with `people_apart`."""
    meter, found = PenetrationMeter(fitter.body), {}
    frames = [photo.frame for photo in photos]
    kind = "auto" if any(bool(photo.children.any()) for photo in photos) else "adult"
    adults = replace(fitter.config, age=replace(fitter.config.age, kind=kind))
    for name, apart in (("without", False), ("with", True)):
        config = replace(adults, people_apart=apart)
        began = time.perf_counter()
        results = Fitter(fitter.body, config=config, like=fitter).fit(frames)
        seconds = time.perf_counter() - began
        meshes = [np.asarray(result.mesh().vertices) for result in results]
        found[name] = in_short(meter.between(*pair) for pair in zip(meshes[::2], meshes[1::2], strict=True))
        found[name]["pairs"] = found[name].pop("people")
        found[name]["error_percent"] = 100 * float(np.mean([r.error_share for r in results]))
        found[name] |= {"seconds": seconds} | {
            key: value for key, value in floor_errors(photos, results).items() if key.endswith(("mm", "percent"))
        }
    return found


@torch.no_grad()
def of_samples(fitter: Fitter, count: int, seed: int) -> dict[str, Figures]:
    """Penetration of samples of the prior, and of the same after they were moved out of themselves."""
    x, meter = torch.zeros(count, fitter.unknowns.layout.size, dtype=fitter.dtype), PenetrationMeter(fitter.body)
    x[:, fitter.unknowns.layout["latent"]] = fitter.prior.sample(count, torch.Generator().manual_seed(seed)).detach()
    moved = out_of_themselves(fitter, x)
    latents = fitter.unknowns.layout["latent"]
    figures = {
        n: in_short(map(meter.measure, _vertices(fitter, some))) for n, some in (("without", x), ("with", moved))
    }
    figures["with"]["latent_moved"] = float((moved - x)[:, latents].norm(dim=1).mean())
    return figures


def out_of_themselves(fitter: Fitter, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Bodies whose latent was moved, no further than it must, until they pass through themselves no more."""
    unknowns, columns = fitter.unknowns, fitter.unknowns.layout["latent"]
    width = x.new_full((columns.stop - columns.start,), SAMPLE_SIGMA)
    stay = Gaussian("stay", columns, width, x[:, columns].clone())
    apart = SelfCollision(unknowns, fitter.spheres, sigma_m=SAMPLE_DEPTH_M)
    problem = Problem(unknowns, fitter.everything, [stay, apart])
    free = unknowns.layout.mask("latent").to(x.device)
    return minimise(problem.evaluate, unknowns.retract, x, SolverOptions(), cost=problem.costs, free=free).x


def in_short(measured: Iterable[Penetration]) -> Figures:
    """Figures of many people."""
    measured = list(measured)
    volume, deepest = (np.array([getattr(one, name) for one in measured]) for name in ("volume_cm3", "deepest_mm"))
    return {
        "people": len(measured),
        "volume_cm3": float(volume.mean()),
        "deepest_mm": float(deepest.mean()),
        "deepest_mm_90_percent": float(np.percentile(deepest, 90)),
        "penetrating_share": float((deepest > 1000 * SEEN_M).mean()),
        "penetrating_3cm_share": float((deepest > 30).mean()),
        "folded_skin_share": float(np.mean([one.folded_share for one in measured])),
    }


def _vertices(fitter: Fitter, x: Float[Tensor, "B D"]) -> Float[np.ndarray, "B V 3"]:
    unknowns, body = fitter.unknowns, fitter.body
    names = ["betas", "global_orient", "transl"] + (["expression", "jaw_pose"] if body.kind == "smplx" else [])
    hands = {f"{side}_hand_pose": unknowns.hand_pose(x, side) for side in unknowns.hands}
    blocks = {name: x[:, unknowns.layout[name]] for name in names}
    pose = roma.rotmat_to_rotvec(unknowns.decode(x)).flatten(1)
    parts = [
        pose_body(body, body_pose=pose[rows], **{n: v[rows] for n, v in (blocks | hands).items()}).vertices
        for rows in torch.arange(len(x)).split(32)
    ]
    return torch.cat(parts).double().cpu().numpy()
