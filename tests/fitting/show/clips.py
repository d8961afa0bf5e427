"""Builds the output folder of a clip for tests: people who walk to the right in a video, or before several cameras."""

import json
from dataclasses import replace

import cv2
import numpy as np
import torch

from bodyfit.data.body.posing import pose_body
from bodyfit.data.landmarks import LANDMARK_INDEX
from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.track import Track
from bodyfit.data.results.track_files import write_track

SIZE, FPS, FOCAL = (160, 120), 10.0, 150.0
CENTER = np.array([79.5, 59.5])
WIDTHS = {"left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "expression": 10}


def walker(body, person, first, count, x, unseen=()) -> Track:
    """Stands upright, arms down, and moves 5 cm a moment to the right; nothing is seen of them at some moments."""
    pose = np.zeros((count, 63))
    pose[:, [47, 50]] = -1.2, 1.2  # shoulders about z
    zeros = {name: np.zeros((count, width)) for name, width in WIDTHS.items()}
    moments = np.arange(first, first + count)
    transl = np.stack([x + 0.05 * moments, np.zeros(count), np.full(count, 3.5)], axis=1)
    sure = np.tile(0.05**2 * np.eye(3), (count, 55, 1, 1)).astype(np.float32)
    status = tuple("interpolated" if m in unseen else "fitted" for m in moments)
    return Track(
        person=person, fps=FPS, moments=moments, space="camera", betas=np.zeros(10), body_pose=pose, transl=transl,
        global_orient=np.tile([np.pi, 0.0, 0.0], (count, 1)), **zeros, latent=np.zeros((count, 32)), status=status,
        views=np.array([0 if m in unseen else 1 for m in moments]), body_model=body.name, body_gender="neutral",
        prior="test", joint_covariance=sure, joint_covariance_root_relative=sure,
        flip_probability=np.full((len(sure), 8), 0.01),
    )  # fmt: skip


def on_floor(track, left_at) -> Track:
    """Stands on a floor 1.2 m below the camera, with the left foot at some of the track's rows."""
    touching = np.zeros((len(track), 2), dtype=bool)
    touching[list(left_at), 0] = True
    return replace(track, touching=touching, floor=np.array([0.0, -1.0, 0.0, -1.2]), floor_source="test")


def frame_result(body, track, row, photo) -> FitResult:
    """What a frame shows of a track."""
    one = {name: value[row] for name, value in track.parameters().items()}
    posed = pose_body(body, **{name: torch.as_tensor(value)[None] for name, value in one.items()})
    landmarks = np.full((144, 3), np.nan)
    landmarks[:55] = posed.joints[0].numpy()
    for name, vertex in body.extra_vertex_ids.items():
        landmarks[LANDMARK_INDEX[name]] = posed.vertices[0, vertex].numpy()
    pixels = landmarks[:, :2] / landmarks[:, 2:] * FOCAL + CENTER
    seen = np.isfinite(pixels).all(axis=1) & (track.status[row] == "fitted")
    return FitResult(
        **one, latent=np.zeros(32), focal_px=FOCAL, focal_source="test", center_px=CENTER, image_size=SIZE,
        landmarks=landmarks, landmarks_px=pixels, keypoints_px=np.where(seen[:, None], pixels + 1, 0),
        keypoint_confidence=seen.astype(float), body_model=body.name, body_gender="neutral", prior="test", cost=5.0,
        status="converged" if track.status[row] == "fitted" else "interpolated", error_px=1.4,
        error_share=0.01 + 0.001 * row, person_id=track.person, photo=str(photo),
    )  # fmt: skip


def write_video(path, count) -> None:
    """Frame n is grey of brightness 100 + 5 n: which frame a picture shows can be read off."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE)
    for number in range(count):
        writer.write(np.full((SIZE[1], SIZE[0], 3), 100 + 5 * number, dtype=np.uint8))
    writer.release()


def write_clip_folder(out, body, tracks, cameras=("walk",), *, count=8, lacking=()) -> None:
    """OUT of a clip, and videos beside it. `lacking`: frames that are not there."""
    out.mkdir(parents=True, exist_ok=True)
    rows, frames = [], {}
    for camera in cameras:
        write_video(out.parent / f"{camera}.mp4", count)
        frames |= {name: m for m in range(count) if (name := f"{camera}/{m:06d}") not in lacking}
    for track in tracks:
        write_track(out / "tracks", track, body)
        for camera in cameras:
            for row, moment in enumerate(track.moments.tolist()):
                image = f"{camera}/{moment:06d}"
                if image not in frames:
                    continue
                result = frame_result(body, track, row, f"{out.parent / camera}.mp4#{moment:06d}")
                path = f"results/{image}/{track.person}.npz"
                result.save(out / path)
                row_of = {key: getattr(result, key) for key in ("status", "reason", "cost", "error_px", "error_share")}
                rows.append({"image": image, "person": track.person, "photo": result.photo, "result": path, **row_of})
    rows.sort(key=lambda row: (row["image"], row["person"]))
    (out / "summary.json").write_text(json.dumps({"body_model": body.name, "prior": "test", "people": rows}))
    videos = {camera: out.parent / f"{camera}.mp4" for camera in cameras}
    ClipIndex(FPS, (0, count - 1), videos, frames).write(out)
