"""All settings of a run, and their JSON file: what a run wrote beside its results is what `--config` reads back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import read_json
from bodyfit.fitting.run.options import ClipOptions, OutputOptions
from bodyfit.fitting.run.ranges import check_ranges
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.frames import CameraOptions


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the results of a run, but for its inputs."""

    fit: FitConfig = field(default_factory=FitConfig)
    """Energy, starts and solver."""
    camera: CameraOptions = field(default_factory=CameraOptions)
    """What is said about the cameras."""
    output: OutputOptions = field(default_factory=OutputOptions)
    """What is written."""
    clip: ClipOptions = field(default_factory=ClipOptions)
    """What is said about a video; runs over photos have none."""
    body: Path | None = None
    """Body model file or folder; None: the open body."""
    gender: Literal["neutral", "female", "male"] = "neutral"
    """Which body of a folder, or of the open ones."""
    num_betas: int = 10
    """Shape components to fit, at most those of the body."""
    prior: Path | None = None
    """Pose prior file or folder; None: the shipped one."""
    init: Path | None = None
    """Output folder or .npz file that fits start from."""
    same_person: bool = False
    """All inputs show one person, who has one shape."""
    device: str = "auto"
    """Where to compute."""
    batch: int = 256
    """People that are fitted together."""

    def with_absolute_paths(self) -> RunConfig:
        """The same, so that it means the same files wherever it is read."""
        return _map_paths(self, lambda path: path.expanduser().absolute())


def read_config(path: Path | str) -> RunConfig:
    """Settings from a JSON file: that of a run (OUT/config.json), or settings of the fit alone; the rest is default.

    Raises:
        BodyfitError: for a file that is not JSON, or a setting that does not exist or has the wrong type.
    """
    import msgspec

    document = read_json(path)
    if not isinstance(document, dict):
        raise BodyfitError(f"{path}: expected a JSON object of settings, found {type(document).__name__}.")
    document.pop("bodyfit", None)  # the version that wrote it
    if set(document) & {f.name for f in fields(FitConfig)}:
        document = {"fit": document}
    try:
        config = msgspec.convert(_known(RunConfig, document, str(path)), RunConfig, dec_hook=_as_path)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at ")
        raise BodyfitError(f"{path}: {place.strip('`').removeprefix('$.')}: {message}.") from None
    check_ranges(as_document(config), str(path))
    return config


def _as_path(kind: type, value: Any) -> Any:
    """Settings that JSON has no type for are paths, written as text."""
    if not isinstance(value, str):
        raise ValueError(f"expected a path, found {value!r:.40}")  # msgspec adds where
    return kind(value)


def as_document(config: RunConfig) -> dict[str, Any]:
    """The settings as plain values for JSON."""
    return _map_paths(asdict(config), str)


def _map_paths(value: Any, change: Any) -> Any:
    if isinstance(value, Path):
        return change(value)
    if isinstance(value, dict):
        return {key: _map_paths(item, change) for key, item in value.items()}
    if is_dataclass(value):
        return type(value)(**{f.name: _map_paths(getattr(value, f.name), change) for f in fields(value)})
    return value


def _known(kind: type, values: Any, where: str) -> Any:
    """The values, if all of them are settings that exist; null, which stands for infinity in JSON, as infinity."""
    if not isinstance(values, dict):
        return values
    hints, known = get_type_hints(kind), {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise BodyfitError(f"{where}: there is no setting '{unknown[0]:.100}'. Known: {', '.join(sorted(known))}.")
    found = {}
    for name, value in values.items():
        if is_dataclass(hints[name]):
            found[name] = _known(hints[name], value, f"{where}: {name}")
        else:
            found[name] = float("inf") if value is None and hints[name] is float else value
    return found
