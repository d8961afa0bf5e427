"""Results folders: read lazily, sorted, searched, and forgiving where files are missing."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.meshes import load_mesh, save_mesh
from bodyfit.fitting.show.portraits import photo_of
from bodyfit.fitting.show.report import write_report
from bodyfit.fitting.show.results_folder import open_results_folder
from bodyfit.scripts.render import RenderCommand
from bodyfit.scripts.result_bodies import results_in


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
    [
        (None, "no summary.json"),
        ("{", "no readable JSON"),
        ("[]", "list `people`"),
        ('{"people": [{}]}', "name their `image`"),
    ],
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


SECRET = "secret"


@pytest.fixture
def hostile(results_folder, tmp_path):
    """Writes OUT whose first row was tampered with; files that the row could reach lie beside OUT, named secret.*."""
    out = shutil.copytree(results_folder, tmp_path / "out")
    first = json.loads((out / "summary.json").read_text())["people"][0]
    for key, suffix in (("result", ".npz"), ("mesh", ".obj"), ("overlay", ".png")):
        shutil.copy(out / first[key], tmp_path / f"{SECRET}{suffix}")

    def write(**changed):
        summary = json.loads((out / "summary.json").read_text())
        summary["people"][0] |= changed
        (out / "summary.json").write_text(json.dumps(summary))
        return out

    return write


OUTSIDE = ["../{}", "{out}/../{}", "results/../../{}", "..\\{}", "\0{}", "x" * 300 + "{}"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_path_in_a_summary_leads_out_of_the_folder(hostile, tmp_path, name):
    def named(suffix):
        return name.format(f"{SECRET}{suffix}", out=tmp_path / "out")

    out = hostile(result=named(".npz"), mesh=named(".obj"), overlay=named(".png"))
    person = open_results_folder(out).people[0]
    assert (person.result_path, person.mesh_path, person.overlay_path) == (None, None, None)
    assert person.result() is None and person.mesh() is None


@pytest.mark.parametrize("image", ["../secret/..", "/etc/passwd", "a\0b", "x" * 300, "\ud800"])
def test_no_name_of_a_photo_leads_out_of_the_folder(with_rows, image):
    person = open_results_folder(with_rows([row(image, person="../000")])).people[0]
    assert (person.result_path, person.mesh_path, person.overlay_path, person.photo_path) == (None,) * 4


def test_links_out_of_the_folder_are_not_followed(hostile, tmp_path):
    out = hostile()
    person = open_results_folder(out).people[0]
    for path, suffix in ((person.result_path, ".npz"), (person.mesh_path, ".obj"), (person.overlay_path, ".png")):
        path.unlink()
        path.symlink_to(tmp_path / f"{SECRET}{suffix}")
    assert (person.result_path, person.mesh_path, person.overlay_path) == (None, None, None)
    with pytest.raises(BodyfitError, match="no results in it"):
        shutil.rmtree(out / "results" / "street")
        (out / "results" / "beach" / "001.npz").unlink()
        results_in(out)


def test_a_results_folder_may_itself_be_a_link(results_folder, tmp_path):
    (tmp_path / "link").symlink_to(results_folder)
    person = open_results_folder(tmp_path / "link").people[0]
    assert person.result() is not None and person.mesh_path is not None
    assert len(results_in(tmp_path / "link")) == 3


@pytest.mark.parametrize("value", [5, ["a.npz"], {"a": 1}, True])
def test_paths_that_are_no_words_are_no_files(hostile, value):
    person = open_results_folder(hostile(result=value, mesh=value, overlay=value, photo=value)).people[0]
    assert (person.result_path, person.mesh_path, person.overlay_path, person.photo_path) == (None,) * 4


def test_a_photo_is_a_photo_by_its_name_and_by_what_is_in_it(hostile, tmp_path, caplog, monkeypatch):
    """A summary can name any file as the photo: none but photos are opened, and no other program is started."""
    monkeypatch.setattr("subprocess.check_call", None)  # by this, Pillow would start Ghostscript
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)
    (tmp_path / "passwords").write_text("root:x:0:0")
    assert open_results_folder(hostile(photo=str(tmp_path / "passwords"))).people[0].photo_path is None
    disguised = tmp_path / "disguised.jpg"
    disguised.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 320 240\n%%EndComments\nshowpage\n")
    out = hostile(photo=str(disguised), overlay="nothing.png")
    person = open_results_folder(out).people[0]
    assert (photo_of(person, person.result()) == 200).all()  # grey: the photo was not read
    assert "disguised.jpg: not an image that can be read. Expected JPEG, PNG, WebP, BMP or TIFF" in caplog.text
    write_report(open_results_folder(out), tmp_path / "report.html", meshes=False)


def test_a_result_of_an_impossible_camera_is_left_out(results_folder, tmp_path, caplog):
    out = shutil.copytree(results_folder, tmp_path / "out")
    people = open_results_folder(out).people
    for person, changed in zip(people, ({"image_size": (10**6, 10**6)}, {"focal_px": 0.0}), strict=False):
        replace(person.result(), **changed).save(person.result_path)
        assert person.result() is None
    assert "1000000 x 1000000 pixels" in caplog.text
    write_report(open_results_folder(out), tmp_path / "report.html", meshes=False)


def test_pictures_are_written_into_their_folder_alone(hostile, tmp_path, caplog):
    out = hostile(image="../beach")
    command = RenderCommand(out, tmp_path / "deep" / "pictures", style="views", size_px=32, backend="software")
    assert command.run() == 1  # a picture is missing; the other people are drawn
    assert "'../beach_000.png' cannot be the name of a file" in caplog.text
    assert not list((tmp_path / "deep").glob("*.png")) and len(list((tmp_path / "deep" / "pictures").iterdir())) == 2


def test_a_mesh_file_names_no_other_files(tmp_path):
    """Materials and textures of an .obj could be any file."""
    (tmp_path / "texture.mtl").write_text("newmtl a\nmap_Kd disguised.png\n")
    (tmp_path / "disguised.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    text = "mtllib texture.mtl\nusemtl a\nv 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nf 1/1 2/1 3/1\n"
    (tmp_path / "body.obj").write_text(text)
    opened = []
    sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
    vertices, _ = load_mesh(tmp_path / "body.obj")
    assert len(vertices) == 3 and not [name for name in opened if "texture" in name or "disguised" in name]
    with pytest.raises(BodyfitError, match=r"a mesh file ends in \.obj, \.ply, \.glb, not '\.dae'"):
        load_mesh(tmp_path / "body.dae")
