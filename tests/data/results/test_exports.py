"""Exports pose the same body: each layout, read by its own rules, gives the vertices or joints of the fit."""

import csv
import io

import numpy as np
import pytest
import torch
from roma import rotvec_to_rotmat

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.motion.bvh import read_bvh
from bodyfit.data.results import exports
from bodyfit.data.results.bvh_export import bvh
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.meshes import COORDINATE_FRAMES
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.tables import joint_table, parameter_table

BODY = load_body_model()
RNG = np.random.default_rng(3)
PLACE = COORDINATE_FRAMES["blender"], np.array([0.1, -2.0, 3.0])


def make(**changed):
    arrays = {
        "global_orient": RNG.normal(0, 1, 3), "body_pose": RNG.normal(0, 0.3, 63), "transl": RNG.normal(0, 1, 3),
        "left_hand_pose": RNG.normal(0, 0.1, 45), "right_hand_pose": RNG.normal(0, 0.1, 45),
        "jaw_pose": RNG.normal(0, 0.1, 3), "leye_pose": np.zeros(3), "reye_pose": np.zeros(3),
        "betas": RNG.normal(0, 1, 10), "expression": np.zeros(10), "latent": np.zeros(32), "center_px": np.zeros(2),
        "landmarks": RNG.normal(0, 1, (144, 3)), "landmarks_px": np.zeros((144, 2)),
        "keypoints_px": np.zeros((144, 2)), "keypoint_confidence": np.zeros(144),
    } | changed  # fmt: skip
    return FitResult(
        **arrays, focal_px=1000.0, focal_source="image diagonal", image_size=(640, 480), status="converged",
        body_model=BODY.name, body_gender="neutral", prior="open-2",
    )  # fmt: skip


def posed(result, **changed):
    given = {k: torch.as_tensor(np.asarray(v)) for k, v in (result.parameters() | changed).items()}
    return pose_body(BODY, **given)


def test_a_moved_body_is_the_body_moved():
    result = make()
    turned, transl = exports.moved(BODY, result, *PLACE)
    found = posed(result, global_orient=turned[None], transl=transl[None]).vertices[0].numpy()
    np.testing.assert_allclose(found, posed(result).vertices[0].numpy() @ PLACE[0].T + PLACE[1], atol=1e-9)


def test_amass_holds_smplxs_parameters_in_its_order():
    result = make()
    arrays = exports.amass(BODY, [result], [PLACE], 30.0)
    pose, names = arrays["poses"][0], ("global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose")
    cuts = np.split(pose, np.cumsum([3, 63, 3, 3, 3, 45]))
    changed = {n: c[None] for n, c in zip((*names, "left_hand_pose", "right_hand_pose"), cuts, strict=True)}
    found = posed(result, **changed, transl=arrays["trans"])
    expected = posed(result).vertices[0].numpy() @ PLACE[0].T + PLACE[1]
    np.testing.assert_allclose(found.vertices[0].numpy(), expected, atol=1e-9)


def test_easymocap_turns_about_the_origin():
    """EasyMocap: vertices = R(Rh) LBS(poses with a root of zero) + Th, hands as mean plus six components."""
    mean, basis = BODY.hand_mean_left, BODY.hand_components_left
    result = make(left_hand_pose=mean + RNG.normal(0, 0.3, 6) @ basis[:6])
    (person,) = exports.easymocap(BODY, [result], *PLACE)
    poses = np.array(person["poses"][0])
    assert len(poses) == 87 and not poses[:3].any()
    left = mean + poses[66:72] @ basis[:6]
    np.testing.assert_allclose(left, result.left_hand_pose, atol=1e-9)
    at_rest = posed(result, global_orient=np.zeros((1, 3)), transl=np.zeros((1, 3))).joints[0].numpy()
    turn = torch.tensor(person["Rh"], dtype=torch.float64)
    found = at_rest @ rotvec_to_rotmat(turn)[0].numpy().T + person["Th"][0]
    np.testing.assert_allclose(found, posed(result).joints[0].numpy() @ PLACE[0].T + PLACE[1], atol=1e-9)


def test_smpl_keeps_the_pose_and_no_foreign_shape():
    result = make()
    arrays = exports.smpl(BODY, result, np.eye(3), np.zeros(3))
    np.testing.assert_allclose(arrays["body_pose"][0, :63], result.body_pose)
    assert arrays["body_pose"].shape == (1, 69) and not arrays["betas"].any()
    np.testing.assert_allclose(arrays["transl"][0], result.transl)


def test_bvh_puts_every_joint_where_the_fit_has_it(tmp_path):
    """By the reader of motion capture: orientations and offsets along the tree."""
    betas = RNG.normal(0, 1, 10)
    results = [make(betas=betas), make(betas=betas)]
    place = COORDINATE_FRAMES["opengl"], np.zeros(3)
    path = tmp_path / "x.bvh"
    path.write_text(bvh(BODY, results, [place, place], 25.0))
    motion = read_bvh(path)
    assert motion.frame_rate == pytest.approx(25, rel=1e-4) and len(motion.orientations) == 2
    root = np.array([[float(v) for v in line.split()[:3]] for line in path.read_text().splitlines()[-2:]])
    for t, result in enumerate(results):
        expected = posed(result).joints[0].numpy() @ place[0].T * 100
        positions = {}
        for n, (name, parent) in enumerate(zip(motion.names, motion.parents, strict=True)):
            if parent < 0:
                positions[n] = root[t]
            else:
                positions[n] = positions[parent] + motion.orientations[t, parent] @ motion.offsets[n]
            if name in BODY.joint_names:
                np.testing.assert_allclose(
                    positions[n], expected[BODY.joint_names.index(name)], atol=0.02, err_msg=name
                )


def test_the_world_of_the_calibration():
    rotation, translation = COORDINATE_FRAMES["blender"], np.array([1.0, 2.0, 3.0])
    result = make(camera_rotation=rotation, camera_translation=translation)
    back, shift = exports.camera_to_world(result)
    world = RNG.normal(0, 1, (5, 3))
    np.testing.assert_allclose((world @ rotation.T + translation) @ back.T + shift, world, atol=1e-12)
    with pytest.raises(ResultError, match="where the camera stood is not known"):
        exports.camera_to_world(make())


def test_tables():
    confidence = np.zeros(144)
    confidence[0] = 0.5
    result = make(keypoint_confidence=confidence, keypoints_px=np.full((144, 2), 7.0))
    rows = list(csv.DictReader(io.StringIO(joint_table([("=a", result)]))))
    assert len(rows) == 144 and rows[0]["joint"] == "pelvis" and rows[0]["image"] == "'=a"
    assert float(rows[0]["x_m"]) == pytest.approx(result.landmarks[0, 0], rel=1e-6)
    assert (rows[0]["keypoint_x_px"], rows[1]["keypoint_x_px"]) == ("7", "")
    (row,) = csv.DictReader(io.StringIO(parameter_table([("a", result)])))
    assert float(row["body_pose_62"]) == pytest.approx(result.body_pose[62], rel=1e-6) and row["status"] == "converged"
