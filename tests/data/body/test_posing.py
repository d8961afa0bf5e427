"""pose_body gives what smplx's forward gives, for every kind of model, and has gradients everywhere."""

import numpy as np
import pytest
import smplx
import torch
from roma import rotvec_to_rotmat

from bodyfit.data.body.body_model import BodyModelError, load_body_model
from bodyfit.data.body.posing import pose_body

# smplx adds 1e-8 inside its Rodrigues formula; ours does not, hence 1e-7 in float64. The other test needs no formula.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-7}
SIZES = {
    "betas": 10, "global_orient": 3, "body_pose": 63, "transl": 3, "left_hand_pose": 45, "right_hand_pose": 45,
    "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "expression": 10,
}  # fmt: skip
NAMES = {
    "smplx": tuple(SIZES),
    "smplh": ("betas", "global_orient", "body_pose", "transl", "left_hand_pose", "right_hand_pose"),
    "smpl": ("betas", "global_orient", "body_pose", "transl"),
}


def _parameters(kind, dtype, batch=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    sizes = SIZES | ({"body_pose": 69} if kind == "smpl" else {})
    return {name: torch.randn(batch, sizes[name], generator=rng, dtype=dtype) * 0.5 for name in NAMES[kind]}


def _smplx_model(folder, kind, dtype, batch=3):
    file = next((folder / kind).iterdir())
    extra = {} if kind == "smpl" else {"use_pca": False, "flat_hand_mean": True, "ext": "npz"}
    return smplx.create(str(file), model_type=kind, batch_size=batch, dtype=dtype, **extra)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["smplx", "smplh", "smpl"])
def test_equal_to_smplx(standin_folder, kind, dtype):
    parameters = _parameters(kind, dtype)
    with torch.no_grad():
        theirs = _smplx_model(standin_folder, kind, dtype)(**parameters)
        ours = pose_body(load_body_model(standin_folder, kind=kind), **parameters)
    joints = ours.joints.shape[1]
    assert ours.vertices.dtype == dtype
    torch.testing.assert_close(ours.vertices, theirs.vertices, rtol=0, atol=TOLERANCE[dtype])
    torch.testing.assert_close(ours.joints, theirs.joints[:, :joints], rtol=0, atol=TOLERANCE[dtype])


def test_skinning_is_exact_in_float64(standin_folder):
    from smplx.lbs import lbs

    body = load_body_model(standin_folder, kind="smplh")
    parameters = _parameters("smplh", torch.float64)
    transl = parameters.pop("transl")
    pose = torch.cat([parameters[n] for n in ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose")], 1)
    like = transl
    vertices, _ = lbs(
        parameters["betas"], rotvec_to_rotmat(pose.unflatten(1, (-1, 3))), body.tensor("v_template", like),
        body.tensor("shapedirs", like), body.tensor("posedirs", like).reshape(-1, 459).T,
        body.tensor("joint_regressor", like), body.tensor("parents", like), body.tensor("weights", like),
        pose2rot=False,
    )  # fmt: skip
    ours = pose_body(body, **parameters, transl=transl).vertices
    torch.testing.assert_close(ours, vertices + transl[:, None], rtol=0, atol=1e-12)


def test_what_is_left_out_is_zero(standin_smplx_path):
    body = load_body_model(standin_smplx_path)
    parameters = _parameters("smplx", torch.float64, batch=1)
    kept = {name: parameters[name] for name in ("betas", "global_orient", "body_pose")}
    zeros = {name: torch.zeros(1, size) for name, size in SIZES.items() if name not in kept}
    explicit = pose_body(body, **kept, **{name: value.double() for name, value in zeros.items()})
    torch.testing.assert_close(pose_body(body, **kept).vertices, explicit.vertices)
    short = pose_body(body, **(kept | {"betas": kept["betas"][:, :4]}))
    padded = pose_body(body, **(kept | {"betas": torch.nn.functional.pad(kept["betas"][:, :4], (0, 6))}))
    torch.testing.assert_close(short.vertices, padded.vertices)


def test_gradients_exist_at_the_zero_pose(standin_smpl_path):
    body = load_body_model(standin_smpl_path)
    other = {"betas": torch.zeros(1, 10, dtype=torch.float64), "global_orient": torch.zeros(1, 3, dtype=torch.float64)}

    def wrist(collar_and_shoulder):
        pose = torch.nn.functional.pad(collar_and_shoulder, (36, 63 - 36 - 6))
        return pose_body(body, body_pose=pose, **other).joints[:, 20:22]

    assert torch.autograd.gradcheck(wrist, (torch.zeros(1, 6, dtype=torch.float64, requires_grad=True),))


def test_smpl_takes_poses_with_and_without_hand_joints(standin_smpl_path):
    body = load_body_model(standin_smpl_path)
    long = _parameters("smpl", torch.float64)
    long["body_pose"][:, 63:] = 0
    short = long | {"body_pose": long["body_pose"][:, :63]}
    torch.testing.assert_close(pose_body(body, **long).vertices, pose_body(body, **short).vertices)


def test_wrong_lengths_and_absent_parts_are_refused(standin_smpl_path, standin_smplx_path):
    zeros = {"betas": torch.zeros(1, 10), "global_orient": torch.zeros(1, 3), "body_pose": torch.zeros(1, 63)}
    body = load_body_model(standin_smplx_path)
    with pytest.raises(BodyModelError, match=r"body_pose has shape \(1, 32\), expected \(1, 63\)"):
        pose_body(body, **(zeros | {"body_pose": torch.zeros(1, 32)}))
    with pytest.raises(BodyModelError, match=r"betas has shape \(1, 11\)"):
        pose_body(body, **(zeros | {"betas": torch.zeros(1, 11)}))
    with pytest.raises(BodyModelError, match="kind smpl has no jaw_pose"):
        pose_body(load_body_model(standin_smpl_path), **zeros, jaw_pose=torch.ones(1, 3))


def test_leaving_out_zero_correctives_changes_nothing(standins, tmp_path):
    arrays = standins.model_arrays("smpl")
    tiny = {**arrays, "posedirs": np.zeros_like(arrays["posedirs"])}
    tiny["posedirs"][0, 0, 0] = 1e-30  # not zero, so the product is taken
    bodies = [
        load_body_model(standins.write_npz(tmp_path / name / "SMPL_NEUTRAL.npz", content))
        for name, content in (("tiny", tiny), ("zero", {**arrays, "posedirs": np.zeros_like(arrays["posedirs"])}))
    ]
    assert [body.has_pose_correctives for body in bodies] == [True, False]
    parameters = _parameters("smpl", torch.float64)
    torch.testing.assert_close(*(pose_body(body, **parameters).vertices for body in bodies))


def test_arrays_in_place_of_tensors_are_told_where_tensors_come_from(standin_smplx_path):
    body = load_body_model(standin_smplx_path)
    arrays = {"betas": np.zeros((1, 10)), "global_orient": np.zeros((1, 3)), "body_pose": np.zeros((1, 63))}
    with pytest.raises(BodyModelError, match=r"betas is of float64\. Expected tensors .*smplx_parameters"):
        pose_body(body, **arrays)
