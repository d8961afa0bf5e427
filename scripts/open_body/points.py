"""The 21 extra points of SMPL-X's joints: nose, eyes, ears, toes, heels and finger tips, as vertices."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.scripts.open_body.makehuman import EYE_GROUPS, MakeHuman
from bodyfit.scripts.open_body.rig import FINGERS, JOINT_INDEX, Surface

NOSE_TIP = 294  # MakeHuman's vertices
RIGHT_TRAGUS = 5477
RIGHT_LID_MARGIN = (0, 54, 47, 41)


def extra_points(source: MakeHuman, surface: Surface, template: Float[np.ndarray, "V 3"]) -> dict[str, int]:
    """Vertex of each extra point as detectors mark it: eyes on the pupil, ears on the tragus, digits at the tip."""
    left = {
        "left_eye": _pupil(source, surface, template),
        "left_ear": int(surface.mirror[surface.index(RIGHT_TRAGUS)]),
        "left_heel": _heel(surface, template),
        "left_big_toe": _toe(source, surface, template, 1),
        "left_small_toe": _toe(source, surface, template, 5),
    }
    for finger in FINGERS:
        left[f"left_{finger}"] = _finger_tip(surface, template, finger)
    points = {"nose": surface.index(NOSE_TIP)} | left
    points |= {"right_" + name.removeprefix("left_"): int(surface.mirror[vertex]) for name, vertex in left.items()}
    return points


def _pupil(source: MakeHuman, surface: Surface, template: np.ndarray) -> int:
    """The eyeball's vertex nearest the middle between the lids."""
    ball = np.searchsorted(surface.vertex_ids, [v for face in source.groups[EYE_GROUPS[0]] for v in face])
    lids = template[[surface.mirror[surface.index(vertex)] for vertex in RIGHT_LID_MARGIN]].mean(0)
    return int(ball[np.linalg.norm(template[ball] - lids, axis=1).argmin()])


def _foremost(template: np.ndarray, vertices: np.ndarray) -> int:
    return int(vertices[template[vertices, 2].argmax()])


def _heel(surface: Surface, template: np.ndarray) -> int:
    foot = np.flatnonzero(surface.weights[:, JOINT_INDEX["left_ankle"]] > 0.5)
    low = foot[template[foot, 1] < template[foot, 1].min() + 0.03]
    return int(low[template[low, 2].argmin()])


def _toe(source: MakeHuman, surface: Surface, template: np.ndarray, number: int) -> int:
    bone = f"toe{number}-{2 if number == 1 else 3}.L"
    heavy = [vertex for vertex, weight in source.weights[bone] if weight > 0.5]
    vertices = np.searchsorted(surface.vertex_ids, np.intersect1d(heavy, surface.vertex_ids))
    return _foremost(template, vertices)


def _finger_tip(surface: Surface, template: np.ndarray, finger: str) -> int:
    last = JOINT_NAMES.index(f"left_{finger}3")
    vertices = np.flatnonzero(surface.weights[:, last] > 0.5)
    along = template[vertices].mean(0) - template[np.flatnonzero(surface.weights[:, last - 1] > 0.5)].mean(0)
    return int(vertices[(template[vertices] @ along).argmax()])
