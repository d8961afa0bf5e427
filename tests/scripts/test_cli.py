"""The command line as a shell sees it: exit codes, one line for an error, JSON alone on stdout."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from bodyfit.data.results.result import FitResult
from bodyfit.scripts.cli import COMMANDS, main

SAMPLES = Path(__file__).parents[2] / "data" / "assets" / "samples"


def bodyfit(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "bodyfit.scripts.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def portrait(tmp_path) -> Path:
    shutil.copy(SAMPLES / "images" / "portrait.jpg", tmp_path)
    shutil.copy(SAMPLES / "keypoints" / "portrait_keypoints.json", tmp_path)
    return tmp_path / "portrait.jpg"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*name.split(), "--help"])
    assert exit_.value.code == 0
    assert "--help" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(f"bodyfit {name}" in out for name in COMMANDS)


def test_json_is_all_that_stands_on_stdout(portrait, tmp_path):
    done = bodyfit("fit", str(portrait), "-o", str(tmp_path / "out"), "--no-overlays", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["people"]) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fit", "/nowhere/photo.jpg", "-o", "OUT"], "/nowhere/photo.jpg"),
        (["fit", "PHOTO", "-o", "OUT", "--body", "/nowhere/SMPLX.npz"], "/nowhere/SMPLX.npz"),
        (["fit", "PHOTO", "-o", "OUT", "--focal", "wide"], "wide"),
        (["fit", "PHOTO", "-o", "PHOTO/out"], "portrait.jpg/out"),
        (["prior", "dance"], "prior dance"),
    ],
    ids=["no input", "no body", "bad focal", "unwritable output", "no such command"],
)
def test_a_users_mistake_is_one_clear_line(portrait, tmp_path, arguments, expected):
    words = [a.replace("PHOTO", str(portrait)).replace("OUT", str(tmp_path / "out")) for a in arguments]
    done = bodyfit(*words)
    assert done.returncode != 0 and expected in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fitt"], "Did you mean 'bodyfit fit'?"),
        (["prior-train"], "Did you mean 'bodyfit prior train'?"),
        (["PHOTO"], "bodyfit fit PHOTO -o OUT"),
        (["--photos"], "there is no command '--photos'"),
    ],
)
def test_who_names_no_command_is_told_which_was_meant(portrait, here, words, expected):
    done = here(*(word.replace("PHOTO", str(portrait)) for word in words))
    assert done.code == 2 and expected.replace("PHOTO", str(portrait)) in done.err


def test_the_version_can_be_asked_for(here):
    assert here("--version").out == f"bodyfit {importlib.metadata.version('bodyfit')}\n"


def test_help_is_wrapped_at_the_terminals_width_alone(here, monkeypatch):
    """A line that ends early where the source line ended, in the middle of a sentence, cannot be read."""
    monkeypatch.setenv("COLUMNS", "400")
    assert "or the age in years: a child by growth charts, from 45 years on" in here("fit", "--help").out


@pytest.mark.parametrize("empty", [["-o", ""], ["--out="]])
def test_an_empty_argument_is_refused_rather_than_taken_for_this_folder(portrait, here, empty):
    done = here("fit", str(portrait), *empty)
    assert done.code == 2 and "an argument is empty" in done.err


def test_results_do_not_go_into_the_folder_of_the_photos(portrait, here):
    folder = portrait.parent
    before = sorted(folder.iterdir())
    done = here("fit", str(folder), "-o", str(folder))
    assert done.code == 2 and f"Choose another output folder, such as {folder / 'fitted'}" in done.err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("part", ["images", "keypoints"])
def test_results_do_not_go_into_the_folders_that_are_searched(tmp_path, here, part):
    """photos/images holds the photos of `bodyfit fit photos`: overlays in it would be photos of the next run."""
    (tmp_path / part).mkdir()
    done = here("fit", str(tmp_path), "-o", str(tmp_path / part))
    assert done.code == 2 and "Choose another output folder" in done.err
    assert list((tmp_path / part).iterdir()) == []


def test_an_opacity_above_one_is_refused(tmp_path, here):
    done = here("render", str(tmp_path), "--opacity", "3")
    assert done.code == 2 and "--opacity 3: expected 0 to 1" in done.err


NO_DETECTOR = ("--detector", "none")


@pytest.fixture
def here(capsys, caplog) -> Callable[..., SimpleNamespace]:
    """The command line without a process of its own: exit code, stdout, and what is logged or printed as an error."""

    def run(*words: str) -> SimpleNamespace:
        caplog.clear()
        with pytest.raises(SystemExit) as exit_:
            main(words)
        captured = capsys.readouterr()
        return SimpleNamespace(code=exit_.value.code, out=captured.out, err=captured.err + caplog.text)

    return run


def test_without_a_detector_a_photo_alone_is_left_out_and_the_rest_fitted(portrait, tmp_path, here):
    shutil.copy(portrait, tmp_path / "stray.jpg")
    done = here(
        "fit", str(tmp_path), "-o", str(tmp_path / "out"), "--no-overlays", "--no-meshes", "--json", *NO_DETECTOR
    )
    assert done.code == 0
    assert [row["image"] for row in json.loads(done.out)["people"]] == ["portrait"]
    assert done.err.count("stray.jpg") == 1


def test_keypoints_of_photos_may_lie_elsewhere(portrait, tmp_path, here):
    """Found by name; other people's are counted; photos without are left out; a second run does nothing again."""
    photos, points, out = tmp_path / "photos", tmp_path / "json", tmp_path / "out"
    photos.mkdir()
    points.mkdir()
    for name in ("a", "b"):
        shutil.copy(portrait, photos / f"{name}.jpg")
    for name in ("a", "x", "y"):
        shutil.copy(portrait.with_name("portrait_keypoints.json"), points / f"{name}_keypoints.json")
    command = ("fit", photos, "-o", out, "--keypoints", points, "--detector", "none", "--no-meshes", "--no-overlays")
    command += ("--image-size", 64, 48)
    done = here(*map(str, command))
    assert done.code == 0, done.err
    assert "x_keypoints.json and 1 more: keypoints of none of these photos, left out" in done.err
    assert f"b.jpg: no keypoint file in {points}, left out" in done.err
    assert "a.jpg: --image-size is for keypoints without a photo" in done.err
    [result] = (out / "results").rglob("*.npz")
    written = result.stat().st_mtime_ns
    assert result.parent.name == "a" and here(*map(str, command)).code == 0
    assert result.stat().st_mtime_ns == written
    (points / "a_keypoints.json").unlink()
    done = here(*map(str, command))
    assert done.code == 2 and "2 keypoint files, none for any of 2 photos" in done.err


def test_photos_alone_are_told_what_they_lack(portrait, tmp_path, here):
    (tmp_path / "portrait_keypoints.json").unlink()
    done = here("fit", str(tmp_path), "-o", str(tmp_path / "out"), *NO_DETECTOR)
    assert done.code == 2
    assert "no keypoint file for any of 1 photo." in done.err and not (tmp_path / "out").exists()


def test_a_photo_is_enough(portrait, tmp_path, here):
    """Photos without keypoint files are fitted from what the detector finds, and both the log and the rows say so."""
    shutil.copy(portrait, tmp_path / "stray.jpg")
    done = here("fit", str(tmp_path), "-o", str(tmp_path / "out"), "--no-overlays", "--no-meshes", "--json")
    rows = {row["image"]: row for row in json.loads(done.out)["people"]}
    assert done.code == 0 and "keypoints of 1 photo without a keypoint file: found by movenet+mediapipe" in done.err
    assert rows["stray"]["keypoint_source"] == "detected by movenet+mediapipe"
    assert rows["portrait"]["keypoint_source"].startswith("keypoint file, openpose_body25")
    assert all(row["status"] == "converged" for row in rows.values())
    stored = FitResult.load(next((tmp_path / "out" / "results" / "stray").glob("*.npz")))
    assert stored.keypoint_source == "detected by movenet+mediapipe"


def test_keypoints_that_detect_writes_fit_as_those_of_the_photo_alone(portrait, tmp_path, here):
    photos, alone, both = tmp_path / "photos", tmp_path / "alone", tmp_path / "photos_and_files"
    for folder in (photos, both / "images"):
        folder.mkdir(parents=True)
        shutil.copy(portrait, folder / "portrait.jpg")
    assert here("fit", str(photos), "-o", str(alone), "--no-overlays", "--no-meshes").code == 0
    done = here("detect", str(both / "images"), "-o", str(both / "keypoints"), "--json")
    assert done.code == 0 and [row["people"] for row in json.loads(done.out)["photos"]] == [1]
    assert here("fit", str(both), "-o", str(tmp_path / "out"), "--no-overlays", "--no-meshes").code == 0
    first, second = fitted(alone), fitted(tmp_path / "out")
    assert second.keypoint_source.startswith("keypoint file")
    sure = first.keypoint_confidence > 0.7
    np.testing.assert_allclose(first.keypoints_px[sure], second.keypoints_px[sure], atol=1.0)
    assert np.median(np.linalg.norm(first.landmarks_px - second.landmarks_px, axis=1)) < 3.0
    again = here("detect", str(both / "images"), "-o", str(both / "keypoints"))
    assert again.code == 0 and "with a keypoint file already (--overwrite): 1 of 1 photo" in again.err


def test_detect_says_of_each_photo_what_is_wrong_with_it(portrait, tmp_path, here):
    (tmp_path / "text.jpg").write_text("no photo")
    Image.new("RGB", (8, 8)).save(tmp_path / "tiny.png")
    Image.new("RGB", (320, 240)).save(tmp_path / "nobody.png")
    done = here("detect", str(tmp_path), "-o", str(tmp_path / "keypoints"))
    assert done.code == 1 and "Traceback" not in done.err
    for name, words in (("text.jpg", "not an image"), ("tiny.png", "8 x 8"), ("nobody.png", "no people found")):
        [line] = [line for line in done.err.splitlines() if name in line]
        assert words in line
    files = sorted(path.name for path in (tmp_path / "keypoints").iterdir())
    assert files == ["nobody_keypoints.json", "portrait_keypoints.json"]


def test_config_repeats_a_run_and_options_come_before_it(portrait, tmp_path, here):
    """Body, gender, device, camera, people and outputs come from the file; what is said on the command line wins."""
    words = [
        "fit",
        str(portrait),
        "--focal",
        "40mm",
        "--people",
        "main",
        "--no-overlays",
        "--no-meshes",
        "--device",
        "cpu",
    ]
    body = SAMPLES.parent / "body" / "smplx_open_female.npz"
    words += ["--body", str(body), "--refine-focal"]
    outs = [tmp_path / name for name in ("first", "again", "other")]
    assert here(*words, "-o", str(outs[0])).code == 0
    config = str(outs[0] / "config.json")
    assert here("fit", str(portrait), "-o", str(outs[1]), "--config", config).code == 0
    other = here("fit", str(portrait), "-o", str(outs[2]), f"--config={config}", "--meshes", "--focal", "900px")
    assert other.code == 0, other.err
    first, again, changed = (json.loads((out / "config.json").read_text()) for out in outs)
    assert first == again and first["body"] == str(body) and first["output"]["people"] == "main"
    assert changed["camera"]["focal"] == "900px" and changed["output"] == {**first["output"], "meshes": True}
    results = [json.loads((out / "summary.json").read_text())["people"][0] for out in outs[:2]]
    assert all(row.pop("seconds") for row in results) and results[0] == results[1]
    assert (outs[2] / "meshes").is_dir() and not (outs[1] / "meshes").exists() and not (outs[2] / "images").exists()


def test_a_mistake_in_a_config_file_names_file_and_key(portrait, tmp_path, here):
    (tmp_path / "mine.json").write_text('{"fit": {"energy": {"hnads": 1}}}')
    done = here("fit", str(portrait), "-o", str(tmp_path / "out"), "--config", str(tmp_path / "mine.json"))
    assert done.code == 2 and "mine.json" in done.err and "hnads" in done.err


def fitted(out: Path) -> FitResult:
    return FitResult.load(next((out / "results").rglob("*.npz")))


def test_a_camera_file_reaches_the_fit(here, portrait, tmp_path):
    """Twice the focal length puts the person at nearly twice the distance; the result says where it comes from."""
    outs = {}
    for focal in (600.0, 1200.0):
        (tmp_path / "camera.json").write_text(json.dumps({"focal": focal, "center": [200.0, 250.0]}))
        outs[focal] = tmp_path / f"out{focal:.0f}"
        words = ("--camera", str(tmp_path / "camera.json"), "--no-overlays", "--no-meshes")
        assert here("fit", str(portrait), "-o", str(outs[focal]), *words).code == 0
    near, far = (fitted(out) for out in outs.values())
    assert (near.focal_px, far.focal_px) == (600.0, 1200.0) and "camera.json" in near.focal_source
    assert near.center_px.tolist() == [200.0, 250.0]
    assert far.transl[2] == pytest.approx(2 * near.transl[2], rel=0.15)


def test_a_previous_run_is_where_a_fit_starts(here, tmp_path):
    """From its own result a fit ends there in fewer steps than from hypotheses, or from a start that faces away."""
    plain, photo = ("--no-overlays", "--no-meshes"), tmp_path / "balance_back.jpg"
    for file in (SAMPLES / "images" / photo.name, SAMPLES / "keypoints" / "balance_back_keypoints.json"):
        shutil.copy(file, tmp_path)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert here("fit", str(photo), "-o", str(first), *plain).code == 0
    assert here("fit", str(photo), "-o", str(second), *plain, "--init", str(first)).code == 0
    result = fitted(first)
    assert fitted(second).iterations < result.iterations
    assert fitted(second).cost < 1.01 * result.cost
    behind = Rotation.from_rotvec(result.global_orient) * Rotation.from_rotvec([0, np.pi, 0])
    arrays = {name: value for name, value in result.parameters().items() if name != "transl"}
    np.savez(tmp_path / "behind.npz", **arrays | {"global_orient": behind.as_rotvec()[None]})
    assert here("fit", str(photo), "-o", str(third), *plain, "--init", str(tmp_path / "behind.npz")).code == 0
    assert fitted(third).iterations > fitted(second).iterations
