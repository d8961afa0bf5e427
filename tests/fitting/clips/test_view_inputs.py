"""Which camera and which moment a file belongs to, in the folder layouts of several programs."""

import numpy as np
import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.data.photo.intrinsics import Extrinsics, Intrinsics
from bodyfit.data.photo.rig import Rig
from bodyfit.fitting.clips.view_inputs import check_views, find_views

PLACE = Extrinsics(tuple(map(tuple, np.eye(3).tolist())), (0.0, 0.0, 1.0))
OPENPOSE = '{"version": 1.3, "people": []}'


def rig(*names, source="calib.toml"):
    return Rig({name: Intrinsics(1000.0, (640, 360), (1280, 720), None, PLACE) for name in names}, source)


@pytest.fixture
def write(tmp_path):
    def write(*files):
        for name in files:
            path = tmp_path / "views" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(OPENPOSE)
        return [tmp_path / "views"]

    return write


def found(views):
    return {camera: {t: (i.keypoints or i.photo).name for t, i in mine.items()} for camera, mine in views.items()}


LAYOUTS = {
    "folders": ("{0}/0001.json", "{0}/0002.json"),
    "openpose": ("{0}/{0}_000000000001_keypoints.json", "{0}/{0}_000000000002_keypoints.json"),
    "pose2sim": ("pose/{0}_json/{0}.0001.json", "pose/{0}_json/{0}.0002.json"),
    "other prefix": ("pose/{0}_json/Static_{0}.00001.json", "pose/{0}_json/Static_{0}.00002.json"),
    "easymocap": ("openpose/{0}/000001_keypoints.json", "openpose/{0}/000002_keypoints.json"),
    "flat": ("{0}_000001_keypoints.json", "{0}_000002_keypoints.json"),
    "number first": ("0001_{0}.json", "0002_{0}.json"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(write, layout):
    files = [pattern.format(name) for name in ("cam01", "cam02") for pattern in LAYOUTS[layout]]
    views = find_views(write(*files), rig("cam_01", "cam_02", "cam_03"))
    assert {camera: sorted(mine) for camera, mine in views.items()} == {"cam_01": [1, 2], "cam_02": [1, 2]}
    for n, camera in enumerate(("cam01", "cam02")):
        for t in (1, 2):
            item = views[f"cam_0{n + 1}"][t]
            assert str(item.keypoints).endswith(LAYOUTS[layout][t - 1].format(camera))


def test_numbered_cameras(write):
    views = find_views(
        write("images/01/000000.jpg", "images/02/000000.jpg", "keypoints/01/000000.json"), rig("01", "02")
    )
    assert views["01"][0].photo and views["01"][0].keypoints and views["02"][0].photo and not views["02"][0].keypoints


def test_photos_and_keypoints_in_different_folders_come_together(write):
    files = [
        f"{kind}/{name}" for name in "ab" for kind, name in (("images", f"{name}/5.jpg"), ("op", f"{name}/5.json"))
    ]
    views = find_views(write(*files), rig("a", "b"))
    assert all(mine[0].photo and mine[0].keypoints for mine in views.values())


def test_single_pictures_are_one_moment_whatever_they_are_called(write):
    views = find_views(write("left/IMG_1234.jpg", "right/IMG_0871.jpg"), rig("left", "right"))
    assert found(views) == {"left": {0: "IMG_1234.jpg"}, "right": {0: "IMG_0871.jpg"}}
    views = find_views(write("cam1.jpg", "cam2.jpg")[:1], rig("cam1", "cam2"))
    assert found(views) == {"cam1": {0: "cam1.jpg"}, "cam2": {0: "cam2.jpg"}}


def test_names_where_there_are_no_numbers(write):
    views = find_views(write("a/run.json", "a/sit.json", "b/sit.json", "b/walk.json"), rig("a", "b"))
    assert found(views) == {"a": {0: "run.json", 1: "sit.json"}, "b": {1: "sit.json", 2: "walk.json"}}


def test_another_frame_count_is_said_and_used(write, caplog):
    files = [f"a/{t:04d}.json" for t in range(6)] + [f"b/{t:04d}.json" for t in range(4)]
    views = find_views(write(*files), rig("a", "b"))
    assert (sorted(views["a"]), sorted(views["b"])) == (list(range(6)), list(range(4)))
    check_views(views, rig("a", "b"))
    assert "different numbers of frames (a 6, b 4)" in caplog.text


def test_every_tenth_frame_is_a_moment(write):
    paths = write(*(f"{c}/{t:04d}.json" for c in "ab" for t in (10, 20, 30)))
    assert sorted(find_views(paths, rig("a", "b"))["a"]) == [1, 2, 3]
    assert sorted(find_views(paths, rig("a", "b"), of_videos=True)["a"]) == [10, 20, 30]


def test_a_camera_without_files_is_said(write, caplog):
    check_views(find_views(write("a/1.json", "b/1.json"), rig("a", "b", "c")), rig("a", "b", "c"))
    assert "nothing was found of 1 cameras" in caplog.text and "c" in caplog.text


def test_frames_that_never_meet_are_refused(write):
    views = find_views(write("a/1.json", "a/2.json", "b/3.json", "b/4.json"), rig("a", "b"))
    with pytest.raises(BodyfitError, match=r"no moment is seen by two cameras.*a 1 to 2, b 3 to 4"):
        check_views(views, rig("a", "b"))


def test_files_of_no_camera_are_refused(write):
    with pytest.raises(BodyfitError, match=r"named like a camera.*left, right"):
        find_views(write("x/1.json", "y/1.json"), rig("left", "right"))


def test_the_calibration_beside_the_views_is_no_view(write):
    paths = write("a/1.json", "b/1.json", "calib.json")
    views = find_views(paths, rig("a", "b", source=str(paths[0] / "calib.json")))
    assert found(views) == {"a": {0: "1.json"}, "b": {0: "1.json"}}
