"""A fitted person as a mesh, as joints and as smplx's parameters: all three agree with each other and with smplx."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
import trimesh

import bodyfit
from bodyfit.data.landmarks import JOINT_NAMES, SMPLH_JOINT_NAMES
from bodyfit.data.results.checks import ResultError

SAMPLES = Path(bodyfit.__file__).parents[1] / "data" / "assets" / "samples"


@pytest.fixture(scope="module")
def frame():
    return bodyfit.Frame.from_files(
        SAMPLES / "images" / "portrait.jpg", SAMPLES / "keypoints" / "portrait_keypoints.json"
    )


@pytest.fixture(scope="module")
def result(frame):
    return bodyfit.fit([frame])[0]


def smplx_output(path, result):
    size = {"num_betas": len(result.betas), "num_expression_coeffs": len(result.expression)}
    model = smplx.create(str(path), model_type="smplx", use_pca=False, flat_hand_mean=True, **size)
    return model(**result.smplx_parameters())


def test_smplx_and_mesh_and_joints_agree(result):
    body = bodyfit.load_body_model()
    output = smplx_output(body.path, result)
    mesh, joints = result.mesh(), result.joints()
    assert isinstance(mesh, trimesh.Trimesh)
    assert mesh.vertices.shape == (body.num_vertices, 3)
    np.testing.assert_array_equal(mesh.faces, body.faces)
    np.testing.assert_allclose(mesh.vertices, output.vertices[0].detach(), atol=2e-5)
    np.testing.assert_allclose(joints.xyz, output.joints[0, :55].detach(), atol=2e-5)
    assert joints.names == JOINT_NAMES


def test_mesh_lies_on_the_photo(result):
    """In the camera frame: the projected mesh covers the person's keypoints."""
    vertices = np.asarray(result.mesh().vertices)
    pixels = result.focal_px * vertices[:, :2] / vertices[:, 2:] + result.center_px
    seen = result.keypoints_px[result.keypoint_confidence > 0.5]
    assert (vertices[:, 2] > 0).all()
    # Ears and shoulders lie a few centimetres from the skin.
    margin = 0.05 * result.focal_px / vertices[:, 2].mean()
    assert (seen > pixels.min(0) - margin).all() and (seen < pixels.max(0) + margin).all()


def test_joints_project_to_their_pixels(result):
    names, xyz, px = result.joints()
    assert len(names) == len(xyz) == len(px) == 55
    np.testing.assert_allclose(result.focal_px * xyz[:, :2] / xyz[:, 2:] + result.center_px, px, atol=0.05)


def test_parameters_come_in_the_dtype_asked_for(result):
    assert {value.dtype for value in result.smplx_parameters().values()} == {torch.float32}
    exact = result.smplx_parameters(torch.float64)
    assert {value.dtype for value in exact.values()} == {torch.float64}
    np.testing.assert_array_equal(exact["body_pose"][0], result.body_pose)


def test_own_body_model(result, standin_smplx_path, standin_smplh_path):
    for path, names in ((standin_smplx_path, JOINT_NAMES), (standin_smplh_path, SMPLH_JOINT_NAMES)):
        body = bodyfit.load_body_model(path)
        landmarks = result.landmarks.copy()
        landmarks[[i for i, name in enumerate(JOINT_NAMES) if name not in names]] = np.nan
        own = replace(
            result,
            body_model=body.name,
            landmarks=landmarks,
            betas=result.betas[: body.num_betas],
            expression=result.expression[: body.num_expression],
        )
        if body.kind == "smplh":
            own = replace(own, jaw_pose=np.zeros(3))
        assert own.joints().names == names
        expected = bodyfit.pose_body(body, **own.smplx_parameters(torch.float64)).vertices[0]
        np.testing.assert_array_equal(np.asarray(own.mesh(body).vertices), expected)
        with pytest.raises(ResultError, match=rf"fitted with the body '{body.name}', but .* 'open-neutral-\d+'"):
            own.mesh()


def test_the_gender_and_sizes_of_the_result_choose_the_open_body(frame):
    body = bodyfit.load_body_model(gender="female", num_betas=4, num_expression=3)
    result = bodyfit.fit([frame], body=body)[0]
    expected = bodyfit.pose_body(body, **result.smplx_parameters(torch.float64)).vertices[0]
    np.testing.assert_allclose(np.asarray(result.mesh().vertices), expected, atol=1e-9)
    with pytest.raises(ResultError, match=r"'open-female-\d+', but the one at hand is 'open-neutral-\d+'"):
        result.mesh(bodyfit.load_body_model())


def test_a_failed_person_has_no_body(result):
    failed = replace(result, status="failed", reason="only 3 confident body keypoints", person_id="007")
    for ask in (failed.mesh, failed.joints, failed.smplx_parameters):
        with pytest.raises(ResultError, match=r"person 007 of .* was not fitted: only 3 confident"):
            ask()


def test_a_body_that_no_open_body_is_must_be_given(result):
    """A gender of another program's body: the answer is which body to give, not what genders there are."""
    with pytest.raises(ResultError, match="was fitted with the body 'theirs', which is not the open body"):
        replace(result, body_model="theirs", body_gender="unknown").mesh()


def test_a_further_mode_that_is_not_there_is_an_error(result):
    with pytest.raises(ResultError, match="further modes, and none at"):
        result.further_parameters(len(result.further_weight))


def test_what_is_no_body_and_no_count_is_said(result):
    with pytest.raises(ResultError, match=r"body is a str\. Expected a body model"):
        result.mesh("SMPLX_NEUTRAL.npz")
    with pytest.raises(bodyfit.BodyfitError, match="the count is 0"):
        result.sample(0)
