"""The 21 body joints of SMPL, SMPL-H and SMPL-X: order, tree, mirror pairs and named parts of the body."""

from bodyfit.data.landmarks import JOINT_NAMES, mirrored_name

BODY_JOINT_NAMES: tuple[str, ...] = JOINT_NAMES[1:22]
NUM_BODY_JOINTS = len(BODY_JOINT_NAMES)
BODY_JOINT_INDEX: dict[str, int] = {name: index for index, name in enumerate(BODY_JOINT_NAMES)}

# MIRROR[j] is the corresponding joint on the other side of the body.
MIRROR: tuple[int, ...] = tuple(BODY_JOINT_INDEX[mirrored_name(name)] for name in BODY_JOINT_NAMES)


def joint_indices(*names: str) -> tuple[int, ...]:
    """Indices of body joints by name."""
    return tuple(BODY_JOINT_INDEX[name] for name in names)


LEFT_LEG = joint_indices("left_hip", "left_knee", "left_ankle", "left_foot")
RIGHT_LEG = joint_indices("right_hip", "right_knee", "right_ankle", "right_foot")
LEFT_ARM = joint_indices("left_collar", "left_shoulder", "left_elbow", "left_wrist")
RIGHT_ARM = joint_indices("right_collar", "right_shoulder", "right_elbow", "right_wrist")
TORSO = joint_indices("spine1", "spine2", "spine3", "neck", "head")

# The parts that completion fills in, as in DPoser-X (arXiv 2508.00599).
COMPLETION_PARTS: dict[str, tuple[int, ...]] = {
    "left_leg": LEFT_LEG,
    "legs": LEFT_LEG + RIGHT_LEG,
    "arms": LEFT_ARM + RIGHT_ARM,
    "torso": TORSO,
}
