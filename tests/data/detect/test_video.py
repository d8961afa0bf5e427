"""People followed from frame to frame, by the real networks on small films made of the sample photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bodyfit.data.detect.detector import ShippedDetector
from bodyfit.data.detect.video import VideoDetector
from bodyfit.data.landmarks import LANDMARK_INDEX, LEFT_HAND, RIGHT_HAND

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples" / "images"


class Counting(ShippedDetector):
    """Counts its full searches."""

    searches = 0

    def search(self, picture):
        self.searches += 1
        return super().search(picture)


@pytest.fixture(scope="module")
def networks():
    return Counting()


@pytest.fixture
def video(networks):
    networks.searches = 0
    return VideoDetector(networks)


def scene(name="two_people", moved=0, height=480):
    """A sample photo on a grey ground, moved to the right."""
    photo = Image.open(SAMPLES / f"{name}.jpg").convert("RGB")
    photo = photo.resize((round(photo.width * height / photo.height), height))
    frame = np.full((height, photo.width + 60, 3), 128, np.uint8)
    frame[:, moved : moved + photo.width] = np.asarray(photo)
    return frame


def test_the_first_frame_is_searched_as_a_photo_is(networks, video):
    alone, first = networks(scene()), video(scene())
    np.testing.assert_array_equal(first.xy, alone.xy)
    np.testing.assert_array_equal(first.confidence, alone.confidence)


def test_people_are_followed_to_where_a_photo_of_the_frame_has_them(networks, video):
    """Both of them, bodies within 1 % and hands within 2 % of their size in the median, without a second search."""
    for moved in (0, 12, 24, 36):
        found = video(scene(moved=moved))
    assert networks.searches == 1
    alone = networks(scene(moved=36))
    assert len(found) == len(alone) == 2
    for i in range(2):
        size = np.ptp(alone.xy[i, alone.confidence[i] > 0.1], axis=0).max()
        gaps = np.linalg.norm(found.xy[i] - alone.xy[i], axis=1) / size
        assert np.median(gaps[alone.confidence[i] > 0.3]) < 0.01
        for hand in map(list, (LEFT_HAND, RIGHT_HAND)):
            if alone.confidence[i, hand[1:]].max() > 0.5:
                assert np.median(gaps[hand]) < 0.02


def test_who_is_gone_is_searched_for_at_once(networks, video):
    """No body is left standing where nobody is any more, and whoever stays is found."""
    first = video(scene())
    assert len(first) == 2
    left = first.xy[:, 0, 0].argmin()
    middle = int(first.xy[:, 0, 0].mean())
    empty = scene()
    empty[:, :middle] = 128
    found = video(empty)
    assert networks.searches == 2 and len(found) == 1
    assert np.linalg.norm(found.xy[0, 0] - first.xy[1 - left, 0]) < 10


def test_who_walks_in_close_by_is_found_at_once(networks, video):
    """Their size is 0.4 of the picture's: its smallest size shows such people."""
    both = networks(scene())
    x, y = both.xy[:, LANDMARK_INDEX["pelvis"]].mean(axis=0).astype(int)
    close = np.ascontiguousarray(scene()[max(y - 200, 0) : y + 200, max(x - 200, 0) : x + 200])
    one = close.copy()
    one[:, : one.shape[1] // 2] = 128
    networks.searches = 0
    assert [len(video(frame)) for frame in (one, one, close)] == [1, 1, 2] and networks.searches == 2


def test_after_a_cut_everybody_is_searched_for(networks, video):
    video(scene("portrait"))
    dark = scene("portrait") // 6
    assert len(video(dark)) == len(networks(dark)) and networks.searches == 3


def test_an_empty_scene_is_searched_once_and_somebody_in_it_is_found(networks, video):
    empty = np.full_like(scene(), 128)
    assert [len(video(frame)) for frame in (empty, empty, empty, scene())] == [0, 0, 0, 2] and networks.searches == 2
