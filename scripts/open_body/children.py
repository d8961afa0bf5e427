"""The kid axis: a template of a newborn such that the line from the adult to it passes children of all ages.

MakeHuman's baby and child targets, blended by stature, are brought to the proportions of growth charts at six ages
(stature, sitting height, head girth) by scaling head, trunk, legs and arms. The axis is the direction from the mean
adult that passes nearest to all of them, with the ten shape numbers free to help; it is one beta, as smplx's
`age="kid"` has it: 0 is the adult, 1 the newborn.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize
from jaxtyping import Float

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.measures import stand
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.scripts.open_body.makehuman import GENDERS, RACES, MakeHuman
from bodyfit.scripts.open_body.rig import Surface, bring_to_t_pose, joint_parents
from bodyfit.scripts.open_body.shape import smooth_nipples, vertex_areas


@dataclass(frozen=True)
class Chart:
    """What growth charts say of an age, means of girls and boys; docs/open_body.md names the sources."""

    stature: float
    """Metres."""
    sitting: float
    """Sitting height as a share of stature."""
    head: float
    """Head girth, metres."""
    span: float
    """Arm span as a share of stature; of no chart."""


CHARTS = {
    0: Chart(0.495, 0.675, 0.342, 0.965),
    1: Chart(0.749, 0.635, 0.455, 0.965),
    3: Chart(0.956, 0.575, 0.490, 0.975),
    6: Chart(1.155, 0.550, 0.512, 0.985),
    10: Chart(1.382, 0.525, 0.530, 1.000),
    14: Chart(1.615, 0.518, 0.547, 1.010),
}
ADULT_HEAD = 0.555
"""Head girth at 18. Our adults' heads differ from it, and the children's by the same share."""
STATURE_AT_14 = {"female": 1.598, "male": 1.632}

_HEAD = ("head", "jaw", "left_eye_smplhf", "right_eye_smplhf")
_TRUNK = ("pelvis", "spine1", "spine2", "spine3", "neck", "left_collar", "right_collar")
_LEGS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "ankle", "foot"))
_PART = np.array([0 if n in _HEAD else 1 if n in _LEGS else 2 if n in _TRUNK else 3 for n in JOINT_NAMES])
_HOLD = 1e-4
"""Pulls the shape numbers of children to zero, per square metre."""
_ROUNDS = 60


@dataclass(frozen=True)
class KidAxis:
    """A newborn's template, and where children of the charts' ages lie on the way to it."""

    template: Float[np.ndarray, "V 3"]
    place: dict[int, float]
    """The kid beta of each age."""
    error: dict[int, float]
    """Mean distance, m, between each age's reference child and the nearest body with eleven betas."""


def makehuman_children(source: MakeHuman, surface: Surface, gender: str) -> dict[str, Float[np.ndarray, "V 3"]]:
    """MakeHuman's average baby (half a year by its stature) and child (ten years), T-posed."""
    genders, smooth = GENDERS if gender == "neutral" else (gender,), smooth_nipples(source)
    bodies = []
    for age in ("baby", "child"):
        body = source.vertices.copy()
        for one in genders:
            names = [f"macrodetails/{race}-{one}-{age}" for race in RACES]
            body += sum(source.target(name) for name in names) / len(RACES) / len(genders)
            stem = f"{one}-{age}-averagemuscle-averageweight"
            body += source.target(f"macrodetails/universal-{stem}") / len(genders)
            heights = [source.target(f"macrodetails/height/{stem}-{level}") for level in ("minheight", "maxheight")]
            body += sum(heights) / 2 / len(genders)
        body = smooth @ body
        bodies.append((body + body[source.mirror] * np.array([-1, 1, 1])) / 2)
    posed = bring_to_t_pose(source, surface, np.stack(bodies)).vertices
    return {"baby": posed[0], "child": posed[1]}


def scaled(body: BodyModel, vertices: Float[np.ndarray, "V 3"], scales: Float[np.ndarray, " 4"]) -> np.ndarray:
    """With head, legs, trunk and arms scaled about their joints, blended as the skin is."""
    joints, by_joint, parents = body.joint_regressor @ vertices, np.asarray(scales)[_PART], joint_parents()
    moved = joints.copy()
    for joint in range(1, len(joints)):
        parent = parents[joint]
        moved[joint] = moved[parent] + by_joint[parent] * (joints[joint] - joints[parent])
    shift = moved - by_joint[:, None] * joints
    return (body.weights @ by_joint)[:, None] * vertices + body.weights @ shift


def proportions(body: BodyModel, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, " 4"]:
    """Stature, share of sitting height (vertex to crotch: a centimetre less in adults), head girth, share of span."""
    standing = stand(replace(body, v_template=vertices))
    stature = standing.vertex - standing.floor
    sitting = (standing.vertex - standing.crotch) / stature
    return np.array([stature, sitting, standing.girth(standing.head), np.ptp(vertices[:, 0]) / stature])


def reference_children(children: dict[str, np.ndarray], body: BodyModel) -> dict[int, Float[np.ndarray, "V 3"]]:
    """A body for each of the charts' ages, with the charts' measures."""

    def centred(vertices: np.ndarray) -> np.ndarray:
        return vertices - (body.joint_regressor @ vertices)[0]

    known = [(np.ptp(v[:, 1]), centred(v)) for v in (children["baby"], children["child"], body.v_template)]
    heads = proportions(body, body.v_template)[2] / ADULT_HEAD
    found = {}
    for age, chart in CHARTS.items():
        stature = STATURE_AT_14.get(body.gender, chart.stature) if age == 14 else chart.stature
        start = _between(known, stature)
        wanted = np.array([stature, chart.sitting, chart.head * heads, chart.span])

        def missing(scales: np.ndarray, start: np.ndarray = start, wanted: np.ndarray = wanted) -> np.ndarray:
            return proportions(body, scaled(body, start, scales)) / wanted - 1

        scales = scipy.optimize.least_squares(missing, np.ones(4), diff_step=1e-2, max_nfev=12).x
        found[age] = centred(scaled(body, start, scales))
    return found


def _between(known: list[tuple[float, np.ndarray]], stature: float) -> np.ndarray:
    """A body of about this stature between the two next known ones; the smallest, scaled, below all."""
    if stature <= known[0][0]:
        return known[0][1] * (stature / known[0][0])
    for (low, small), (high, large) in itertools.pairwise(known):
        if stature <= high or large is known[-1][1]:
            share = min((stature - low) / (high - low), 1.0)
            return (1 - share) * small + share * large
    raise AssertionError("statures are in order")


def fit_kid_axis(source: MakeHuman, surface: Surface, body: BodyModel) -> KidAxis:
    """The kid axis of a body with ten shape components; for a neutral one, of the mean of girls and boys."""
    children = reference_children(makehuman_children(source, surface, body.gender), body)
    area = np.sqrt(vertex_areas(body.v_template, body.faces))[:, None]

    def flat(vertices: np.ndarray) -> np.ndarray:
        return ((vertices - vertices.mean(0)) * area).ravel()

    shapes = np.stack([flat(body.shapedirs[:, :, k]) for k in range(10)], 1)
    adult = flat(body.v_template)
    away = {age: flat(child) - adult for age, child in children.items()}
    # All in the span of 16 directions: the rounds below work on their few coordinates.
    basis, _ = np.linalg.qr(np.column_stack([shapes, *away.values()]))
    shapes, away = basis.T @ shapes, {age: basis.T @ d for age, d in away.items()}
    hold = _HOLD * float((area**2).sum()) * np.eye(11)
    hold[0, 0] = 0
    axis = away[0]
    for _ in range(_ROUNDS):
        system = np.column_stack([axis, shapes])
        numbers = {age: np.linalg.solve(system.T @ system + hold, system.T @ d) for age, d in away.items()}
        rest = {age: away[age] - shapes @ numbers[age][1:] for age in away}
        axis = sum(numbers[a][0] * rest[a] for a in away) / sum(numbers[a][0] ** 2 for a in away)
        axis = axis * numbers[0][0]
    system = np.column_stack([axis, shapes])
    numbers = {age: np.linalg.solve(system.T @ system + hold, system.T @ d) for age, d in away.items()}
    missed = {age: (basis @ (away[age] - system @ numbers[age])).reshape(-1, 3) / area for age in away}
    template = body.v_template - body.v_template.mean(0) + (basis @ axis).reshape(-1, 3) / area
    place = {age: float(numbers[age][0] / numbers[0][0]) for age in away} | {18: 0.0}
    return KidAxis(template, place, {age: float(np.linalg.norm(d, axis=1).mean()) for age, d in missed.items()})
