"""Folders in, folders out: what is written, what one bad file does (nothing to the others), and going on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.data.results.meshes import load_mesh
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.run.folder_run import FolderRun, OutputOptions
from bodyfit.fitting.solve.fitter import FitConfig, Fitter
from bodyfit.fitting.solve.frames import CameraOptions
from bodyfit.fitting.solve.hypotheses import StartConfig
from bodyfit.fitting.solve.stages import StageConfig

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"
QUICK = FitConfig(
    start=StartConfig(followed=1, iterations=2, finished=1),
    solver=SolverOptions(max_iterations=3),
    stages=StageConfig(wide_iterations=2, soft_iterations=2, sharp_iterations=2),
)


def run(folder: Path, out: Path, config: FitConfig = QUICK, **output) -> dict:
    fitter = Fitter(config=config)
    output = OutputOptions(**{"overlays": False, **output})
    settings = {"start": config.start.iterations, **vars(output)}
    return FolderRun(out, fitter, CameraOptions(), output, settings).run(find_inputs(folder, exclude=[out]))


@pytest.fixture
def folder(tmp_path) -> Path:
    """One good photo with one person."""
    target = tmp_path / "in"
    target.mkdir()
    shutil.copy(SAMPLES / "images" / "portrait.jpg", target / "good.jpg")
    shutil.copy(SAMPLES / "keypoints" / "portrait_keypoints.json", target / "good_keypoints.json")
    return target


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("samples") / "out"
    run(SAMPLES, out, FitConfig(), overlays=True)
    return out


def people_of(folder: Path) -> dict:
    return json.loads((folder / "good_keypoints.json").read_text())


def reasons(summary: dict) -> dict[str, str]:
    return {row["image"]: row["reason"] for row in summary["people"] if row["status"] == "failed"}


def test_every_promised_file_is_there(sample_run):
    rows = json.loads((sample_run / "summary.json").read_text())["people"]
    assert len(rows) == 6
    for row in rows:
        assert all((sample_run / row[kind]).is_file() for kind in ("result", "mesh", "overlay"))
    assert (sample_run / "config.json").is_file()


def test_results_put_through_smplx_give_the_mesh_files(sample_run):
    """What the .npz says and what the .obj shows is one body: smplx's own forward equals the mesh to 0.01 mm."""
    body = load_body_model()
    options = {"use_pca": False, "flat_hand_mean": True, "num_betas": 10, "num_expression_coeffs": 10}
    model = smplx.create(str(body.path), model_type="smplx", dtype=torch.float64, **options)
    for path in sorted((sample_run / "results").rglob("*.npz")):
        parameters = {k: torch.from_numpy(v) for k, v in FitResult.load(path).parameters().items()}
        vertices = model(**parameters).vertices[0].detach().numpy()
        mesh = sample_run / "meshes" / path.relative_to(sample_run / "results").with_suffix(".obj")
        np.testing.assert_allclose(load_mesh(mesh)[0], vertices, atol=1e-5)


def test_overlays_show_bodies(sample_run):
    """Each overlay differs from its photo over at least 3 % of it: somebody was drawn."""
    from bodyfit.data.photo.photo import read_photo

    for photo in sorted((SAMPLES / "images").glob("*.jpg")):
        before = read_photo(photo).image.astype(int)
        after = read_photo(sample_run / "images" / f"{photo.stem}.png").image.astype(int)
        assert (np.abs(before - after).max(axis=-1) > 20).mean() > 0.03


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"version": 1.3, "people": [{"pose_key', "JSON"),
        ('{"frames": [1, 2, 3]}', "xpected"),
        ("not JSON at all", "JSON"),
    ],
    ids=["truncated", "another program's", "no JSON"],
)
def test_a_broken_keypoint_file_is_one_failed_row(folder, tmp_path, content, expected):
    shutil.copy(folder / "good.jpg", folder / "bad.jpg")
    (folder / "bad_keypoints.json").write_text(content)
    summary = run(folder, tmp_path / "out")
    assert list(reasons(summary)) == ["bad"] and expected in reasons(summary)["bad"]
    assert "bad_keypoints.json" in reasons(summary)["bad"]
    assert (tmp_path / "out/results/good/000.npz").is_file()


def test_an_unreadable_photo_is_one_failed_row(folder, tmp_path):
    (folder / "bad.jpg").write_bytes((folder / "good.jpg").read_bytes()[:900])
    shutil.copy(folder / "good_keypoints.json", folder / "bad_keypoints.json")
    summary = run(folder, tmp_path / "out")
    assert list(reasons(summary)) == ["bad"] and "bad.jpg" in reasons(summary)["bad"]


def test_no_people_is_no_failure(folder, tmp_path):
    (folder / "good_keypoints.json").write_text('{"version": 1.3, "people": []}')
    assert run(folder, tmp_path / "out")["people"] == []


def test_two_keypoints_are_too_few_and_said(folder, tmp_path):
    document = people_of(folder)
    few = json.loads(json.dumps(document["people"][0]))
    few = {key: [0.0] * len(value) for key, value in few.items() if key.endswith("_2d")}
    few["pose_keypoints_2d"][:6] = [100.0, 100.0, 0.9, 120.0, 100.0, 0.9]
    document["people"].append(few)
    (folder / "good_keypoints.json").write_text(json.dumps(document))
    rows = run(folder, tmp_path / "out")["people"]
    assert [row["status"] == "failed" for row in rows] == [False, True]
    assert "2 confident body keypoints" in rows[1]["reason"]


def test_not_a_number_and_negative_confidence_count_as_unseen(folder, tmp_path):
    document = people_of(folder)
    points = document["people"][0]["pose_keypoints_2d"]
    points[3 * 4], points[3 * 7 + 2] = float("nan"), -1.0
    (folder / "good_keypoints.json").write_text(json.dumps(document))
    summary = run(folder, tmp_path / "out")
    result = FitResult.load(tmp_path / "out/results/good/000.npz")
    assert summary["counts"]["failed"] == 0 and np.isfinite(result.keypoints_px).all()


def test_keypoints_without_a_photo_fit(folder, tmp_path):
    (folder / "good.jpg").unlink()
    run(folder, tmp_path / "out", overlays=True)
    assert (tmp_path / "out/images/good.png").is_file()


def test_the_same_command_again_does_only_what_is_missing(folder, tmp_path):
    out = tmp_path / "out"
    shutil.copy(folder / "good.jpg", folder / "more.jpg")
    shutil.copy(folder / "good_keypoints.json", folder / "more_keypoints.json")
    assert run(folder, out)["fitted_now"] == 2
    stamp = (out / "results/good/000.npz").stat().st_mtime_ns
    (out / "meshes/more/000.obj").unlink()
    again = run(folder, out)
    assert again["fitted_now"] == 1 and len(again["people"]) == 2
    assert (out / "results/good/000.npz").stat().st_mtime_ns == stamp


def test_changed_keypoints_and_changed_settings_are_fitted_anew(folder, tmp_path):
    out = tmp_path / "out"
    run(folder, out)
    document = people_of(folder)
    (folder / "good_keypoints.json").write_text(json.dumps(document, indent=1))
    assert run(folder, out)["fitted_now"] == 1
    assert run(folder, out, mesh_format="ply")["fitted_now"] == 1


def test_main_person_is_the_largest_under_their_own_number(folder, tmp_path):
    document = people_of(folder)
    small = json.loads(json.dumps(document["people"][0]))
    small["pose_keypoints_2d"] = [v if i % 3 == 2 else v / 4 for i, v in enumerate(small["pose_keypoints_2d"])]
    document["people"].insert(0, small)
    (folder / "good_keypoints.json").write_text(json.dumps(document))
    rows = run(folder, tmp_path / "out", people="main")["people"]
    assert [row["person"] for row in rows] == ["001"]


def test_an_output_folder_that_cannot_be_made_says_so(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="file"):
        run(folder, tmp_path / "file" / "out")
