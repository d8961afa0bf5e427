"""Which limbs of a person over time, seen by one camera, may be flipped in depth: probabilities at every moment.

What each frame alone knows (`fitting.uncertainty.flip_probability`) at the solution of the clip, whose other moments
have decided about some flips already: so the odds are lower than in photos, alike for all bones.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.fitting.energy.problem import BodyProblem
from bodyfit.fitting.sequence.places import in_cameras
from bodyfit.fitting.sequence.windows import GroupSolver
from bodyfit.fitting.uncertainty.flip_coefficients import CLIP_OFFSET
from bodyfit.fitting.uncertainty.flip_probability import features, flip_probability

AT_ONCE = 256
"""Views that are evaluated together."""


def flips_over_time(
    solver: GroupSolver, x: Float[Tensor, "T D"], bones: Float[Tensor, "T 8 3 3"]
) -> Float[Tensor, "T 8"]:
    """Probability that each of LIMB_BONES is flipped in depth; between seen moments where nobody saw the person.

    Args:
        solver: with one view at a moment at most.
        x: the solution.
        bones: covariance of the lower joint of each bone relative to its upper one, in the frame of the fit.
    """
    views, fitter = solver.views, solver.fitter
    there = in_cameras(fitter, x[views.moment], views.rotation, views.translation)
    turn = views.rotation[:, None]
    bones = turn @ bones[views.moment].to(turn) @ turn.mT
    found = []
    for rows in torch.arange(len(there), device=x.device).split(AT_ONCE):
        seen, some = views.seen.select(rows), there[rows]
        problem = BodyProblem(fitter.unknowns, solver.model, fitter.prior, seen, fitter.config.energy)
        at = problem.at(some, torch.arange(len(some), device=x.device))
        limbs = fitter.afterwards.estimator.solved_limbs(problem, at, problem.linearization(at), bones[rows])
        found.append(flip_probability(features(limbs), CLIP_OFFSET))
    known, probability = views.moment.cpu().numpy(), torch.cat(found).double().cpu().numpy()
    between = [np.interp(np.arange(len(x)), known, column) for column in probability.T]
    return torch.as_tensor(np.stack(between, 1)).to(x)
