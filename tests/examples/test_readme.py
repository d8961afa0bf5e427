"""The Python of the README runs as it stands, on a photo with keypoints beside it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np

import bodyfit
from bodyfit.data.keypoints.formats import COCO_17, OPENPOSE_BODY_25

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "assets" / "samples"


def test_readme_runs(tmp_path, monkeypatch):
    shutil.copy(SAMPLES / "images" / "portrait.jpg", tmp_path / "photo.jpg")
    shutil.copy(SAMPLES / "keypoints" / "portrait_keypoints.json", tmp_path / "photo_keypoints.json")
    monkeypatch.chdir(tmp_path)

    def detector(photo):
        """Stands for a detector of COCO's 17 points: those of the sample's 25."""
        assert photo.dtype == np.uint8 and photo.shape[2] == 3
        person = json.loads(Path("photo_keypoints.json").read_text())["people"][0]
        points = np.reshape(person["pose_keypoints_2d"], (25, 3))
        return points[[OPENPOSE_BODY_25.points.index(name) for name in COCO_17.points]]

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    names = {"__name__": "readme", "detector": detector}
    exec(compile("\n".join(blocks), "README.md", "exec"), names)
    assert len(names["mesh"].vertices) == bodyfit.load_body_model().num_vertices
    assert [person.status for person in names["results"]] == ["converged"]
    assert names["names"] == bodyfit.load_body_model().joint_names
    assert names["poses"].shape == (64, 63) and names["score"].shape == (64,)
