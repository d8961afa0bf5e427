"""A small results folder, as `bodyfit fit` writes one, and a browser to look at its pages with."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.data.results.meshes import save_mesh
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.draw.colours import person_colour
from bodyfit.fitting.draw.render import render_overlay

SIZE = (320, 240)
FOCAL = 300.0
CENTER = np.array([159.5, 119.5])
PEOPLE = (
    # photo, person, x in metres, status, error as a share of size
    ("beach", "000", -0.6, "converged", 0.010),
    ("beach", "001", 0.6, "max_iterations", 0.060),
    ("street", "000", 0.0, "converged", 0.020),
)
UNREADABLE = {
    "image": "broken",
    "person": None,
    "status": "failed",
    "reason": "broken.jpg: </script><b>not an image</b>",
    "photo": "broken.jpg",
}


def _module(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _start(profile: Path, **options) -> Iterator:
    module = _module("browser")
    if module.MISSING:
        pytest.skip(module.MISSING)
    browser = module.Browser(profile, **options)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def _running_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    yield from _start(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="session")
def _running_offline_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    yield from _start(tmp_path_factory.mktemp("offline"), offline=True)


@pytest.fixture
def browser(_running_browser):
    """Headless Chromium on an empty page; skips where there is none."""
    return _running_browser.emptied()


@pytest.fixture
def page(_running_offline_browser):
    """The same with every way to the network cut."""
    return _running_offline_browser.emptied()


@pytest.fixture(scope="session")
def open_body() -> BodyModel:
    return load_body_model()


def make_result(body: BodyModel, photo: Path, person: str, x: float, status: str, share: float) -> tuple:
    """A person standing upright with the arms half down, 3.5 m in front of the camera."""
    body_pose = np.zeros(63)
    body_pose[[47, 50]] = -0.9, 0.9  # shoulders about z
    pose = {
        "global_orient": np.array([np.pi, 0.0, 0.0]),
        "body_pose": body_pose,
        "left_hand_pose": body.hand_mean_left,
        "right_hand_pose": body.hand_mean_right,
        "jaw_pose": np.zeros(3),
        "leye_pose": np.zeros(3),
        "reye_pose": np.zeros(3),
        "betas": np.zeros(10),
        "expression": np.zeros(10),
        "transl": np.array([x, 0.0, 3.5]),
    }
    posed = pose_body(body, **{name: torch.as_tensor(value)[None] for name, value in pose.items()})
    vertices = posed.vertices[0].numpy()
    landmarks = np.full((144, 3), np.nan)
    landmarks[:55] = posed.joints[0].numpy()
    for name, vertex in body.extra_vertex_ids.items():
        landmarks[LANDMARK_INDEX[name]] = vertices[vertex]
    landmarks_px = landmarks[:, :2] / landmarks[:, 2:] * FOCAL + CENTER
    seen = np.isfinite(landmarks_px).all(axis=1)
    result = FitResult(
        **pose,
        latent=np.zeros(32),
        focal_px=FOCAL,
        focal_source="image diagonal",
        center_px=CENTER,
        image_size=SIZE,
        landmarks=landmarks,
        landmarks_px=landmarks_px,
        keypoints_px=np.where(seen[:, None], landmarks_px + 2.0, 0.0),
        keypoint_confidence=seen.astype(float),
        status=status,
        body_model=body.name,
        body_gender="neutral",
        prior="test",
        cost=10.0,
        error_px=2.8,
        error_share=share,
        person_id=person,
        photo=str(photo),
    )
    return result, vertices


def with_alternative(result: FitResult) -> FitResult:
    """The same person bent forward, which from in front looks much alike."""
    pose = result.body_pose.copy()
    pose[[6, 15]] = 0.5  # spine about x
    return replace(
        result,
        runner_up_cost=1.05 * result.cost,
        ambiguous=True,
        runner_up_global_orient=result.global_orient,
        runner_up_body_pose=pose,
        runner_up_transl=result.transl,
        runner_up_betas=result.betas,
    )


@pytest.fixture(scope="session")
def results_folder(open_body: BodyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos with three people, and a photo that could not be read."""
    out = tmp_path_factory.mktemp("out")
    photos = {}
    for name, colour in (("beach", (40, 60, 120)), ("street", (90, 90, 90))):
        photos[name] = np.full((SIZE[1], SIZE[0], 3), colour, dtype=np.uint8)
        cv2.imwrite(str(out / f"{name}.png"), photos[name][..., ::-1])
    rows, drawn = [], {}
    for image, person, x, status, share in PEOPLE:
        result, vertices = make_result(open_body, out / f"{image}.png", person, x, status, share)
        if (image, person) == ("beach", "000"):
            result = with_alternative(result)
        row = {"image": image, "person": person, "photo": str(out / f"{image}.png"), "overlay": f"images/{image}.png"}
        row |= {key: getattr(result, key) for key in ("status", "reason", "cost", "error_px", "error_share", "seconds")}
        row["ambiguous"] = result.ambiguous
        row |= {"result": f"results/{image}/{person}.npz", "mesh": f"meshes/{image}/{person}.obj"}
        result.save(out / row["result"])
        save_mesh(out / row["mesh"], vertices, open_body.faces)
        drawn.setdefault(image, []).append((vertices, open_body.faces))
        rows.append(row)
    (out / "images").mkdir()
    for image, meshes in drawn.items():
        colours = [person_colour(index) for index in range(len(meshes))]
        picture = render_overlay(photos[image], meshes, focal_px=FOCAL, center_px=CENTER, colours=colours)
        cv2.imwrite(str(out / f"images/{image}.png"), picture[..., ::-1])
    summary = {"body_model": open_body.name, "prior": "test", "people": [*rows, UNREADABLE]}
    (out / "summary.json").write_text(json.dumps(summary))
    return out


@pytest.fixture
def with_rows(tmp_path: Path) -> Callable:
    """Writes a results folder of nothing but a summary with the given rows."""

    def write(rows: list[dict], **run) -> Path:
        (tmp_path / "summary.json").write_text(json.dumps({**run, "people": rows}))
        return tmp_path

    return write


@pytest.fixture(scope="session")
def clip_folder(open_body: BodyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 8 frames with two people: 000 at moments 0 to 6, 001 at 3 to 7, unseen at 4 and 5, on a floor."""
    clips, out = _module("clips"), tmp_path_factory.mktemp("clip") / "out"
    people = [clips.walker(open_body, "000", 0, 7, -0.6)]
    people.append(clips.on_floor(clips.walker(open_body, "001", 3, 5, 0.3, unseen=(4, 5)), left_at=(0,)))
    clips.write_clip_folder(out, open_body, people)
    return out


@pytest.fixture(scope="session")
def views_folder(open_body: BodyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cameras that see one person at 8 moments; the second has no frame at moment 5."""
    clips, out = _module("clips"), tmp_path_factory.mktemp("views") / "out"
    people = [clips.walker(open_body, "000", 0, 8, -0.2)]
    clips.write_clip_folder(out, open_body, people, ("cam1", "cam2", "cam3"), lacking=("cam2/000005",))
    return out
