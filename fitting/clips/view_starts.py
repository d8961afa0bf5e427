"""What triangulated landmarks say before the fit: poses to start from, and how long one unit of a calibration is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.landmarks import BODY, LANDMARK_INDEX, LANDMARK_NAMES
from bodyfit.data.results.record import Parameters
from bodyfit.fitting.clips.triangulation import AGREE_SHARE, CameraArrays, triangulate
from bodyfit.fitting.energy.landmark_places import has_landmark
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.energy.observations import person_size
from bodyfit.fitting.sequence.group import Sighting
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.inverse_kinematics import KinematicsConfig, inverse_kinematics

log = logging.getLogger(__name__)

_LEAST_POINTS = 8  # triangulated body landmarks that a pose can be found from
_STARTS_EVERY = 5
_KINEMATICS = KinematicsConfig(sigma_m=0.02, robust_sigmas=5.0)
_STEPS = SolverOptions(max_iterations=12, tolerance=1e-2)  # a start need not be exact
_BONES = tuple(
    (LANDMARK_INDEX[f"{side}_{a}"], LANDMARK_INDEX[f"{side}_{b}"])
    for side in ("left", "right")
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"), ("shoulder", "hip"))
)
_UNITS = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254, "kilometres": 1000.0}
_SLACK = 1.3  # people are taller or smaller than the mean by no more


@dataclass(frozen=True)
class TriangulatedPerson:
    """One person's landmarks over time, from all views of each moment."""

    moments: tuple[int, ...]
    points: Float[np.ndarray, "T 144 3"]
    """World; NaN where fewer than two views agree."""
    weight: Float[np.ndarray, "T 144"]
    """Mean confidence of the views that agree."""

    def thinned(self) -> TriangulatedPerson:
        """Every fifth moment of many: poses in between are bridged, and inverse kinematics costs as much as the fit."""
        step = _STARTS_EVERY if len(self.moments) > 2 * _STARTS_EVERY else 1
        return TriangulatedPerson(self.moments[::step], self.points[::step], self.weight[::step])


def triangulated_person(sightings: Sequence[Sighting]) -> TriangulatedPerson:
    """Triangulate the landmarks of one person at each moment that several cameras saw.

    Args:
        sightings: of one person, ascending in time, in frames with extrinsics.
    """
    moments, points, weights = [], [], []
    for moment, group in groupby(sightings, key=lambda s: s.moment):
        views = list(group)
        if len(views) < 2:
            continue
        xy, confidence = (
            np.stack([getattr(s.frame.detections, name)[s.person] for s in views]) for name in ("xy", "confidence")
        )
        tolerance = AGREE_SHARE * np.array(person_size(xy, confidence))
        cameras = CameraArrays.of_frames([s.frame for s in views])
        found = triangulate(xy.transpose(1, 0, 2), confidence.T, cameras, tolerance)
        moments.append(moment)
        points.append(found.points)
        count = np.maximum(found.agree.sum(1), 1)
        weights.append((found.agree * confidence.T).sum(1) / count)
    shape = (len(moments), len(LANDMARK_NAMES))
    return TriangulatedPerson(tuple(moments), np.array(points).reshape(*shape, 3), np.array(weights).reshape(shape))


def view_starts(fitter: Fitter, person: TriangulatedPerson) -> dict[int, Parameters]:
    """Poses fitted to triangulated points by inverse kinematics, of the moments that have enough of them.

    Args:
        fitter: its body and prior.
        person: points in metres.
    """
    places = [i for i in BODY if has_landmark(fitter.body, LANDMARK_NAMES[i])]
    known = np.isfinite(person.points[:, places]).all(-1)
    good = known.sum(1) >= _LEAST_POINTS
    if not good.any():
        return {}
    columns = [place for place, seen in zip(places, known[good].any(0), strict=True) if seen]
    like = {"dtype": fitter.dtype, "device": fitter.device}
    with torch.no_grad():
        result = inverse_kinematics(
            torch.as_tensor(person.points[good][:, columns], **like),
            [LANDMARK_NAMES[i] for i in columns],
            weights=torch.as_tensor(person.weight[good][:, columns], **like),
            body=fitter.body,
            prior=fitter.prior,
            config=_KINEMATICS,
            options=_STEPS,
        )
    names = ("global_orient", "transl", "body_pose", "betas", "expression")
    arrays = {name: getattr(result, name).double().cpu().numpy() for name in names}
    moments = [moment for moment, some in zip(person.moments, good, strict=True) if some]
    return {
        moment: {name: array[n] for name, array in arrays.items()}
        for n, moment in enumerate(moments)
        if all(np.isfinite(array[n]).all() for array in arrays.values())
    }


# --- units -----------------------------------------------------------------------------------------------------------


_SMALLEST_CHILD = 0.4
"""Of the mean adult's limbs, where people may be children."""


def metres_per_unit(
    fitter: Fitter, people: Sequence[TriangulatedPerson], said: str | float, *, arbitrary: bool, source: str
) -> float:
    """How many metres one unit of a calibration's translations is.

    Args:
        fitter: its body gives the mean lengths of limbs.
        people: triangulated in units of the calibration.
        said: "auto", or metres per unit as the user says it.
        arbitrary: whether the calibration is of a kind that has no scale of its own.
        source: what the calibration is called in messages.

    Returns:
        the user's number; else that of the unit in which people have human size; else, and for arbitrary scales, the
        number that makes people as tall as the mean body.
    """
    if said != "auto":
        return float(said)
    ratio = _size_of_people(fitter, people)
    if ratio is None:
        if arbitrary:
            log.warning("%s: has no scale, and nobody to tell it by; taken for metres", source)
        return 1.0
    name = min(_UNITS, key=lambda unit: abs(np.log(ratio * _UNITS[unit])))
    children = fitter.children is not None or fitter.body.has_kid_axis
    least = _SMALLEST_CHILD if children else 1 / _SLACK
    if not arbitrary and least < ratio * _UNITS[name] < _SLACK:
        if name != "metres":
            log.info("%s: by the size of people its unit is %s; results are in metres", source, name)
        return _UNITS[name]
    log.warning(
        "%s: scaled by %.4g, so that people are of mean height: %s. --camera-units says metres per unit",
        *(source, 1 / ratio, "it has no scale" if arbitrary else "people have human size in no unit"),
    )
    return 1 / ratio


def _size_of_people(fitter: Fitter, people: Sequence[TriangulatedPerson]) -> float | None:
    """Median length of triangulated limbs over that of the mean body's; None where too few are known."""
    body = _mean_lengths(fitter)
    ratios = []
    for person in people:
        for (a, b), length in zip(_BONES, body, strict=True):
            found = np.linalg.norm(person.points[:, a] - person.points[:, b], axis=1) / length
            found = found[np.isfinite(found)]
            if len(found):
                ratios.append(np.median(found))
    return float(np.median(ratios)) if len(ratios) >= 4 else None


def _mean_lengths(fitter: Fitter) -> Float[np.ndarray, " bones"]:
    model = fitter.everything
    like = {"dtype": fitter.dtype, "device": fitter.device}
    turns = torch.eye(3, **like).expand(1, len(fitter.unknowns.names), 3, 3)
    shape = fitter.unknowns.shape(torch.zeros(1, fitter.unknowns.layout.size, **like))
    points = model(turns, shape, torch.zeros(1, 3, **like), derivatives=False).points[0]
    place = {name: n for n, name in enumerate(model.names)}
    if any(LANDMARK_NAMES[i] not in place for bone in _BONES for i in bone):
        raise BodyfitError(f"{fitter.body.name}: has no hips, knees or other joints that limbs are measured by.")
    return np.array(
        [float((points[place[LANDMARK_NAMES[a]]] - points[place[LANDMARK_NAMES[b]]]).norm()) for a, b in _BONES]
    )
