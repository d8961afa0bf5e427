"""Training, validation and test splits. Whole clips or whole subjects, never frames of one clip."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from bodyfit.data.files import read_json
from bodyfit.data.motion.mocap import MocapError

# AMASS's published split by collection, with the names of its later releases. Everything else is for training.
AMASS_SPLIT: dict[str, tuple[str, ...]] = {
    "validation": ("HumanEva", "MPI_HDM05", "HDM05", "SFU", "MPI_mosh", "MoSh"),
    "test": ("Transitions_mocap", "Transitions", "SSM_synced", "SSM"),
}
AMASS_TRAIN = (
    "ACCAD", "BML", "BMLrub", "BMLmovi", "BMLhandball", "BioMotionLab_NTroje", "CMU", "CNRS", "DFaust", "DFaust_67",
    "EKUT", "EyesJapanDataset", "Eyes_Japan_Dataset", "GRAB", "KIT", "MPI_Limits", "PosePrior", "TCDHands",
    "TCD_handMocap", "TotalCapture", "WEIZMANN", "SOMA", "HUMAN4D", "DanceDB",
)  # fmt: skip


@dataclass(frozen=True)
class Splitter:
    """Assigns clips to splits.

    how: `auto` (a splits.json in the input if there is one, else AMASS's split for its collections, else by subject),
    `amass`, `subject` or `clip`.
    """

    how: str = "auto"
    validation_share: float = 0.1
    test_share: float = 0.1
    seed: int = 0
    listed: dict[str, str] = field(default_factory=dict)
    """Clip path relative to the input -> split, from splits.json."""

    @classmethod
    def for_input(cls, folder: Path, how: str, validation_share: float, test_share: float, seed: int) -> "Splitter":
        """A splitter that uses the input's own splits.json, if there is one and `how` is `auto`."""
        file = folder / "splits.json"
        listed: dict[str, str] = {}
        if how == "auto" and file.is_file():
            document = read_json(file, MocapError)
            if not isinstance(document, dict) or not all(isinstance(clips, list) for clips in document.values()):
                raise MocapError(f'{file}: expected {{"train": ["clip.npz", ...], ...}}')
            listed = {str(clip): str(split) for split, clips in document.items() for clip in clips}
        return cls(how, validation_share, test_share, seed, listed)

    def split_of(self, relative: Path, subject: str) -> str | None:
        """Name of the split, or None for a clip that the input's splits.json leaves out."""
        if self.listed:
            return self.listed.get(relative.as_posix())
        if self.how in ("auto", "amass"):
            for split, names in (*AMASS_SPLIT.items(), ("train", AMASS_TRAIN)):
                if any(part in names for part in relative.parts):
                    return split
        unit = relative.as_posix() if self.how == "clip" else f"{relative.parent.as_posix()}/{subject}"
        # A hash instead of a shuffle: a clip stays in its split when others are added.
        share = int(hashlib.sha256(f"{self.seed}/{unit}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
        if share < self.test_share:
            return "test"
        return "validation" if share < self.test_share + self.validation_share else "train"
