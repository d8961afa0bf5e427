"""Prepared poses as a memory map, and sampling that balances long and short clips."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json
from bodyfit.prior.training.prepare import MANIFEST, POSE_BYTES, read_journal


@dataclass(frozen=True)
class PoseSet:
    """The poses of one split and the clip each comes from."""

    name: str
    poses: Float[np.ndarray, "N 63"]
    """Axis-angle, radians, float32; a memory map."""
    clip: Int[np.ndarray, " N"]
    """Index of the clip."""
    sources: tuple[str, ...]
    """File of each clip."""

    def __len__(self) -> int:
        return len(self.poses)

    def weights(self, balance: float) -> Float[Tensor, " N"]:
        """Sampling weight of each pose: 1 / (poses of its clip) ** balance.

        0 weighs all poses equally, 1 all clips; in between, a long clip counts for more than a short one, but not in
        proportion to its length.
        """
        sizes = np.bincount(self.clip, minlength=len(self.sources))
        weights = (1.0 / np.maximum(sizes, 1) ** balance)[self.clip]
        return torch.from_numpy(weights / weights.sum())

    def draw(self, count: int, *, balance: float = 1.0, seed: int = 0) -> Float[Tensor, "count 63"]:
        """Poses drawn with the weights, with replacement; all in order when there are no more than count."""
        if len(self) <= count and balance == 0:
            return torch.from_numpy(np.array(self.poses))
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.multinomial(self.weights(balance), count, replacement=balance > 0, generator=generator)
        return torch.from_numpy(np.array(self.poses[chosen.sort().values.numpy()]))


def load_poses(folder: str | Path, split: str) -> PoseSet:
    """One split of a folder made by `bodyfit prior prepare`. Raises BodyfitError that names the splits there are."""
    folder = Path(folder)
    manifest = load_manifest(folder)
    if split not in manifest["splits"]:
        raise BodyfitError(f"{folder}: no split {split!r}; it has {', '.join(manifest['splits'])}")
    records = [record for record in read_journal(folder) if record.split == split and record.poses]
    file = folder / f"{split}.f32"
    total = sum(record.poses for record in records)
    if not file.is_file() or file.stat().st_size != total * POSE_BYTES:
        raise BodyfitError(f"{file}: expected {total} poses as clips.jsonl lists. Run `bodyfit prior prepare` again")
    poses = np.memmap(file, dtype="<f4", mode="r", shape=(total, 63))
    clip = np.repeat(np.arange(len(records)), [record.poses for record in records])
    return PoseSet(split, poses, clip, tuple(record.source for record in records))


def load_manifest(folder: str | Path) -> dict:
    """The manifest of a prepared folder."""
    file = Path(folder) / MANIFEST
    if not file.is_file():
        raise BodyfitError(
            f"{folder}: no {MANIFEST} in it. Make the folder with `bodyfit prior prepare INPUT -o {folder}`"
        )
    manifest = read_json(file)
    if not isinstance(manifest, dict) or manifest.get("format") != "bodyfit-poses":
        raise BodyfitError(f"{file}: not a manifest of prepared poses")
    splits = manifest.get("splits")
    splits = splits.values() if isinstance(splits, dict) else [None]
    if not all(isinstance(split, dict) and "sha256" in split for split in splits):
        raise BodyfitError(f"{file}: its splits lack their checksums. Run `bodyfit prior prepare` again")
    return manifest
