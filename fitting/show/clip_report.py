"""What the report of a clip shows in place of a card for every frame: moments and curves over time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from markupsafe import Markup

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.modes import any_flip
from bodyfit.data.results.track_points import track_points
from bodyfit.fitting.draw.colours import LEFT, RIGHT, person_hex
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.plots import bands_svg, lines_svg
from bodyfit.fitting.show.results_folder import PersonEntry, body_of_track

CARDS_PER_PERSON = 8
_MOST_CURVES = 6
_BODY_JOINTS = 22


def people_over_time(clip: ClipFrames, most: int) -> tuple[PersonEntry, ...]:
    """Of each person at most CARDS_PER_PERSON frames, evenly over time, and the worst one; in all at most `most`.

    Where the run drew only some frames of a long clip, those: a card shows the body over the frame.
    """
    of_person: dict[str, list[PersonEntry]] = {}
    for entry in clip.results.people:
        of_person.setdefault(entry.person, []).append(entry)
    chosen: list[PersonEntry] = []
    for everything in of_person.values():
        entries = [entry for entry in everything if entry.overlay_path is not None] or everything
        entries.sort(key=lambda entry: clip.index.frames.get(entry.image, 0))
        rows = set(np.linspace(0, len(entries) - 1, min(len(entries), CARDS_PER_PERSON - 1)).round().astype(int))
        rows.add(int(np.argmax([-1.0 if entry.error_share is None else entry.error_share for entry in entries])))
        chosen += [entries[row] for row in sorted(rows)]
    return tuple(chosen[:most])


def clip_tiles(clip: ClipFrames) -> dict[str, str]:
    """Figures of a clip: people are counted once, not at every moment."""
    people, moments = clip.results.people, clip.index.moments
    count = {"cameras": str(len(clip.cameras))} if len(clip.cameras) > 1 else {}
    rows = [entry for entry in people if entry.status != "failed"]
    interpolated = sum(entry.status == "interpolated" for entry in rows)
    return {
        "people": str(len({entry.person for entry in rows})),
        **count,
        f"moments, {clip.index.fps:g} per second": str(moments[1] - moments[0] + 1),
        "of results converged": f"{100 * sum(e.status == 'converged' for e in people) / len(people):.0f} %",
        **({"of results interpolated": f"{100 * interpolated / len(people):.0f} %"} if interpolated else {}),
    }


def curves_over_time(clip: ClipFrames) -> tuple[Markup, ...]:
    """Reprojection error, acceleration, uncertainty and ambiguity of each person over time, and when feet touch the
    ground, as SVG; the first six people, each in its own colour."""
    errors: dict[str, tuple[list[float], list[float]]] = {}
    sums: dict[tuple[str, int], list[float]] = {}
    for entry in clip.results.people:
        moment = clip.index.frames.get(entry.image)
        if moment is not None and entry.error_share is not None:
            sums.setdefault((entry.person, moment), []).append(100 * entry.error_share)
    for (person, moment), values in sorted(sums.items()):
        times, shares = errors.setdefault(person, ([], []))
        times.append(moment / clip.index.fps)
        shares.append(float(np.mean(values)))
    curves = {
        "Reprojection error, % of person size": dict(list(errors.items())[:_MOST_CURVES]),
        "Acceleration of the body joints, m/s²": _accelerations(clip),
        "Standard deviation of the least sure joint, cm": _deviations(clip),
        "Probability that an arm or leg is flipped in depth, %": _flips(clip),
    }
    shared = {"x_unit": "s", "from_zero": True}
    drawn = [
        lines_svg(series, title=title, colours={name: _colour(name) for name in series}, **shared)
        for title, series in curves.items()
        if series
    ]
    return *drawn, *_contacts(clip)


def _colour(person: str) -> str:
    return person_hex(int(person) if person.isdecimal() else 0)


def _contacts(clip: ClipFrames) -> tuple[Markup, ...]:
    """When each foot touches the ground; nothing where that was not asked for."""
    rows, colours = {}, {}
    for track in clip.tracks()[:_MOST_CURVES]:
        for foot, (touches, colour) in enumerate(zip(track.touching.T, (LEFT, RIGHT), strict=True)):
            name = f"{track.person} {'LR'[foot]}"
            rows[name] = [tuple(interval) for interval in _intervals(touches, track.moments) / clip.index.fps]
            colours[name] = colour
    if not any(rows.values()):
        return ()
    first, last = clip.index.moments
    x_range = (first / clip.index.fps, (last + 1) / clip.index.fps)
    return (bands_svg(rows, colours=colours, title="Feet on the ground", x_range=x_range, x_unit="s"),)


def _intervals(touches: Bool[np.ndarray, " T"], moments: Int[np.ndarray, " T"]) -> Float[np.ndarray, "n 2"]:
    """First moment, and the one after the last, of each time without a break."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], touches, [False]]).astype(int)))
    return (edges.reshape(-1, 2) + int(moments[0])).astype(float)


def _deviations(clip: ClipFrames) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each track, the standard deviation of the body's least sure joint along its least sure direction, relative to
    the pelvis, cm."""
    found = {}
    for track in clip.tracks()[:_MOST_CURVES]:
        covariances = track.joint_covariance_root_relative[:, :_BODY_JOINTS]
        known = np.isfinite(covariances).all(axis=(1, 2, 3))
        if known.any():
            variances = np.linalg.eigvalsh(covariances[known].astype(float))[..., -1].max(axis=1)
            found[track.person] = (track.moments[known] / track.fps, 100 * np.sqrt(variances.clip(0)))
    return found


def _flips(clip: ClipFrames) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each track, the probability that any bone is flipped, %."""
    found = {}
    for track in clip.tracks()[:_MOST_CURVES]:
        known = np.isfinite(track.flip_probability).all(axis=1)
        if known.any():
            moments = track.moments[known]
            found[track.person] = (
                moments / track.fps,
                np.array([100 * any_flip(row) for row in track.flip_probability[known]]),
            )
    return found


def _accelerations(clip: ClipFrames) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean over the body's joints, of each track at each moment with neighbours."""
    found = {}
    for track in clip.tracks()[:_MOST_CURVES]:
        try:
            body = body_of_track(track, clip.results.body)
        except BodyfitError:  # another body model than those at hand
            continue
        joints = track_points(body, track)[:, :_BODY_JOINTS]
        if len(joints) > 2:
            second = (joints[2:] - 2 * joints[1:-1] + joints[:-2]) * track.fps**2
            found[track.person] = (track.moments[1:-1] / track.fps, np.linalg.norm(second, axis=-1).mean(axis=1))
    return found
