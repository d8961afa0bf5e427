"""`bodyfit prior prepare`: motion files to prepared poses."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from bodyfit.data.words import counted
from bodyfit.prior.training.prepare import PrepareConfig, prepare_motion


@dataclass(frozen=True)
class PriorPrepare:
    """Read motion capture (AMASS as downloaded and unpacked, bodyfit's own layout, BVH) into training data.

    Each source is read once; broken and shape-only files are named and left out. The same command resumes after an
    interruption.
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of .npz and .bvh files, or such files."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the prepared poses."""
    config: Annotated[PrepareConfig, tyro.conf.arg(name="")] = field(default_factory=PrepareConfig)
    json: bool = False
    """Print the manifest as JSON on stdout."""

    def run(self) -> int:
        """Prepare, and log what was made."""
        with tqdm(unit="file", disable=None) as bar:

            def step(done: int, total: int, name: str) -> None:
                bar.total = total
                bar.update(done - bar.n)

            manifest = prepare_motion(self.inputs, self.out, self.config, step)
        if self.json:
            print(json.dumps(manifest, indent=2))
        log = logging.getLogger(__name__)
        for name, split in manifest["splits"].items():
            log.info(
                "%s: %s of %s by %s, %.2f hours",
                name,
                counted(split["poses"], "pose", "poses"),
                counted(split["clips"], "clip", "clips"),
                counted(split["subjects"], "subject", "subjects"),
                split["hours"],
            )
        if left_out := manifest["left_out"]:
            files = counted(len(left_out), "file", "files")
            log.info("left out: %s, named in %s", files, self.out / "manifest.json")
        return 0
