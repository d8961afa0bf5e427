"""`bodyfit prior sample`: pictures and files of sampled, interpolated and completed poses."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile, write_atomically
from bodyfit.prior.model.checkpoint import load_prior
from bodyfit.prior.model.latent_fit import complete
from bodyfit.prior.model.parts import COMPLETION_PARTS
from bodyfit.prior.model.rotations import axis_angle_from_matrices, matrices_from_axis_angle
from bodyfit.prior.model.vposer import VPoser
from bodyfit.scripts.prior_sheets import draw_sheet

log = logging.getLogger(__name__)
Part = Literal["left_leg", "legs", "arms", "torso"]


@dataclass(frozen=True)
class PriorSample:
    """Draw new poses of the prior: random samples, an interpolation between two poses, or completions of a partial
    pose.

    Poses are read from results of `bodyfit fit`, or from motion files (their first pose): anything with `body_pose`,
    `pose_body` or `poses` in it.
    """

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Picture to write (.png, .jpg), or .npz with body_pose (N, 63) in radians and latent (N, 32)."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many poses; with --interpolate how many steps, with --complete how many hypotheses."""
    seed: int = 0
    """The same seed gives the same poses."""
    prior: Path | None = None
    """Weights; the shipped ones by default."""
    body: Path | None = None
    """Body model to draw; the open body by default."""
    interpolate: tuple[Path, Path] | None = None
    """Two files: interpolate from the pose of one to that of the other."""
    complete: Path | None = None
    """A file: keep its pose except --part, and draw hypotheses for that part. The pose itself comes first."""
    part: Part = "legs"
    """The part that --complete fills in."""
    unit_normal: bool = False
    """Sample the unit Gaussian in place of the measured density of the latent space."""
    columns: int = 8
    """Bodies in a row of the picture."""
    json: bool = False
    """Print poses' scores as JSON on stdout."""

    def run(self) -> int:
        """Make the poses and write them."""
        if self.count < 1:
            raise BodyfitError(f"-n must be at least 1, got {self.count}")
        if self.interpolate and self.complete:
            raise BodyfitError("--interpolate and --complete exclude each other")
        prior = load_prior(self.prior)
        poses = self._poses(prior)
        with torch.no_grad():
            scores, latent = prior.score(poses), prior.encode(poses).mean
        if self.out.suffix == ".npz":
            arrays = {"body_pose": poses.numpy(), "latent": latent.numpy(), "score": scores.numpy()}
            write_atomically(self.out, lambda path: np.savez(path, **arrays))
        else:
            image = draw_sheet(load_body_model(self.body), poses, columns=self.columns)
            write_atomically(self.out, Image.fromarray(image).save)
        log.info("%d poses: %s", len(poses), self.out)
        if self.json:
            print(json.dumps({"out": str(self.out), "prior": prior.name, "scores": scores.tolist()}))
        return 0

    def _poses(self, prior: VPoser) -> Float[Tensor, "N 63"]:
        generator = torch.Generator().manual_seed(self.seed)
        if self.interpolate:
            start, end = (read_pose(path) for path in self.interpolate)
            return prior.interpolate(start, end, self.count).detach()
        if self.complete:
            pose = read_pose(self.complete)
            hidden = COMPLETION_PARTS[self.part]
            result = complete(prior, matrices_from_axis_angle(pose)[None], hidden, self.count, generator)[0]
            return torch.cat([pose[None], axis_angle_from_matrices(result)])
        if self.unit_normal:
            latent = torch.randn(self.count, prior.latent_dim, generator=generator)
        else:
            latent = prior.sample(self.count, generator)
        return prior.decode_axis_angle(latent).detach()


def read_pose(path: Path) -> Float[Tensor, "63"]:
    """The (first) body pose of a result or motion file."""
    with ArrayFile(path) as archive:
        for key, start in (("body_pose", 0), ("pose_body", 0), ("poses", 3)):
            if key in archive:
                values = np.atleast_2d(archive.read(key))
                numbers = values.size > 0 and values.ndim == 2 and values.dtype.kind in "fiu"
                values = values[0, start : start + 63] if numbers else values
                if values.shape != (63,) or not numbers or not np.isfinite(values).all():
                    raise BodyfitError(f"{path}: {key} holds {values.shape} numbers of a pose, expected 63 finite ones")
                return torch.tensor(values, dtype=torch.float32)
        raise BodyfitError(f"{path}: no body_pose, pose_body or poses. Found {', '.join(archive.keys) or 'nothing'}")
