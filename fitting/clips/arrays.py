"""`bodyfit.fit_video`: keypoints of a clip in memory in, people over time out.

clip = bodyfit.fit_video(keypoints, "coco17", fps=30, image_size=(1280, 720))   # (T, 17, 3) or (T, P, 17, 3)
for person in clip.people:
    print(person.name, person.track.moments, person.track.betas)
results = clip.results("000")                                                    # one FitResult per frame
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from numpy.typing import ArrayLike

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.arrays import as_numbers
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.track import Track
from bodyfit.fitting.clips.fitting_people import fit_people, followed_people
from bodyfit.fitting.clips.frame_results import frame_results
from bodyfit.fitting.clips.shared_worlds import in_shared_worlds
from bodyfit.fitting.clips.tracking import track_people
from bodyfit.fitting.clips.writing import FittedPerson
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fit import fitter_for
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.prior.model.vposer import VPoser


@dataclass(frozen=True)
class ClipFit:
    """People of a clip, fitted over time."""

    people: tuple[FittedPerson, ...]
    """In the order in which they come into the clip."""
    fitter: Fitter
    spurious: int
    """Tracks that were too short to be people."""

    @property
    def tracks(self) -> list[Track]:
        """The people who could be fitted, over time."""
        return [person.track for person in self.people if person.track is not None]

    def results(self, name: str) -> list[FitResult]:
        """A person in each frame in which they were seen, as `bodyfit.fit` gives it.

        Raises:
            BodyfitError: for a name that nobody has.
        """
        found = [person for person in self.people if person.name == name]
        if not found:
            names = ", ".join(person.name for person in self.people) or "nobody"
            raise BodyfitError(f"there is no person '{name}'. Found: {names}.")
        if found[0].track is None:
            return [self.fitter.make.failed(s.frame, s.person, found[0].reason) for s in found[0].sightings]
        return frame_results(self.fitter, found[0].track, found[0].sightings)


def fit_video(
    keypoints: Sequence[Frame | ArrayLike | None] | ArrayLike,
    format: str | None = None,
    *,
    fps: float,
    image_size: tuple[int, int] | None = None,
    focal_px: float | None = None,
    center_px: tuple[float, float] | None = None,
    moving_camera: bool = False,
    cuts: Collection[int] = (),
    ground: bool = False,
    gravity: tuple[float, float, float] | None = None,
    people_apart: bool = False,
    body: BodyModel | None = None,
    prior: VPoser | None = None,
    config: FitConfig | None = None,
    device: str | torch.device = "auto",
    gender: str = "neutral",
    age: str | float = "auto",
    height: float | None = None,
    betas: Sequence[float] | None = None,
) -> ClipFit:
    """Follow the people of a clip and fit each over time, with one shape.

    Args:
        keypoints: (T, K, 3) of one person or (T, P, K, 3) of up to P people per frame, in any order: x and y in pixels,
            confidence; NaN or confidence 0 is unseen. Or a list with an array (K, 3) or (P, K, 3) for each frame, P as
            many as were found in it; or a list of frames (`Frame.from_keypoints`, `.from_files`). None is nobody.
        format: what the K points are, as `Frame.from_keypoints` takes it; not for frames.
        fps: frames per second.
        image_size: (width, height), px; not for frames, like the next two.
        focal_px: default: the length of the image's diagonal.
        center_px: principal point; default: the middle of the image.
        moving_camera: position and orientation of each frame are free.
        ground: feet that rest do not slide, and stand on a common floor; tracks say which feet touch, and the floor.
        gravity: which way things fall, in the camera's frame (x right, y down, z forward), where that is known.
        people_apart: people of a shot do not pass through each other.
        cuts: numbers of the frames that begin a new shot: nobody is followed across.
        body, prior, config: default: the open body, the shipped prior, `FitConfig()`.
        device: "auto", "cpu", "cuda", "cuda:1", or a torch.device.
        gender, age, height, betas: what is known of everybody in the clip, as in `fit`.

    Raises:
        BodyfitError: for keypoints of another shape, and for a frame rate that is none.
    """
    if not isinstance(fps, Real) or not 0 < fps < np.inf:
        raise BodyfitError(f"fps is {fps!r}. Expected a positive number of frames per second.")
    frames = frames_from_arrays(keypoints, format, image_size, focal_px, center_px)
    fitter = fitter_for(
        body,
        prior,
        config,
        device=device,
        gender=gender,
        age=age,
        height=height,
        betas=betas,
        ground=ground,
        gravity=gravity,
        people_apart=people_apart,
    )
    tracking = track_people(frames, fps, cuts)
    people = followed_people(tracking.tracklets, frames)
    sequence = SequenceConfig.for_choice(fitter.config.ground, moving_camera=moving_camera)
    fitted = fit_people(fitter, people, fps, sequence, cuts)
    return ClipFit(in_shared_worlds(fitted, sequence.ground, cuts=cuts), fitter, len(tracking.dropped))


def frames_from_arrays(
    keypoints: Sequence[Frame | ArrayLike | None] | ArrayLike,
    format: str | None,
    image_size: tuple[int, int] | None,
    focal_px: float | None,
    center_px: tuple[float, float] | None,
) -> dict[int, Frame]:
    """Frames by moment, from what `fit_video` takes. Raises BodyfitError."""
    if isinstance(keypoints, Sequence) and any(isinstance(one, Frame) for one in keypoints):
        wrong = [type(one).__name__ for one in keypoints if one is not None and not isinstance(one, Frame)]
        if wrong:
            raise BodyfitError(f"one of the frames is a {wrong[0]}. Expected frames, and None where there is none.")
        return {t: frame for t, frame in enumerate(keypoints) if isinstance(frame, Frame)}
    if format is None:
        raise BodyfitError("say which points the keypoints are: format='coco17', 'body25', ...")
    camera = {"image_size": image_size, "focal_px": focal_px, "center_px": center_px}
    return {
        t: Frame.from_keypoints(_seen(people), format, **camera, name=f"{t:06d}")
        for t, people in enumerate(_by_moment(keypoints))
    }


def _by_moment(keypoints: object) -> list[np.ndarray]:
    """Each moment's people, (P, K, 3), of an array of all moments or a list with an array for each."""
    of_each = isinstance(keypoints, list | tuple)
    if of_each:
        given = [[] if one is None else one for one in keypoints]
        moments = [as_numbers(f"moment {t}", one, "keypoints") for t, one in enumerate(given)]
    else:
        moments = list(np.atleast_1d(as_numbers("clip", keypoints, "keypoints")))
    for t, one in enumerate(moments):
        if one.shape != (0,) and (one.ndim not in (2, 3) or one.shape[-1] not in (2, 3)):
            which = f"of moment {t} have shape {one.shape}" if of_each else f"have shape {np.shape(keypoints)}"
            raise BodyfitError(
                f"keypoints {which}. Expected (K, 3) of one person or (P, K, 3) of "
                "several at each moment, as one array (T, ...) or as a list, or a list of frames."
            )
    return [one[None] if one.ndim == 2 else one for one in moments]


def _seen(people: np.ndarray) -> np.ndarray:
    """Those of a moment's people of whom anything was seen."""
    if people.shape == (0,):
        return people
    seen = np.isfinite(people).all(axis=-1)
    if people.shape[-1] == 3:
        seen &= people[..., 2] > 0
    return people[seen.any(axis=-1)]
