"""Results folders: read lazily, sorted, searched, and forgiving where files are missing."""

import json
import shutil

import numpy as np
import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.meshes import load_mesh, save_mesh
from bodyfit.fitting.show.results_folder import open_results_folder


def row(image, person="000", **more):
    return {"image": image, "person": person, "status": "converged", **more}


def test_folder_of_ten_thousand_opens_without_touching_a_file_of_a_person(with_rows, monkeypatch):
    folder = with_rows([row(f"photo{i}", error_share=0.01) for i in range(10_000)])
    monkeypatch.setattr("bodyfit.fitting.show.results_folder.load_mesh", None)
    monkeypatch.setattr("bodyfit.fitting.show.results_folder.FitResult", None)
    results = open_results_folder(folder)
    assert len(results.people) == len(results.by_photo()) == 10_000


def test_failures_come_first_then_the_largest_errors(with_rows):
    rows = [
        row("good", error_share=0.01),
        row("bad", error_share=0.09),
        row("failed", status="failed"),
        row("stopped", status="max_iterations", error_share=0.05),
    ]
    results = open_results_folder(with_rows(rows))
    assert [p.image for p in results.sorted()] == ["failed", "stopped", "bad", "good"]
    assert [p.image for p in results.sorted("error, low to high")] == ["good", "stopped", "bad", "failed"]
    assert [p.image for p in results.sorted("photo")] == ["good", "bad", "failed", "stopped"]


def test_numbers_that_are_no_numbers_are_none(with_rows):
    person = open_results_folder(
        with_rows([row("a", error_px=float("nan"), cost=None, error_share="0.1", seconds=1)])
    ).people[0]
    assert (person.error_px, person.cost, person.error_share, person.seconds) == (None, None, None, 1.0)


def test_mesh_and_parameters_tell_of_the_same_body(results_folder):
    person = open_results_folder(results_folder).find("beach", "001")[0]
    vertices, _ = person.mesh()
    landmarks = person.result().landmarks
    assert np.linalg.norm(vertices - landmarks[15], axis=1).min() < 0.2  # the head joint lies inside the head
    assert vertices[:, 2].mean() == pytest.approx(3.5, abs=0.1)


def test_mesh_is_posed_anew_where_none_was_written(results_folder, tmp_path):
    folder = shutil.copytree(results_folder, tmp_path / "out")
    before = open_results_folder(folder).people[0].mesh()
    shutil.rmtree(folder / "meshes")
    after = open_results_folder(folder).people[0].mesh()
    np.testing.assert_allclose(after[0], before[0], atol=1e-5)
    np.testing.assert_array_equal(after[1], before[1])


def test_mesh_is_what_other_programs_read_from_the_file(results_folder):
    person = open_results_folder(results_folder).people[0]
    for ours, theirs in zip(person.mesh(), load_mesh(person.mesh_path), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n",
        "v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 1 1 0 1 0 0\nf 1 2 3\n",
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nvn 0 0 1\nf 1//1 2//1 3//1\n",
    ],
)
def test_obj_of_other_writers_is_read_too(results_folder, tmp_path, text):
    folder = shutil.copytree(results_folder, tmp_path / "out")
    person = open_results_folder(folder).people[0]
    person.mesh_path.write_text(text)
    vertices, faces = person.mesh()
    assert (vertices.max(), faces.max()) in ((1, 2), (1, 3))


@pytest.mark.parametrize("frame", ["opengl", "blender"])
def test_meshes_of_other_frames_come_back_to_the_cameras(results_folder, tmp_path, frame):
    folder = shutil.copytree(results_folder, tmp_path / "out")
    person = open_results_folder(folder).people[0]
    vertices, faces = person.mesh()
    save_mesh(person.mesh_path, vertices, faces, frame=frame)
    (folder / "config.json").write_text(json.dumps({"output": {"frame": frame}}))
    np.testing.assert_allclose(open_results_folder(folder).people[0].mesh()[0], vertices, atol=1e-5)


def test_broken_result_file_is_named_and_the_person_kept(results_folder, tmp_path, caplog):
    folder = shutil.copytree(results_folder, tmp_path / "out")
    person = open_results_folder(folder).people[0]
    person.result_path.write_bytes(b"no npz")
    assert person.result() is None
    assert "000.npz" in caplog.text


def test_figures_tell_stature_and_focal_length(results_folder):
    person = open_results_folder(results_folder).people[0]
    result = person.result()
    figures = person.figures(result, person.body_of(result))
    assert figures["focal length"] == "300 px (image diagonal)"
    assert 1.5 < float(figures["height"].split()[0]) < 1.9


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no summary.json"), ("{", "not JSON"), ("[]", "list `people`"), ('{"people": [{}]}', "name their `image`")],
)
def test_what_is_no_results_folder_is_refused_with_its_name(tmp_path, content, message):
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(BodyfitError, match=message) as caught:
        open_results_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_looking_for_nobody_names_who_there_is(results_folder):
    with pytest.raises(BodyfitError, match=r"no forest · 007 here\. It holds beach · 000"):
        open_results_folder(results_folder).find("forest", "007")
