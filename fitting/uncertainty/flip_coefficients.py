"""Coefficients of the probability that a bone is flipped in depth (`flip_probability.py`), fitted by

    bodyfit benchmark-uncertainty --poses MOCAP --split validation --people 2048 --seed 31 --refit

on subjects that neither prior nor start network were trained on. They belong to the prior and start network that ship,
under the default energy.
"""

from __future__ import annotations

COEFFICIENTS: dict[str, float] = {
    "upper arm": -4.6304,
    "upper arm, towards the camera": -0.0231,
    "forearm": -5.5096,
    "forearm, towards the camera": 0.0029,
    "thigh": -5.1556,
    "thigh, towards the camera": -0.6341,
    "shin": -5.7175,
    "shin, towards the camera": -0.2041,
    "sine": 0.9699,
    "squared sine": -0.7912,
    "log of sine": 0.6389,
    "log of deviation": 0.5247,
    "log of depth over deviation": 0.1757,
    "log of pose misfit": 0.2856,
    "log of cost": 0.5679,
    "log of distance": 0.2348,
    "other bone's sine, same way": -0.1729,
    "other bone's sine": 1.8984,
    "predicted sine, same way": -0.9898,
    "angle from prediction up to 0.5": 4.5068,
    "angle from prediction up to 1.5": -0.0713,
}

CLIP_OFFSET = -0.9
"""Of clips by one camera: added to the logarithm of the odds, fitted by

    bodyfit benchmark-uncertainty --poses MOCAP --split validation --elsewhere 0.5 --seed 101 --clips 101 --refit
"""

AMBIGUOUS_FROM = 0.125
"""A person is ambiguous where any bone is flipped with this probability: few enough false alarms, see
docs/uncertainty.md."""
