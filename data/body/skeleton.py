"""The 22 joints of a body without hands and face: tree and rest pose, for what needs bones and no mesh."""

PARENTS: tuple[int, ...] = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Parent of each joint in the order of `landmarks.JOINT_NAMES[:22]`, as in every SMPL-family model file."""

REST_OFFSETS: tuple[tuple[float, float, float], ...] = (
    (0.000, 0.000, 0.000),  # pelvis
    (0.086, -0.094, -0.008),  # left_hip
    (-0.086, -0.094, -0.008),  # right_hip
    (0.000, 0.072, -0.027),  # spine1
    (0.054, -0.382, -0.001),  # left_knee
    (-0.054, -0.382, -0.001),  # right_knee
    (0.000, 0.080, 0.001),  # spine2
    (-0.001, -0.430, 0.000),  # left_ankle
    (0.001, -0.430, 0.000),  # right_ankle
    (0.000, 0.131, -0.012),  # spine3
    (0.011, -0.050, 0.143),  # left_foot
    (-0.011, -0.050, 0.143),  # right_foot
    (0.000, 0.186, 0.038),  # neck
    (0.024, 0.113, 0.052),  # left_collar
    (-0.024, 0.113, 0.052),  # right_collar
    (0.000, 0.097, 0.042),  # head
    (0.152, -0.022, -0.003),  # left_shoulder
    (-0.152, -0.022, -0.003),  # right_shoulder
    (0.260, 0.000, 0.000),  # left_elbow
    (-0.260, 0.000, 0.000),  # right_elbow
    (0.235, 0.000, 0.000),  # left_wrist
    (-0.235, 0.000, 0.000),  # right_wrist
)
"""Offset of each joint from its parent in the rest pose (arms out, y up, x to the body's left), metres: those of the
open neutral body, to the millimetre, made symmetric. Fixed, so that figures stay comparable when the body changes."""
