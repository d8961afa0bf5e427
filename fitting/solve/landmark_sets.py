"""The landmarks that a fit looks at: models of just the points that detectors saw, and of the body's alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakMethod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.landmarks import BODY, FINGERS, LANDMARK_NAMES
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.landmark_places import in_limb_order
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.start.network import INPUT_NAMES

_FINGERS = {f"{side}_{finger}{end}" for side in ("left", "right") for finger in FINGERS for end in ("1", "")}
COARSE_NAMES = frozenset(_FINGERS.union(INPUT_NAMES, (LANDMARK_NAMES[i] for i in BODY)))
"""Landmarks that ranking and the first stage look at: the body's, knuckles and finger tips, corners of the mouth."""
KEPT_SETS = 4  # sets of landmarks that a fitter remembers, some 14 MB each


@dataclass(frozen=True)
class Landmarks:
    """Landmarks that a stage looks at."""

    model: LandmarkModel
    rotation_jacobian: RotationJacobian
    columns: Tensor | None
    """Their places among the landmarks of the observations; None: all of them."""


class LandmarkSets:
    """Makes the landmark models of a body and remembers the last few.

    Args:
        body, unknowns: what is fitted.
        dtype, device: to compute in.
    """

    def __init__(self, body: BodyModel, unknowns: Unknowns, *, dtype: torch.dtype, device: torch.device | str):
        self.body, self.unknowns = body, unknowns
        self._to: dict[str, Any] = {"dtype": dtype, "device": device}
        self.model_of = remembered(self._make_model)
        self.of = remembered(self._make_sets)

    def model_for(self, confidence: Float[np.ndarray, "P 144"], more: Sequence[str] = ()) -> LandmarkModel:
        """A landmark model of just the points that somebody's detector saw, and of those named besides; the same object
        for the same points."""
        seen = (confidence > 0).any(axis=0)
        return self.model_of(
            tuple(n for n, any_seen in zip(LANDMARK_NAMES, seen, strict=True) if any_seen or n in more)
        )

    def _make_model(self, names: tuple[str, ...]) -> LandmarkModel:
        """A landmark model of these points (`model_of`)."""
        with torch.inference_mode(mode=False):  # what is kept may be used outside of it
            return LandmarkModel(self.body, names=in_limb_order(self.body, names), **self._to)

    def _make_sets(self, model: LandmarkModel) -> tuple[Landmarks, Landmarks]:
        """All of the model's landmarks, and the body's alone (`of`)."""
        names = [name for name in model.names if name in COARSE_NAMES]
        with torch.inference_mode(mode=False):  # what is kept may be used outside of it
            body = LandmarkModel(self.body, names=tuple(names), **self._to)
            columns = torch.tensor([model.names.index(name) for name in names], dtype=torch.long, device=body.device)
            return Landmarks(model, RotationJacobian(self.unknowns, model), None), Landmarks(
                body, RotationJacobian(self.unknowns, body), columns
            )


def remembered(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that remembers its last results and does not keep its owner alive: a fitter holds some 100 MB, which
    are to be free as soon as nobody has it, not when Python next looks for cycles."""
    weak, lock = WeakMethod(method), threading.RLock()
    made = lru_cache(KEPT_SETS)(lambda *key: weak()(*key))

    def remember(*key: Any) -> Any:
        with lock:  # several threads that need the same would each make it
            return made(*key)

    return remember
