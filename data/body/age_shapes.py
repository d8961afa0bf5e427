"""Average people of each age: which kid beta and which other betas they have, as a body's file says.

One straight kid axis does not follow growth, and adults shrink when they are old. So files of the open body hold,
beside the axis, the ten betas of average children and of the old (`age_betas`).
"""

import numpy as np
from jaxtyping import Float

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.model_files import BodyModelError, ModelFields

ADULT_YEARS = 18.0
"""From this age on, bodies are without the kid axis."""


def average_betas(body: BodyModel, years: float) -> Float[np.ndarray, " Nb"]:
    """The shape numbers of an average person of some age.

    Args:
        body: children need one with the kid axis: the last number is then the kid beta, 0 from 18 years on.
        years: held to the ages that the file knows (0 to 80 in the open body).

    Zeros, but for the kid beta, where the body's file does not say.

    Raises:
        BodyModelError: for a child of a body without the kid axis, or whose kid axis comes without ages.
    """
    betas = np.zeros(body.num_betas)
    known = age_betas_of(body)
    count = body.num_betas - body.has_kid_axis
    if known is not None:
        used = min(count, known.shape[1] - 1)
        betas[:used] = [np.interp(years, known[:, 0], column) for column in known[:, 1 : used + 1].T]
    if years < ADULT_YEARS:
        if not body.has_kid_axis or body.kid_ages is None:
            raise BodyModelError(
                f"{body.name} does not know the kid beta of {years:g} years. Expected a kid axis with ages."
            )
        betas[-1] = np.interp(years, *body.kid_ages)
    return betas


def age_betas_of(body: BodyModel) -> Float[np.ndarray, "N 1+n"] | None:
    """Years, ascending, and the betas of average people of these ages; None where the body's file does not say."""
    if body.has_kid_axis:
        return body.age_betas
    if body.path.suffix.lower() != ".npz" or not body.path.is_file():
        return None
    content = ModelFields(body.path)
    return content.numbers("age_betas", (None, None)) if "age_betas" in content else None
