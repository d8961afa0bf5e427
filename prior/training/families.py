"""Families of poses that motion capture rarely holds: their angles, what carries them, and their share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Angles = Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Family:
    """One kind of pose. Every angle that is not named has its normal range."""

    share: float
    """Part of all synthetic poses, relative to the sum of all shares."""
    angles: Angles = field(default_factory=lambda: MappingProxyType({}))
    """Low, typical and high, degrees. Names as in `anatomy.RANGES`; without a side they stand for both sides."""
    root: Literal["stands", "hangs", "rests", "upright", "any"] = "stands"
    """`stands`: the centre of mass is above the supports, `hangs`: below them, `rests`: the supports lie in a level
    plane, `upright`: `up` is upward, `any`: every orientation is equally likely."""
    supports: tuple[str, ...] = ("left_ankle", "right_ankle")
    """Joints that carry the body."""
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)
    """Roughly the upward direction in the axes of the pelvis (x left, y up, z forward); for `rests` and `upright`."""
    near: tuple[str, ...] = ()
    """At least one of these joints is on the ground, too; for `rests`."""
    tilt_deg: float = 5.0
    """Standard deviation of a further random tilt."""
    lean_deg: float = 50.0
    """Largest angle between `up` and the upward direction that the supports give; for `rests`."""
    flexibility_deg: float = 0.0
    """How much farther than usual two-joint muscles let this family go."""
    even: float = 0.4
    """Share of poses in which left and right do much the same."""
    spread: tuple[float, float] = (0.4, 1.7)
    """Spread of the angles, drawn evenly per person: typical poses to poses near the limits."""


_FEET = ("left_ankle", "right_ankle")
_HANDS = ("left_wrist", "right_wrist")
_HIPS = ("left_hip", "right_hip")
_KNEES = ("left_knee", "right_knee")
_SHOULDERS = ("left_shoulder", "right_shoulder")
_ARMS_UP: Angles = {"arm_plane": (-5, 45, 110), "arm_elevation": (110, 155, 178), "elbow_flexion": (0, 20, 110)}
_ON_HANDS: Angles = {"elbow_flexion": (0, 8, 50), "wrist_flexion": (-75, -55, -10)}
_CALM: Angles = {"spine_bend": (-20, 0, 20), "spine_twist": (-25, 0, 25)}

FAMILIES: dict[str, Family] = {
    "standing": Family(0.15),
    "arms overhead": Family(0.06, _ARMS_UP),
    "squatting": Family(
        0.06, {"hip_flexion": (60, 100, 130), "knee_flexion": (80, 120, 148), "hip_abduction": (0, 20, 45),
               "ankle_dorsiflexion": (-10, 18, 35), "spine_flexion": (0, 30, 75)}, even=0.7,
    ),
    "lunging": Family(
        0.05, {"left_hip_flexion": (45, 85, 118), "left_knee_flexion": (50, 90, 130),
               "right_hip_flexion": (-30, -8, 20), "right_knee_flexion": (0, 30, 100),
               "right_toe_extension": (0, 35, 70), **_CALM},
        root="rests", supports=("left_ankle", "left_foot", "right_foot"), even=0.0, lean_deg=35.0,
    ),
    "bending forward": Family(
        0.05, {"hip_flexion": (40, 75, 110), "knee_flexion": (0, 15, 70), "spine_flexion": (20, 50, 85),
               "arm_plane": (30, 85, 110), "arm_elevation": (10, 80, 150)}, even=0.7,
    ),
    "kneeling": Family(
        0.05, {"hip_flexion": (-15, 15, 110), "knee_flexion": (60, 100, 148), "hip_abduction": (-8, 8, 35),
               "ankle_dorsiflexion": (-50, -25, 20), "hip_rotation": (-25, 0, 25)},
        root="rests", supports=(*_KNEES, "left_foot", "right_foot"), even=0.8, tilt_deg=3.0,
    ),
    "kneeling on one knee": Family(
        0.04, {"left_hip_flexion": (55, 85, 115), "left_knee_flexion": (60, 90, 125), "right_hip_flexion": (-25, 0, 40),
               "right_knee_flexion": (60, 95, 140), "right_ankle_dorsiflexion": (-48, -10, 20), **_CALM},
        root="rests", supports=("right_knee", "right_foot", "left_ankle"), even=0.0, tilt_deg=3.0,
    ),
    "on hands and knees": Family(
        0.06, {"hip_flexion": (50, 88, 120), "knee_flexion": (65, 103, 130), "arm_plane": (40, 85, 115),
               "arm_elevation": (45, 85, 125), "neck_flexion": (-45, -15, 35), "ankle_dorsiflexion": (-50, -30, 10),
               **_ON_HANDS, **_CALM},
        root="rests", supports=(*_KNEES, *_HANDS), up=(0.0, 0.0, -1.0), even=0.3, tilt_deg=3.0,
    ),
    "on hands and feet": Family(
        0.05, {"hip_flexion": (-10, 35, 110), "knee_flexion": (0, 15, 100), "arm_plane": (40, 85, 115),
               "arm_elevation": (50, 95, 170), "toe_extension": (0, 45, 70), "neck_flexion": (-45, -10, 35),
               "ankle_dorsiflexion": (-20, 8, 25), **_ON_HANDS, **_CALM},
        root="rests", supports=("left_foot", "right_foot", *_HANDS), up=(0.0, 0.0, -1.0), even=0.5, tilt_deg=3.0,
    ),
    "sitting with legs straight": Family(
        0.03, {"hip_flexion": (50, 82, 115), "knee_flexion": (0, 8, 40), "hip_abduction": (-10, 10, 45),
               "spine_flexion": (-10, 20, 70)},
        root="rests", supports=(*_HIPS, *_FEET), lean_deg=35.0, even=0.6, tilt_deg=3.0,
    ),
    "sitting with legs crossed": Family(
        0.04, {"hip_flexion": (70, 95, 120), "hip_abduction": (10, 32, 50), "hip_rotation": (20, 45, 65),
               "knee_flexion": (85, 118, 140), "ankle_dorsiflexion": (-40, -15, 10), "spine_flexion": (0, 25, 60)},
        root="rests", supports=(*_HIPS, *_FEET), lean_deg=35.0, even=0.8, tilt_deg=3.0,
    ),
    "sitting with knees up": Family(
        0.04, {"hip_flexion": (75, 112, 130), "knee_flexion": (50, 100, 140), "hip_abduction": (-10, 6, 40),
               "spine_flexion": (0, 30, 75)},
        root="rests", supports=(*_HIPS, *_FEET), lean_deg=35.0, even=0.5, tilt_deg=3.0,
    ),
    "sitting sideways": Family(
        0.03, {"left_hip_flexion": (60, 85, 115), "left_hip_rotation": (20, 42, 60), "left_hip_abduction": (10, 30, 50),
               "left_knee_flexion": (70, 100, 140), "right_hip_flexion": (55, 85, 110),
               "right_hip_rotation": (-75, -58, -35), "right_hip_abduction": (-15, 8, 30),
               "right_knee_flexion": (80, 115, 145), "spine_bend": (-35, 0, 35)},
        root="rests", supports=(*_HIPS, "left_ankle"), near=("right_knee", "right_ankle"), lean_deg=45.0, even=0.0,
        tilt_deg=3.0, spread=(0.3, 1.2),
    ),
    "sitting on a seat": Family(
        0.03, {"hip_flexion": (60, 88, 115), "knee_flexion": (40, 88, 120), "hip_abduction": (-15, 8, 35),
               "spine_flexion": (-15, 12, 60)}, root="upright", tilt_deg=8.0,
    ),
    "lying on the back": Family(
        0.05, {"hip_flexion": (-8, 12, 100), "knee_flexion": (0, 25, 125), "spine_flexion": (-10, 3, 25),
               "neck_flexion": (-20, 5, 40), "arm_plane": (-10, 0, 90), **_CALM},
        root="rests", supports=("pelvis", *_SHOULDERS), up=(0.0, 0.0, 1.0), near=_FEET, tilt_deg=3.0,
    ),
    "lying on the front": Family(
        0.05, {"hip_flexion": (-20, -2, 20), "knee_flexion": (0, 12, 120), "spine_flexion": (-25, -8, 10),
               "neck_flexion": (-45, -15, 10), "neck_twist": (-70, 0, 70), "arm_plane": (-40, -8, 40),
               "ankle_dorsiflexion": (-50, -35, 0), "hip_abduction": (-5, 8, 35), **_CALM},
        root="rests", supports=("pelvis", *_SHOULDERS), up=(0.0, 0.0, -1.0), near=_KNEES, tilt_deg=3.0,
    ),
    "lying on the side": Family(
        0.05, {"hip_flexion": (-5, 45, 115), "knee_flexion": (5, 60, 130), "hip_abduction": (-20, 0, 12),
               "spine_flexion": (-5, 15, 50), "left_arm_plane": (50, 90, 120), "left_arm_elevation": (20, 80, 170)},
        root="rests", supports=("left_hip", "left_shoulder", "left_knee"), up=(-1.0, 0.0, 0.0), even=0.5,
        tilt_deg=3.0,
    ),
    "hanging": Family(
        0.05, {**_ARMS_UP, "arm_elevation": (135, 168, 178), "elbow_flexion": (0, 15, 130)},
        root="hangs", supports=_HANDS, tilt_deg=8.0,
    ),
    "handstand": Family(
        0.04, {**_ARMS_UP, **_ON_HANDS, "arm_elevation": (145, 170, 178), "neck_flexion": (-45, -20, 10),
               "hip_flexion": (-25, 5, 100), "spine_flexion": (-25, -3, 20)}, supports=_HANDS,
    ),
    "cartwheel": Family(
        0.03, {"hip_abduction": (15, 40, 65), "hip_flexion": (-15, 12, 60), "knee_flexion": (0, 6, 50),
               "arm_plane": (-15, 10, 60), "arm_elevation": (80, 145, 178), "elbow_flexion": (0, 8, 40)},
        root="any", flexibility_deg=20.0,
    ),
    "bridge": Family(
        0.03, {"hip_flexion": (-35, -15, 10), "knee_flexion": (25, 75, 110), "spine_flexion": (-75, -45, -10),
               "neck_flexion": (-50, -30, 5), "arm_plane": (20, 70, 100), "arm_elevation": (135, 168, 195),
               "elbow_flexion": (0, 15, 70), "wrist_flexion": (-85, -60, -20), "hip_abduction": (-5, 8, 30), **_CALM},
        root="rests", supports=(*_FEET, *_HANDS), up=(0.0, 0.0, 1.0), even=0.9, tilt_deg=3.0,
    ),
    "front split": Family(
        0.02, {"left_hip_flexion": (55, 85, 105), "left_knee_flexion": (0, 4, 30), "right_hip_flexion": (-75, -45, -15),
               "right_knee_flexion": (0, 8, 45), "right_ankle_dorsiflexion": (-50, -30, 0), **_CALM},
        root="upright", even=0.0, spread=(0.3, 1.2), tilt_deg=8.0, flexibility_deg=60.0,
    ),
    "side split": Family(
        0.02, {"hip_abduction": (45, 68, 88), "hip_flexion": (-5, 25, 90), "hip_rotation": (0, 25, 60),
               "knee_flexion": (0, 4, 25)}, root="upright", even=0.9, spread=(0.3, 1.2), tilt_deg=8.0,
        flexibility_deg=40.0,
    ),
    "in the air": Family(0.06, root="any"),
}  # fmt: skip
