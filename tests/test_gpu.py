"""What runs on a GPU gives what the CPU gives; skipped where PyTorch sees none."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bodyfit
from bodyfit.fitting.start.pose_sources import prior_poses
from bodyfit.fitting.start.synthetic import PeopleMaker
from bodyfit.fitting.start.synthetic_people import SyntheticOptions
from bodyfit.prior.model.checkpoint import load_prior

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device")

SAMPLES = Path(__file__).parents[1] / "data" / "assets" / "samples"
SIZE = (640, 480)


@pytest.fixture(scope="module")
def frames():
    """The people of the sample photos, by their keypoint files."""
    pairs = [
        (photo, SAMPLES / "keypoints" / f"{photo.stem}_keypoints.json")
        for photo in sorted((SAMPLES / "images").glob("*.jpg"))
    ]
    return [bodyfit.Frame.from_files(*pair) for pair in pairs]


def both(fit):
    """Results of the CPU and of the GPU."""
    return fit(device="cpu"), fit(device="cuda")


def farthest_mm(one, other) -> float:
    """The largest distance of a joint or landmark, in the camera's frame, mm."""
    return 1000 * max(np.abs(a.joints().xyz - b.joints().xyz).max() for a, b in zip(one, other, strict=True))


def test_people_of_photos(frames):
    cpu, gpu = both(lambda **on: bodyfit.fit(frames, **on))
    assert {r.status for r in gpu} == {"converged"} and [r.age for r in cpu] == [r.age for r in gpu]
    assert farthest_mm(cpu, gpu) < 1
    for a, b in zip(cpu, gpu, strict=True):
        size = np.linalg.norm(a.joint_covariance, axis=(-2, -1))
        assert (np.linalg.norm(a.joint_covariance - b.joint_covariance, axis=(-2, -1)) <= 0.05 * size).all()


def test_floors_and_people_beside_each_other(frames):
    given = {"ground": True, "gravity": (0.0, 1.0, 0.0), "people_apart": True}
    cpu, gpu = both(lambda **on: bodyfit.fit(frames, **given, **on))
    assert [(r.touching, r.floor_source) for r in cpu] == [(r.touching, r.floor_source) for r in gpu]
    assert farthest_mm(cpu, gpu) < 5


def test_feet_on_the_ground_over_time(frames):
    still = [frames[0]] * 9
    cpu, gpu = both(lambda **on: bodyfit.fit_video(still, fps=30, ground=True, **on).tracks)
    for one, other in zip(cpu, gpu, strict=True):
        assert (one.touching == other.touching).all() and one.floor_source == other.floor_source
        np.testing.assert_allclose(one.transl, other.transl, atol=5e-3)


def test_a_known_height_and_one_shape_for_all_photos(frames):
    cpu, gpu = both(lambda **on: bodyfit.fit(frames[:1] * 2, height=1.6, same_person=True, **on))
    assert farthest_mm(cpu, gpu) < 1
    assert np.array_equal(gpu[0].betas, gpu[1].betas)


def test_children(frames):
    cpu, gpu = both(lambda **on: bodyfit.fit(frames, age=5.0, **on))
    assert farthest_mm(cpu, gpu) < 1


def test_a_stream_of_frames_is_the_same_as_a_list(frames):
    streamed = list(bodyfit.fit_many(iter(frames), batch=2, device="cuda"))
    assert farthest_mm(streamed, bodyfit.fit(frames, device="cuda")) < 1


def moving(count: int, eye: tuple[float, float, float] = (0.0, 0.0, 0.0)):
    """Frames of somebody who is carried to the right by 2 cm a moment, from a camera at `eye` that looks along z."""
    made = PeopleMaker(bodyfit.load_body_model(), SyntheticOptions(cropped=0.0)).make(
        prior_poses(load_prior(), 1, seed=0), seed=0
    )
    focal, center = float(made.focal_px[0]), made.center_px[0].double().numpy()
    camera = {"image_size": tuple(int(v) for v in made.image_size[0]), "focal_px": focal, "center_px": tuple(center)}
    blank = bodyfit.Frame.from_keypoints(np.ones((17, 3)), "coco17", image_size=SIZE)
    frames = []
    for t in range(count):
        points = made.landmarks[:1].double().numpy() + (np.array([0.02 * t, 0, 0]) - eye)
        xy = focal * points[..., :2] / np.maximum(points[..., 2:], 0.1) + center
        seen = {"xy": xy, "confidence": made.confidence[:1].double().numpy()}
        detections = replace(blank.detections, problems=(None,), warnings=(), **seen)
        frames.append(replace(blank, name=f"{t:04d}", detections=detections, **camera))
    return frames


def test_a_clip():
    frames = moving(12)
    cpu, gpu = both(lambda **on: bodyfit.fit_video([*frames[:5], None, *frames[6:]], fps=30, **on))
    assert [t.status for t in cpu.tracks] == [t.status for t in gpu.tracks]
    assert np.abs(cpu.tracks[0].transl - gpu.tracks[0].transl).max() < 5e-3


def test_calibrated_views():
    left, right = moving(4), moving(4, eye=(0.5, 0.0, 0.0))
    (fx, (cx, cy)) = left[0].focal_px, left[0].center_px
    matrix, shifts = [[fx, 0, cx], [0, fx, cy], [0, 0, 1]], [[0.0, 0.0, 0.0], [-0.5, 0.0, 0.0]]
    rig = bodyfit.Rig.from_arrays([matrix] * 2, [np.eye(3)] * 2, shifts, image_size=left[0].image_size)
    cpu, gpu = both(lambda **on: bodyfit.fit_views([left, right], rig, fps=30, units=1.0, **on))
    assert np.abs(cpu.tracks[0].transl - gpu.tracks[0].transl).max() < 5e-3


@pytest.mark.parametrize("device", ["cuda", "cuda:all"])
def test_the_command(device, tmp_path):
    command = [sys.executable, "-m", "bodyfit.scripts.cli", "fit", str(SAMPLES), "-o", str(tmp_path)]
    options = ["--device", device, "--no-meshes", "--no-overlays"]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, env=os.environ)
    assert ran.returncode == 0, ran.stderr[-800:]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["people"] and {row["status"] for row in summary["people"]} == {"converged"}


def test_the_plain_reference_of_the_benchmark(tmp_path):
    options = ["--people", "2", "--batch", "2", "--reference", "1", "--smplify-x", "1", "--json"]
    none = [word for name in ("known-starts", "crops", "ages") for word in (f"--{name}", "0")]
    command = [sys.executable, "-m", "bodyfit.scripts.cli", "benchmark", "--device", "cuda", *options, *none]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["times_reference"] > 1
