"""Least-squares problems made of terms: what `levenberg_marquardt.minimise` is given.

A person's unknowns are in `unknowns`, the terms in `terms`. Stages of a fit are weights and masks on one such problem.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.fitting.energy.config import EnergyConfig, energy_terms
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel, LandmarkState
from bodyfit.fitting.energy.levenberg_marquardt import Linearization, geman_mcclure, total_cost
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.projection import project, solve_translation
from bodyfit.fitting.energy.sphere_model import SphereModel
from bodyfit.fitting.energy.terms import Evaluation, Gaussian, Reprojection, Term
from bodyfit.fitting.energy.unknowns import Layout, Unknowns
from bodyfit.prior.model.vposer import VPoser


class Problem:
    """People as a list of terms.

    Args:
        unknowns, model: unknowns and landmarks.
        terms: with names of their own. A term may use the rows of those before it.
        observations: the people, for terms that look through a camera.
        softness: width over which kinks of the decoder's activations are rounded at least.

    Attributes:
        rows: where each term's residuals stand among the rows. Gaussians on single unknowns have none: their Jacobian
            is kept as a diagonal.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        model: LandmarkModel,
        terms: Sequence[Term],
        observations: Observations | None = None,
        softness: float = 0.0,
    ):
        self.unknowns, self.model, self.terms = unknowns, model, list(terms)
        self.observations, self.softness = observations, softness
        self._gather_diagonal()
        self.rows = Layout({term.name: term.rows for term in self.dense})

    def _gather_diagonal(self) -> None:
        """Gaussians as one vector of standard deviations, means and curvatures; all other terms are dense."""
        size, like = self.unknowns.layout.size, {"dtype": self.model.dtype, "device": self.model.device}
        self._sigma, self._mean = torch.full((size,), torch.inf, **like), torch.zeros(1, size, **like)
        self._curvature, taken = torch.zeros(size, **like), torch.zeros(size, dtype=torch.bool)
        self.dense: list[Term] = []
        for term in self.terms:
            # A second Gaussian on the same unknown is no diagonal any more.
            if not isinstance(term, Gaussian) or taken[term.columns].any():
                self.dense.append(term)
                continue
            taken[term.columns], self._sigma[term.columns] = True, term.sigma
            if term.mean.dim() == 2:
                self._mean = self._mean.repeat(len(term.mean) if len(self._mean) == 1 else 1, 1)
            self._mean[:, term.columns] = term.mean
            if term.curvature is not None:
                self._curvature[term.columns] = term.curvature
        self._slope = 1 / self._sigma

    def at(self, x: Float[Tensor, "B D"], items: Int[Tensor, " B"], *, derivatives: bool = False) -> Evaluation:
        """Pose the people `items` at x."""
        unknowns, tangent, left_jacobians = self.unknowns, None, None
        if derivatives:
            body, tangent = unknowns.decode_with_tangent(x, self.softness)
            turns, left_jacobians = unknowns.direct_rotations(x)
            rotations = unknowns.assemble(turns, body)
        else:
            body = unknowns.decode(x, self.softness)
            rotations = unknowns.rotations(x, body)
        transl = x[:, unknowns.layout["transl"]]
        state = self.model(rotations, unknowns.shape(x), transl, derivatives=derivatives)
        at = self._seen_at(x, items, body, state.points)
        at.kinematics = state.kinematics
        if derivatives:
            at.state, at.tangent, at.left_jacobians = state, tangent, left_jacobians
        return at

    def _seen_at(self, x: Tensor, items: Tensor, body: Tensor, points: Tensor) -> Evaluation:
        """The evaluation of posed people, projected where there are cameras."""
        if self.observations is None:
            return Evaluation(x, items, body, points)
        seen = self.observations.select(items)
        focal = self.focal(x, seen.focal_px)
        return Evaluation(x, items, body, points, seen, focal, project(points, focal, seen.center_px))

    def focal(self, x: Float[Tensor, "B D"], focal_px: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Focal lengths at x, given the guessed ones."""
        return focal_px * x[:, self.unknowns.layout["log_focal"]].squeeze(1).exp()

    def landmarks(self, x: Float[Tensor, "B D"]) -> LandmarkState:
        """Landmarks only, no derivatives."""
        rotations = self.unknowns.rotations(x, self.unknowns.decode(x, self.softness))
        return self.model(rotations, self.unknowns.shape(x), x[:, self.unknowns.layout["transl"]], derivatives=False)

    def evaluate(self, x: Float[Tensor, "B D"], items: Int[Tensor, " B"]) -> Linearization:
        """All residuals and their Jacobian at x, for the people `items`."""
        return self.linearized(self.at(x, items, derivatives=True))

    def linearized(self, at: Evaluation) -> Linearization:
        """The same of people who are posed already, with derivatives."""
        jacobian = at.x.new_zeros(len(at.x), self.rows.size, self.unknowns.layout.size)
        for term in self.dense:
            at.jacobians[term] = jacobian[:, self.rows[term.name]]
            term.jacobian(at, at.jacobians[term])
        return self.linearization(at, jacobian)

    def costs(self, x: Float[Tensor, "B D"], items: Int[Tensor, " B"] | None = None) -> Float[Tensor, " B"]:
        """Cost at x for the people `items`, all in their order where None: what `total_cost(evaluate(x, items))` is, at
        a sixth of its price."""
        items = torch.arange(len(x), device=x.device) if items is None else items
        return total_cost(self.linearization(self.at(x, items)))

    def linearization(self, at: Evaluation, jacobian: Float[Tensor, "B M D"] | None = None) -> Linearization:
        """All residuals with their weights and scales."""
        weights, scales, batch = [], [], len(at.x)
        for term in self.dense:
            at.residuals[term] = term.residuals(at)
            weight, scale = term.weights(at), term.robust_scale(at)
            weights.append(at.x.new_ones(batch, term.rows) if weight is None else weight)
            scales.append(at.x.new_full((1, term.rows), torch.inf) if scale is None else scale)
        if max(map(len, scales), default=1) > 1:
            scales = [scale.expand(batch, -1) for scale in scales]
        rows = torch.cat(list(at.residuals.values()), 1)
        mean = self._mean if len(self._mean) == 1 else self._mean[at.items]
        diagonal = (at.x - mean) / self._sigma
        return Linearization(
            rows,
            jacobian,
            torch.cat(weights, 1),
            torch.cat(scales, 1),
            diagonal,
            self._slope.expand_as(diagonal),
            self._curvature,
        )


class BodyProblem(Problem):
    """People seen as keypoints by a camera, under an energy.

    Args:
        unknowns, model: unknowns and landmarks.
        prior: the pose prior.
        observations: the people.
        energy: weights of the terms.
        depth_m, rotation_jacobian, spheres: as in `energy_terms`.
        more: further terms.
    """

    def __init__(
        self,
        unknowns: Unknowns,
        model: LandmarkModel,
        prior: VPoser,
        observations: Observations,
        energy: EnergyConfig,
        *,
        depth_m: Float[Tensor, " N"] | None = None,
        rotation_jacobian: RotationJacobian | None = None,
        spheres: SphereModel | None = None,
        more: Sequence[Term] = (),
    ):
        given = {"depth_m": depth_m, "rotation_jacobian": rotation_jacobian, "spheres": spheres}
        terms = [*energy_terms(unknowns, model, prior, observations, energy, **given), *more]
        super().__init__(unknowns, model, terms, observations, energy.softness)
        self.energy = energy

    @property
    def _reprojection(self) -> Reprojection:
        return next(term for term in self.terms if isinstance(term, Reprojection))

    def given_up(self, x: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """Share of each person's keypoints, by weight, that the robust loss has given up at x."""
        return self._reprojection.given_up(self.at(x, torch.arange(len(x), device=x.device)))

    def cost_of(self, names: Collection[str], x: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """What the reprojection of these landmarks adds to each person's cost at x."""
        at, term = self.at(x, torch.arange(len(x), device=x.device)), self._reprojection
        chosen = torch.tensor([name in names for name in self.model.names], device=x.device).repeat_interleave(2)
        loss = geman_mcclure(term.residuals(at), term.robust_scale(at))[0]
        return (term.weights(at) * loss)[:, chosen].sum(1)

    def placed(self, x: Float[Tensor, "B D"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, " B"]]:
        """Everyone's x with the translation of the linear solve (`projection.solve_translation`), and its cost."""
        x, block, seen = x.clone(), self.unknowns.layout["transl"], self.observations
        body = self.unknowns.decode(x, self.softness)
        rotations, origin = self.unknowns.rotations(x, body), torch.zeros_like(x[:, block])
        points = self.model(rotations, self.unknowns.shape(x), origin, derivatives=False).points
        weights = self._reprojection.point_weights(seen)
        transl = solve_translation(points, seen.targets_px, weights, seen.focal_px, seen.center_px)
        x[:, block] = transl
        at = self._seen_at(x, torch.arange(len(x), device=x.device), body, points + transl[:, None])
        return x, total_cost(self.linearization(at))
