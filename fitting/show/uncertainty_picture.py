"""A drawing of how sure a person's joints are: the skeleton from the camera and from the side, with ellipses."""

from __future__ import annotations

import base64

import numpy as np
from jaxtyping import Float

from bodyfit.data.landmarks import LANDMARK_INDEX, SKELETON
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.draw.colours import GREY, INK
from bodyfit.fitting.draw.ellipsoids import LEAST_M, MOST_M, colour_of

_BODY = 22  # joints that are drawn: the body's
_DRAWN = {*range(_BODY), LANDMARK_INDEX["nose"]}
_SIDE, _TITLE, _MARGIN, _LEGEND = 300.0, 18.0, 6.0, 34.0
_VIEWS = {"from the camera": (0, 1), "from the side (right is far)": (2, 1)}  # axes of the camera frame


def uncertainty_svg(result: FitResult) -> str | None:
    """The drawing as SVG; None where covariances are not known.

    Ellipses are of one standard deviation, relative to the pelvis.
    """
    covariances = result.joint_covariance_root_relative[:_BODY]
    if not covariances.size:
        return None
    points = result.landmarks
    here = np.isfinite(points[:_BODY]).all(axis=1) & np.isfinite(covariances).all(axis=(1, 2))
    reach = np.sqrt(np.einsum("kii->ki", covariances[here].clip(0)).max(axis=1))[:, None]
    low, high = (points[:_BODY][here] - reach).min(axis=0), (points[:_BODY][here] + reach).max(axis=0)
    scale, middle = (_SIDE - 2 * _MARGIN) / max((high - low).max(), 1e-6), (low + high) / 2
    parts: list[str] = []
    for number, (title, axes) in enumerate(_VIEWS.items()):
        top = number * (_TITLE + _SIDE)
        offset = np.array([_SIDE / 2, top + _TITLE + _SIDE / 2])
        flat = scale * (points - middle)[:, axes] + offset
        parts.append(f"<text x='{offset[0]:.0f}' y='{top + 12:.0f}' text-anchor='middle' fill='{INK}'>{title}</text>")
        parts += _bones(flat)
        parts += [
            _ellipse(flat[k], scale**2 * covariances[k][np.ix_(axes, axes)], covariances[k])
            for k in np.flatnonzero(here)
        ]
    width, height = _SIDE, len(_VIEWS) * (_TITLE + _SIDE) + _LEGEND
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' "
        f"height='{height:.0f}' font-family='system-ui,sans-serif' font-size='11'>"
        f"<rect width='100%' height='100%' fill='white'/>{''.join(parts)}{_legend(width, height)}</svg>"
    )


def as_data_url(svg: str) -> str:
    """SVG as a data URL, for an <img>."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _bones(flat: Float[np.ndarray, "144 2"]) -> list[str]:
    drawn = [(a, b) for a, b in SKELETON if max(a, b) in _DRAWN and np.isfinite(flat[[a, b]]).all()]
    return [
        f"<line x1='{flat[a][0]:.1f}' y1='{flat[a][1]:.1f}' x2='{flat[b][0]:.1f}' y2='{flat[b][1]:.1f}' "
        f"stroke='{GREY}' stroke-width='2'/>"
        for a, b in drawn
    ]


def _ellipse(centre: Float[np.ndarray, " 2"], flat: Float[np.ndarray, "2 2"], whole: Float[np.ndarray, "3 3"]) -> str:
    """One standard deviation of a joint, in the colour of its largest one in space."""
    variances, axes = np.linalg.eigh(flat.astype(float))
    radii = np.sqrt(variances.clip(0)).clip(1.0)
    angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
    red, green, blue = colour_of(float(np.sqrt(max(np.linalg.eigvalsh(whole.astype(float))[-1], 0.0))))
    return (
        f"<ellipse rx='{radii[1]:.1f}' ry='{radii[0]:.1f}' fill='rgb({red},{green},{blue})' fill-opacity='0.55' "
        f"transform='translate({centre[0]:.1f} {centre[1]:.1f}) rotate({angle:.0f})'/>"
    )


def _legend(width: float, height: float) -> str:
    """The scale of colours."""
    steps, bar = 40, 160.0
    left, y = (width - bar) / 2, height - 22
    parts = []
    for step in range(steps):
        red, green, blue = colour_of(LEAST_M * (MOST_M / LEAST_M) ** (step / (steps - 1)))
        x = left + bar * step / steps
        parts.append(
            f"<rect x='{x:.1f}' y='{y}' width='{bar / steps + 0.5:.1f}' height='10' fill='rgb({red},{green},{blue})'/>"
        )
    words = [(left - 6, "end", f"+- {100 * LEAST_M:.0f} cm"), (left + bar + 6, "start", f"+- {100 * MOST_M:.0f} cm")]
    parts += [
        f"<text x='{x:.0f}' y='{y + 9}' text-anchor='{anchor}' fill='{INK}'>{text}</text>" for x, anchor, text in words
    ]
    return "".join(parts)
