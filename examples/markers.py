"""Inverse kinematics: bodies through 3D points with names, such as motion capture markers or triangulated joints."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

import bodyfit

NAMES = (
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("nose", "left_ear", "right_ear", "left_heel", "right_heel", "left_big_toe", "right_big_toe"),
)


def made_up_markers() -> tuple[torch.Tensor, tuple[str, ...]]:
    """Twenty people in poses from the prior, as (20, K, 3) metres with 5 mm of noise; joints and points on the skin."""
    body, prior = bodyfit.load_body_model(), bodyfit.load_prior()
    generator = torch.Generator().manual_seed(0)
    posed = bodyfit.pose_body(
        body,
        betas=torch.randn(20, 10, generator=generator),
        global_orient=torch.randn(20, 3, generator=generator) * 0.3,
        body_pose=prior.decode_axis_angle(prior.sample(20, generator)).detach(),
    )
    where = {name: posed.joints[:, i] for i, name in enumerate(body.joint_names)}
    where |= {name: posed.vertices[:, i] for name, i in body.extra_vertex_ids.items()}
    points = torch.stack([where[name] for name in NAMES], dim=1)
    return points + 0.005 * torch.randn(points.shape, generator=generator), NAMES


def main(
    markers: Annotated[Path | None, tyro.conf.Positional] = None, out: Path = Path("out/examples/markers.npz")
) -> None:
    """Fit bodies to MARKERS, an .npz with `points` (B, K, 3) in metres and `names` (K); without it to made-up ones.

    `bodyfit.data.landmarks.LANDMARK_NAMES` lists the names. Points that are NaN are not known.
    """
    points, names = made_up_markers()
    if markers is not None:
        with np.load(markers) as file:
            points, names = torch.tensor(file["points"], dtype=torch.float32), tuple(map(str, file["names"]))
    solved = bodyfit.inverse_kinematics(points, names)

    distance_mm = 1000 * (solved.points - points).norm(dim=-1)
    distance_mm = distance_mm[distance_mm.isfinite()]
    middle, worst = distance_mm.median(), distance_mm.max()
    print(f"{len(points)} bodies; markers met to {middle:.1f} mm in the median, {worst:.0f} mm at worst")
    out.parent.mkdir(parents=True, exist_ok=True)
    parameters = ("global_orient", "transl", "body_pose", "betas", "left_hand_pose", "right_hand_pose")
    np.savez(out, **{name: getattr(solved, name).numpy() for name in parameters})


if __name__ == "__main__":
    tyro.cli(main)
