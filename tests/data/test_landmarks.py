"""The landmark names are smplx's own, complete, and divided into parts without gaps."""

from smplx import joint_names

from bodyfit.data import landmarks as lm


def test_names_and_order_are_those_of_smplx():
    assert list(lm.LANDMARK_NAMES) == joint_names.JOINT_NAMES
    assert list(lm.SMPLH_JOINT_NAMES) == joint_names.SMPLH_JOINT_NAMES[:52]
    assert lm.LANDMARK_NAMES[55:76] == lm.SKIN_POINT_NAMES


def test_every_landmark_belongs_to_exactly_one_part():
    assert sorted(lm.BODY + lm.LEFT_HAND + lm.RIGHT_HAND + lm.FACE) == list(range(144))
    assert len(lm.LEFT_HAND) == len(lm.RIGHT_HAND) == 20


def test_mirroring_swaps_sides_and_is_its_own_inverse():
    assert [lm.MIRRORED[i] for i in lm.MIRRORED] == list(range(144))
    assert lm.MIRRORED[lm.LANDMARK_INDEX["left_wrist"]] == lm.LANDMARK_INDEX["right_wrist"]
    assert lm.MIRRORED[lm.LANDMARK_INDEX["nose"]] == lm.LANDMARK_INDEX["nose"]


def test_drawn_skeleton_reaches_every_finger_and_is_symmetric():
    edges = {frozenset(edge) for edge in lm.SKELETON}
    assert {frozenset(lm.MIRRORED[i] for i in edge) for edge in edges} == edges
    drawn = {i for edge in edges for i in edge}
    assert set(lm.LEFT_HAND) | set(lm.RIGHT_HAND) <= drawn
