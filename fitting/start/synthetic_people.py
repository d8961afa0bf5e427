"""Synthetic people: how they are drawn, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from jaxtyping import Float
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import PosedBody, pose_body


@dataclass(frozen=True)
class SyntheticOptions:
    """How people, cameras and the detector are drawn. Shares are probabilities."""

    distance_m: tuple[float, float] = (2.0, 8.0)
    """Nearest and farthest distance of the body from the camera."""
    focal_px: tuple[float, float] = (600.0, 5000.0)
    """Shortest and longest focal length; log-uniform between."""
    pitch_deg: float = 12.0
    """Standard deviation of the pitch of the camera."""
    roll_deg: float = 4.0
    """Standard deviation of the camera's roll."""
    beta_spread: float = 1.0
    """Standard deviation of the shape numbers, truncated at 2.5 standard deviations."""
    ages: tuple[float, float] | None = None
    """Youngest and oldest in years, drawn evenly; for bodies with a kid axis. None: adults."""
    kid_spread: float = 0.03
    """Standard deviation of the kid beta at an age."""
    expression_spread: float = 0.7
    """Standard deviation of the expression numbers."""
    jaw_open_rad: float = 0.12
    """Standard deviation of the opening of the jaw (half-normal distribution)."""
    hand_spread_rad: float = 0.5
    """Spread of the first hand component, in radians over the 45 angles; the others fall off as 1 / sqrt(number)."""
    hand_components: int = 12
    """Hand components that are drawn."""
    noise_share: float = 0.004
    """Detector noise (standard deviation along x and y) as a share of the person's size: 2 px of 500."""
    hand_noise: float = 1.0
    """Factor on the noise of finger points."""
    face_noise: float = 1.0
    """Factor on the noise of face points."""
    outliers: float = 0.0
    """Share of outliers: ten times as noisy, with a confidence that does not show it."""
    dropped: float = 0.05
    """Share of points that the detector misses."""
    lost_hands: float = 0.0
    """Share of hands that are missed completely."""
    lost_faces: float = 0.0
    """Share of faces of which only nose, eyes and ears are found."""
    swapped_legs: float = 0.0
    """Share of people whose left and right legs the detector exchanges."""
    hide_turned_faces: bool = True
    """Whether nose, eyes, ears and face points that face away from the camera are unseen."""
    cropped: float = 0.10
    """Share of people who are cropped by the edge of the image."""
    crop: str = "edge"
    """Where they are cropped: "edge" (10 to 40 % outside of any edge), "hips" or "knees" (by the lower edge)."""


@dataclass(frozen=True)
class SyntheticPeople:
    """N people: ground truth and detections. Camera frame, metres, radians, pixels."""

    global_orient: Float[Tensor, "N 3"]
    transl: Float[Tensor, "N 3"]
    body_pose: Float[Tensor, "N 63"]
    betas: Float[Tensor, "N Nb"]
    expression: Float[Tensor, "N Ne"]
    jaw_pose: Float[Tensor, "N 3"]
    left_hand_pose: Float[Tensor, "N 45"]
    """With the mean of the hands added."""
    right_hand_pose: Float[Tensor, "N 45"]
    focal_px: Float[Tensor, " N"]
    center_px: Float[Tensor, "N 2"]
    image_size: Float[Tensor, "N 2"]
    """Width and height, whole pixels."""
    size_px: Float[Tensor, " N"]
    """Longer side of the box around the whole body, including what is cropped."""
    landmarks: Float[Tensor, "N 144 3"]
    """True landmarks in LANDMARK_NAMES order; zeros where the body model lacks them."""
    keypoints_px: Float[Tensor, "N 144 2"]
    """As detected; 0 where unseen."""
    confidence: Float[Tensor, "N 144"]
    """0 where unseen."""

    def __len__(self) -> int:
        return len(self.focal_px)

    def select(self, rows: Tensor | slice) -> SyntheticPeople:
        """A subset of the people."""
        return SyntheticPeople(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def split(self, count: int) -> list[SyntheticPeople]:
        """All of them, in parts of `count` people."""
        return [self.select(slice(first, first + count)) for first in range(0, len(self), count)]

    def pose(self, body: BodyModel) -> PosedBody:
        """Their true joints and vertices."""
        names = ["global_orient", "transl", "body_pose", "betas"]
        if body.kind != "smpl":
            names += ["left_hand_pose", "right_hand_pose"]
        if body.kind == "smplx":
            names += ["expression", "jaw_pose"]
        return pose_body(body, **{name: getattr(self, name) for name in names})
