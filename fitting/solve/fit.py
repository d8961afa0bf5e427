"""`bodyfit.fit`: frames (keypoints and cameras) in, one FitResult per person out, in one call.

import bodyfit

results = bodyfit.fit([bodyfit.Frame.from_files("photo.jpg", "photo_keypoints.json")])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.solve.config import FitConfig, on_ground
from bodyfit.fitting.solve.fitter import Fitter, pick_device
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.known_shape import KnownShape
from bodyfit.fitting.solve.same_person import main_people, shape_of_one_person, with_shape
from bodyfit.prior.model.vposer import VPoser


def fit(
    frames: Sequence[Frame],
    *,
    body: BodyModel | None = None,
    prior: VPoser | None = None,
    config: FitConfig | None = None,
    device: str | torch.device = "auto",
    gender: str = "neutral",
    age: str | float = "auto",
    height: float | None = None,
    betas: Sequence[float] | None = None,
    same_person: bool = False,
    ground: bool = False,
    gravity: tuple[float, float, float] | None = None,
    people_apart: bool = False,
) -> list[FitResult]:
    """Fit all people of all frames in one batch.

    Args:
        frames: keypoints and cameras; `Frame.from_files` makes one from a photo and its JSON.
        body: default: the open body that ships with bodyfit.
        prior: default: the prior that ships with bodyfit.
        config: weights, starts, solver options.
        device: "auto", "cpu", "cuda", "cuda:1", or a torch.device.
        gender: which of the open bodies, "neutral", "female" or "male"; not with a `body`, which has its own.
        age: "adult", "child", "auto" (by proportions) or years, of everybody.
        height: known stature of everybody, m; it is reached to a millimetre, and the distance follows.
        betas: known shape numbers of everybody, which are held.
        same_person: the frames are photos of one person, who has one shape in all of them; every photo keeps its own
            pose and place. Of several people in a photo, the largest is taken.
        ground: people of a frame who stand, stand on a common floor; results say which feet touch it.
        gravity: which way things fall, in the camera's frame (x right, y down, z forward), for `ground`.
        people_apart: people of a frame do not pass through each other.

    Returns:
        one FitResult per person, in the order of the frames and their people.

    Raises:
        BodyfitError: for anything else than a list of frames, for a height or shape numbers that nobody can have,
            a gravity without `ground`, and with `same_person` where not one photo can be fitted.
    """
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
    if same_person and not isinstance(frames, Frame | str):
        frames = main_people(frames)
        fitter = with_shape(fitter, shape_of_one_person(fitter, frames))
    return fitter.fit(frames)


def fitter_for(
    body: BodyModel | None,
    prior: VPoser | None,
    config: FitConfig | None,
    *,
    device: str | torch.device,
    gender: str,
    age: str | float,
    height: float | None,
    betas: Sequence[float] | None,
    ground: bool = False,
    gravity: tuple[float, float, float] | None = None,
    people_apart: bool = False,
) -> Fitter:
    """The fitter that the arguments of `fit` describe. Raises BodyfitError for what cannot be."""
    if config is not None and not isinstance(config, FitConfig):
        raise BodyfitError(f"config is a {type(config).__name__}. Expected a FitConfig.")
    config = on_ground(config or FitConfig(), ground, gravity)
    config = replace(config, people_apart=people_apart or config.people_apart)
    if isinstance(body, BodyModel) and gender not in ("neutral", body.gender):
        raise BodyfitError(f"gender is '{gender}', but the body given is {body.gender}. Load the one you want.")
    if age != "auto":
        config = replace(config, age=replace(config.age, kind=f"{age:g}" if isinstance(age, int | float) else str(age)))
    if height is not None or betas is not None:
        numbers = () if betas is None else tuple(float(b) for b in np.ravel(betas))
        config = replace(config, shape=KnownShape(None if height is None else float(height), numbers))
    return Fitter(body or load_body_model(gender=gender), prior, config, device=pick_device(device))
