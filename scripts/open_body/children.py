"""The kid axis: a template of a small child, and a curve of shapes about the line from the adult to it.

MakeHuman's baby and child targets, blended by stature, are brought to the measures of growth charts at eight ages by
scaling head, trunk, legs, arms and breadth. The axis is one beta, as smplx's `age="kid"` has it: 0 is the adult, 1 the
newborn's place. Growth is no straight line: heads grow early, legs late. So the file also says which values of the ten
betas an average child of each age has beside its kid beta.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize
from jaxtyping import Float

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.measures import DENSITY, closed_volume, stand
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.scripts.open_body.charts import CHARTS, SPANS
from bodyfit.scripts.open_body.makehuman import GENDERS, RACES, MakeHuman
from bodyfit.scripts.open_body.rig import Surface, bring_to_t_pose, joint_parents
from bodyfit.scripts.open_body.shape import smooth_nipples, vertex_areas

_HEAD = ("head", "jaw", "left_eye_smplhf", "right_eye_smplhf")
_TRUNK = ("pelvis", "spine1", "spine2", "spine3", "neck", "left_collar", "right_collar")
_LEGS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "ankle", "foot"))
_PART = np.array([0 if n in _HEAD else 1 if n in _LEGS else 2 if n in _TRUNK else 3 for n in JOINT_NAMES])
_ALONG = np.array([1, 1, 1, 0])
"""The axis along which head, legs, trunk and arms extend in the T-pose."""

_MEASURE_SIGMAS = np.array([0.01, 0.006, 0.015, 0.02, 0.04])
"""How exactly the curve is to have stature, share of sitting height, head girth, share of span, and mass; relative but
for the shares."""
_VERTEX_SIGMA = 0.01
"""The same of vertices, as a share of stature."""
_HOLD = 0.3
"""Pulls the ten betas of average children to zero, per square."""
_BEND = 0.8
"""Kid betas are the lacking share of the adult's stature to this power. Below one, average children of school age have
a positive first beta, which brings the larger head that a straight line would not give them."""
_NEWBORN = 3.0
"""How much the newborn counts for the axis beside other ages."""
_NEWBORN_MEASURES = 0.03
"""How much its measures count. No line passes a head as small as a newborn's and those of older children: with more,
ten betas of up to seven standard deviations give the small head and bodies that nobody has."""
_NEWBORN_HOLD = 3.0
"""`_HOLD` of the newborn."""


@dataclass(frozen=True)
class KidAxis:
    """A small child's template, and where average children of the charts' ages lie about the way to it."""

    template: Float[np.ndarray, "V 3"]
    place: dict[float, float]
    """The kid beta of each age."""
    betas: dict[float, Float[np.ndarray, " 10"]]
    """The ten betas of average children of each age."""
    error: dict[float, float]
    """Mean distance, m, between each age's reference child and the body with these eleven betas."""


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


def scaled(body: BodyModel, vertices: Float[np.ndarray, "V 3"], scales: Float[np.ndarray, " 5"]) -> np.ndarray:
    """With head, legs, trunk and arms scaled about their joints, blended as the skin is.

    Args:
        body: for its joints and blend weights.
        vertices: in the T-pose.
        scales: of head, legs, trunk, arms; and how much more all but the head are scaled across than along.
    """
    *along, across = scales
    by_part = np.repeat(np.array(along)[:, None], 3, 1)
    for part in (1, 2, 3):
        by_part[part, np.arange(3) != _ALONG[part]] *= across
    joints, by_joint, parents = body.joint_regressor @ vertices, by_part[_PART], joint_parents()
    moved = joints.copy()
    for joint in range(1, len(joints)):
        parent = parents[joint]
        moved[joint] = moved[parent] + by_joint[parent] * (joints[joint] - joints[parent])
    return (body.weights @ by_joint) * vertices + body.weights @ (moved - by_joint * joints)


def proportions(body: BodyModel, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, " 5"]:
    """Stature, share of sitting height (vertex to crotch: a centimetre less than adults' surveys), head girth, share of
    span, mass."""
    standing = stand(replace(body, v_template=vertices))
    stature = standing.vertex - standing.floor
    sitting = (standing.vertex - standing.crotch) / stature
    mass = DENSITY * closed_volume(vertices, body.faces)[0]
    return np.array([stature, sitting, standing.girth(standing.head), np.ptp(vertices[:, 0]) / stature, mass])


def reference_children(children: dict[str, np.ndarray], body: BodyModel) -> dict[float, Float[np.ndarray, "V 3"]]:
    """A body for each of the charts' ages below 18, with the charts' measures."""

    def centred(vertices: np.ndarray) -> np.ndarray:
        return vertices - (body.joint_regressor @ vertices)[0]

    known = [(np.ptp(v[:, 1]), centred(v)) for v in (children["baby"], children["child"], body.v_template)]
    found = {}
    for age, span in SPANS.items():
        chart = CHARTS[body.gender][age]
        start = _between(known, chart.stature)
        wanted = np.array([chart.stature, chart.sitting, chart.head, span, chart.mass])

        def missing(scales: np.ndarray, start: np.ndarray = start, wanted: np.ndarray = wanted) -> np.ndarray:
            return proportions(body, scaled(body, start, scales)) / wanted - 1

        scales = scipy.optimize.least_squares(missing, np.ones(5), diff_step=1e-2, max_nfev=12).x
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


class ShapeSpan:
    """Bodies as a few coordinates: the span of the ten betas and some given bodies, over skin area.

    Args:
        body: with ten betas.
        others: bodies that the span must hold.
    """

    def __init__(self, body: BodyModel, others: list[Float[np.ndarray, "V 3"]]):
        self.body, self.root_area = body, np.sqrt(vertex_areas(body.v_template, body.faces))[:, None]
        away = [self._flat(other) - self._flat(body.v_template) for other in others]
        shapes = np.stack([self._flat(body.shapedirs[:, :, k]) for k in range(10)], 1)
        self.basis, _ = np.linalg.qr(np.column_stack([shapes, *away]))
        self.shapes = self.basis.T @ shapes

    def _flat(self, vertices: np.ndarray) -> np.ndarray:
        return ((vertices - vertices.mean(0)) * self.root_area).ravel()

    def coordinates(self, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, " n"]:
        """Of a body, from the mean adult."""
        return self.basis.T @ (self._flat(vertices) - self._flat(self.body.v_template))

    def offsets(self, coordinates: Float[np.ndarray, " n"]) -> Float[np.ndarray, "V 3"]:
        """Vertices from the mean adult's, about the centre."""
        return (self.basis @ coordinates).reshape(-1, 3) / self.root_area

    def metric(self, vertices: Float[np.ndarray, "V 3"], measures: float = 1.0) -> Float[np.ndarray, "n n"]:
        """How much it matters to miss a body: its vertices, in the mean over skin area, and its measures."""
        area, known = float((self.root_area**2).sum()), proportions(self.body, vertices)
        step = 0.02 * np.sqrt(area)  # 2 cm in the mean
        slopes = []
        for direction in np.eye(self.basis.shape[1]):
            moved = self.offsets(step * direction)
            there, back = (proportions(self.body, vertices + sign * moved) for sign in (1, -1))
            slopes.append((there - back) / (2 * step))
        sigma = _MEASURE_SIGMAS * np.where([True, False, True, False, True], known, 1)
        rows = np.stack(slopes, 1) / sigma[:, None]
        return np.eye(len(slopes)) / area / (_VERTEX_SIGMA * known[0]) ** 2 + measures * rows.T @ rows

    def betas_for(self, metric: np.ndarray, away: Float[np.ndarray, "n k"], hold: float = _HOLD) -> np.ndarray:
        """The ten betas that come nearest to some coordinates, held towards zero."""
        normal = self.shapes.T @ metric @ self.shapes + hold * np.eye(10)
        return np.linalg.solve(normal, self.shapes.T @ metric @ away)


def fit_kid_axis(source: MakeHuman, surface: Surface, body: BodyModel) -> KidAxis:
    """The kid axis of a body with ten shape components, and the average children about it.

    With kid betas by stature, what is left is one linear least-squares problem: the axis that lets all ages be met best
    by as small values of the ten betas as possible.
    """
    children = reference_children(makehuman_children(source, surface, body.gender), body)
    span = ShapeSpan(body, list(children.values()))
    away = {age: span.coordinates(child) for age, child in children.items()}
    metric = {age: span.metric(child, _NEWBORN_MEASURES if age == 0 else 1.0) for age, child in children.items()}
    statures = {age: CHARTS[body.gender][age].stature for age in children}
    adult, newborn = float(np.ptp(body.v_template[:, 1])), min(statures.values())
    place = {age: float(((adult - stature) / (adult - newborn)) ** _BEND) for age, stature in statures.items()}
    normal, right = np.zeros_like(metric[0.0]), np.zeros(len(metric[0.0]))
    for age, kid in place.items():
        weigh, held = (_NEWBORN if age == 0 else 1.0), metric[age]
        left = held - held @ span.shapes @ span.betas_for(held, np.eye(len(held)))  # what the betas cannot mend
        normal, right = normal + weigh * kid**2 * left, right + weigh * kid * left @ away[age]
    axis = np.linalg.solve(normal, right)
    hold = dict.fromkeys(place, _HOLD) | {0.0: _NEWBORN_HOLD}
    betas = {age: span.betas_for(metric[age], away[age] - kid * axis, hold[age]) for age, kid in place.items()}

    def missed(age: float) -> float:
        rest = away[age] - place[age] * axis - span.shapes @ betas[age]
        return float(np.linalg.norm(span.offsets(rest), axis=1).mean())

    template = body.v_template - body.v_template.mean(0) + span.offsets(axis)
    error = {age: missed(age) for age in children}
    return KidAxis(template, place | {18.0: 0.0}, betas | {18.0: np.zeros(10)}, error)
