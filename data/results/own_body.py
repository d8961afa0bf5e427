"""The body model that a result or a track was fitted with: the one given, or the open body."""

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.data.lazy import LazyModule
from bodyfit.data.results.checks import ResultError

if TYPE_CHECKING:
    from bodyfit.data.body import body_model as body_models
else:  # results are read without it, which takes seconds
    body_models = LazyModule("bodyfit.data.body.body_model")


class HasBody(Protocol):
    """What a result and a track say about their body."""

    @property
    def body_model(self) -> str: ...
    @property
    def body_gender(self) -> str: ...
    @property
    def kid_axis(self) -> bool: ...
    @property
    def betas(self) -> np.ndarray: ...
    @property
    def expression(self) -> np.ndarray: ...


def body_at_hand(of: HasBody, person: str, body: "body_models.BodyModel | None") -> "body_models.BodyModel":
    """The body given, or the open one where it is None.

    Raises ResultError where that is not the body of `of`; `person` is their name in the message.
    """
    if body is None:
        count = len(of.betas) - of.kid_axis
        try:
            body = _open_body(of.body_gender, count, of.expression.shape[-1], of.kid_axis)
        except BodyfitError as error:  # a gender, or so many numbers, that no open body has
            raise ResultError(
                f"person {person} was fitted with the body '{of.body_model}', which is not the open body ({error}) "
                "Give it as `body` to mesh(), measure() or sample()."
            ) from error
    if not hasattr(body, "name"):
        raise ResultError(f"body is a {type(body).__name__}. Expected a body model: bodyfit.load_body_model(path).")
    if body.name != of.body_model:
        raise ResultError(
            f"person {person} was fitted with the body '{of.body_model}', but the one at hand is '{body.name}': "
            "numbers mean nothing to another body. Give the right one as `body` to mesh(), measure() or sample()."
        )
    return body


@lru_cache(maxsize=6)
def _open_body(gender: str, num_betas: int, num_expression: int, kid: bool) -> "body_models.BodyModel":
    return body_models.load_body_model(gender=gender, num_betas=num_betas, num_expression=num_expression, kid=kid)
