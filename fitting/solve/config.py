"""Everything that decides a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.energy.config import EnergyConfig
from bodyfit.fitting.energy.floor import GroundChoice
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.solve.ages import AgeConfig
from bodyfit.fitting.solve.hypotheses import StartConfig
from bodyfit.fitting.solve.known_shape import KnownShape
from bodyfit.fitting.solve.stages import StageConfig
from bodyfit.fitting.uncertainty.flip_coefficients import AMBIGUOUS_FROM


@dataclass(frozen=True)
class FitConfig:
    """Everything that decides a fit, written next to its results."""

    energy: EnergyConfig = field(default_factory=EnergyConfig)
    """What is lowered."""
    start: StartConfig = field(default_factory=StartConfig)
    """Where it starts."""
    solver: SolverOptions = field(default_factory=SolverOptions)
    """How it is lowered."""
    age: AgeConfig = field(default_factory=AgeConfig)
    """Whether people are adults or children."""
    shape: KnownShape = field(default_factory=KnownShape)
    """What is known of people's shape."""
    refine_focal: bool = False
    """Also refine the focal length around its guess, where perspective shows it."""
    stages: StageConfig = field(default_factory=StageConfig)
    """How the way to the minimum is made easier."""
    ambiguous_margin: float = 0.1
    """A person is called ambiguous when the second-best start ends within this share of the best one's cost, ..."""
    ambiguous_probability: float = AMBIGUOUS_FROM
    """... or when an arm or leg is flipped in depth with at least this probability (docs/uncertainty.md)."""
    people_apart: bool = False
    """Whether people of one photo may not pass through each other."""
    ground: GroundChoice = field(default_factory=GroundChoice)
    """Whether feet that stand, stand."""
    uncertainty: Literal["off", "joints", "landmarks"] = "joints"
    """Covariances to estimate: of the joints, of all 144 landmarks, or none."""


def on_ground(config: FitConfig, ground: bool, gravity: Sequence[float] | None) -> FitConfig:
    """The same configuration with feet on the ground, where that is wanted.

    Raises:
        BodyfitError: for a gravity without it, or one that is no direction.
    """
    if gravity is None:
        return replace(config, ground=replace(config.ground, on=True)) if ground else config
    if not (ground or config.ground.on):
        raise BodyfitError("a gravity was given without --ground (ground=True), which it is for.")
    if len(gravity) != 3:
        raise BodyfitError(f"gravity is {gravity}. Expected three numbers, such as (0, 1, 0).")
    choice = GroundChoice(True, tuple(float(value) for value in gravity))
    _ = choice.up  # refuses what is no direction
    return replace(config, ground=choice)
