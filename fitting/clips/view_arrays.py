"""`bodyfit.fit_views`: keypoints of several calibrated cameras in memory in, people in the world out.

rig = bodyfit.Rig.from_arrays(K, R, t, dist=dist, image_size=(1280, 720))      # or bodyfit.read_rig("Calib.toml")
views = bodyfit.fit_views(keypoints, rig, "coco17", fps=30)                     # (V, T, 17, 3) or (V, T, P, 17, 3)
for person in views.people:
    print(person.name, person.track.moments, person.track.transl)               # metres, in the world of the rig
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.errors import BodyfitError
from bodyfit.data.photo.rig import Rig, read_rig
from bodyfit.fitting.clips.arrays import ClipFit, frames_from_arrays
from bodyfit.fitting.clips.shared_worlds import in_shared_worlds
from bodyfit.fitting.clips.view_fit import cameras_of, fit_view_people, match_views, placed, size_of
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fit import fitter_for
from bodyfit.fitting.solve.frames import Frame
from bodyfit.prior.model.vposer import VPoser


def fit_views(
    keypoints: Mapping[str, ArrayLike | Sequence[Frame | ArrayLike | None]]
    | ArrayLike
    | Sequence[Sequence[Frame | ArrayLike | None]],
    cameras: Rig | Path | str,
    format: str | None = None,
    *,
    fps: float = 1.0,
    units: float | None = None,
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
    """Match the people whom several calibrated cameras saw, and fit each in the world, with one shape.

    Args:
        keypoints: for each camera (T, K, 3) of one person, or (T, P, K, 3) of up to P people per moment, in any order:
            x and y in pixels, confidence; NaN or confidence 0 is unseen. Or a list with an array or a frame for each
            moment, as `fit_video` takes it, None where there is none.
            Under the cameras' names, or in the order of the rig: (V, T, K, 3), (V, T, P, K, 3). Cameras may have fewer
            moments than others.
        cameras: the rig (`Rig.from_arrays`, `read_rig`), or its calibration file or folder.
        format: what the K points are, as `Frame.from_keypoints` takes it; not for frames.
        fps: moments per second; of no matter where T is 1.
        units: metres per unit of the rig's translations; None: by the size of people.
        ground: feet that rest do not slide, and stand on a common floor; tracks say which feet touch, and the floor.
        gravity: which way things fall, in the world of the rig, where that is known.
        people_apart: people do not pass through each other.
        body, prior, config: default: the open body, the shipped prior, `FitConfig()`.
        device: "auto", "cpu", "cuda", "cuda:1", or a torch.device.
        gender, age, height, betas: what is known of everybody in the clip, as in `fit`.

    Returns:
        the people, those with most sightings first. Tracks are in the world of the rig, in metres; `results(name)`
        gives a person in each frame, in its camera's frame.

    Raises:
        BodyfitError: for keypoints of another shape, cameras that the rig has not, a calibration that cannot be of such
            pictures, and for a frame rate that is none.
    """
    if not isinstance(fps, Real) or not 0 < fps < np.inf:
        raise BodyfitError(f"fps is {fps!r}. Expected a positive number of moments per second.")
    rig = cameras if isinstance(cameras, Rig) else read_rig(cameras)
    moments: dict[int, dict[str, Frame]] = {}
    for name, mine in _by_camera(keypoints, rig).items():
        size = size_of(rig.cameras[name])
        for moment, frame in frames_from_arrays(mine, format, size, None, None).items():
            moments.setdefault(moment, {})[name] = placed(replace(frame, name=f"{name}/{moment:06d}"), name, rig)
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
    found = match_views(fitter, dict(sorted(moments.items())), fps, rig, units)
    sequence = SequenceConfig.for_choice(fitter.config.ground)
    people = fit_view_people(fitter, found.people, found.moments, fps, sequence)
    return ClipFit(
        in_shared_worlds(people, sequence.ground, cameras=cameras_of(found.moments)), fitter, len(found.dropped)
    )


def _by_camera(keypoints: object, rig: Rig) -> dict[str, object]:
    """Each camera's keypoints under its name."""
    if isinstance(keypoints, Mapping):
        unknown = [name for name in keypoints if name not in rig.cameras]
        if unknown:
            raise BodyfitError(f"the rig has no camera '{unknown[0]}'. It has {', '.join(rig.cameras)}.")
        return dict(keypoints)
    count = len(keypoints) if hasattr(keypoints, "__len__") else 0
    if count != len(rig.cameras):
        raise BodyfitError(
            f"keypoints of {count} cameras, but the rig has {len(rig.cameras)}: {', '.join(rig.cameras)}. Expected "
            "(cameras, moments, points, 3), or a mapping from the names of cameras."
        )
    return dict(zip(rig.cameras, keypoints, strict=True))
