"""Contact sheets of posed bodies for the commands of the prior."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.files import write_atomically
from bodyfit.fitting.draw.render import render_mesh_sheet


def pose_meshes(body: BodyModel, poses: Float[Tensor, "N 63"]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Meshes (y up, facing +z) of body poses with a neutral shape."""
    missing = 3 * (len(body.joint_names) - 1) - 63 if body.kind == "smpl" else 0
    poses = torch.nn.functional.pad(poses, (0, missing)) if missing else poses
    betas = poses.new_zeros(len(poses), body.shapedirs.shape[-1])
    with torch.no_grad():
        posed = pose_body(body, betas=betas, global_orient=poses.new_zeros(len(poses), 3), body_pose=poses)
    return [(vertices.double().numpy(), body.faces) for vertices in posed.vertices]


def draw_sheet(
    body: BodyModel,
    poses: Float[Tensor, "N 63"],
    *,
    columns: int = 8,
    labels: Sequence[str] | None = None,
    cell_px: int = 224,
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture of bodies, row by row."""
    return render_mesh_sheet(pose_meshes(body, poses), columns=columns, labels=labels, cell_px=cell_px)


class SheetPainter:
    """Draws named rows of poses to a file; `train_prior` calls it for its sheets."""

    def __init__(self, body: Path | None = None):
        self._body = load_body_model(body)

    def __call__(self, path: Path, rows: dict[str, Float[Tensor, "N 63"]]) -> None:
        """One row per name, written as PNG."""
        labels = [f"{name} {index}" for name, poses in rows.items() for index in range(len(poses))]
        columns = max(len(poses) for poses in rows.values())
        image = draw_sheet(self._body, torch.cat(list(rows.values())), columns=columns, labels=labels)
        write_atomically(path, lambda temporary: Image.fromarray(image).save(temporary))
