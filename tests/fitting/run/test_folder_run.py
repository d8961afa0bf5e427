"""Folders in, folders out: what is written, what one bad file does (nothing to the others), and going on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.data.results.meshes import load_mesh
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.run.config_files import OutputOptions, RunConfig
from bodyfit.fitting.run.folder_run import FolderRun
from bodyfit.fitting.run.worker import result_vertices
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.hypotheses import StartConfig
from bodyfit.fitting.solve.stages import StageConfig
from bodyfit.prior.model.checkpoint import load_prior

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"
QUICK = FitConfig(
    start=StartConfig(followed=1, iterations=2, finished=1),
    solver=SolverOptions(max_iterations=3),
    stages=StageConfig(wide_iterations=2, soft_iterations=2, sharp_iterations=2),
)


def run(folder: Path, out: Path, config: FitConfig = QUICK, **output) -> dict:
    settings = RunConfig(fit=config, output=OutputOptions(**{"overlays": False, **output}))
    inputs = [item for item in find_inputs(folder, exclude=[out]) if item.keypoints]
    summary = FolderRun(out, Fitter(config=config), settings).run(inputs)
    assert json.loads((out / "summary.json").read_text()).items() >= summary.items()
    return json.loads((out / "summary.json").read_text())


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
        after = read_photo(sample_run / "images" / f"{photo.stem}.jpg").image.astype(int)
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


def annotations(folder: Path, names: list[str]) -> None:
    """In place of the keypoint file, a COCO annotation file of the same person in images of these names."""
    body = people_of(folder)["people"][0]["pose_keypoints_2d"]
    coco = [x for i in (0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11) for x in body[3 * i : 3 * i + 3]]
    images = [{"id": n, "file_name": name, "width": 640, "height": 480} for n, name in enumerate(names)]
    people = [{"image_id": n, "keypoints": coco} for n in range(len(names))]
    (folder / "all.json").write_text(json.dumps({"images": images, "annotations": people}))
    (folder / "good_keypoints.json").unlink()
    (folder / "good.jpg").unlink()


@pytest.mark.parametrize("kind", ["rel", "abs", "windows", "inside"])
def test_names_in_a_file_write_nothing_outside_of_out(folder, tmp_path, kind):
    """An annotation file's file_name that points elsewhere still gives results, and all of them lie in OUT."""
    out = tmp_path / "deep" / "er" / "out"
    names = {
        "rel": "../../../X.jpg",
        "abs": f"{tmp_path}/abs/X.jpg",
        "windows": "..\\..\\X.jpg",
        "inside": "a/../../../X.jpg",
    }
    annotations(folder, [names[kind]])
    before = {p for p in tmp_path.rglob("*") if not p.is_relative_to(out)}
    rows = run(folder, out, overlays=True)["people"]
    assert {p for p in tmp_path.rglob("*") if not p.is_relative_to(out)} - {*out.parents} == before
    assert [row["status"] == "failed" for row in rows] == [False]
    assert all((out / rows[0][file]).is_file() for file in ("result", "mesh", "overlay"))


def test_impossible_names_fail_alone_and_long_ones_are_shortened(folder, tmp_path):
    annotations(folder, ["a\0b.jpg", "\ud800.jpg", "x" * 300 + ".jpg", "y" * 300 + "/z.jpg", "fine.jpg", "../fine.jpg"])
    rows = run(folder, tmp_path / "out")["people"]
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(rows) == 6 and [row["image"] for row in failed] == ["a\0b"]  # half a surrogate pair becomes a letter
    assert all("cannot be the name" in row["reason"] for row in failed)
    assert len({row["result"] for row in rows if row["status"] != "failed"}) == 5


def test_a_name_that_is_in_the_way_of_another_fails_alone(folder, tmp_path):
    annotations(folder, ["a.jpg", "a/000.npz/b.jpg", "c.jpg"])
    rows = run(folder, tmp_path / "out")["people"]
    assert [row["status"] == "failed" for row in rows] == [False, True, False]


@pytest.mark.parametrize("overlays", [True, False])
def test_a_photo_is_decoded_once(folder, tmp_path, monkeypatch, overlays):
    from PIL import ImageFile

    decoded, load = [], ImageFile.ImageFile.load
    monkeypatch.setattr(
        ImageFile.ImageFile, "load", lambda self: (decoded.append(1), load(self))[1] if self.tile else load(self)
    )
    run(folder, tmp_path / "out", overlays=overlays)
    assert len(decoded) == 1


def test_meshes_are_posed_only_where_they_are_wanted(folder, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("posed")

    monkeypatch.setattr("bodyfit.fitting.run.worker.pose_body", never)
    assert run(folder, tmp_path / "out", meshes=False)["counts"]["failed"] == 0


def test_meshes_in_single_precision_are_within_a_hundredth_of_a_millimetre(sample_run):
    body = load_body_model()
    results = [FitResult.load(path) for path in sorted((sample_run / "results").rglob("*.npz"))]
    for result, vertices in zip(results, result_vertices(body, results), strict=True):
        parameters = {name: torch.from_numpy(value) for name, value in result.parameters().items()}
        exact = pose_body(body, **parameters).vertices[0].numpy()
        assert np.abs(vertices - exact).max() < 1e-5


def test_a_prior_of_the_same_name_with_other_weights_is_noticed(folder, tmp_path):
    inputs, config = find_inputs(folder), RunConfig(fit=QUICK, output=OutputOptions(overlays=False))
    other = load_prior()
    with torch.no_grad():
        other.decoder[0].bias[0] += 1e-3
    fitted = [
        FolderRun(tmp_path / "out", Fitter(prior=prior, config=QUICK), config).run(inputs)["fitted_now"]
        for prior in (load_prior(), load_prior(), other)
    ]
    assert fitted == [1, 0, 1]


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
    assert (tmp_path / "out/images/good.jpg").is_file()


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


def test_when_nobody_is_chosen_it_says_who_was_there(folder, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        assert run(folder, tmp_path / "out", people="007")["people"] == []
    assert "--people and --min-size-px leave nobody of 000" in caplog.text


def test_an_output_folder_that_cannot_be_made_says_so(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="file"):
        run(folder, tmp_path / "file" / "out")
