"""The 22 joints of a body without hands and face: tree and rest pose, for what needs bones and no mesh."""

PARENTS: tuple[int, ...] = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Parent of each joint in the order of `landmarks.JOINT_NAMES[:22]`, as in every SMPL-family model file."""

# Offset of each joint from its parent in the rest pose (arms out, y up, x to the body's left), metres.
REST_OFFSETS: tuple[tuple[float, float, float], ...] = (
    (0.000, 0.000, 0.000),  # pelvis
    (0.060, -0.090, 0.000),  # left_hip
    (-0.060, -0.090, 0.000),  # right_hip
    (0.000, 0.110, -0.020),  # spine1
    (0.045, -0.385, -0.005),  # left_knee
    (-0.045, -0.385, -0.005),  # right_knee
    (0.000, 0.130, 0.000),  # spine2
    (-0.015, -0.400, -0.035),  # left_ankle
    (0.015, -0.400, -0.035),  # right_ankle
    (0.000, 0.055, 0.025),  # spine3
    (0.040, -0.060, 0.125),  # left_foot
    (-0.040, -0.060, 0.125),  # right_foot
    (0.000, 0.170, -0.045),  # neck
    (0.045, 0.085, -0.030),  # left_collar
    (-0.045, 0.085, -0.030),  # right_collar
    (0.000, 0.160, 0.035),  # head
    (0.120, 0.050, -0.010),  # left_shoulder
    (-0.120, 0.050, -0.010),  # right_shoulder
    (0.255, -0.010, -0.025),  # left_elbow
    (-0.255, -0.010, -0.025),  # right_elbow
    (0.250, 0.000, 0.000),  # left_wrist
    (-0.250, 0.000, 0.000),  # right_wrist
)
