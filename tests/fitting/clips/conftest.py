"""Stick figures that walk, and small films."""

import json
from pathlib import Path

import numpy as np
import pytest

from bodyfit.fitting.solve.frames import Frame

# COCO's 17 points of somebody who stands, one unit tall, about the middle of the hips; y down.
_FIGURE = np.array(
    [
        *[(0.0, -0.46), (0.02, -0.48), (-0.02, -0.48), (0.05, -0.46), (-0.05, -0.46)],
        *[(0.11, -0.30), (-0.11, -0.30), (0.15, -0.12), (-0.15, -0.12), (0.16, 0.04), (-0.16, 0.04)],
        *[(0.07, 0.0), (-0.07, 0.0), (0.08, 0.24), (-0.08, 0.24), (0.08, 0.47), (-0.08, 0.47)],
    ]
)


class Figures:
    """People as keypoints of COCO's 17 points."""

    size = (640, 480)

    def figure(self, x: float, y: float = 240, height: float = 300, swing: float = 0.0) -> np.ndarray:
        """(17, 3): somebody whose hips are at (x, y); limbs swing by a share of the height."""
        points = _FIGURE * height + (x, y)
        points[[9, 16], 0] += swing * height
        points[[10, 15], 0] -= swing * height
        return np.concatenate([points, np.full((17, 1), 0.9)], axis=1)

    def frame(self, people: list[np.ndarray], name: str = "frame") -> Frame:
        """A frame of these people."""
        keypoints = np.array(people) if people else np.zeros((0, 17, 3))
        return Frame.from_keypoints(keypoints, "coco17", image_size=self.size, name=name)

    def write_json(self, path: Path, people: list[np.ndarray]) -> None:
        """A keypoint file: a list of (17, 3) as COCO's predictions are not; OpenPose's layout with 17 points is."""
        document = {"version": 1.3, "people": [{"pose_keypoints_2d": body_25(p).ravel().tolist()} for p in people]}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))


def body_25(coco: np.ndarray) -> np.ndarray:
    """COCO's points in the order of BODY_25; feet are unseen."""
    out = np.zeros((25, 3))
    order = [0, None, 6, 8, 10, 5, 7, 9, None, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    for place, source in enumerate(order):
        if source is not None:
            out[place] = coco[source]
    out[1], out[8] = (coco[5] + coco[6]) / 2, (coco[11] + coco[12]) / 2
    return out


@pytest.fixture(scope="session")
def figures() -> Figures:
    return Figures()


@pytest.fixture(scope="session")
def write_film():
    """A function that writes pictures as a video; skips where OpenCV has no encoder."""
    cv2 = pytest.importorskip("cv2")

    def write(path: Path, pictures: list[np.ndarray], fps: float = 25.0) -> Path:
        height, width = pictures[0].shape[:2]
        codec = "MJPG" if path.suffix == ".avi" else "mp4v"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (width, height))
        if not writer.isOpened():
            pytest.skip(f"OpenCV has no encoder {codec} here")
        for picture in pictures:
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
        writer.release()
        return path

    return write
