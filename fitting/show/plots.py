"""Plots as SVG with escaped text: small, sharp at any size, and without a library in the page."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from markupsafe import Markup

from bodyfit.fitting.draw.colours import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 36, 36
_CURVES = (BLUE, ORANGE, GREEN, PURPLE, VERMILION)
_LETTER = 6.4  # px, a wide one of the small font
_FONT = "font-family='system-ui,sans-serif' font-size='11'"


def histogram_svg(
    groups: Mapping[str, Sequence[float]], *, colours: Mapping[str, str], title: str, unit: str, bins: int = 24
) -> Markup:
    """Stacked histogram of named groups; values above the 98th percentile are counted in the last bar."""
    everything = np.array([value for values in groups.values() for value in values], dtype=float)
    if len(everything) == 0:
        return _frame(title, "<text x='50%' y='55%' text-anchor='middle' class='dim'>no numbers</text>")
    high = nice_ceiling(np.quantile(everything, 0.98))
    edges = np.linspace(0, high, bins + 1)
    counts = {name: np.histogram(np.clip(values, 0, high), edges)[0] for name, values in groups.items()}
    tallest = max(int(sum(counts.values()).max()), 1)
    y_high = 2 * math.ceil(nice_ceiling(1.05 * tallest) / 2)  # even, so that the label at half height is an integer
    bar_width = (_WIDTH - _LEFT - _RIGHT) / bins
    bars, below = [], np.zeros(bins)
    for name, count in counts.items():
        for i in np.flatnonzero(count):
            top, bottom = _y(below[i] + count[i], y_high), _y(below[i], y_high)
            label = escape(f"{name}: {count[i]} from {edges[i]:.3g} to {edges[i + 1]:.3g} {unit}")
            bars.append(
                f"<rect x='{_LEFT + i * bar_width:.1f}' y='{top:.1f}' width='{bar_width - 1:.1f}' "
                f"height='{bottom - top:.1f}' fill='{colours.get(name, GREY)}'><title>{label}</title></rect>"
            )
        below += count
    median = float(np.median(everything))
    x = _x(min(median, high), 0, high)
    anchor, side = ("start", 4) if x < 0.6 * _WIDTH else ("end", -4)  # keeps the text inside the plot
    marker = (
        f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP - 4}' y2='{_HEIGHT - _BOTTOM}' stroke='{INK}' "
        f"stroke-dasharray='3 3'/><text x='{x + side:.1f}' y='{_TOP - 2}' text-anchor='{anchor}'>"
        f"median {median:.3g} {escape(unit)}</text>"
    )
    return _frame(title, "".join(bars) + marker + _axes((0, high), (0, y_high), unit))


def bars_svg(counts: Mapping[str, int], *, colours: Mapping[str, str], title: str) -> Markup:
    """One horizontal bar per name, with its count and share."""
    total = max(sum(counts.values()), 1)
    step = (_HEIGHT - _TOP - 10) / max(len(counts), 1)
    thickness = min(26.0, 0.6 * step)
    rows = []
    for i, (name, count) in enumerate(counts.items()):
        y = _TOP + 6 + i * step
        width = (_WIDTH - 130) * count / total
        rows.append(
            f"<text x='12' y='{y + 8:.1f}'>{escape(name.replace('_', ' '))}</text>"
            f"<rect x='12' y='{y + 13:.1f}' width='{max(width, 1):.1f}' height='{thickness:.1f}' rx='2' "
            f"fill='{colours.get(name, GREY)}'/>"
            f"<text x='{18 + width:.1f}' y='{y + 17 + thickness / 2:.1f}'>{count} ({100 * count / total:.0f} %)</text>"
        )
    return _frame(title, "".join(rows))


def lines_svg(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    x_unit: str,
    log_y: bool = False,
    from_zero: bool = False,
    colours: Mapping[str, str] | None = None,
) -> Markup:
    """Curves y over x with a legend above them (training losses, for example); points that are not finite break a line.

    `from_zero`: y starts at zero and ends at a round number. `colours`: of the curves, by name.
    """
    scale = np.log10 if log_y else np.asarray
    curves = {}
    for name, (x, y) in series.items():
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        keep = np.isfinite(y) & (y > 0 if log_y else True)
        curves[name] = (x[keep], scale(y[keep]))
    drawn = [curve for curve in curves.values() if len(curve[0])]
    if not drawn:
        return _frame(title, "<text x='50%' y='55%' text-anchor='middle' class='dim'>no numbers</text>")
    x_range = _range(np.concatenate([x for x, _ in drawn]))
    heights = np.concatenate([y for _, y in drawn])
    y_range = (0.0, nice_ceiling(heights.max())) if from_zero else _range(heights)
    chosen = {name: (colours or {}).get(name, _CURVES[i % len(_CURVES)]) for i, name in enumerate(curves)}
    legend, top = _legend(chosen)
    parts = [legend]
    for name, (x, y) in curves.items():
        places = list(zip(_x(x, *x_range), _y(y - y_range[0], y_range[1] - y_range[0], top), strict=True))
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
        parts.append(f"<polyline points='{points}' fill='none' stroke='{chosen[name]}' stroke-width='1.8'/>")
        if len(places) == 1:  # a line of one point is invisible
            parts.append(f"<circle cx='{places[0][0]:.1f}' cy='{places[0][1]:.1f}' r='3' fill='{chosen[name]}'/>")
    return _frame(title, "".join(parts) + _axes(x_range, y_range, x_unit, log_y, top))


def bands_svg(
    rows: Mapping[str, Sequence[tuple[float, float]]],
    *,
    colours: Mapping[str, str],
    title: str,
    x_range: tuple[float, float],
    x_unit: str,
) -> Markup:
    """Named rows along x with the intervals (start, end) in which something is the case."""
    step = (_HEIGHT - _TOP - _BOTTOM) / max(len(rows), 1)
    parts = []
    for number, (name, intervals) in enumerate(rows.items()):
        y, thick = _TOP + (number + 0.5) * step, min(14.0, 0.7 * step)
        parts.append(f"<text x='{_LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{escape(name)}</text>")
        parts.append(
            f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='{INK}' opacity='.12'/>"
        )
        for start, end in intervals:
            left, right = (float(_x(x, *x_range)) for x in (start, end))
            label = escape(f"{name}: {start:.2f} to {end:.2f} {x_unit}")
            parts.append(
                f"<rect x='{left:.1f}' y='{y - thick / 2:.1f}' width='{max(right - left, 0.5):.1f}' "
                f"height='{thick:.1f}' fill='{colours.get(name, GREY)}'><title>{label}</title></rect>"
            )
    return _frame(title, "".join(parts) + _axes(x_range, None, x_unit))


def _legend(colours: Mapping[str, str]) -> tuple[str, float]:
    """Names with a piece of their line, in rows between the title and the curves; and where the curves may start."""
    parts, x, y = [], float(_LEFT), 30.0
    for name, colour in colours.items():
        width = 24 + _LETTER * len(name)
        if x > _LEFT and x + width > _WIDTH - _RIGHT:
            x, y = float(_LEFT), y + 14
        parts.append(
            f"<line x1='{x:.0f}' x2='{x + 14:.0f}' y1='{y:.0f}' y2='{y:.0f}' stroke='{colour}' stroke-width='3'/>"
        )
        parts.append(f"<text x='{x + 18:.0f}' y='{y + 4:.0f}'>{escape(name)}</text>")
        x += width + 8
    return "".join(parts), y + 14


def nice_ceiling(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten that is not below a value."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _x(value, low: float, high: float):
    return _LEFT + (np.asarray(value) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _y(value, high: float, top: float = _TOP):
    return _HEIGHT - _BOTTOM - np.asarray(value) / high * (_HEIGHT - top - _BOTTOM)


def _axes(
    x_range: tuple[float, float],
    y_range: tuple[float, float] | None,
    unit: str,
    log_y: bool = False,
    top: float = _TOP,
) -> str:
    """Both axes with three numbers each; without a y_range, that of x alone."""
    floor = _HEIGHT - _BOTTOM
    parts = [f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{floor}' y2='{floor}' stroke='{INK}'/>"]
    for share in (0, 0.5, 1):
        x_value = x_range[0] + share * (x_range[1] - x_range[0])
        parts.append(f"<text x='{_x(share, 0, 1):.1f}' y='{floor + 14}' text-anchor='middle'>{x_value:.3g}</text>")
        if y_range is None:
            continue
        y_value = y_range[0] + share * (y_range[1] - y_range[0])
        y, label = _y(share, 1.0, top), f"{10**y_value if log_y else y_value:.3g}"
        parts.append(f"<text x='{_LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{label}</text>")
        parts.append(
            f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='{INK}' opacity='.12'/>"
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f"<text x='{middle}' y='{_HEIGHT - 6}' text-anchor='middle' class='dim'>{escape(unit)}</text>")
    return "".join(parts)


def _frame(title: str, body: str) -> Markup:
    size = 13 if len(title) < 45 else 11
    return Markup(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' {_FONT} fill='{INK}'>"
        f"<title>{escape(title)}</title>"
        f"<text x='12' y='16' font-size='{size}' font-weight='600'>{escape(title)}</text>{body}</svg>"
    )
