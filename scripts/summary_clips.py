"""`bodyfit summary` of a folder of several clips: a line for each, and the worst fits of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bodyfit.data.words import counted
from bodyfit.scripts.summary_figures import Row, rows_of, summarise

_FITTED = ("converged", "max_iterations")
_HEADS = ("frames", "people", "fitted", "interpolated", "implausible", "failed", "error", "95 %")


def rows_of_clips(clips: Mapping[str, Path]) -> Iterator[Row]:
    """The rows of all runs with their names (`clip`). Raises BodyfitError for a summary that cannot be read."""
    for name, folder in clips.items():
        for row in rows_of(folder):
            yield {"clip": name, **row}


def summarise_clips(clips: Mapping[str, Path], failed: Mapping[str, str], worst: int) -> dict[str, Any]:
    """What `summarise` says of each run, with its numbers of people over time (`persons`), and of all rows together;
    and why clips without results failed.

    Raises:
        BodyfitError: for a summary that cannot be read.
    """
    found = {}
    for name, folder in clips.items():
        rows = list(rows_of(folder))
        found[name] = summarise(rows, worst) | {"persons": len({row["person"] for row in rows} - {None})}
    named = ({**row, "image": f"{row['clip']}: {row['image']}"} for row in rows_of_clips(clips))
    every = summarise(named, worst) | {"persons": sum(one["persons"] for one in found.values())}
    return {"clips": found, "all": every, "failed": dict(failed)}


def clips_as_text(document: dict[str, Any]) -> str:
    """For people: a table, then clips without results, failures, and the largest errors."""
    clips, every = document["clips"], document["all"]
    failed = document["failed"]
    width = max(8, *(len(name) for name in (*clips, *failed))) + 2
    count = counted(len(clips) + len(failed), "clip", "clips")
    lines = [f"{count}; a person counts once in each frame, errors in % of their size (median, 95 %)", ""]
    lines += [f"{'clip':<{width}}" + "".join(f"{head:>14}" for head in _HEADS)]
    lines += [f"{name:<{width}}" + _line(one) for name, one in (*clips.items(), ("all", every))]
    if failed:
        lines += ["", "clips that could not be fitted", *(f"  {name}: {reason}" for name, reason in failed.items())]
    if every["failures"]:
        lines += ["", "failures by reason"]
        lines += [
            f"{failure['count']:8}  {name}: {failure['reason']}"
            for name, one in clips.items()
            for failure in one["failures"][:5]
        ]
    if every["worst"]:
        lines += ["", "largest errors"]
        lines += [
            f"{100 * case['error_share']:8.2f} %  {case['image']}, person {case['person']} ({case['status']})"
            for case in every["worst"]
        ]
    return "\n".join(lines)


def _line(one: dict[str, Any]) -> str:
    statuses, shares = one["statuses"], one["error_share"]
    fitted = sum(statuses.get(status, 0) for status in _FITTED)
    cells = [one["photos"], one["persons"], fitted]
    cells += [statuses.get(status, 0) for status in ("interpolated", "implausible", "failed")]
    errors = [f"{100 * shares[head]:.2f}" if shares else "" for head in ("p50", "p95")]
    return "".join(f"{cell:>14}" for cell in (*cells, *errors))
