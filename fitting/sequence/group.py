"""The joint fit of one person: sightings at many moments and by calibrated cameras in, a Track out.

track = fit_group(Fitter(), [Sighting(t, frame) for t, frame in enumerate(frames)], fps=30)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.data.results.record import Parameters
from bodyfit.data.results.track import Track
from bodyfit.fitting.energy.floor import foot_points
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.landmark_places import CONTOUR_NAMES
from bodyfit.fitting.energy.observations import observe
from bodyfit.fitting.sequence.ages import Age, of_right_age
from bodyfit.fitting.sequence.apart import move_apart
from bodyfit.fitting.sequence.arrow_system import in_order
from bodyfit.fitting.sequence.certainty import covariances_of
from bodyfit.fitting.sequence.clip_posterior import ClipPosterior
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.contacts import Contacts, GroundConfig
from bodyfit.fitting.sequence.neighbours import Neighbour
from bodyfit.fitting.sequence.smoothness import SMOOTHED
from bodyfit.fitting.sequence.standing import Standing, Walker, settle
from bodyfit.fitting.sequence.starts import GroupStarter
from bodyfit.fitting.sequence.views import Views
from bodyfit.fitting.sequence.windows import GroupSolver
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.threads import one_thread, worker_threads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sighting:
    """One person in one frame at one moment."""

    moment: int
    """Number of the moment in the clip."""
    frame: Frame
    """Its keypoints and camera; with `extrinsics` where the camera is calibrated."""
    person: int = 0
    """Which of the frame's people."""


@torch.no_grad()
def fit_group(
    fitter: Fitter,
    sightings: Sequence[Sighting],
    *,
    fps: float,
    config: SequenceConfig | None = None,
    person: str = "000",
    starts: Mapping[int, Parameters] | None = None,
) -> Track:
    """Fit one person seen at many moments, by one camera or by many calibrated ones, with one shape.

    Args:
        fitter: body, prior and weights; its focal lengths stay as the frames say, whatever `refine_focal` is.
        sightings: in any order; each moment may have several, by different cameras. Moments without one, between the
            first and the last, are solved for as well ("interpolated").
        fps: moments per second.
        config: weights of the temporal terms.
        person: name of the person.
        starts: SMPL-X parameters of some moments, in the frame of the track, such as those fitted to triangulated
            points. They are hypotheses beside those of single views.

    Returns:
        the track, in the world frame where frames have extrinsics, else in the camera's. Where no sighting can be
        fitted, all its moments are "failed" and `reason` says why.

    Raises:
        BodyfitError: for no sightings, a frame rate that is none, cameras of which only some are calibrated, several
            uncalibrated sightings at one moment, or a person that a frame does not have.
    """
    config = config or SequenceConfig()
    alone = solve_group(fitter, sightings, fps=fps, config=config, person=person, starts=starts)
    return (put_on_ground([alone], config.ground) if config.ground else [alone])[0].track()


@dataclass(frozen=True)
class GroupFit:
    """One person over time, fitted; on the ground after `put_on_ground`, out of others after `keep_apart`."""

    blank: _Blank
    solver: GroupSolver | None
    """None, like x, where the person could not be fitted."""
    x: Float[Tensor, "T D"] | None
    counts: Int[np.ndarray, " T"]
    """How many views each moment of x has."""
    skipped: int
    """Moments before those of x."""
    reason: str = ""
    """Why the person could not be fitted."""
    standing: Standing | None = None
    """What is known of the feet and the ground; None where that was not asked for."""
    sure: dict[str, Any] = field(default_factory=dict)
    """Covariances, `flip_probability` and `posterior` by their names in a Track; empty where that was not asked for, or
    there are none."""

    def track(self) -> Track:
        """The result."""
        return self.blank.failed(self.reason) if self.x is None else self.blank.fitted(self)


def solve_group(
    fitter: Fitter,
    sightings: Sequence[Sighting],
    *,
    fps: float,
    config: SequenceConfig,
    person: str = "000",
    starts: Mapping[int, Parameters] | None = None,
) -> GroupFit:
    """`fit_group` without the ground, whatever `config.ground` is. Raises what `fit_group` raises."""
    _check(sightings, fps)
    sightings = sorted(sightings, key=lambda s: s.moment)
    first, last = sightings[0].moment, sightings[-1].moment
    moments = np.arange(first, last + 1)
    blank = _Blank(fitter, person, fps, moments, "world" if sightings[0].frame.extrinsics else "camera")
    problems = [s.frame.detections.problems[s.person] for s in sightings]
    usable = [s for s, problem in zip(sightings, problems, strict=True) if problem is None]
    if not usable:
        reason = f"no sighting can be fitted; the first: {problems[0]}"
        return GroupFit(blank, None, None, np.zeros(0, dtype=int), 0, reason)
    # Moments before the first and after the last usable one have nothing to hold them.
    low, count = usable[0].moment, usable[-1].moment - usable[0].moment + 1
    given = {t - low: fitter.unknowns_of(start) for t, start in (starts or {}).items()}
    model, views = observed(fitter, usable, low, foot_points(fitter.body) if config.ground else ())
    counts = np.bincount(views.moment.cpu().numpy(), minlength=count)
    _, sure = fitter.afterwards, {}  # made here, before threads need them
    starter = GroupStarter(fitter, model, views, count, fps, config, calibrated=blank.space == "world")
    try:
        x = starter.start(given)
        solver = GroupSolver(fitter, model, starter.views, fps, config, in_order)
        with _on_threads([solver]):
            x = solver.solve(x)
            solver, x, age = of_right_age(solver, x)
            blank = replace(blank, fitter=solver.fitter, age=age)
            if config.ground is None:
                sure = _how_sure(solver, x, None)
    except ValueError as error:
        return GroupFit(blank, None, None, counts, 0, str(error))
    solver.map = in_order  # that of a child is another one
    return GroupFit(blank, solver, x, counts, low - first, sure=sure)


@torch.no_grad()
def put_on_ground(fits: Sequence[GroupFit], config: GroundConfig) -> list[GroupFit]:
    """People of one shot with feet that rest where they do, on the floor that they share.

    Args:
        fits: by `solve_group` under a configuration that has the ground.
        config: when feet rest, and what is asked of a floor.
    """
    walkers = [(n, fit) for n, fit in enumerate(fits) if fit.x is not None]
    out = list(fits)
    with _on_threads([fit.solver for _, fit in walkers]):
        settled = settle([Walker(fit.solver, fit.x, fit.blank.space == "camera") for _, fit in walkers], config)
        for (n, fit), (x, standing, held) in zip(walkers, settled, strict=True):
            out[n] = replace(fit, x=x, standing=standing, sure=_how_sure(fit.solver, x, held))
    return out


@torch.no_grad()
def keep_apart(fits: Sequence[GroupFit]) -> list[GroupFit]:
    """People of one shot who do not pass through each other.

    Args:
        fits: by `solve_group` or `put_on_ground`, all in one camera's frame or in one world. Whom nobody touches stays
            as he is.
    """
    people = {n: _neighbour(fit) for n, fit in enumerate(fits) if fit.x is not None}
    out = list(fits)
    with _on_threads([one.solver for one in people.values()]):
        move_apart(list(people.values()))
        for n, one in people.items():
            if one.moved:
                standing = fits[n].standing
                if standing is not None:
                    standing = Standing.of(one.solver, one.x, standing.contacts, one.solver.config.ground)
                out[n] = replace(fits[n], x=one.x, standing=standing, sure=_how_sure(one.solver, one.x, one.contacts))
    return out


@contextmanager
def _on_threads(solvers: Sequence[GroupSolver]) -> Iterator[None]:
    """Within, these map chunks of moments on threads; afterwards, these are gone."""
    with worker_threads() as map_:
        for solver in solvers:
            solver.map = map_
        try:
            yield
        finally:
            for solver in solvers:
                solver.map = in_order


def _neighbour(fit: GroupFit) -> Neighbour:
    """A person beside others; feet that rest stay where they are."""
    contacts = None if fit.standing is None else fit.standing.contacts
    if contacts is not None and not bool(contacts.links.any()):
        contacts = None
    first = int(fit.blank.moments[0]) + fit.skipped
    return Neighbour(fit.solver, fit.x, first, fit.blank.space == "camera", contacts)


def _check(sightings: Sequence[Sighting], fps: float) -> None:
    if not sightings:
        raise BodyfitError("a group needs at least one sighting, and got none.")
    if not 0 < fps < math.inf:
        raise BodyfitError(f"fps is {fps}. Expected a positive number of moments per second.")
    for s in sightings:
        if not 0 <= s.person < len(s.frame.detections):
            raise BodyfitError(f"{s.frame.name}: no person {s.person}; the frame has {len(s.frame.detections)}.")
    calibrated = [s.frame.extrinsics is not None for s in sightings]
    if any(calibrated) and not all(calibrated):
        name = sightings[calibrated.index(False)].frame.name
        raise BodyfitError(f"{name}: no extrinsics, while other frames have them. Calibrate all cameras or none.")
    times = [s.moment for s in sightings]
    if not any(calibrated) and len(set(times)) < len(times):
        twice = next(t for t in times if times.count(t) > 1)
        raise BodyfitError(f"moment {twice} has several sightings, but their cameras have no extrinsics.")


def _how_sure(solver: GroupSolver, x: Float[Tensor, "T D"], contacts: Contacts | None) -> dict[str, Any]:
    """Covariances and probabilities of flips at a solution, single precision, and the posterior; none where nobody
    asked, or the Hessian has no inverse."""
    if solver.fitter.afterwards.estimator is None:
        return {}
    try:
        found = covariances_of(solver, x, contacts)
    except ValueError as error:
        log.warning("how sure a person is over time is not known: %s", error)
        return {}
    posterior = {"posterior": ClipPosterior(solver, x, contacts)}
    return {name: value.float().cpu().numpy() for name, value in found.items()} | posterior


def observed(
    fitter: Fitter, sightings: Sequence[Sighting], first: int, more: Sequence[str] = ()
) -> tuple[LandmarkModel, Views]:
    """Observations with the cameras' places, on the landmarks seen and those whose motion is smooth.

    Args:
        fitter: its body.
        sightings: by moment, ascending.
        first: the moment that is called 0.
        more: further landmarks to pose.
    """
    xy, confidence = (
        np.stack([getattr(s.frame.detections, name)[s.person] for s in sightings]) for name in ("xy", "confidence")
    )
    if sightings[0].frame.extrinsics:
        # The contour is a silhouette: which points of the head it shows depends on the view.
        confidence[:, [LANDMARK_NAMES.index(name) for name in CONTOUR_NAMES]] = 0
    seen_names = {n for n, some in zip(LANDMARK_NAMES, (confidence > 0).any(0), strict=True) if some}
    model = fitter.landmarks.model_of(tuple(sorted(seen_names.union(SMOOTHED, more))))
    to = {"dtype": fitter.dtype, "device": fitter.device}
    focal = np.array([s.frame.focal_px for s in sightings])
    center = np.array([s.frame.center_px for s in sightings])
    seen = observe(xy, confidence, focal, center, names=model.names, **to)
    placed = [s.frame.extrinsics for s in sightings]
    turns = np.array([np.eye(3) if e is None else np.asarray(e.rotation) for e in placed])
    shifts = np.array([np.zeros(3) if e is None else np.asarray(e.translation) for e in placed])
    moment = torch.tensor([s.moment - first for s in sightings], device=fitter.device)
    return model, Views(seen, moment, torch.as_tensor(turns, **to), torch.as_tensor(shifts, **to))


@dataclass(frozen=True)
class _Blank:
    """What is known of a track before it is fitted."""

    fitter: Fitter
    person: str
    fps: float
    moments: np.ndarray
    space: str
    age: Age = field(default_factory=Age)
    """Adult or child, and by what margin."""

    def fitted(self, fit: GroupFit) -> Track:
        """The track of solved moments; those before and after them are failed."""
        x, counts, skipped = fit.x, fit.counts, fit.skipped
        arrays = self._zeros(len(self.moments))
        rows = slice(skipped, skipped + len(x))
        for name, value in self._parameters(x).items():
            arrays[name][rows] = value
        status, views = ["failed"] * len(self.moments), np.zeros(len(self.moments), dtype=int)
        status[rows] = ["fitted" if count else "interpolated" for count in counts]
        views[rows] = counts
        betas = x[0, self.fitter.unknowns.layout["betas"]].double().cpu().numpy()
        outside = len(self.moments) - len(x)
        reason = f"{outside} moments at the ends have no sighting that can be fitted" if outside else ""
        more = self._ground(fit.standing, rows) | self._sure(fit.sure, rows)
        return self._track(betas, arrays, tuple(status), views, reason, **more)

    def _sure(self, sure: dict[str, Any], rows: slice) -> dict[str, Any]:
        """The same of all moments, NaN of those that failed."""
        whole = dict(sure)
        for name in sure.keys() - {"posterior"}:
            found = sure[name]
            whole[name] = np.full((len(self.moments), *found.shape[1:]), np.nan, dtype=found.dtype)
            whole[name][rows] = found
        return whole

    def _ground(self, standing: Standing | None, rows: slice) -> dict[str, Any]:
        """The fields of a track about feet and floor."""
        if standing is None:
            return {}
        touching = np.zeros((len(self.moments), 2), dtype=bool)
        touching[rows] = standing.touching
        if standing.floor is None:
            return {"touching": touching, "floor_source": standing.reason}
        return {"touching": touching, "floor": standing.floor.to_array(), "floor_source": standing.floor.source}

    def failed(self, reason: str) -> Track:
        """A track of moments none of which could be fitted."""
        count, betas = len(self.moments), np.zeros(self.fitter.unknowns.num_betas)
        return self._track(betas, self._zeros(count), ("failed",) * count, np.zeros(count, dtype=int), reason)

    def _parameters(self, x: Float[Tensor, "T D"]) -> dict[str, np.ndarray]:
        unknowns, layout = self.fitter.unknowns, self.fitter.unknowns.layout
        values = {name: x[:, layout[name]] for name in ("global_orient", "transl", "latent", "expression")}
        with one_thread():  # the same bits wherever it is called: sums depend on the number of threads
            values["body_pose"] = roma.rotmat_to_rotvec(unknowns.decode(x)).flatten(1)
        values |= {f"{side}_hand_pose": unknowns.hand_pose(x, side) for side in unknowns.hands}
        values |= {"jaw_pose": x[:, layout["jaw_pose"]]} if unknowns.has_jaw else {}
        return {name: value.double().cpu().numpy() for name, value in values.items()}

    def _zeros(self, count: int) -> dict[str, np.ndarray]:
        widths = {f"{name}_pose": 3 for name in ("jaw", "leye", "reye")} | {"global_orient": 3, "transl": 3}
        widths |= {"body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45}
        widths |= {"expression": self.fitter.unknowns.num_expression, "latent": self.fitter.prior.latent_dim}
        return {name: np.zeros((count, width)) for name, width in widths.items()}

    def _track(
        self, betas: np.ndarray, arrays: dict, status: tuple, views: np.ndarray, reason: str, **more: Any
    ) -> Track:
        fitter = self.fitter
        return Track(
            person=self.person,
            fps=self.fps,
            moments=self.moments,
            space=self.space,
            betas=betas,
            **arrays,
            **more,
            status=status,
            views=views,
            body_model=fitter.body.name,
            body_gender=fitter.body.gender,
            kid_axis=fitter.body.has_kid_axis,
            age=self.age.said,
            age_margin=self.age.margin,
            prior=fitter.prior.name,
            reason=reason,
            fitted_with=fitter.prior,
        )
