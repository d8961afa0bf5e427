"""The reduced landmark model is exact: the same points as smplx's own full forward, and true derivatives."""

import pytest
import roma
import smplx
import torch
from smplx.lbs import find_dynamic_lmk_idx_and_bcoords, lbs, vertices2landmarks

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy.landmark_model import FLIP_Y_Z, LandmarkModel

SIZES = {"smplx": 165, "smplh": 156, "smpl": 72}


def _pose(kind, dtype, batch=4, spread=0.5):
    """Axis-angle of all joints, shape and translation; float64 numbers rounded to dtype."""
    rng = torch.Generator().manual_seed(0)
    draw = [torch.randn(batch, n, generator=rng, dtype=torch.float64) for n in (SIZES[kind], 20, 3)]
    shape = draw[1] if kind == "smplx" else draw[1][:, :10]
    return (draw[0] * spread).to(dtype), shape.to(dtype), draw[2].to(dtype)


def _ours(body, pose, shape, transl, **options):
    model = LandmarkModel(body, dtype=pose.dtype, **options)
    state = model(roma.rotvec_to_rotmat(pose.unflatten(1, (-1, 3))), shape, transl)
    return model, state


def _smplx_forward(path, pose, shape, transl):
    options = {"num_betas": 10, "num_expression_coeffs": 10, "use_face_contour": True, "ext": "npz"}
    model = smplx.create(str(path), model_type="smplx", use_pca=False, flat_hand_mean=True, batch_size=len(pose),
                         dtype=pose.dtype, **options)  # fmt: skip
    names = ("global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")
    parts = dict(zip(names, pose.split([3, 63, 3, 3, 3, 45, 45], dim=1), strict=True))
    with torch.no_grad():
        return model(betas=shape[:, :10], expression=shape[:, 10:], transl=transl, **parts).joints


def _smplx_from_rotations(body, pose, shape, transl):
    """smplx's skinning, landmark and contour functions, but on our rotations: its own are good to 1e-8 only."""
    like, turns = pose, roma.rotvec_to_rotmat(pose.unflatten(1, (-1, 3)))
    dirs = torch.cat([body.tensor("shapedirs", like), body.tensor("exprdirs", like)], dim=2)
    posedirs = body.tensor("posedirs", like).flatten(0, 1).T
    vertices, joints = lbs(
        shape, turns, body.tensor("v_template", like), dirs, posedirs, body.tensor("joint_regressor", like),
        body.tensor("parents", like), body.tensor("weights", like), pose2rot=False,
    )  # fmt: skip
    points = [joints, vertices[:, list(body.extra_vertex_ids.values())]]
    if body.kind == "smplx":
        contour = find_dynamic_lmk_idx_and_bcoords(
            vertices, turns, body.tensor("contour_faces", like), body.tensor("contour_bary", like),
            torch.tensor([12, 9, 6, 3, 0]), pose2rot=False,
        )  # fmt: skip
        inner = (body.tensor(name, like).expand(len(pose), *[-1] * n)
                 for name, n in (("face_landmark_faces", 1), ("face_landmark_bary", 2)))  # fmt: skip
        both = [torch.cat(pair, dim=1) for pair in zip(inner, contour, strict=True)]
        points.append(vertices2landmarks(vertices, body.tensor("faces", like), *both))
    return torch.cat(points, dim=1) + transl[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_smplx_full_forward(corrected_path, dtype):
    pose, shape, transl = _pose("smplx", dtype)
    model, state = _ours(load_body_model(corrected_path), pose, shape, transl, contour_view="smplx")
    assert model.names == LANDMARK_NAMES
    expected = _smplx_forward(corrected_path, pose, shape, transl)
    torch.testing.assert_close(state.points, expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-7)


@pytest.mark.parametrize("kind", ["smplx", "smplh", "smpl"])
def test_exact_in_float64_for_every_kind(standin_folder, corrected_path, kind):
    body = load_body_model(corrected_path) if kind == "smplx" else load_body_model(standin_folder, kind=kind)
    pose, shape, transl = _pose(kind, torch.float64)
    model, state = _ours(body, pose, shape, transl, contour_view="smplx")
    names = [*body.joint_names, *LANDMARK_NAMES[55:]]
    expected = _smplx_from_rotations(body, pose, shape, transl)[:, [names.index(name) for name in model.names]]
    assert len(model.names) == {"smplx": 144, "smplh": 73, "smpl": 43}[kind]
    torch.testing.assert_close(state.points, expected, rtol=0, atol=1e-10)


def test_contour_runs_through_all_its_rows_as_smplx_numbers_them(corrected_body):
    yaws = torch.deg2rad(torch.arange(-60.0, 61.0, 7.0, dtype=torch.float64))
    pose = torch.zeros(len(yaws), 165, dtype=torch.float64)
    pose[:, 1] = yaws
    shape, transl = torch.zeros(len(yaws), 20, dtype=torch.float64), torch.zeros(len(yaws), 3, dtype=torch.float64)
    _, state = _ours(corrected_body, pose, shape, transl, contour_view="smplx")
    torch.testing.assert_close(
        state.points, _smplx_from_rotations(corrected_body, pose, shape, transl), rtol=0, atol=1e-10
    )


def test_camera_view_takes_the_contour_of_the_same_head_seen_upright(corrected_body):
    """RotationJacobian world axes into camera axes must not change which contour row a head shows."""
    pose, shape, transl = _pose("smplx", torch.float64, spread=0.3)
    _, upright = _ours(corrected_body, pose, shape, 0 * transl, contour_view="smplx")
    flip = torch.diag(torch.tensor(FLIP_Y_Z, dtype=torch.float64))
    turned = pose.clone()
    turned[:, :3] = roma.rotmat_to_rotvec(flip @ roma.rotvec_to_rotmat(pose[:, :3]))
    _, seen = _ours(corrected_body, turned, shape, 0 * transl, contour_view="camera")
    pelvis = upright.points[:, :1]  # the root turns about itself
    torch.testing.assert_close(seen.points - pelvis, (upright.points - pelvis) @ flip, rtol=0, atol=1e-7)


def test_levers_are_the_derivative_in_small_turns_of_each_joint(body):
    """RotationJacobian joint j by omega moves landmark k by omega x lever: finite differences in float64."""
    pose, shape, transl = _pose("smplx", torch.float64, batch=2)
    local = roma.rotvec_to_rotmat(pose.unflatten(1, (-1, 3)))
    model = LandmarkModel(body, names=LANDMARK_NAMES[:127], dtype=torch.float64)
    state, step = model(local, shape, transl), 1e-6
    world = state.kinematics.rotations[torch.as_tensor(model.level_rank)].transpose(0, 1)
    numbers = {(k, j): n for n, (k, j) in enumerate(zip(model.pair_landmark, model.pair_joint, strict=True))}
    for joint in (0, 3, 12, 15, 18, 22, 26, 54):
        above = world[:, model.parents[joint]] if joint else torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
        for axis in torch.eye(3, dtype=torch.float64):
            moved = []
            for sign in (step, -step):
                turned = local.clone()
                omega = roma.rotvec_to_rotmat(sign * axis)
                turned[:, joint] = above.transpose(1, 2) @ omega @ above @ local[:, joint]
                moved.append(model(turned, shape, transl, derivatives=False).points)
            numeric = (moved[0] - moved[1]) / (2 * step)
            for k in range(len(model.names)):
                n = numbers.get((k, joint))
                lever = torch.zeros(2, 3, dtype=torch.float64) if n is None else state.levers[n]
                analytic = torch.linalg.cross(axis.expand(2, 3), lever)
                torch.testing.assert_close(analytic, numeric[:, k], rtol=0, atol=1e-8)


def test_shape_jacobian_against_autograd(corrected_body):
    pose, shape, transl = _pose("smplx", torch.float64, batch=2)
    local = roma.rotvec_to_rotmat(pose.unflatten(1, (-1, 3)))
    model = LandmarkModel(corrected_body, dtype=torch.float64)
    exact = torch.autograd.functional.jacobian(
        lambda s: model(local, s, transl, derivatives=False).points.sum(0), shape, vectorize=True
    )
    torch.testing.assert_close(model(local, shape, transl).shape_jacobian, exact.movedim(2, 0), rtol=0, atol=1e-10)


def test_a_choice_of_landmarks_gives_the_same_points(corrected_body):
    pose, shape, transl = _pose("smplx", torch.float64)
    names = ("nose", "left_contour_3", "right_index3", "pelvis", "mouth_top")
    _, every = _ours(corrected_body, pose, shape, transl)
    model, few = _ours(corrected_body, pose, shape, transl, names=names)
    assert model.names == names
    places = [LANDMARK_NAMES.index(name) for name in names]
    torch.testing.assert_close(few.points, every.points[:, places], rtol=0, atol=1e-12)


def test_smpl_has_no_face_and_no_fingers(standin_smpl_path):
    model = LandmarkModel(load_body_model(standin_smpl_path))
    assert "nose" in model.names and "left_wrist" in model.names
    assert not {"jaw", "mouth_top", "contour_middle", "left_index1"} & set(model.names)


def test_unknown_contour_view_is_refused(body):
    with pytest.raises(ValueError, match="contour_view must be"):
        LandmarkModel(body, contour_view="front")
