"""`--init` of clips: the results of an earlier run on the same frames, as starts of the people who are followed now."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.record import Parameters
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import StoredResult, open_results
from bodyfit.fitting.clips.fitting_people import FollowedPerson
from bodyfit.fitting.energy.observations import person_size
from bodyfit.fitting.run.starts import KEYS, InitError
from bodyfit.fitting.sequence.group import Sighting
from bodyfit.fitting.sequence.places import in_cameras
from bodyfit.fitting.solve.fitter import Fitter

log = logging.getLogger(__name__)

STARTS_PER_SECOND = 10.0
"""Frames of each second of which earlier results are read, at most: moments between start between these."""
NEAR = 0.25
"""Whose landmarks are nearer than this share of a person's size, in the median, is taken for this person."""


class EarlierResults:
    """Looks up starts by frame and by where people are in it: the numbers of people may be others than before.

    Args:
        path: the output folder of a run on the same clip, or on its frames as photos.

    Raises:
        InitError: for a path that is none.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.is_dir():
            raise InitError(f"{path}: --init of a clip takes the output folder of an earlier run on the same frames.")
        try:
            stored = open_results(path).stored
        except BodyfitError as error:
            raise InitError(f"{path}: no results in it. Expected the output folder of a run.") from error
        self.by_image: dict[str, list[StoredResult]] = defaultdict(list)
        for one in stored:
            self.by_image[one.image].append(one)

    def starts(self, fitter: Fitter, person: FollowedPerson, fps: float) -> dict[int, Parameters]:
        """Starts of some of a person's moments, in the frame of the track; of several cameras, by the first that has
        one. Frames without a result of this person have none."""
        step, found, last = max(round(fps / STARTS_PER_SECOND), 1), dict[int, Parameters](), -np.inf
        for sighting in person.sightings:
            if sighting.moment - last < step:
                continue
            result = self._nearest(sighting)
            if result is not None:
                found[sighting.moment] = _in_track(fitter, result, sighting)
                last = sighting.moment
        log.info("person %s: %d earlier results to start from", person.name, len(found))
        return found

    def check(self, frames: Sequence[str]) -> None:
        """Raise InitError where there is no result of any of these frames."""
        if frames and not any(name in self.by_image for name in frames):
            raise InitError(
                f"{self.path}: has no results of these frames ({frames[0]}, ...), but of "
                f"{next(iter(self.by_image))}, ... --init takes the results of an earlier run on the same frames."
            )

    def _nearest(self, sighting: Sighting) -> FitResult | None:
        """The earlier result whose landmarks are where the person's keypoints are."""
        seen = sighting.frame.detections
        xy, known = seen.xy[sighting.person], seen.confidence[sighting.person] > 0
        size, best = person_size(xy, seen.confidence[sighting.person]), (NEAR, None)
        for stored in self.by_image.get(sighting.frame.name, ()):
            try:
                result = stored.load()
            except ResultError as error:
                log.warning("%s Not started from.", error)
                continue
            if result.status not in ("converged", "max_iterations"):
                continue
            away = np.linalg.norm(result.landmarks_px[known] - xy[known], axis=1) / max(size, 1e-6)
            away = away[np.isfinite(away)]
            if len(away) and np.median(away) < best[0]:
                best = float(np.median(away)), result
        return best[1]


def _in_track(fitter: Fitter, result: FitResult, sighting: Sighting) -> Parameters:
    """The parameters of a result of one camera in the world, where cameras are calibrated."""
    given = {key: getattr(result, key) for key in KEYS}
    if sighting.frame.extrinsics is None:
        return given
    placed, layout = sighting.frame.extrinsics, fitter.unknowns.layout
    x = fitter.unknowns_of(given)[None]
    turn = torch.as_tensor(np.asarray(placed.rotation)).to(x).T
    shift = -(turn @ torch.as_tensor(np.asarray(placed.translation)).to(x))
    there = in_cameras(fitter, x, turn[None], shift[None])[0].double().cpu().numpy()
    return given | {name: there[layout[name]] for name in ("global_orient", "transl")}
