"""Where the fit of a person over time starts: hypotheses of all views, the best way through them along time.

A single picture often has two explanations that cost nearly the same: facing the camera or not, a leg bent forwards or
backwards. Neighbouring pictures decide: the body does not turn round within a thirtieth of a second. So each view keeps
a few hypotheses, and dynamic programming (Viterbi) finds the cheapest way along time through them. Where even this way
jumps, the poses beside the jump become hypotheses of the moments across it, and the way is searched again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.levenberg_marquardt import geman_mcclure
from bodyfit.fitting.energy.observations import Observations
from bodyfit.fitting.energy.projection import project
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.sequence.config import REFERENCE_FPS, SequenceConfig
from bodyfit.fitting.sequence.smoothness import SMOOTHED
from bodyfit.fitting.sequence.views import Views
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.hypotheses import StartConfig

_AT_ONCE = 4096  # poses: bounds the memory
_ALONG = 32  # moments whose motion is looked at together
_OWN_DEPTH = 1e-3  # trust in a single view's depth, relative to that in its direction


@dataclass(frozen=True)
class Candidates:
    """Hypotheses of moments."""

    view: Int[Tensor, " C"]
    """The view that each came from."""
    moment: Int[Tensor, " C"]
    """Of each."""
    x: Float[Tensor, "C D"]
    """The root's orientation is that in the world, the translation that in the camera of the view."""
    cost: Float[Tensor, " C"]
    """Under the wide robust scale: the view's own, or that of all calibrated views of the moment."""
    points: Float[Tensor, "C S 3"]
    """Body landmarks relative to the pelvis in the world, m."""

    def __len__(self) -> int:
        return len(self.view)


class GroupStarter:
    """Finds where the fit of one person starts.

    Args:
        fitter: its unknowns, prior and body.
        model: landmarks seen.
        views: all sightings.
        moments: T.
        fps: moments per second.
        config: how many hypotheses, and what a jump costs.
        calibrated: whether the views' places are known.

    Attributes:
        views: the same with predicted poses.
    """

    def __init__(
        self,
        fitter: Fitter,
        model: LandmarkModel,
        views: Views,
        moments: int,
        fps: float,
        config: SequenceConfig,
        calibrated: bool = False,
    ):
        self.fitter, self.model, self.moments, self.fps, self.config = fitter, model, moments, fps, config
        self.unknowns, self.layout, self.calibrated = fitter.unknowns, fitter.unknowns.layout, calibrated
        start = replace(fitter.config.start, finished=config.hypotheses, finished_within=config.hypotheses_within)
        # Every second, third ... view of one camera has hypotheses.
        self.step = 1 if calibrated else max(int(fps / config.starts_per_second), 1)
        self.x, self.cost, seen = self._hypotheses(views.seen, start)
        self.views = replace(views, seen=seen)
        self.body = fitter.landmarks.model_of(tuple(sorted(set(SMOOTHED).intersection(model.names))))
        self.names = self.body.names

    def start(self, given: Mapping[int, Float[Tensor, " D"]] | None = None) -> Float[Tensor, "T D"]:
        """Unknowns of all moments, those that nobody saw included, with one shape.

        Args:
            given: more hypotheses of some moments, in the world.

        Raises:
            ValueError: if there is no usable view at all.
        """
        usable = torch.isfinite(self.cost) & torch.isfinite(self.x).all(2)
        if not usable.any():
            raise ValueError("no view has a usable fit")
        betas = self.x[usable][:, self.layout["betas"]].median(0).values
        rows = usable.flatten().nonzero()[:, 0]
        view = rows // usable.shape[1]
        candidates = self._candidates(view, self.x.flatten(0, 1)[rows], self.cost.flatten()[rows])
        candidates = _joined(candidates, self._given(given or {}))
        way, tried = self.cheapest_way(candidates), set[tuple[int, int]]()
        for _ in range(self.config.bridged):
            more = self._across_jumps(candidates, way, tried)
            if more is None:
                break
            candidates = _joined(candidates, more)
            way = self.cheapest_way(candidates)
        return self._start_of(candidates, way, betas)

    def _with_predicted_poses(self, seen: Observations) -> Observations:
        fitter, model = self.fitter, self.model
        parts = fitter.in_groups(lambda rows: fitter.with_predicted_pose(seen.select(rows), model).predicted, len(seen))
        if parts[0] is None:
            return seen
        return replace(seen, predicted=replace(parts[0], mean=torch.cat([part.mean for part in parts])))

    def _hypotheses(
        self, seen: Observations, start: StartConfig
    ) -> tuple[Float[Tensor, "V F D"], Float[Tensor, "V F"], Observations]:
        """Hypotheses of views and their costs, infinite for views without any; and all views with predicted poses."""
        rows = torch.arange(len(seen), device=seen.size_px.device)
        chosen = rows[(rows % self.step == 0) | (rows == len(rows) - 1)]
        some, cost, read = self.fitter.hypotheses(seen.select(chosen), self.model, start)
        if len(chosen) == len(rows):
            return some, cost, read
        x = some.new_zeros(len(rows), *some.shape[1:])
        costs = torch.full_like(x[..., 0], torch.inf)
        whole = x.index_copy(0, chosen, some), costs.index_copy(0, chosen, cost)
        return *whole, self._with_predicted_poses(seen)

    def _start_of(self, candidates: Candidates, way: Int[Tensor, " W"], betas: Tensor) -> Float[Tensor, "T D"]:
        moment, x = candidates.moment[way], self.x.new_zeros(self.moments, self.layout.size)
        known = torch.zeros(self.moments, dtype=torch.bool, device=x.device)
        x[moment], known[moment] = candidates.x[way], True
        pelvis = self._where_rays_meet(candidates, way)
        x[:, self.layout["betas"]], x[:, self.layout["log_focal"]] = betas, 0
        x[:, self.layout["transl"]] = pelvis - self._pelvis(x)
        return fill_gaps(x, known, self.unknowns)

    # ---- hypotheses -------------------------------------------------------------------------------------------------

    def _candidates(self, view: Tensor, x: Float[Tensor, "C D"], cost: Float[Tensor, " C"]) -> Candidates:
        """Hypotheses in the frames of their cameras, turned to the world."""
        x, root = x.clone(), self.layout["global_orient"]
        turned = self.views.rotation[view].mT @ roma.rotvec_to_rotmat(x[:, root])
        x[:, root] = roma.rotmat_to_rotvec(turned)
        return self._in_world(view, x, cost)

    def _in_world(self, view: Tensor, x: Float[Tensor, "C D"], cost: Float[Tensor, " C"]) -> Candidates:
        points = self._body_points(x)
        out = Candidates(view, self.views.moment[view], x, cost, points)
        return replace(out, cost=self._cost_in_views(out)) if self.calibrated else out

    def _body_points(self, x: Float[Tensor, "C D"]) -> Float[Tensor, "C S 3"]:
        parts, pelvis = [], self.names.index("pelvis")
        for some in x.split(_AT_ONCE):
            rotations, origin = self.unknowns.rotations(some, self.unknowns.decode(some)), torch.zeros_like(some[:, :3])
            points = self.body(rotations, self.unknowns.shape(some), origin, derivatives=False).points
            parts.append(points - points[:, pelvis : pelvis + 1])
        return torch.cat(parts)

    def _cost_in_views(self, candidates: Candidates) -> Float[Tensor, " C"]:
        """Robust reprojection in all views of the moment, the pelvis where their rays meet."""
        views, energy, cost = self.views, self.fitter.config.energy, torch.zeros_like(candidates.cost)
        columns = torch.tensor([self.model.names.index(name) for name in self.names], device=cost.device)
        pelvis = self._where_rays_meet(None, None)[candidates.moment]
        first = torch.searchsorted(views.moment, candidates.moment)
        count = torch.searchsorted(views.moment, candidates.moment, right=True) - first
        scale = cost.new_full((1, 1), self.config.early_robust_sigmas)
        for n in range(int(count.max())):
            for rows in (count > n).nonzero()[:, 0].split(_AT_ONCE):
                view = first[rows] + n
                seen = views.seen.select(view).of_landmarks(columns)
                there = (candidates.points[rows] + pelvis[rows, None]) @ views.rotation[view].mT
                there = there + views.translation[view, None]
                pixels = project(there, seen.focal_px, seen.center_px)
                away = (pixels - seen.targets_px) / (energy.sigma_share * seen.size_px)[:, None, None]
                loss = geman_mcclure(away.norm(dim=-1), scale)[0]
                cost[rows] += (seen.weights * loss).sum(1)
        return cost

    def _given(self, given: Mapping[int, Float[Tensor, " D"]]) -> Candidates | None:
        """Hypotheses that somebody else has: as they are where cameras are calibrated, else after the first stage."""
        first = {t: n for n, t in reversed(list(enumerate(self.views.moment.tolist())))}
        rows = [(first[t], x) for t, x in given.items() if t in first]
        if not rows:
            return None
        view, x = torch.tensor([n for n, _ in rows], device=self.x.device), torch.stack([x for _, x in rows])
        if self.calibrated:
            transl, origin = self.layout["transl"], self._pelvis(x)
            there = self.views.rotation[view] @ (origin + x[:, transl])[..., None]
            x[:, transl] = there[..., 0] + self.views.translation[view] - origin
            return self._in_world(view, x, x.new_zeros(len(x)))
        x, cost = self.fitter.follow(self.views.seen.select(view), self.model, x[:, None])
        return self._candidates(view, x[:, 0], cost[:, 0])

    # ---- along time -------------------------------------------------------------------------------------------------

    def cheapest_way(self, candidates: Candidates) -> Int[Tensor, " W"]:
        """One candidate of each moment that has any, by dynamic programming: their costs and the costs of the motion
        from each to the next. Costs of views stand for those of the views between, too."""
        order, cost = torch.argsort(candidates.moment, stable=True), self.step * candidates.cost
        moments, sizes = candidates.moment[order].unique_consecutive(return_counts=True)
        groups, between = order.split(sizes.tolist()), self._motion_costs(candidates, order, moments, sizes)
        best, came = cost[groups[0]], []
        for here, motion in zip(groups[1:], between, strict=True):
            least, source = (best[:, None] + motion[: len(best), : len(here)]).min(0)
            came.append(source)
            best = least + cost[here]
        place = int(best.argmin())
        way = [groups[-1][place]]
        for source, group in zip(came[::-1], groups[-2::-1], strict=True):
            place = int(source[place])
            way.append(group[place])
        return torch.stack(way[::-1])

    def _motion_costs(
        self, candidates: Candidates, order: Tensor, moments: Int[Tensor, " W"], sizes: Int[Tensor, " W"]
    ) -> Iterator[Float[Tensor, "B H"]]:
        """From each moment's candidates (at least as many rows) to the next one's: robust squares of the velocities of
        body landmarks, summed up over the time between."""
        first, gap = sizes.cumsum(0) - sizes, moments.diff()
        scale = candidates.cost.new_full((1, 1), self.config.acceleration_robust_sigmas)
        for low in range(0, len(gap), _ALONG):  # some moments at a time: jumps have many candidates
            some, each = slice(low, low + _ALONG + 1), gap[low : low + _ALONG, None, None]
            number = torch.arange(int(sizes[some].max()), device=order.device)
            points = candidates.points[order[first[some, None] + torch.minimum(number, sizes[some, None] - 1)]]
            moved = (points[1:, None] - points[:-1, :, None]).norm(dim=-1)
            rows = moved * (self.fps / self.config.speed_sigma / each[..., None])
            yield from geman_mcclure(rows, scale)[0].sum(-1) * (each * (REFERENCE_FPS / self.fps))

    def _across_jumps(
        self, candidates: Candidates, way: Int[Tensor, " W"], tried: set[tuple[int, int]]
    ) -> Candidates | None:
        """Where the way jumps, the moments on either side get the pose on the other side as a hypothesis, but for
        those that were `tried`: views and candidates; what is tried here is added."""
        moments = candidates.moment[way]
        moved = (candidates.points[way[1:]] - candidates.points[way[:-1]]).norm(dim=-1).mean(1)
        jumps = (moved * self.fps / moments.diff() > self.config.jump_speed).nonzero()[:, 0].tolist()
        reach = max(round(self.config.jump_seconds * self.fps / self.step), 1)
        new: dict[tuple[int, int], int] = {}
        views, chosen = candidates.view[way].tolist(), way.tolist()
        for n in jumps:
            first, last = max(n - reach + 1, 0), min(n + reach, len(way) - 1)
            new |= {(views[t], chosen[n + 1 if t <= n else n]): chosen[t] for t in range(first, last + 1)}
        new = {pair: here for pair, here in new.items() if pair not in tried}
        if not new:
            return None
        tried.update(new)
        here, there = (way.new_tensor(some) for some in ([*new.values()], [source for _, source in new]))
        view, x = candidates.view[here], candidates.x[there].clone()
        root, transl = self.layout["global_orient"], self.layout["transl"]
        x[:, root] = roma.rotmat_to_rotvec(self.views.rotation[view] @ roma.rotvec_to_rotmat(x[:, root]))
        own = candidates.x[here]
        x[:, transl] = self._pelvis(own) + own[:, transl] - self._pelvis(x)
        x, cost = self.fitter.follow(self.views.seen.select(view), self.model, x[:, None])
        good = torch.isfinite(cost[:, 0]) & torch.isfinite(x[:, 0]).all(1)
        return self._candidates(view[good], x[good, 0], cost[good, 0])

    # ---- places -----------------------------------------------------------------------------------------------------

    def _pelvis(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B 3"]:
        """The pelvis, about which the root turns, before translation."""
        still = torch.eye(3, dtype=x.dtype, device=x.device).expand(len(x), len(self.unknowns.names), 3, 3)
        shape = self.unknowns.shape(x)
        return torch.cat(
            [
                self.body.kinematics(a, b, derivatives=False).positions[0]
                for a, b in zip(still.split(_AT_ONCE), shape.split(_AT_ONCE), strict=True)
            ]
        )

    def _where_rays_meet(self, candidates: Candidates | None, way: Tensor | None) -> Float[Tensor, "T 3"]:
        """The pelvis of each moment: the point nearest to all views' rays; of one ray, the point at its own depth.

        Each view's ray is that of its first hypothesis, or of the candidate on the way that came from it.
        """
        views, x = self.views, self.x[:, 0].clone()
        if candidates is not None:
            x[candidates.view[way]] = candidates.x[way]
        good = torch.isfinite(x).all(1) & torch.isfinite(self.cost[:, 0])
        in_camera = self._pelvis(x) + x[:, self.layout["transl"]]
        place = ((in_camera - views.translation)[:, None] @ views.rotation)[:, 0]
        ray = torch.nn.functional.normalize((in_camera[:, None] @ views.rotation)[:, 0], dim=1)
        eye = torch.eye(3, dtype=place.dtype, device=place.device)
        across = (1 + _OWN_DEPTH) * eye - ray[:, :, None] * ray[:, None]
        across = torch.where(good[:, None, None], across, 0.0)
        toward = (across @ place.nan_to_num()[..., None])[..., 0]
        matrix = place.new_zeros(self.moments, 3, 3).index_add(0, views.moment, across)
        right = place.new_zeros(self.moments, 3).index_add(0, views.moment, toward)
        seen = matrix.diagonal(dim1=1, dim2=2).sum(1) > 0
        matrix = torch.where(seen[:, None, None], matrix, eye)
        return torch.linalg.solve(matrix.double(), right.double()[..., None])[..., 0].to(place)


def _joined(first: Candidates, more: Candidates | None) -> Candidates:
    if more is None:
        return first
    return Candidates(*(torch.cat([getattr(c, f.name) for c in (first, more)]) for f in fields(Candidates)))


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
