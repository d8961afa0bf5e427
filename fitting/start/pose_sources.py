"""The poses of synthetic people: frames of motion capture, samples of the prior, and drawn ones."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined, read_json
from bodyfit.data.motion.mocap import read_motion
from bodyfit.data.words import counted
from bodyfit.prior.model.vposer import VPoser
from bodyfit.prior.training.synthesis import draw_poses


def mocap_poses(
    folder: Path | str, count: int, *, seed: int, split: str | None = None
) -> tuple[Float[Tensor, "N 63"], Float[Tensor, "N 3"]]:
    """Poses and root orientations (y up) from a folder of motion files: a random frame of a random clip, `count` times.

    Args:
        folder: holds .npz clips, at any depth, and, where `split` is given, splits.json with a list of them by name.
        split: "train", "validation", "test", ...; all clips where None.

    Raises:
        BodyfitError: if there are no clips.
    """
    folder, draw = Path(folder), np.random.default_rng(seed)
    clips = sorted(folder.rglob("*.npz")) if split is None else split_clips(folder, split)
    if not clips:
        raise BodyfitError(f"{folder}: no .npz motion files. Expected a folder of AMASS-like clips")
    poses, orients, read = [], [], {}
    for place in draw.integers(len(clips), size=count):
        if place not in read:
            read[place] = read_motion(clips[place])
        clip = read[place]
        frame = draw.integers(len(clip.body_pose))
        poses.append(clip.body_pose[frame])
        orients.append(clip.root_orient[frame] if clip.flavour == "root and body" else y_up(clip.root_orient[frame]))
    return tuple(torch.from_numpy(np.stack(rows).astype(np.float32)) for rows in (poses, orients))


def check_share(share: float, of: str = "synthetic poses") -> None:
    """Raises BodyfitError for a share that is not between 0 and 1."""
    if not 0 <= share <= 1:
        raise BodyfitError(f"the share of {of} must be between 0 and 1, got {share}")


def with_synthetic(
    poses: Float[Tensor, "N 63"], roots: Float[Tensor, "N 3"], share: float, *, seed: int
) -> tuple[Float[Tensor, "N 63"], Float[Tensor, "N 3"]]:
    """Poses and roots, of which a share, the last ones, is replaced by poses from `prior.training.synthesis`.

    Raises:
        BodyfitError: if the share is not between 0 and 1.
    """
    check_share(share)
    made = round(share * len(poses))
    if made == 0:
        return poses, roots
    kept, drawn = len(poses) - made, draw_poses(made, seed=seed).axis_angles()
    return torch.cat([poses[:kept], drawn[0].to(poses)]), torch.cat([roots[:kept], drawn[1].to(roots)])


def y_up(root_orient: Float[np.ndarray, "*T 3"]) -> Float[np.ndarray, "*T 3"]:
    """From the world frame of AMASS, z up."""
    quarter = torch.tensor([-math.pi / 2, 0.0, 0.0], dtype=torch.float64)
    return roma.rotvec_composition([quarter, torch.from_numpy(root_orient)]).numpy()


def split_clips(folder: Path, split: str) -> list[Path]:
    """The motion files that splits.json lists under a name. Raises BodyfitError where some of them are missing."""
    path = folder / "splits.json"
    if not path.is_file():
        raise BodyfitError(f"{path}: not found. A split ({split!r}) needs this file: lists of clips by split name")
    splits = read_json(path)
    if not isinstance(splits, dict) or not all(isinstance(names, list) for names in splits.values()):
        raise BodyfitError(f"{path}: expected lists of clips by split name")
    if split not in splits:
        raise BodyfitError(f"{path}: no split {split!r}. It has {', '.join(splits)}")
    clips = [confined(folder, str(name)) for name in splits[split]]
    missing = [clip for clip in clips if not clip.is_file()]
    if missing:
        raise BodyfitError(
            f"{path}: its list {split!r} names {counted(len(clips), 'clip', 'clips')}, of which {len(missing)} are not "
            f"in {folder}, such as {missing[0].relative_to(folder)}. Is this a part of the collection? Give all of it, "
            "a splits.json that lists only clips which are there, or `--split None --held-out` to train on all of them."
        )
    return clips


def prior_poses(prior: VPoser, count: int, *, seed: int) -> Float[Tensor, "N 63"]:
    """Poses drawn from the prior."""
    with torch.no_grad():
        latent = prior.sample(count, torch.Generator().manual_seed(seed))
        return prior.decode_axis_angle(latent)
