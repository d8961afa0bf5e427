"""What a type checker must accept of the public names, and what it must refuse. Checked by mypy in CI, never run.

`assert_type` says what comes back. A line with `type: ignore` is a mistake that must be found: mypy --strict complains
of ignores that are not needed, so a signature that has become too wide or untyped fails as well.
"""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch
import trimesh

import bodyfit


def frames() -> list[bodyfit.Frame]:
    points: np.ndarray[Any, np.dtype[Any]] = np.zeros((2, 17, 3))
    from_array = bodyfit.Frame.from_keypoints(points, "coco17", image_size=(640, 480), focal_px=1000.0)
    from_files = bodyfit.Frame.from_files("photo.jpg", Path("photo_keypoints.json"))
    bodyfit.Frame.from_files(None, "x.json", image="a.jpg", format="coco17", focal="35mm", camera="k.json")
    assert_type(from_array, bodyfit.Frame)
    assert_type(from_files.detections, bodyfit.Detections)
    assert_type(from_files.image_size, tuple[int, int])
    assert_type(bodyfit.read_keypoints("x.json", format="body25"), bodyfit.Detections)
    bodyfit.Frame.from_keypoints(points)  # type: ignore[call-arg]
    bodyfit.Frame.from_keypoints(points, "coco17", size=3)  # type: ignore[call-arg]
    bodyfit.Frame.from_keypoints(points, 17)  # type: ignore[arg-type]
    bodyfit.read_keypoints(17)  # type: ignore[arg-type]
    return [from_array, from_files]


def fits(model_file: Path) -> bodyfit.FitResult:
    body = bodyfit.load_body_model(model_file, gender="female")
    assert_type(body, bodyfit.BodyModel)
    config = bodyfit.FitConfig(refine_focal=True)
    results = bodyfit.fit(frames(), body=body, prior=bodyfit.load_prior(), config=config, device="cpu")
    assert_type(results, list[bodyfit.FitResult])
    assert_type(bodyfit.Fitter(body, config=config).fit(frames()), list[bodyfit.FitResult])
    bodyfit.fit(3)  # type: ignore[arg-type]
    found = [np.zeros((2, 17, 3)), None, np.zeros((17, 3))]
    clip = bodyfit.fit_video(found, "coco17", fps=30, image_size=(640, 480), height=1.8, device=torch.device("cpu"))
    assert_type(clip.tracks, list[bodyfit.Track])
    bodyfit.fit(frames(), body="SMPLX_NEUTRAL.npz")  # type: ignore[arg-type]
    bodyfit.fit(frames(), bodies=body)  # type: ignore[call-arg]
    bodyfit.Fitter().fit(["photo.jpg"])  # type: ignore[list-item]
    bodyfit.FitConfig(refine_focus=True)  # type: ignore[call-arg]
    bodyfit.load_body_model(3)  # type: ignore[arg-type]
    return results[0]


def of_one_person(result: bodyfit.FitResult, body: bodyfit.BodyModel) -> None:
    assert_type(result.mesh(), trimesh.Trimesh)
    assert_type(result.mesh(body), trimesh.Trimesh)
    assert_type(result.measure(), bodyfit.Measures)
    assert_type(result.measure(body).stature, float)
    assert_type(bodyfit.measure_body(body, result.betas), bodyfit.Measures)
    bodyfit.measure_body(body, "tall")  # type: ignore[arg-type]
    assert_type(result.joints().names, tuple[str, ...])
    assert_type(result.smplx_parameters(), dict[str, torch.Tensor])
    assert_type(result.ambiguous, bool)
    assert_type(result.error_px, float)
    assert_type(bodyfit.FitResult.load("000.npz"), bodyfit.FitResult)
    assert_type(result.save("000.npz"), Path)
    posed = bodyfit.pose_body(body, **result.smplx_parameters())
    assert_type(posed.vertices, torch.Tensor)
    result.mesh("SMPLX_NEUTRAL.npz")  # type: ignore[arg-type]
    result.meshes()  # type: ignore[attr-defined]
    picture = bodyfit.render_overlay(
        np.zeros((480, 640, 3), np.uint8), [(posed.vertices[0].numpy(), body.faces)], focal_px=result.focal_px
    )
    bodyfit.render_overlay(picture, [])  # type: ignore[call-arg]


def of_the_prior(folder: Path) -> None:
    prior = bodyfit.load_prior(folder)
    assert_type(prior, bodyfit.VPoser)
    assert_type(prior.sample(4), torch.Tensor)
    assert_type(prior.decode_axis_angle(prior.sample(4)), torch.Tensor)
    assert_type(prior.log_prob(torch.zeros(4, 63)), torch.Tensor)
    bodyfit.save_prior(prior, folder)
    solved = bodyfit.inverse_kinematics(torch.zeros(1, 2, 3), ["left_wrist", "pelvis"], prior=prior)
    assert_type(solved.body_pose, torch.Tensor)
    assert_type(bodyfit.inverse_kinematics(np.zeros((1, 1, 3)), ["nose"]).points, torch.Tensor)
    bodyfit.inverse_kinematics(torch.zeros(1, 2, 3))  # type: ignore[call-arg]
    bodyfit.load_prior(3)  # type: ignore[arg-type]
    bodyfit.train_prior()  # type: ignore[call-arg]


def of_the_rest() -> None:
    assert_type(bodyfit.__version__, str)
    assert issubclass(bodyfit.BodyfitError, ValueError)
    assert bodyfit.no_such_name  # type: ignore[attr-defined]
