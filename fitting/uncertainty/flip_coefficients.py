"""Coefficients of the probability that a bone is flipped in depth (`flip_probability.py`), fitted by

    bodyfit benchmark-uncertainty --poses MOCAP --split validation --people 2048 --seed 31 --refit

on subjects that neither prior nor start network were trained on. They belong to the prior and start network that ship,
under the default energy.
"""

from __future__ import annotations

COEFFICIENTS: dict[str, float] = {
    "upper arm": -4.4455,
    "upper arm, towards the camera": -0.0196,
    "forearm": -5.334,
    "forearm, towards the camera": 0.0122,
    "thigh": -4.9568,
    "thigh, towards the camera": -0.6449,
    "shin": -5.5228,
    "shin, towards the camera": -0.2071,
    "sine": 0.9683,
    "squared sine": -0.8116,
    "log of sine": 0.6422,
    "log of deviation": 0.5644,
    "log of depth over deviation": 0.2015,
    "log of pose misfit": 0.2793,
    "log of cost": 0.5898,
    "log of distance": 0.2099,
    "other bone's sine, same way": -0.1706,
    "other bone's sine": 1.8832,
    "predicted sine, same way": -1.0172,
    "angle from prediction up to 0.5": 4.4353,
    "angle from prediction up to 1.5": 0.0179,
}

AMBIGUOUS_FROM = 0.125
"""A person is ambiguous where any bone is flipped with this probability: few enough false alarms, see
docs/uncertainty.md."""
