"""Draw poses from the prior, say how human each is, and draw them side by side."""

from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

import bodyfit


def main(out: Path = Path("out/examples/poses.png"), count: int = 6, seed: int = 0) -> None:
    """Draw COUNT poses into the picture OUT."""
    prior, body = bodyfit.load_prior(), bodyfit.load_body_model()
    latents = prior.sample(count, generator=torch.Generator().manual_seed(seed))
    poses = prior.decode_axis_angle(latents).detach()  # (count, 63): 21 joints, axis-angle, radians
    for number, score in enumerate(prior.score(poses).tolist()):
        print(f"pose {number}: score {score:.1f} (higher is more human)")

    # The bodies stand with y up; a camera looks along z with y down: half a turn about x puts them before it.
    posed = bodyfit.pose_body(
        body,
        betas=torch.zeros(count, 10),
        global_orient=torch.tensor([[torch.pi, 0.0, 0.0]]).expand(count, 3),
        body_pose=poses,
        transl=torch.tensor([[1.6 * (i - (count - 1) / 2), -0.25, 6.0] for i in range(count)]),
    )
    paper = np.full((400, 320 * count, 3), 255, np.uint8)
    meshes = [(vertices.numpy(), body.faces) for vertices in posed.vertices]
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(bodyfit.render_overlay(paper, meshes, focal_px=1000)).save(out)


if __name__ == "__main__":
    tyro.cli(main)
