"""`bodyfit benchmark-folder`: what it fits is what a detector would write for the photos that it makes."""

from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.fitting.solve.frames import CameraOptions, read_frame
from bodyfit.scripts.benchmark_folder import make_inputs


def test_everybody_can_be_fitted(tmp_path):
    items = find_inputs(make_inputs(tmp_path / "in", 12))
    frames = [read_frame(item, CameraOptions(image_size=(640, 480))) for item in items]
    assert len(frames) == 12
    assert [frame.detections.problems for frame in frames] == [(None,)] * 12
