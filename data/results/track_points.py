"""The joints and skin points of a track at every moment, as tables and as OpenSim's .trc."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import pose_body
from bodyfit.data.body.reduced import reduced_body
from bodyfit.data.results.tables import written
from bodyfit.data.results.track import Track

_BATCH = 1024
_POINT_COLUMNS = ("person", "moment", "time_s", "status", "views", "point", "x_m", "y_m", "z_m")
_VECTORS = ("transl", "global_orient", "betas", "expression", "body_pose", "jaw_pose", "leye_pose", "reye_pose")
_VECTORS += ("left_hand_pose", "right_hand_pose")


def point_names(body: BodyModel) -> tuple[str, ...]:
    """Names of `track_points`: the joints, then nose, eyes, ears, toes, heels and finger tips."""
    return (*body.joint_names, *body.extra_vertex_ids)


def track_points(body: BodyModel, track: Track) -> Float[np.ndarray, "T P 3"]:
    """Where the points of `point_names` are at every moment, metres, in the track's frame; NaN where it failed."""
    points = np.full((len(track), len(point_names(body)), 3), np.nan)
    small, given = reduced_body(body, list(body.extra_vertex_ids.values())), track.parameters()
    fitted = np.flatnonzero([status != "failed" for status in track.status])
    for start in range(0, len(fitted), _BATCH):
        rows = fitted[start : start + _BATCH]
        some = {name: torch.as_tensor(value[rows], dtype=torch.float64) for name, value in given.items()}
        points[rows] = pose_body(small, **some).vertices.numpy()
    return points


def trc(
    name: str, names: tuple[str, ...], points: Float[np.ndarray, "T P 3"], track: Track, *, first: int = 1
) -> Iterator[str]:
    """Lines of a .trc, OpenSim's file of marker positions, metres. What is not known is NaN: empty cells are refused.

    Args:
        name: Of the file, which its first line repeats.
        names: Of the markers.
        points: In a frame with y up, as OpenSim expects; NaN where there is none.
        track: Whose moments they are. Time is that of the clip, moment / fps; moments that failed at the ends are left
            out.
        first: Number of the first row.
    """
    rows = np.flatnonzero(np.isfinite(points).all(axis=(1, 2)))
    kept = range(rows[0], rows[-1] + 1) if len(rows) else range(0)
    rate = f"{track.fps:.10g}"
    yield f"PathFileType\t4\t(X/Y/Z)\t{name}\n"
    yield "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
    yield f"{rate}\t{rate}\t{len(kept)}\t{len(names)}\tm\t{rate}\t{first}\t{len(kept)}\n"
    yield "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t\n"
    yield "\t\t" + "\t".join(f"X{i}\tY{i}\tZ{i}" for i in range(1, len(names) + 1)) + "\n"
    for number, row in enumerate(kept, start=first):
        values = (f"{value:.6f}" if np.isfinite(value) else "NaN" for value in points[row].ravel())
        yield f"{number}\t{track.moments[row] / track.fps:.6f}\t" + "\t".join(values) + "\n"


def point_table(tracks: Iterable[tuple[Track, tuple[str, ...], Float[np.ndarray, "T P 3"]]]) -> Iterator[str]:
    """Lines of a .csv: a row for each point of each moment of each track; places are empty where it failed."""
    yield written(_POINT_COLUMNS, ())
    for track, names, points in tracks:
        for row, head in enumerate(_heads(track)):
            yield written(
                None, ([*head, name, *map(float, point)] for name, point in zip(names, points[row], strict=True))
            )


def parameter_rows(tracks: Iterable[Track]) -> Iterator[str]:
    """Lines of a .csv: a row for each moment of each track, with every parameter in a column of its own."""
    tracks = list(tracks)
    widths = {name: max((track.parameters()[name].shape[1] for track in tracks), default=0) for name in _VECTORS}
    yield written((*_POINT_COLUMNS[:5], *(f"{name}_{i}" for name in _VECTORS for i in range(widths[name]))), ())
    for track in tracks:
        values = track.parameters()
        for row, head in enumerate(_heads(track)):
            cells = list(head)
            for name in _VECTORS:
                numbers = values[name][row].tolist()
                numbers = [""] * len(numbers) if track.status[row] == "failed" else numbers
                cells += [*numbers, *[""] * (widths[name] - len(numbers))]
            yield written(None, [cells])


def _heads(track: Track) -> Iterator[tuple]:
    for moment, status, views in zip(track.moments.tolist(), track.status, track.views.tolist(), strict=True):
        yield track.person, moment, moment / track.fps, status, views
