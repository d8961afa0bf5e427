"""One person over time, fitted from a video or from several cameras: one shape, and a pose for each moment."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from bodyfit.data.results.checks import ResultError

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
    joint_covariance: Float[np.ndarray, "T 55 3 3"] = field(default_factory=lambda: _none_of(55))
    """Covariance of each joint of JOINT_NAMES at each moment, in the frame of the track, m^2, as in a FitResult; NaN
    for joints that the body lacks and at failed moments. No rows, like the next two, where it was not estimated."""
    joint_covariance_root_relative: Float[np.ndarray, "T 55 3 3"] = field(default_factory=lambda: _none_of(55))
    """The same of each joint's position relative to the pelvis."""
    landmark_covariance: Float[np.ndarray, "T 144 3 3"] = field(default_factory=lambda: _none_of(144))
    """The same as joint_covariance of all landmarks, where it was asked for."""

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
        if np.shape(self.touching) not in ((0, 2), (count, 2)) or np.shape(self.floor) not in ((0,), (4,)):
            raise ResultError(
                f"track {self.person}: touching has shape {np.shape(self.touching)}, floor {np.shape(self.floor)}; "
                f"expected ({count}, 2) and (4,), or nothing."
            )

    def __len__(self) -> int:
        return len(self.moments)

    def parameters(self) -> dict[str, Float[np.ndarray, "T n"]]:
        """What smplx's forward, and `pose_body`, take, as a batch of all moments."""
        betas = np.repeat(self.betas[None], len(self), axis=0)
        return {"betas": betas} | {name: getattr(self, name) for name in _WIDTHS if name != "latent"}
