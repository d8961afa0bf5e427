"""Bodies of a few vertices, for what looks at no others: posing takes time in proportion to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bodyfit.data.body.body_model import BodyModel


def reduced_body(body: BodyModel, vertices: Sequence[int]) -> BodyModel:
    """A body whose vertices are the J joints of another one, then some of its vertices. `pose_body` moves them as it
    moves those of the other; its triangles and landmarks belong to the other still.

    Args:
        body: any body.
        vertices: numbers of its vertices.
    """
    rows, joints = list(vertices), body.num_joints

    def reduced(array: np.ndarray) -> np.ndarray:
        at_joints = np.tensordot(body.joint_regressor, array, axes=1)
        return np.concatenate([at_joints, array[rows]])

    still = np.zeros((joints, *body.posedirs.shape[1:]))
    return replace(
        body,
        v_template=reduced(body.v_template),
        shapedirs=reduced(body.shapedirs),
        exprdirs=reduced(body.exprdirs),
        posedirs=np.concatenate([still, body.posedirs[rows]]),
        joint_regressor=np.eye(joints, joints + len(rows)),
        weights=np.concatenate([np.eye(joints), body.weights[rows]]),
    )
