"""What the numbers beside the coordinates mean: probabilities, peaks above one, logits, percent, visibility flags."""

import numpy as np
from jaxtyping import Float

from bodyfit.data.few_numbers import quantile
from bodyfit.data.keypoints.people import ImagePeople, KeypointError

LOW = 0.1
"""Where the best scores of a file stay below this, they are on a scale of the detector's own (Detectron2)."""


def to_confidence(images: dict[str, ImagePeople], source: object, flags: bool = False) -> dict[str, ImagePeople]:
    """The same people with scores in [0, 1], 0 for unseen; the scale is told by all scores of the file.

    - Only 0, 1 and 2, with a 2 (or `flags`, in an annotation file): COCO's visibility, 2 -> 1, 1 -> 0.5.
    - Up to about 1: probabilities. Up to 15: peaks of heat maps or of SimCC, which may pass one: cut at 1.
    - With negative ones among numbers beyond one: logits, through the logistic function.
    - Up to 100: percent.

    Raises KeypointError where most scores are larger still.
    """
    blocks = [points[:, 2] for people in images.values() for person in people.people for _, points in person]
    scores = np.concatenate(blocks) if blocks else np.zeros(0)
    scores = scores[np.isfinite(scores)]
    positive = scores[scores > 0]
    if not len(positive):
        return images
    if ((scores == 0) | (scores == 1) | (scores == 2)).all() and (flags or (scores == 2).any()):
        return _each(images, lambda c: c * 0.5)
    high = quantile(positive, 0.95)
    if high > 1.5 and (scores < -0.5).mean() > 0.02 and not np.isin(scores[scores < 0], (-1,)).all():
        return _each(images, lambda c: 1 / (1 + np.exp(-np.clip(c, -50, 50))))
    if high <= 15:
        return images
    if high <= 100:
        return _each(images, lambda c: c / 100)
    raise KeypointError(
        f"{source}: the scores of the points reach {high:.4g}. Expected probabilities, percent, or COCO's 0, 1, 2. "
        "Are x, y and score in another order?"
    )


def rescaled(confidence: Float[np.ndarray, "P K"], least: float | None) -> Float[np.ndarray, "P K"]:
    """Confidences cut at 1; with a `least` of the user's, points below it are unseen.

    Someone who asks for less than is believed by default has a detector whose scores are low: then the file's best
    count as 1.
    """
    confidence = confidence.clip(max=1)
    if least is None:
        return confidence
    confidence = np.where(confidence >= least, confidence, 0.0)
    seen = confidence[confidence > 0]
    if not len(seen) or least >= LOW:
        return confidence
    best = quantile(seen, 0.95)
    return (confidence / best).clip(max=1) if best < 0.5 else confidence


def _each(images: dict[str, ImagePeople], change) -> dict[str, ImagePeople]:
    for people in images.values():
        for person in people.people:
            for i, (table, points) in enumerate(person):
                person[i] = (table, np.column_stack([points[:, :2], change(points[:, 2])]))
    return images
