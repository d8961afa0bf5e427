"""From motion files to prepared poses: read each source once, trim, resample, thin out, split, append, record.

The prepared folder holds for each split one flat file of float32 (63 numbers per pose) and `clips.jsonl`, one line per
clip with the place of its poses. Poses are appended clip by clip, so memory does not grow with the collection, and an
interrupted run resumes after the last clip that was recorded.
"""

import hashlib
import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import parse_json, read_bytes, read_json, write_atomically
from bodyfit.data.motion.mocap import MocapError, MotionClip, NoMotionError, find_motions, read_motion
from bodyfit.prior.training.splits import Splitter

log = logging.getLogger(__name__)

JOURNAL, MANIFEST = "clips.jsonl", "manifest.json"
POSE_BYTES = 63 * 4
# Recordings begin and end in a calibration pose; bodyfit's own layout, its tracks and BVH clips do not.
_TRACK = "bodyfit track"
_UNTRIMMED = ("root and body", "BVH", _TRACK)


@dataclass(frozen=True)
class PrepareConfig:
    """How motion becomes training poses."""

    frame_rate: float = 15.0
    """Poses per second to keep; clips recorded slower stay as they are."""
    trim: float = 0.1
    """Share cut from each end of AMASS's sequences, which begin and end in a calibration pose."""
    duplicate_degrees: float = 2.0
    """A pose is dropped when no joint rotated by more than this since the last pose kept of its clip. 0 keeps all."""
    split: str = "auto"
    """`auto` (the input's splits.json, else AMASS's published split, else by subject), `amass`, `subject` or `clip`."""
    validation_share: float = 0.1
    """Share of subjects (or clips) for validation where no published split applies."""
    test_share: float = 0.1
    """Share of subjects (or clips) for test where no published split applies."""
    seed: int = 0
    """Chooses the subjects (or clips) of each split."""


@dataclass(frozen=True)
class ClipRecord:
    """One line of the journal: a source that was read, and where its poses are or why it has none."""

    source: str
    sha256: str
    split: str = ""
    offset: int = 0
    """Index of the first pose in the split's file."""
    poses: int = 0
    frames_read: int = 0
    seconds: float = 0.0
    collection: str = ""
    subject: str = ""
    licence: str = ""
    flavour: str = ""
    direction_error_degrees: float = 0.0
    left_out: str = ""


Progress = Callable[[int, int, str], None]


def prepare_motion(
    inputs: Sequence[str | Path],
    out: str | Path,
    config: PrepareConfig | None = None,
    progress: Progress | None = None,
    *,
    splits: Mapping[str, str] | None = None,
) -> dict:
    """Prepare all motion under the inputs into a folder and return its manifest.

    progress(done, total, name) is called after each file. splits: clip path relative to its input -> split, in place of
    the inputs' own splits.json; only the clips that it lists are read. Broken and shape-only files are named and left
    out.
    Raises BodyfitError when nothing usable is found, or the folder was made with another configuration.
    """
    config, out = config or PrepareConfig(), Path(out)
    if config.split not in ("auto", "amass", "subject", "clip"):
        raise BodyfitError(f"split must be auto, amass, subject or clip, got {config.split!r}")
    folders = [Path(folder) for folder in inputs]
    sources = [
        (root, path)
        for root, paths in ((f if f.is_dir() else f.parent, find_motions(f)) for f in folders)
        for path in paths
        if splits is None or path.relative_to(root).as_posix() in splits
    ]
    done = _resume(out, config)
    hashes = {record.sha256 for record in done.values()}
    used = [record for record in done.values() if record.poses]
    recordings = {_recording(record.collection, record.source, record.flavour) for record in used}
    splitters = {root: _splitter(root, config, splits) for root, _ in sources}
    ends = _ends(done.values())
    for index, (root, path) in enumerate(sources):
        if str(path) not in done:
            record = _take(path, root, splitters[root], config, out, hashes, recordings, ends)
            _append_line(out / JOURNAL, asdict(record))
            done[str(path)] = record
            if record.left_out:
                log.warning("left out %s: %s", path, record.left_out)
        if progress:
            progress(index + 1, len(sources), path.name)
    return _write_manifest(out, config, list(done.values()))


def _splitter(root: Path, config: PrepareConfig, splits: Mapping[str, str] | None) -> Splitter:
    if splits is not None:
        return Splitter(listed=dict(splits))
    return Splitter.for_input(root, config.split, config.validation_share, config.test_share, config.seed)


def _take(
    path: Path,
    root: Path,
    splitter: Splitter,
    config: PrepareConfig,
    out: Path,
    hashes: set[str],
    recordings: set[str],
    ends: dict[str, int],
) -> ClipRecord:
    """Read one file, append its poses to its split, and return the record."""
    digest = _sha256(path)
    if digest in hashes:
        return ClipRecord(str(path), digest, left_out="the same file as another")
    hashes.add(digest)
    try:
        clip = read_motion(path)
    except NoMotionError:
        return ClipRecord(str(path), digest, left_out="holds no motion (a shape file)")
    except (MocapError, BodyfitError) as error:
        return ClipRecord(str(path), digest, left_out=str(error))
    relative = path.relative_to(root)
    collection = relative.parts[0] if len(relative.parts) > 1 else root.name
    split = splitter.split_of(relative, clip.subject)
    if split is None:
        return ClipRecord(str(path), digest, left_out="not listed in the input's splits.json")
    recording = _recording(collection, str(path), clip.flavour)
    if recording in recordings:
        return ClipRecord(str(path), digest, left_out="another version of a recording that was used already")
    poses = thin_out(
        resample(_trimmed(clip, config.trim), clip.frame_rate, config.frame_rate), config.duplicate_degrees
    )
    recordings.add(recording)
    with open(out / f"{split}.f32", "ab") as stream:
        stream.write(poses.astype("<f4").tobytes())
        stream.flush()
        os.fsync(stream.fileno())
    offset, ends[split] = ends[split], ends[split] + len(poses)
    return ClipRecord(
        source=str(path),
        sha256=digest,
        split=split,
        offset=offset,
        poses=len(poses),
        frames_read=len(clip.body_pose),
        seconds=round(len(clip.body_pose) / clip.frame_rate, 3),
        collection=collection,
        subject=clip.subject,
        licence=clip.licence,
        flavour=clip.flavour,
        direction_error_degrees=round(max(clip.direction_error_degrees.values(), default=0.0), 3),
    )


def _recording(collection: str, source: str, flavour: str) -> str:
    """A key for a recording, the same for all versions of its file in AMASS: collection, subject and take."""
    path = Path(source)
    if flavour == _TRACK:  # all runs name their files alike
        return source
    take = path.stem
    for ending in ("_poses", "_stageii", "_stagei"):
        take = take.removesuffix(ending)
    return f"{collection}/{path.parent.name}/{take}/{path.suffix}".lower()


def _trimmed(clip: MotionClip, share: float) -> Float[np.ndarray, "T 63"]:
    if clip.flavour in _UNTRIMMED:
        return clip.body_pose
    cut = int(share * len(clip.body_pose))
    return clip.body_pose[cut : len(clip.body_pose) - cut]


def resample(poses: Float[np.ndarray, "T 63"], rate: float, target: float) -> Float[np.ndarray, "U 63"]:
    """Poses at the target rate (per second) by interpolating rotations; slower clips are returned unchanged."""
    if rate <= target * 1.01 or len(poses) < 2:
        return poses
    times = np.arange(len(poses)) / rate
    wanted = np.arange(0, times[-1] + 1e-9, 1 / target)
    if abs(rate / target - round(rate / target)) < 1e-6:
        return poses[:: round(rate / target)]
    joints = [Slerp(times, Rotation.from_rotvec(joint))(wanted).as_rotvec() for joint in _joints(poses)]
    return np.concatenate(joints, axis=1)


def _joints(poses: Float[np.ndarray, "T 63"]) -> list[Float[np.ndarray, "T 3"]]:
    return np.split(poses, 21, axis=1)


def thin_out(poses: Float[np.ndarray, "T 63"], degrees: float) -> Float[np.ndarray, "U 63"]:
    """Drop poses that differ from the last one kept by at most this angle at every joint."""
    if degrees <= 0 or len(poses) < 2:
        return poses
    quaternions = Rotation.from_rotvec(poses.reshape(-1, 3)).as_quat().reshape(len(poses), 21, 4)
    same = np.cos(np.radians(degrees) / 2)
    kept = [0]
    for index in range(1, len(poses)):
        if np.abs((quaternions[index] * quaternions[kept[-1]]).sum(-1)).min() < same:
            kept.append(index)
    return poses[kept]


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _append_line(path: Path, document: dict) -> None:
    with open(path, "a") as stream:
        stream.write(json.dumps(document) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_journal(out: Path) -> list[ClipRecord]:
    """The clips of a prepared folder; a last line cut off by a crash is ignored."""
    records = []
    for line in read_bytes(out / JOURNAL).splitlines() if (out / JOURNAL).is_file() else []:
        try:
            records.append(ClipRecord(**parse_json(line, JOURNAL)))
        except (BodyfitError, TypeError):
            log.warning("%s: the last line is incomplete; its clip is read again", out / JOURNAL)
    return records


def _ends(records: Sequence[ClipRecord]) -> dict[str, int]:
    ends: dict[str, int] = defaultdict(int)
    for record in records:
        if record.poses:
            ends[record.split] = max(ends[record.split], record.offset + record.poses)
    return ends


def _resume(out: Path, config: PrepareConfig) -> dict[str, ClipRecord]:
    """The records of an earlier run; poses that it wrote but did not record are removed."""
    out.mkdir(parents=True, exist_ok=True)
    settings = out / "config.json"
    if settings.is_file() and read_json(settings) != asdict(config):
        raise BodyfitError(f"{out}: was prepared with another configuration (config.json). Choose another folder")
    write_atomically(settings, lambda path: path.write_text(json.dumps(asdict(config), indent=2) + "\n"))
    records = read_journal(out)
    write_atomically(
        out / JOURNAL, lambda path: path.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records))
    )
    ends = _ends(records)
    for file in out.glob("*.f32"):
        os.truncate(file, ends[file.stem] * POSE_BYTES)
    return {record.source: record for record in records}


def _write_manifest(out: Path, config: PrepareConfig, records: list[ClipRecord]) -> dict:
    taken = [record for record in records if record.poses]
    if not taken:
        reasons = Counter(record.left_out.split(" (")[0] for record in records).most_common(3)
        raise BodyfitError(f"{out}: no usable motion in {len(records)} files. Reasons: {reasons}")
    splits = {}
    for split in sorted({record.split for record in taken}):
        mine = [record for record in taken if record.split == split]
        splits[split] = {
            "clips": len(mine),
            "poses": sum(record.poses for record in mine),
            "hours": round(sum(record.seconds for record in mine) / 3600, 3),
            "frames_read": sum(record.frames_read for record in mine),
            "subjects": len({(record.collection, record.subject) for record in mine}),
            "clips_by_collection": dict(Counter(record.collection for record in mine)),
            "poses_by_licence": _sum_by(mine, "licence"),
            "sha256": _sha256(out / f"{split}.f32"),
        }
    retargeted = [record.direction_error_degrees for record in taken if record.flavour == "BVH"]
    manifest = {
        "format": "bodyfit-poses",
        "version": 1,
        "config": asdict(config),
        "splits": splits,
        "left_out": [{"source": record.source, "reason": record.left_out} for record in records if record.left_out],
        "retargeted_clips": len(retargeted),
        "largest_direction_error_degrees": max(retargeted, default=0.0),
    }
    write_atomically(out / MANIFEST, lambda path: path.write_text(json.dumps(manifest, indent=2) + "\n"))
    return manifest


def _sum_by(records: list[ClipRecord], key: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for record in records:
        total[getattr(record, key) or "not stated"] += record.poses
    return dict(total)
