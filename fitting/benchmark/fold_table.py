"""The figures of leave-one-source-out as a Markdown table, alone or beside those of another run."""

from __future__ import annotations

from collections.abc import Sequence

ROWS: tuple[tuple[str, str, str], ...] = (
    ("fits, PA-MPJPE, mm", "fits random pa_mpjpe_mm", ".1f"),
    ("the same, median", "fits random pa_mpjpe_mm_median", ".1f"),
    ("far poses, PA-MPJPE, mm", "fits far pa_mpjpe_mm", ".1f"),
    ("the same, median", "fits far pa_mpjpe_mm_median", ".1f"),
    ("floor and acrobatic poses, PA-MPJPE, mm", "fits floor pa_mpjpe_mm", ".1f"),
    ("the same, median", "fits floor pa_mpjpe_mm_median", ".1f"),
    ("facing the wrong way, %", "fits random turned_away_percent", ".1f"),
    ("far poses, facing the wrong way, %", "fits far turned_away_percent", ".1f"),
    ("predicted pose, joints, mm", "start expected_mm", ".1f"),
    ("prior: reconstruction of joints, mm", "prior joints_mm", ".1f"),
    ("the same, 99th percentile", "prior joints_mm_99th", ".1f"),
    ("AUC: hyperextended", "prior auc_hyperextended", ".3f"),
    ("AUC: turned", "prior auc_turned", ".3f"),
    ("AUC: swapped", "prior auc_swapped", ".3f"),
)
"""Label, where the number is, and how it is written."""


def number(figures: dict, path: str) -> float | None:
    """A number of a fold's figures by the words of its path, or None where the fold has none."""
    found = figures
    for word in path.split():
        found = found.get(word) if isinstance(found, dict) else None
    return found if isinstance(found, int | float) else None


def as_markdown(folds: Sequence[dict], before: Sequence[dict] = ()) -> str:
    """One column per fold and their mean.

    Args:
        folds: figures as `cross_validation.run_fold` returns them.
        before: those of another run: cells become "before → now (change)", and only folds that both have count.
    """
    old = {row["fold"]: row for row in before}
    shown = [row for row in folds if not old or row["fold"] in old]
    lines = ["| unseen | " + " | ".join(row["fold"].replace("+", " + ") for row in shown) + " | mean |"]
    lines.append("|---" * (len(shown) + 2) + "|")
    for label, path, form in ROWS:
        now = [number(row, path) for row in shown]
        then = [number(old[row["fold"]], path) if old else None for row in shown]
        both = [(b, a) for b, a in zip(now, then, strict=True) if b is not None and (a is not None or not old)]
        cells = [_cell(b, a, form, bool(old)) for b, a in zip(now, then, strict=True)]
        if both:
            middle = [sum(x) / len(both) if x[0] is not None else None for x in zip(*both, strict=True)]
            cells.append(_cell(middle[0], middle[1], form, bool(old)))
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(now: float | None, then: float | None, form: str, compared: bool) -> str:
    if now is None or (compared and then is None):
        return ""
    if not compared or then is None:
        return format(now, form)
    change = f" ({100 * (now / then - 1):+.0f} %)" if then else ""
    return f"{then:{form}} → {now:{form}}{change}"
