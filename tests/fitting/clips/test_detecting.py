"""Which frames of a clip the detector sees together, without networks: what is found must not depend on the run."""

import os

import numpy as np
import pytest
from PIL import Image

from bodyfit.data.detect.bodies import Bodies
from bodyfit.data.detect.crops import Regions
from bodyfit.data.detect.detector import Detector, ShippedDetector, Sighting
from bodyfit.data.detect.people import People
from bodyfit.data.keypoints.detections import Detections, read_keypoints
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.clips.detecting import FrameFiles, detect_clip
from bodyfit.fitting.clips.sources import open_source
from bodyfit.fitting.run.options import ClipOptions

COUNT = 20


class StandIn(ShippedDetector):
    """One person, whose x says how bright the picture is, and y for how many frames they were followed."""

    def __init__(self):
        self.looks = 0

    def search(self, picture):
        return self._seen(picture, 0)

    def follow(self, picture, before):
        return self._seen(picture, before.xy[0, 0, 1] + 1)

    def _seen(self, picture, followed):
        self.looks += 1
        xy = np.full((1, len(LANDMARK_NAMES), 2), (np.asarray(picture.levels[0]).mean(), float(followed)))
        square = Regions(np.zeros((1, 2)), np.ones(1), np.array([[0.0, -1.0]]))
        bodies = Bodies(np.zeros((1, 33, 2)), np.ones((1, 33)), np.ones(1), square)
        return Sighting(
            People(xy[:, :17], np.ones((1, 17)), np.ones(1)), bodies, xy, np.ones(xy.shape[:2]), np.array([256]), 1
        )


@pytest.fixture
def clip(tmp_path):
    """A folder of pictures that become brighter, 32 per second: groups of 8."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(COUNT):
        Image.new("RGB", (48, 40), (number, number, number)).save(folder / f"{number:03d}.png")
    return folder


def look(clip, out, detector: Detector | None = None, workers=1, **options):
    source = open_source(clip, ClipOptions(clip=True, fps=32, **options))
    return detect_clip(detector or StandIn(), source, FrameFiles(out, "clip"), workers=workers)


def followed(out):
    """By number: for how many frames the person was followed; who they are is checked."""
    found = {}
    for file in sorted(out.iterdir()):
        number = int(file.name.split("_")[1])
        brightness, found[number] = read_keypoints(file).xy[0, 0]
        assert brightness == number
    return found


@pytest.mark.parametrize("workers", [1, 3])
def test_every_eighth_frame_is_searched_however_many_workers_there_are(clip, tmp_path, workers):
    found = look(clip, tmp_path / "out", workers=workers)
    assert followed(tmp_path / "out") == {number: number % 8 for number in range(COUNT)}
    assert found.people == {number: 1 for number in range(COUNT)} and found.kept == 0


def test_searches_stay_where_they_are_whatever_part_is_looked_at(clip, tmp_path):
    look(clip, tmp_path / "out", start=5 / 32, end=18 / 32)
    assert followed(tmp_path / "out") == {5: 0, 6: 1, 7: 2} | {number: number % 8 for number in range(8, 18)}


def test_a_run_that_was_stopped_goes_on_with_the_same_files(clip, tmp_path):
    """Frames before a missing one are looked at again, but their files are left alone; those after it are not."""
    out = tmp_path / "out"
    look(clip, out)
    whole = {file.name: file.read_bytes() for file in out.iterdir()}
    missing = [out / f"clip_{number:012d}_keypoints.json" for number in (5, 6, 16)]
    for file in missing:
        file.unlink()
    kept = {file.name: os.stat(file).st_mtime_ns for file in out.iterdir()}
    detector = StandIn()
    found = look(clip, out, detector)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == whole
    assert {name: os.stat(out / name).st_mtime_ns for name in kept} == kept
    assert detector.looks == 7 + 1 and found.people == {5: 1, 6: 1, 16: 1} and found.kept == COUNT - 3


@pytest.mark.parametrize("broken", [True, False])
def test_after_a_gap_people_are_searched_for(clip, tmp_path, broken):
    if broken:
        (clip / "003.png").write_bytes(b"no picture")
    else:
        (clip / "003.png").unlink()
    found = look(clip, tmp_path / "out")
    assert followed(tmp_path / "out") == {n: n if n < 3 else n - 4 if n < 8 else n % 8 for n in range(COUNT) if n != 3}
    assert list(found.problems) == ([3] if broken else [])


def test_other_detectors_see_each_picture_alone(clip, tmp_path):
    class Other:
        name = "other"

        def __call__(self, image):
            xy = np.full((1, len(LANDMARK_NAMES), 2), (image.mean(), 7.0))
            return Detections.from_points(xy, np.ones(xy.shape[:2]), format="other", source=clip, image_size=(48, 40))

    look(clip, tmp_path / "out", Other(), workers=2)
    assert set(followed(tmp_path / "out").values()) == {7.0}
