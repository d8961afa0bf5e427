"""Settings as JSON: what a run wrote beside its results is what `--config` reads back."""

from __future__ import annotations

import json
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.solve.fitter import FitConfig


def read_config(path: Path | str) -> FitConfig:
    """Settings from a JSON file: that of a run (OUT/config.json) or just its "fit" part; what is left out is default.

    Raises:
        BodyfitError: for a file that is not JSON, or a setting that does not exist or has the wrong type.
    """
    try:
        document = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise BodyfitError(f"{path}: no readable JSON ({error}). Expected settings as in OUT/config.json.") from error
    if not isinstance(document, dict):
        raise BodyfitError(f"{path}: expected a JSON object of settings, found {type(document).__name__}.")
    return _build(FitConfig, document.get("fit", document), str(path))


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise BodyfitError(f"{where}: expected an object of settings, found {values!r}.")
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise BodyfitError(f"{where}: there is no setting '{unknown[0]}'. Known: {', '.join(sorted(known))}.")
    return kind(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in values.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, where)
    allowed = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and float in allowed and type(None) not in allowed:  # JSON has no infinity: null stands for it
        return float("inf")
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join(getattr(a, "__name__", str(a)) for a in allowed)
        raise BodyfitError(f"{where}: expected {names}, found {value!r}.")
    return value
