"""Where landmarks are on a body: on which joint or vertices, and in which order along the kinematic chains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import LANDMARK_NAMES

CONTOUR_NAMES = LANDMARK_NAMES[127:]
INNER_FACE_NAMES = LANDMARK_NAMES[76:127]


def chain_to_root(joint: int, parents: np.ndarray) -> list[int]:
    """A joint and all joints above it, the root last."""
    chain = [joint]
    while parents[chain[-1]] >= 0:
        chain.append(int(parents[chain[-1]]))
    return chain


def has_landmark(body: BodyModel, name: str) -> bool:
    """Whether a body model has a landmark of this name."""
    if name in body.joint_names or name in body.extra_vertex_ids:
        return True
    if name in INNER_FACE_NAMES:
        return body.face_landmark_faces is not None
    return name in CONTOUR_NAMES and body.contour_faces is not None


def in_limb_order(body: BodyModel, names: Sequence[str]) -> tuple[str, ...]:
    """The landmarks that the body has, sorted by kinematic chain.

    The Jacobian's rows are then written in blocks: landmarks that move with the same joints are consecutive.
    """
    parents = np.asarray(body.parents)

    def way(name: str) -> list[int]:
        if name not in body.joint_names:
            return chain_to_root(_carrier(body, name), parents)[::-1]
        above = parents[body.joint_names.index(name)]  # a joint does not move when it rotates itself
        return chain_to_root(above, parents)[::-1] if above >= 0 else []

    return tuple(sorted((n for n in names if has_landmark(body, n)), key=way))


def _carrier(body: BodyModel, name: str) -> int:
    """The joint that carries most of a landmark on the skin."""
    if name in CONTOUR_NAMES:
        return body.joint_names.index("head")
    vertices, share = vertices_of(body, name)
    return int((share @ body.weights[vertices]).argmax())


def vertices_of(body: BodyModel, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of a landmark on the skin and their shares in it."""
    if name in body.extra_vertex_ids:
        return np.array([body.extra_vertex_ids[name]]), np.ones(1)
    k = INNER_FACE_NAMES.index(name)
    return body.faces[body.face_landmark_faces[k]], body.face_landmark_bary[k]
