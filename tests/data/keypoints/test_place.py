"""Coordinates end up in the photo, however the file measures them; what cannot be in it is refused, with the reason."""

import json

import numpy as np
import pytest

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.detections import KeypointError, read_keypoints
from bodyfit.data.keypoints.place import same_shape
from bodyfit.data.landmarks import LANDMARK_INDEX as IDS

SIZE = (1280, 720)
RNG = np.random.default_rng(0)
POINTS = np.column_stack([RNG.uniform(300, 1200, 18), RNG.uniform(100, 700, 18)])
NAMES = kf.OPENPOSE_COCO_18.points


def write(tmp_path, points, **more):
    flat = np.column_stack([points, np.linspace(0.8, 0.9, len(points))]).ravel().tolist()
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"people": [{"pose_keypoints_2d": flat}], **more}))
    return path


def placed(path, size=SIZE, **options):
    found = read_keypoints(path, image_size=size, **options)
    assert found.image_size == size
    return found.xy[0, [IDS[name] for name in NAMES]]


def test_controlnet_shares_with_a_canvas(tmp_path):
    path = write(tmp_path, POINTS / SIZE, canvas_width=1280, canvas_height=720)
    np.testing.assert_allclose(placed(path), POINTS, atol=0.51)


def test_openpose_keypoint_scale_3_and_4(tmp_path):
    """0 to 1, and -1 to 1, as OpenPose's --keypoint_scale writes them."""
    np.testing.assert_allclose(placed(write(tmp_path, POINTS / (np.array(SIZE) - 1))), POINTS, atol=1.1)
    np.testing.assert_allclose(placed(write(tmp_path, POINTS / (np.array(SIZE) - 1) * 2 - 1)), POINTS, atol=1.1)


def test_shares_without_any_size_are_refused(tmp_path):
    with pytest.raises(KeypointError, match=r"shares of the image, and its size is not known.*--image-size"):
        read_keypoints(write(tmp_path, POINTS / SIZE))


@pytest.mark.parametrize("size", [(640, 360), (2560, 1440), (910, 512), (512, 288), (896, 512)])
def test_canvases_of_the_same_shape_are_scaled(tmp_path, size):
    """Also where sizes were rounded to whole pixels or to multiples of 64."""
    path = write(tmp_path, (POINTS + 0.5) / SIZE * size - 0.5, canvas_width=size[0], canvas_height=size[1])
    np.testing.assert_allclose(placed(path), POINTS, atol=1e-6)


def test_the_user_can_say_what_the_keypoints_were_made_on(tmp_path):
    path = write(tmp_path, (POINTS + 0.5) * 2 - 0.5)
    np.testing.assert_allclose(placed(path, keypoints_size=(2560, 1440)), POINTS, atol=1e-6)
    np.testing.assert_allclose(placed(write(tmp_path, POINTS / 2 - 0.25), keypoints_size=(640, 360)), POINTS, atol=1e-6)


@pytest.mark.parametrize("size", [(512, 512), (1280, 1280), (720, 700), (1000, 720)])
def test_canvases_of_another_shape_are_refused(tmp_path, size):
    with pytest.raises(KeypointError, match=rf"picture of {size[0]} x {size[1]} px, but .* which is another shape"):
        read_keypoints(write(tmp_path, POINTS % 500, canvas_width=size[0], canvas_height=size[1]), image_size=SIZE)


def test_shapes():
    assert same_shape((1280, 720), (3840, 2160)) and same_shape((1280, 720), (854, 480))
    assert same_shape((512, 896), (720, 1280)) and same_shape((1920, 1088), (1920, 1080))
    assert not same_shape((1280, 720), (720, 1280)) and not same_shape((640, 480), (1280, 720))
    assert not same_shape((1024, 1024), (1024, 900))


def _stored(points, orientation, size):
    """Points of an upright photo of `size` in the picture as it is stored: the definition of EXIF's numbers."""
    x, y, right, bottom = points[:, 0], points[:, 1], size[0] - 1 - points[:, 0], size[1] - 1 - points[:, 1]
    columns = {2: (right, y), 3: (right, bottom), 4: (x, bottom), 5: (y, x)}
    columns |= {6: (y, right), 7: (bottom, right), 8: (bottom, x)}
    return np.column_stack(columns[orientation])


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("with_size", [True, False])
def test_keypoints_from_before_exif_turned_the_photo(tmp_path, caplog, orientation, with_size):
    upright, stored = (720, 1280), (1280, 720)
    points = POINTS[:, ::-1]
    size = {"canvas_width": stored[0], "canvas_height": stored[1]} if with_size else {}
    path = write(tmp_path, _stored(points, orientation, upright), **size)
    found = placed(path, upright, orientation=orientation)
    np.testing.assert_allclose(found, points, atol=1e-6)
    assert "turned upright as its EXIF says" in caplog.text


def test_a_size_from_before_exif_with_points_from_after_it(tmp_path):
    points = POINTS[:, ::-1]
    path = write(tmp_path, points, canvas_width=1280, canvas_height=720)
    np.testing.assert_allclose(placed(path, (720, 1280), orientation=6), points)
    middle = write(tmp_path, 100 + points / 4, canvas_width=1280, canvas_height=720)
    with pytest.raises(KeypointError, match="one of them lies on its side"):
        read_keypoints(middle, image_size=(720, 1280))


def test_points_outside_of_the_photo_are_refused(tmp_path):
    path = write(tmp_path, POINTS * 2)
    with pytest.raises(
        KeypointError, match=r"% of the points lie outside of the photo .*--keypoints-size WIDTH HEIGHT"
    ):
        read_keypoints(path, image_size=SIZE)
    assert read_keypoints(path, image_size=SIZE, checks=False).problems == (None,)
    turned = write(tmp_path, POINTS[:, ::-1] * (1, 1.0))
    with pytest.raises(KeypointError, match="none with x and y exchanged"):
        read_keypoints(turned, image_size=SIZE)


def test_somebody_outside_among_others_is_their_own_problem(tmp_path):
    inside = np.column_stack([POINTS, np.linspace(0.8, 0.9, 18)])
    half = inside.copy()
    half[:10, 0] += 1500
    people = [{"pose_keypoints_2d": p.ravel().tolist()} for p in (inside, half, inside)]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"people": people}))
    problems = read_keypoints(path, image_size=SIZE).problems
    assert problems[0] is problems[2] is None
    assert problems[1] == "10 of 18 keypoints lie outside of the photo (1280 x 720 px)"


def test_limbs_beyond_the_edge_are_fine(tmp_path):
    points = POINTS.copy()
    points[:4, 1] = 800
    np.testing.assert_allclose(placed(write(tmp_path, points)), points)
