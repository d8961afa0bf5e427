"""What decides the fit of one person over time, besides the fit of single frames."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.energy.floor import GroundChoice
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.sequence.contacts import GroundConfig

REFERENCE_FPS = 30.0  # the frame rate that weights are given for


@dataclass(frozen=True)
class SequenceConfig:
    """Weights of the temporal terms, and how the joint problem is solved."""

    acceleration_sigma: float = 20.0
    """Standard deviation of the acceleration of body landmarks, m/s^2 on a body of mean size, per axis, at 30
    frames per second, in the early stages. People sit still and jump: what they do within a second differs by a factor
    of a hundred, so the last stage takes it from the motion found so far, where a single camera saw the person: several
    see accelerations well enough."""
    acceleration_factor: float = 4.0
    """There it is this factor on the root mean square of the accelerations about each moment."""
    acceleration_seconds: float = 0.3
    """How far on either side these are averaged."""
    acceleration_range: tuple[float, float] = (10.0, 100.0)
    """Least and greatest standard deviation there, m/s^2."""
    acceleration_robust_sigmas: float = 8.0
    """Geman-McClure scale of the accelerations, in those units: fast motion costs no more than this. inf: squares."""
    latent_sigma: float = 200.0
    """Standard deviation of the second derivative of the latent, 1/s^2: it holds what no landmark shows."""
    latent_factor: float = 2.0
    """Factor on it where a single camera saw the person."""
    detail_sigma: float = 30.0
    """The same for expression and hands, in standard deviations of their priors, and for the jaw."""
    predicted_factor: float = 1.7
    """Factor on the standard deviation of the predicted poses where there are three sightings or more: errors of the
    network that predicts them are alike in neighbouring moments."""
    shape_per_moment: float = 0.1
    """Weight of the shape's prior for each moment beyond the first; 0: the prior counts once per person, 1: it counts
    as much as in single fits. Errors of keypoints and of the pose prior are alike in neighbouring moments, so that what
    these say of the shape does not add up as if it were independent."""
    moving_camera: bool = False
    """The camera moves in an unknown way: root orientation and translation of each moment are free, and accelerations
    are those in the frame of the pelvis. Moments that nobody saw are bridged as under a static camera."""
    hypotheses: int = 3
    """Hypotheses of each view that are kept for the choice along time, at most."""
    starts_per_second: float = 30.0
    """How many views of one camera get hypotheses, at most; the moments between start between these. Each view has its
    predicted pose. Calibrated views have hypotheses each."""
    hypotheses_within: float = 4.0
    """Those that cost more than so many times the best one's are dropped."""
    speed_sigma: float = 1.0
    """What motion costs in that choice: standard deviation of the speed of body landmarks relative to the pelvis, m/s,
    over a thirtieth of a second; robust like accelerations."""
    jump_speed: float = 3.0
    """Mean speed, m/s, of body landmarks relative to the pelvis above which the choice is said to jump."""
    jump_seconds: float = 0.5
    """How far from a jump moments get the pose on its other side as a further hypothesis."""
    bridged: int = 2
    """How often such hypotheses are added at most."""
    annealing: tuple[float, ...] = (10.0, 3.0)
    """Early stages, by a factor on the standard deviations of the temporal terms: single fits start hundreds of
    standard deviations off."""
    early_iterations: int = 5
    """Steps of each early stage."""
    early_robust_sigmas: float = 30.0
    """Geman-McClure scale of reprojection and acceleration in the early stages, so that views that disagree at the
    start pull each other together."""
    solver: SolverOptions = field(default_factory=lambda: SolverOptions(max_iterations=20, tolerance=1e-2))
    """How the joint problem is lowered."""
    motion_tolerance: float = 3e-2
    """Tolerance of a first run of the last stage where a single camera saw the person: its motion says better how
    strongly people accelerate than that of the early stages, and the last stage starts from it anew. With the ground,
    the stage after it does so: once more would hold back feet that are lifted."""
    apart_tolerance: float = 2e-3
    """Tolerance where people are moved out of each other: some moments in somebody are little of the cost of all."""
    ground: GroundConfig | None = None
    """Feet that rest are held, and stand on a common floor; None: nothing is asked of feet."""
    window: int = 450
    """Moments of a window: a longer clip is solved window by window."""
    overlap: int = 30
    """Moments past the end of a window that are solved with it."""
    shape_runs: int = 8
    """Runs of moments, spread over a longer clip, that settle its shape."""
    shape_run: int = 30
    """Moments of each run."""
    chunk: int = 64
    """Moments that a thread linearises at a time."""

    @classmethod
    def for_choice(cls, choice: GroundChoice, *, moving_camera: bool = False) -> SequenceConfig:
        """The usual weights, with or without terms of the ground.

        Raises:
            BodyfitError: for the ground under a moving camera: feet that rest move in its pictures.
        """
        if choice.on and moving_camera:
            raise BodyfitError(
                "--ground needs a camera that stands still, but --moving-camera says that it moves: feet that rest "
                "would move with it. Leave out one of them."
            )
        return cls(moving_camera=moving_camera, ground=GroundConfig(up=choice.up) if choice.on else None)

    def softened(self, factor: float) -> SequenceConfig:
        """The same with wider temporal terms, for an early stage."""
        return replace(
            self,
            acceleration_sigma=factor * self.acceleration_sigma,
            acceleration_robust_sigmas=max(self.early_robust_sigmas, self.acceleration_robust_sigmas),
            latent_sigma=factor * self.latent_sigma,
            detail_sigma=factor * self.detail_sigma,
        )
