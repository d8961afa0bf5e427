"""A sheet of pictures of the open body, to look at after building it: shapes, poses, hands and faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from bodyfit.data.body.age_shapes import average_betas
from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.landmarks import JOINT_NAMES

ARMS_DOWN = {"left_shoulder": (0, 0, -70), "right_shoulder": (0, 0, 70)}
POSES: dict[str, dict[str, tuple[float, float, float]]] = {
    "rest": {},
    "arms down": ARMS_DOWN,
    "arms up": {"left_shoulder": (0, 0, 80), "right_shoulder": (0, 0, -80)},
    "elbows 120": {"left_elbow": (0, -120, 0), "right_elbow": (0, 120, 0)},
    "wrists 90": {"left_wrist": (90, 0, 0), "right_wrist": (90, 0, 0)},
    "sitting": {
        **ARMS_DOWN,
        **{f"{side}_hip": (-90, 0, 0) for side in ("left", "right")},
        **{f"{side}_knee": (90, 0, 0) for side in ("left", "right")},
    },
    "bowing": {**ARMS_DOWN, "spine1": (30, 0, 0), "spine2": (25, 0, 0), "spine3": (15, 0, 0)},
    "jaw open": {**ARMS_DOWN, "jaw": (17, 0, 0)},
}


AGES = (0, 1, 3, 6, 10, 14, 18, 40, 75)


def draw_sheet(bodies: Sequence[Path], output: Path) -> None:
    """Draw rest poses, betas of -3 and 3, poses, and faces of each expression component into one PNG."""
    from bodyfit.fitting.draw.render import render_mesh_sheet  # needs a renderer, which building does not

    meshes, labels = [], []
    for path in bodies:
        kid = load_body_model(path, kid=True)
        for years in AGES:
            meshes.append(_mesh(kid, betas=dict(enumerate(average_betas(kid, years))), degrees=ARMS_DOWN))
            labels.append(f"{kid.gender}, {years} years")
    for path in bodies:
        body = load_body_model(path)
        meshes.append(_mesh(body))
        labels.append(body.name)
    body = load_body_model(bodies[0])
    for component in range(6):
        for beta in (-3.0, 3.0):
            meshes.append(_mesh(body, betas={component: beta}, degrees=ARMS_DOWN))
            labels.append(f"beta {component + 1}: {beta:+.0f}")
    for name, degrees in POSES.items():
        meshes.append(_mesh(body, degrees=degrees))
        labels.append(name)
    sheet = render_mesh_sheet(meshes, columns=9, cell_px=360, labels=labels)
    faces, labels = [], []
    for component in range(9):
        vertices, triangles = _mesh(body, expression={component: 2.5})
        head = body.weights[:, [JOINT_NAMES.index(name) for name in ("head", "jaw")]].sum(1) > 0.5
        eyes = body.weights[:, [JOINT_NAMES.index(f"{side}_eye_smplhf") for side in ("left", "right")]].sum(1) > 0.5
        faces.append((vertices, triangles[(head | eyes)[triangles].all(1)]))
        labels.append(f"expression {component + 1}: +2.5")
    row = render_mesh_sheet(_without_unused(faces), columns=9, cell_px=360, view="front", labels=labels, shadow=False)
    cv2.imwrite(str(output), np.concatenate([sheet, row])[:, :, ::-1])


def _mesh(
    body: BodyModel,
    betas: dict[int, float] | None = None,
    expression: dict[int, float] | None = None,
    degrees: dict[str, tuple[float, float, float]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    counts = {"betas": body.num_betas, "expression": 10}
    numbers = {name: torch.zeros(1, count, dtype=torch.float64) for name, count in counts.items()}
    for name, values in (("betas", betas), ("expression", expression)):
        for index, value in (values or {}).items():
            numbers[name][0, index] = value
    pose = torch.zeros(55, 3, dtype=torch.float64)
    for joint, angles in (degrees or {}).items():
        pose[JOINT_NAMES.index(joint)] = torch.deg2rad(torch.tensor(angles, dtype=torch.float64))
    posed = pose_body(
        body,
        **numbers,
        global_orient=pose[:1],
        body_pose=pose[1:22].reshape(1, -1),
        jaw_pose=pose[22:23],
        left_hand_pose=torch.from_numpy(body.hand_mean_left)[None],
        right_hand_pose=torch.from_numpy(body.hand_mean_right)[None],
    )
    return posed.vertices[0].numpy(), body.faces


def _without_unused(meshes: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Drop vertices that no triangle uses, so that a head fills its picture."""
    compact = []
    for vertices, triangles in meshes:
        used, renumbered = np.unique(triangles, return_inverse=True)
        compact.append((vertices[used], renumbered.reshape(-1, 3)))
    return compact
