"""Starts in the layouts of other programs: the same pose comes out of each, and what cannot be one is refused."""

import pickle

import numpy as np
import pytest
import roma
import torch

from bodyfit.fitting.run.previous import PreviousResults
from bodyfit.fitting.run.starts import InitError, read_starts
from bodyfit.prior.model.checkpoint import load_prior

RNG = np.random.default_rng(1)
PEOPLE = 2
ORIENT, BODY = RNG.normal(0, 0.4, (PEOPLE, 3)), RNG.normal(0, 0.4, (PEOPLE, 63))
LEFT, RIGHT, JAW = (RNG.normal(0, 0.2, (PEOPLE, n)) for n in (45, 45, 3))
BETAS = RNG.normal(0, 1, (PEOPLE, 10))
SMPL = np.concatenate([BODY, np.zeros((PEOPLE, 6))], axis=1)


def matrices(vectors):
    return roma.rotvec_to_rotmat(torch.from_numpy(vectors.reshape(PEOPLE, -1, 3))).numpy()


LAYOUTS = {
    "4D-Humans": {"global_orient": matrices(ORIENT), "body_pose": matrices(SMPL), "betas": BETAS}
    | {"pred_cam_t": np.ones((PEOPLE, 3)), "focal_length": np.full((PEOPLE, 2), 5000.0)},
    "Multi-HMR": {
        "rotvec": np.concatenate([ORIENT, BODY, LEFT, RIGHT, JAW], axis=1).reshape(PEOPLE, 53, 3),
        "shape": BETAS, "expression": np.zeros((PEOPLE, 10)), "transl_pelvis": np.ones((PEOPLE, 1, 3)),
    },
    "SMPLer-X": {
        "smplx_root_pose": ORIENT, "smplx_body_pose": BODY, "smplx_lhand_pose": LEFT, "smplx_rhand_pose": RIGHT,
        "smplx_jaw_pose": JAW, "smplx_shape": BETAS, "smplx_expr": np.zeros((PEOPLE, 10)),
        "cam_trans": np.ones((PEOPLE, 3)),
    },
    "ROMP": {"smpl_thetas": np.concatenate([ORIENT, SMPL], axis=1), "smpl_betas": BETAS},
    "HMR": {"pred_rotmat": np.concatenate([matrices(ORIENT), matrices(SMPL)], axis=1), "pred_shape": BETAS},
    "AMASS": {"poses": np.concatenate([ORIENT, BODY, JAW, np.zeros((PEOPLE, 6)), LEFT, RIGHT], axis=1)},
    "SMPL-H": {"poses": np.concatenate([ORIENT, BODY, LEFT, RIGHT], axis=1), "betas": BETAS},
}  # fmt: skip


@pytest.mark.parametrize("program", LAYOUTS)
def test_layouts(tmp_path, program):
    np.savez(tmp_path / "x.npz", **LAYOUTS[program])
    rows = read_starts(tmp_path / "x.npz")
    assert len(rows) == PEOPLE
    for i, row in enumerate(rows):
        np.testing.assert_allclose(row["global_orient"], ORIENT[i], atol=1e-6)
        np.testing.assert_allclose(row["body_pose"], BODY[i], atol=1e-6)
        assert "transl" not in row  # belongs to another focal length
        for name, expected in (
            ("betas", BETAS),
            ("left_hand_pose", LEFT),
            ("right_hand_pose", RIGHT),
            ("jaw_pose", JAW),
        ):
            if name in row:
                np.testing.assert_allclose(row[name], expected[i], atol=1e-6)


def _smplify_x(body_pose):
    one = {"camera_rotation": np.eye(3)[None], "camera_translation": np.ones((1, 3)), "betas": BETAS[:1]}
    one |= {"global_orient": ORIENT[:1], "left_hand_pose": np.zeros((1, 12)), "jaw_pose": JAW[:1]}
    return {k: v.astype(np.float32) for k, v in one.items()} | {"body_pose": body_pose.astype(np.float32)}


def test_smplify_xs_pickles(tmp_path):
    path = tmp_path / "results" / "photo" / "000.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(_smplify_x(BODY[:1]), protocol=2))
    (row,) = read_starts(path)
    np.testing.assert_allclose(row["body_pose"], BODY[0], atol=1e-6)
    assert "left_hand_pose" not in row and "transl" not in row
    for folder in (tmp_path, tmp_path / "results"):
        assert PreviousResults(folder)._start("photo", "000").keys() == row.keys()


def test_a_latent_needs_its_own_vposer(tmp_path):
    path = tmp_path / "000.pkl"
    prior = load_prior()
    latent = np.zeros((1, 32))
    path.write_bytes(pickle.dumps(_smplify_x(latent), protocol=2))
    with pytest.raises(
        InitError, match=r"latent of the VPoser that SMPLify-X was run with\. Load that one with --prior"
    ):
        read_starts(path, prior)
    other = load_prior()
    other.name = "V02_05"
    expected = prior.decode_axis_angle(torch.zeros(1, 32)).detach().flatten()
    np.testing.assert_allclose(read_starts(path, other)[0]["body_pose"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vertices": np.zeros((1, 5, 3))}, "has no global_orient and no body_pose. Found: vertices"),
        ({"body_pose_params": np.zeros((1, 133)), "shape_params": np.zeros((1, 45))}, "MHR"),
        ({"global_orient": np.zeros((1, 3)), "body_pose": np.zeros((1, 60))}, "holds 60 numbers per person"),
        ({"global_orient": np.zeros((1, 3)), "body_pose": np.full((1, 63), np.nan)}, "beyond any body"),
        ({"global_orient": np.zeros((2, 3)), "body_pose": np.zeros((1, 63))}, "for 2 people"),
    ],
)
def test_what_is_no_start_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InitError, match=message):
        read_starts(tmp_path / "x.npz")
    with pytest.raises(InitError, match=r"no results \(\.npz, \.pkl\)"):
        (tmp_path / "empty").mkdir()
        PreviousResults(tmp_path / "empty")
