"""A result survives its files, and what is in them is what smplx and SMPLify-X's users expect."""

import dataclasses
import json

import numpy as np
import pytest
import smplx
import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.body.restricted_pickle import PickledArrays
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.meshes import load_mesh, save_mesh
from bodyfit.data.results.record import CONVENTIONS
from bodyfit.data.results.result import FitResult

SIZES = {
    "global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3, "leye_pose": 3,
    "reye_pose": 3, "betas": 10, "expression": 10, "transl": 3, "latent": 32, "center_px": 2,
}  # fmt: skip


@pytest.fixture
def result():
    rng = np.random.default_rng(0)
    landmarks = rng.normal(size=(144, 3))
    landmarks[100] = np.nan  # a body without this point
    return FitResult(
        **{name: rng.normal(0, 0.3, size) for name, size in SIZES.items()},
        focal_px=1234.5,
        focal_source="EXIF, 26 mm in 35 mm film",
        image_size=(640, 480),
        landmarks=landmarks,
        landmarks_px=rng.normal(size=(144, 2)),
        keypoints_px=rng.normal(size=(144, 2)),
        keypoint_confidence=rng.uniform(size=144),
        status="converged",
        body_model="open-neutral-1",
        body_gender="neutral",
        prior="bodyfit-1",
        cost=12.5,
        error_px=3.25,
        ambiguous=True,
        iterations=17,
        person_id="003",
        photo="images/überall.jpg",
    )


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_nothing_is_lost_in_a_file(result, tmp_path, suffix):
    loaded = FitResult.load(result.save(tmp_path / f"deep/er/x{suffix}"))
    for field in dataclasses.fields(FitResult):
        before, after = getattr(result, field.name), getattr(loaded, field.name)
        assert type(after) is type(before), field.name
        np.testing.assert_array_equal(after, before, err_msg=field.name)
    assert loaded.conventions == CONVENTIONS and loaded.landmark_names == LANDMARK_NAMES
    assert np.isnan(loaded.runner_up_cost) and np.isnan(loaded.landmarks[100]).all()


ALTERNATIVE = {
    "runner_up_global_orient": np.array([0.1, 3.0, 0.0]),
    "runner_up_body_pose": np.full(63, 0.2),
    "runner_up_transl": np.array([0.0, 0.5, 4.0]),
    "runner_up_betas": np.arange(10) / 10,
}


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_the_alternative_hypothesis_is_kept_in_files(result, tmp_path, suffix):
    with_other = dataclasses.replace(result, **ALTERNATIVE)
    loaded = FitResult.load(with_other.save(tmp_path / f"x{suffix}"))
    parameters = loaded.runner_up_parameters()
    for name, value in ALTERNATIVE.items():
        np.testing.assert_array_equal(parameters[name.removeprefix("runner_up_")], value[None], err_msg=name)
    np.testing.assert_array_equal(parameters["left_hand_pose"], result.left_hand_pose[None])


def test_files_without_an_alternative_hypothesis_still_load(result, tmp_path):
    path = result.save(tmp_path / "new.npz")
    with np.load(path) as content:
        older = {name: content[name] for name in content.files if name not in ALTERNATIVE}
    np.savez(tmp_path / "old.npz", **older)
    loaded = FitResult.load(tmp_path / "old.npz")
    assert not loaded.has_runner_up
    with pytest.raises(ResultError, match=r"person 003 of images/überall\.jpg: no alternative"):
        loaded.runner_up_parameters()


def test_half_of_an_alternative_hypothesis_is_refused(result):
    with pytest.raises(ResultError, match="needs all of runner_up_global_orient"):
        dataclasses.replace(result, runner_up_transl=np.zeros(3))


def test_npz_is_readable_by_anyone_without_pickle(result, tmp_path):
    with np.load(result.save(tmp_path / "x.npz"), allow_pickle=False) as content:
        assert content["left_hand_pose"].shape == (45,) and str(content["status"]) == "converged"
        assert {str(name) for name in content["landmark_names"]} == set(LANDMARK_NAMES)


def test_json_is_strict(result, tmp_path):
    content = json.loads(result.save(tmp_path / "x.json").read_text(), parse_constant=pytest.fail)
    assert content["landmarks"][100] == [None, None, None] and content["runner_up_cost"] is None


def test_saved_parameters_give_the_saved_mesh_through_smplx(result, standin_smplx_path, tmp_path):
    body = load_body_model(standin_smplx_path)
    posed = pose_body(body, **{name: torch.from_numpy(value) for name, value in result.parameters().items()})
    mesh = save_mesh(tmp_path / "x.obj", posed.vertices[0].numpy(), body.faces)
    saved = FitResult.load(result.save(tmp_path / "x.npz"))

    model = smplx.create(str(standin_smplx_path), model_type="smplx", use_pca=False, flat_hand_mean=True)
    parameters = {name: torch.tensor(value, dtype=torch.float32) for name, value in saved.parameters().items()}
    with torch.no_grad():
        vertices = model(**parameters).vertices[0].numpy()
    loaded, faces = load_mesh(mesh)
    np.testing.assert_allclose(loaded, vertices, atol=1e-5)
    np.testing.assert_array_equal(faces, model.faces.astype(int))


def test_pickle_has_smplifyx_keys_and_gives_the_same_body(result, tmp_path):
    file = PickledArrays(result.save(tmp_path / "x.pkl"))
    content = {key: file.read(key) for key in file.keys}
    assert set(content) == {
        "camera_rotation", "camera_translation", "betas", "global_orient", "left_hand_pose", "right_hand_pose",
        "jaw_pose", "leye_pose", "reye_pose", "expression", "body_pose",
    }  # fmt: skip
    assert all(len(value) == 1 for value in content.values())
    np.testing.assert_allclose(content["camera_translation"][0], result.transl, rtol=1e-6)
    np.testing.assert_array_equal(content["camera_rotation"][0], np.eye(3))


def test_wrong_shapes_and_words_are_refused(result):
    with pytest.raises(ResultError, match=r"body_pose has shape \(32,\), expected \(63,\)"):
        dataclasses.replace(result, body_pose=np.zeros(32))
    with pytest.raises(ResultError, match="max_iterations, interpolated, implausible, failed, got 'done'"):
        dataclasses.replace(result, status="done")


def test_files_that_are_no_results_are_refused(result, tmp_path):
    np.savez(tmp_path / "other.npz", poses=np.zeros(3))
    with pytest.raises(ResultError, match=r"other\.npz: not a complete result, it has no global_orient, body_pose"):
        FitResult.load(tmp_path / "other.npz")
    newer = dataclasses.replace(result, conventions_version=99).save(tmp_path / "newer.npz")
    with pytest.raises(ResultError, match="conventions 99, this one knows 1"):
        FitResult.load(newer)
    cut = result.save(tmp_path / "cut.json")
    cut.write_text(cut.read_text()[:500])
    with pytest.raises(ResultError, match=r"cut\.json: no readable JSON"):
        FitResult.load(cut)
    with pytest.raises(ResultError, match=r"in \.npz or \.json, found '\.pkl'"):
        FitResult.load(result.save(tmp_path / "x.pkl"))
    with pytest.raises(ResultError, match=r"ends in \.npz, \.json or \.pkl, not '\.txt'"):
        result.save(tmp_path / "x.txt")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("conventions_version", np.nan, "conventions_version is nan"),
        ("conventions_version", np.array("one"), "conventions_version is 'one'"),
        ("image_size", np.array([0, 100]), "image_size"),
        ("image_size", np.array([10**12, 100]), "image_size"),
        ("image_size", np.array([np.inf, 100]), "image_size"),
        ("image_size", np.array(["a", "b"]), "image_size"),
        ("focal_px", np.array(0.0), "focal length"),
        ("focal_px", np.array([1.0, 2.0]), "focal_px"),
        ("focal_px", np.array(1j), "focal_px"),
        ("person_id", np.array("x" * 20_000), "person_id"),
        ("body_pose", np.full(63, np.nan), "not finite"),
        ("body_pose", np.full(63, "a"), "could not convert"),
        ("betas", np.zeros(10**7), "would take"),
        ("status", np.array(3), "status must be one of"),
        ("landmark_names", np.array(["nose"]), "landmark_names"),
    ],
)
def test_files_with_impossible_values_are_refused(result, tmp_path, name, value, message):
    path = result.save(tmp_path / "x.npz")
    with np.load(path) as content:
        np.savez(path, **{**content, name: value})
    with pytest.raises(ResultError, match=rf"x\.npz: .*{message}"):
        FitResult.load(path)


CHANGES = [{"image_size": [1e400, 5]}, {"image_size": 5}, {"landmarks": {"a": 1}}, {"cost": []}]


@pytest.mark.parametrize("change", CHANGES)
def test_json_with_impossible_values_is_refused(result, tmp_path, change):
    path = result.save(tmp_path / "x.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ResultError, match=r"x\.json: "):
        FitResult.load(path)
