"""One person over time, fitted from a video or from several cameras: one shape, and a pose for each moment."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from bodyfit.data.lazy import LazyModule
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.motion_posterior import KeptPosterior, MotionPosterior, drawn
from bodyfit.data.results.own_body import body_at_hand
from bodyfit.data.results.posterior import Decodes, moved_parameters, own_prior
from bodyfit.data.results.worlds import World

if TYPE_CHECKING:
    from bodyfit.data.body import body_model as body_models
else:  # tracks are read without it, which takes seconds
    body_models = LazyModule("bodyfit.data.body.body_model")

MomentStatus = Literal["fitted", "interpolated", "failed"]
"""`interpolated`: nothing was seen at this moment; the pose comes from the moments around it."""
Space = Literal["camera", "world"]

COVARIANCES = {"joint_covariance": 55, "joint_covariance_root_relative": 55, "landmark_covariance": 144}
"""Covariances of a track, and of how many points they are."""
_WIDTHS = {
    **{name: 3 for name in ("global_orient", "transl", "jaw_pose", "leye_pose", "reye_pose")},
    **{"body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "expression": None, "latent": None},
}


def _none_of(points: int) -> Float[np.ndarray, "0 P 3 3"]:
    return np.zeros((0, points, 3, 3), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Track:
    """The body of one person over consecutive moments. Axis-angle, metres, the conventions of `FitResult`."""

    person: str
    """Name of the person, the same over the whole clip."""
    fps: float
    """Moments per second."""
    moments: Int[np.ndarray, " T"]
    """Numbers of the moments in the clip, ascending without gaps from the first to the last sighting."""
    space: Space
    """What transl and global_orient refer to: the one camera, or the world of the calibration."""
    betas: Float[np.ndarray, " Nb"]
    global_orient: Float[np.ndarray, "T 3"]
    body_pose: Float[np.ndarray, "T 63"]
    left_hand_pose: Float[np.ndarray, "T 45"]
    right_hand_pose: Float[np.ndarray, "T 45"]
    jaw_pose: Float[np.ndarray, "T 3"]
    leye_pose: Float[np.ndarray, "T 3"]
    reye_pose: Float[np.ndarray, "T 3"]
    expression: Float[np.ndarray, "T Ne"]
    transl: Float[np.ndarray, "T 3"]
    latent: Float[np.ndarray, "T Z"]
    status: tuple[MomentStatus, ...]
    """One per moment."""
    views: Int[np.ndarray, " T"]
    """How many cameras saw the person at each moment."""
    body_model: str
    """Identity of the body model, as in a FitResult."""
    body_gender: str
    prior: str
    """Identity of the pose prior."""
    reason: str = ""
    """What is to be known about the fit of this person as a whole."""
    kid_axis: bool = False
    """Whether the last of betas is smplx's kid axis, as in a FitResult."""
    age: str = ""
    """Adult or child, and what says so, as in a FitResult; empty where it was not fitted by this version."""
    age_margin: float = float("nan")
    """By how much the other kind costs more over all moments; NaN where that was not tried, as in a FitResult."""
    touching: Bool[np.ndarray, "T 2"] = field(default_factory=lambda: np.zeros((0, 2), dtype=bool))
    """Whether the left and the right foot touch the ground at each moment; no rows where that was not asked for."""
    floor: Float[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0))
    """The plane that they stand on, in the frame of the track: normal (up) and offset, m, as in a FitResult; empty
    where none was found."""
    floor_source: str = ""
    """What that plane was found from, or why there is none."""
    world: World | None = None
    """The world that files of the track are in, the same for all people of a shot; None: what the track alone says."""
    joint_covariance: Float[np.ndarray, "T 55 3 3"] = field(default_factory=lambda: _none_of(55))
    """Covariance of each joint of JOINT_NAMES at each moment, in the frame of the track, m^2, as in a FitResult; NaN
    for joints that the body lacks and at failed moments. No rows, like the next two, where it was not estimated."""
    joint_covariance_root_relative: Float[np.ndarray, "T 55 3 3"] = field(default_factory=lambda: _none_of(55))
    """The same of each joint's position relative to the pelvis."""
    landmark_covariance: Float[np.ndarray, "T 144 3 3"] = field(default_factory=lambda: _none_of(144))
    """The same as joint_covariance of all landmarks, where it was asked for."""
    flip_probability: Float[np.ndarray, "T 8"] = field(default_factory=lambda: np.zeros((0, 8), dtype=np.float32))
    """Probability that each bone of `LIMB_BONES` is flipped in depth at each moment, as in a FitResult; NaN at failed
    moments. No rows where it was not estimated, as of several cameras, which see depth."""
    posterior: MotionPosterior | None = field(default=None, repr=False)
    """What `sample` draws from: all moments' unknowns, and how they depend on each other. In memory after a fit, and in
    files where it was asked for; None elsewhere."""
    fitted_with: Decodes | None = field(default=None, repr=False)
    """The prior itself, of fits in this program: `sample` then needs none. Files and pickles do not keep it."""

    def __post_init__(self) -> None:
        count = len(self.moments)
        if not count or (np.diff(self.moments) != 1).any():
            raise ResultError(f"track {self.person}: moments must ascend by one, at least one of them.")
        for name, width in _WIDTHS.items():
            found = np.shape(getattr(self, name))
            if len(found) != 2 or found[0] != count or width not in (None, found[1]):
                raise ResultError(f"track {self.person}: {name} has shape {found}, expected ({count}, {width or 'n'}).")
        if len(self.status) != count or len(self.views) != count or not set(self.status) <= set(get_args(MomentStatus)):
            raise ResultError(f"track {self.person}: status and views need one entry for each of {count} moments.")

        for name, points in COVARIANCES.items():
            if np.shape(getattr(self, name)) not in ((0, points, 3, 3), (count, points, 3, 3)):
                raise ResultError(
                    f"track {self.person}: {name} has shape {np.shape(getattr(self, name))}, "
                    f"expected ({count}, {points}, 3, 3), or no rows."
                )
        if np.shape(self.flip_probability) not in ((0, 8), (count, 8)):
            raise ResultError(
                f"track {self.person}: flip_probability has shape {np.shape(self.flip_probability)}, "
                f"expected ({count}, 8), or no rows."
            )
        if np.shape(self.touching) not in ((0, 2), (count, 2)) or np.shape(self.floor) not in ((0,), (4,)):
            raise ResultError(
                f"track {self.person}: touching has shape {np.shape(self.touching)}, floor {np.shape(self.floor)}; "
                f"expected ({count}, 2) and (4,), or nothing."
            )

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.status.count(one)} {one}" for one in sorted(set(self.status)))
        return (
            f"<Track of {self.person}: {len(self)} moments at {self.fps:g} per second ({counts}), in the frame of the "
            f"{self.space}, {self.body_model}>"
        )

    def __len__(self) -> int:
        return len(self.moments)

    def parameters(self) -> dict[str, Float[np.ndarray, "T n"]]:
        """What smplx's forward, and `pose_body`, take, as a batch of all moments."""
        betas = np.repeat(self.betas[None], len(self), axis=0)
        return {"betas": betas} | {name: getattr(self, name) for name in _WIDTHS if name != "latent"}

    def sample(
        self,
        count: int,
        *,
        prior: Decodes | None = None,
        body: "body_models.BodyModel | None" = None,
        seed: int = 0,
    ) -> dict[str, Float[np.ndarray, "N T n"]]:
        """Whole motions drawn from this person's posterior: parameters by name, a row for each motion and moment.

        Each explains the keypoints, has one shape, and neighbouring moments that move together. What `pose_body` takes
        of motion k is `{name: value[k] for name, value in drawn.items()}`. Moments that failed are as they are. Memory
        is about 2 kB for each motion and moment.

        Args:
            count: how many.
            prior: the pose prior that the person was fitted with; None: it, where this track comes from a fit in this
                program. Tracks that were read from files do not hold it: `prior=bodyfit.load_prior()`.
            body: The body model that this track was fitted with; None: the open body, where it was that.
            seed: the same seed draws the same.

        Raises:
            ResultError: where the posterior was not kept, or is that of other moments, or the prior or the body is
                another one.
        """
        if self.posterior is None:
            raise ResultError(
                f"track {self.person}: the posterior was not kept. `bodyfit fit --posterior` writes it to files; fits "
                "in memory have it unless uncertainty is off."
            )
        rows = self._fitted_rows()
        if self.posterior.moments != len(rows):
            raise ResultError(
                f"track {self.person}: a posterior of {self.posterior.moments} moments, but {len(rows)} are fitted."
            )
        prior = own_prior(self.person, self.prior, prior, self.fitted_with)
        body = body_at_hand(self, self.person, body)
        moved = drawn(self.posterior, count, seed)
        given = {name: np.repeat(value[None], count, axis=0) for name, value in self.parameters().items()}
        flat = {name: value[:, rows].reshape(count * len(rows), -1) for name, value in given.items()}
        latent = np.tile(self.latent[rows], (count, 1))
        steps = {name: value.reshape(count * len(rows), -1) for name, value in moved.items()}
        found = moved_parameters(flat, latent, steps, prior=prior, body=body)
        for name, value in given.items():
            value[:, rows] = found[name].reshape(count, len(rows), -1)
        return given

    def _fitted_rows(self) -> range:
        """From the first moment that did not fail to the last."""
        rows = [n for n, status in enumerate(self.status) if status != "failed"]
        return range(rows[0], rows[-1] + 1) if rows else range(0)

    def __getstate__(self) -> dict[str, Any]:
        kept = self.posterior if isinstance(self.posterior, KeptPosterior) else None
        return self.__dict__ | {"fitted_with": None, "posterior": kept}
