"""Properties that hold for anything at all: what readers give back is sound, or they raise their one error."""

import dataclasses
import io
import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile, confined, parse_json, result_name
from bodyfit.data.inert_pickle import PickleError, read_inert
from bodyfit.data.keypoints.detections import read_keypoints
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.data.motion.bvh import read_bvh
from bodyfit.data.photo.camera import parse_focal
from bodyfit.data.photo.intrinsics import read_camera
from bodyfit.data.photo.photo import read_photo
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.run.config_files import read_config
from bodyfit.fitting.run.ranges import check_ranges
from bodyfit.fitting.show.results_folder import open_results_folder
from bodyfit.fitting.solve.plausible import why_implausible
from bodyfit.prior.model.restricted_load import stored_tensors

SAMPLES = Path(__file__).parents[1] / "data" / "assets" / "samples"
anything = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([1e308, -1e308, 10**400, 2**63, math.inf, math.nan, 0, -0.0, 1e-320])
)
texts = st.one_of(
    st.text(max_size=8), st.sampled_from(["\ud800", "a\0b", "../../x", "<script>", "K", "people", "/etc/passwd"])
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4))
)


def _sound(name: str) -> dict | list:
    if name == "openpose":
        document = json.loads((SAMPLES / "keypoints" / "portrait_keypoints.json").read_text())
        return {"people": [{"pose_keypoints_2d": document["people"][0]["pose_keypoints_2d"][:75]}]}
    if name == "coco":
        return [{"image_id": 1, "category_id": 1, "keypoints": [1.0] * 51, "score": 0.5}]
    if name == "camera":
        return {"K": [[800, 0, 320], [0, 800, 240], [0, 0, 1]], "width": 640, "height": 480, "dist": [0.0] * 5}
    if name == "config":
        return {"fit": {"start": {"yaws": 4}, "energy": {"face": 0.3}}, "output": {"people": "all"}, "batch": 5}
    return {"people": [{"image": "a", "person": "000", "status": "converged", "cost": 1.0}], "counts": {}}


@st.composite
def changed(draw, name: str):
    """A sound document with values at some of its places exchanged for anything."""
    document = _sound(name)
    for _ in range(draw(st.integers(1, 3))):
        parent, key = None, None
        here = document
        while isinstance(here, dict | list) and here:
            parent, key = here, draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
            here = here[key]
            if draw(st.booleans()):
                break
        if parent is not None:
            parent[key] = draw(values)
    return document


def _file(folder: Path, document: object, name: str = "x.json") -> Path:
    path = folder / name
    path.write_bytes(json.dumps(document).encode("utf-8", "surrogatepass"))
    return path


@anything
@given(document=values)
def test_what_is_read_from_json_can_be_written_and_computed_with(document):
    read = parse_json(json.dumps(document).encode(), "x")
    json.dumps(read, ensure_ascii=False).encode()

    def check(value):
        if isinstance(value, dict | list):
            for child in value.values() if isinstance(value, dict) else value:
                check(child)
        elif isinstance(value, int):
            np.float64(value)
            assert -(2**63) <= value < 2**63

    check(read)


@anything
@given(content=st.binary(max_size=200))
def test_any_bytes_are_json_or_an_error(content):
    try:
        parse_json(content, "here")
    except BodyfitError as error:
        assert str(error).startswith("here: ") and len(str(error)) < 500


@pytest.mark.parametrize("name", ["openpose", "coco"])
@anything
@given(data=st.data())
def test_keypoints_are_finite_or_an_error(name, data, tmp_path):
    path = _file(tmp_path, data.draw(changed(name)))
    try:
        found = read_keypoints(path, image_size=(640, 480))
    except BodyfitError as error:
        assert str(path) in str(error)
        return
    assert np.isfinite(found.xy).all() and found.xy.shape == (len(found), len(LANDMARK_NAMES), 2)
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    if found.image_size is not None:
        assert all(isinstance(n, int) and n > 0 for n in found.image_size)


@anything
@given(data=st.data())
def test_cameras_are_finite_or_an_error(data, tmp_path):
    try:
        camera = read_camera(_file(tmp_path, data.draw(changed("camera")))).for_size((640, 480))
    except BodyfitError:
        return
    assert 0 < camera.focal_px < math.inf and np.isfinite(camera.center_px).all()


@anything
@given(text=st.one_of(texts, st.from_regex(r"-?[0-9.e+]{1,8}(px|mm|deg|)(/[0-9.]+mm)?", fullmatch=True)))
def test_focal_lengths_are_finite_or_an_error(text):
    try:
        assert 0 < parse_focal(text, (640, 480)) < math.inf
    except BodyfitError as error:
        assert len(str(error)) < 500


@anything
@given(data=st.data())
def test_settings_are_within_their_ranges_or_an_error(data, tmp_path):
    from bodyfit.fitting.run.config_files import as_document

    try:
        config = read_config(_file(tmp_path, data.draw(changed("config"))))
    except BodyfitError:
        return
    check_ranges(as_document(config), "here")


@anything
@given(data=st.data())
def test_summaries_are_listed_or_an_error(data, tmp_path):
    _file(tmp_path, data.draw(changed("summary")), "summary.json")
    try:
        results = open_results_folder(tmp_path)
    except BodyfitError:
        return
    for person in (*results.sorted(), *results.sorted("error, high to low")):
        assert isinstance(person.name, str) and isinstance(person.status, str)
        for path in (person.result_path, person.mesh_path, person.overlay_path):
            assert path is None or path.is_file()
        person.figures(None)
    results.statuses(), results.by_photo()


@anything
@given(content=st.binary(max_size=300))
def test_any_bytes_are_inert_as_a_pickle(content):
    try:
        read_inert(io.BytesIO(b"\x80\x04" + content))
    except PickleError as error:
        assert len(str(error)) < 500


@anything
@given(data=st.data())
def test_damaged_pickles_arrays_and_checkpoints_are_one_error(data, tmp_path):
    kind = data.draw(st.sampled_from(["npz", "pickle", "checkpoint"]))
    file = io.BytesIO()
    if kind == "npz":
        np.savez(file, a=np.arange(5.0), b=np.array("text"))
    elif kind == "pickle":
        pickle.dump({"a": np.arange(5.0)}, file)
    else:
        import torch

        torch.save({"state_dict": {"a": torch.arange(5.0)}}, file)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "x.npz"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        if kind == "npz":
            with ArrayFile(path) as arrays:
                for key in arrays.keys:
                    arrays.read(key)
        elif kind == "pickle":
            read_inert(io.BytesIO(path.read_bytes()))
        else:
            for tensor in stored_tensors(path).values():
                tensor.read()
    except (BodyfitError, PickleError) as error:
        assert len(str(error)) < 1000
    except ValueError as error:
        assert (kind == "checkpoint" and "bytes" in str(error)) or "CRC" in str(error)


@anything
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".jpg", ".bvh"]))
def test_any_bytes_are_no_photo_and_no_motion(content, suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(BodyfitError, match=f"x{suffix}"):
        (read_photo if suffix == ".jpg" else read_bvh)(path)


@anything
@given(name=st.one_of(st.text(), texts, st.from_regex(r"([A-Z]:)?[./\\a]{0,12}", fullmatch=True)))
def test_names_stay_below_their_folder(name, tmp_path):
    try:
        path = confined(tmp_path, result_name(name))
    except BodyfitError:
        return
    assert os.path.normpath(path).startswith(f"{tmp_path}{os.sep}")


def _any_result(draw) -> FitResult:
    shapes = {"global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3}
    shapes |= {"leye_pose": 3, "reye_pose": 3, "betas": 10, "expression": 10, "transl": 3, "latent": 32, "center_px": 2}
    points = np.array(draw(st.lists(st.floats(), min_size=144 * 2, max_size=144 * 2))).reshape(144, 2)
    return FitResult(
        **{name: np.zeros(size) for name, size in shapes.items()},
        focal_px=draw(st.floats(1e-3, 1e12)), focal_source="x", image_size=(640, 480),
        landmarks=np.full((144, 3), draw(st.floats())), landmarks_px=points,
        keypoints_px=np.roll(np.nan_to_num(points), draw(st.integers(0, 5)), axis=0),
        keypoint_confidence=np.full(144, draw(st.floats(0, 1))),
        status="converged", body_model="x", body_gender="neutral", prior="x",
    )  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_solution_is_judged(data):
    with np.errstate(all="ignore"):
        reason = why_implausible(_any_result(data.draw))
    assert reason is None or len(reason) > 20


@anything
@given(data=st.data())
def test_results_are_sound_or_an_error(data, tmp_path):
    fields = [field.name for field in dataclasses.fields(FitResult)]
    document = {
        name: data.draw(values) for name in data.draw(st.lists(st.sampled_from(fields), unique=True, max_size=5))
    }
    with pytest.raises(BodyfitError, match=r"x\.json"):
        FitResult.load(_file(tmp_path, document))
