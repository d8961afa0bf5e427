"""Photos and keypoints find each other, in every layout, and what stands alone is not lost."""

import json

import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.data.keypoints.detections import read_keypoints
from bodyfit.data.keypoints.inputs import FitInput, find_inputs, find_inputs_with, match_image

PEOPLE = {"version": 1.3, "people": []}


def _make(folder, *names, content=PEOPLE):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content) if name.endswith(".json") else "a photo")
    return folder


def _pairs(folder, found):
    """(name, photo, keypoints), the files as they stand below the folder."""
    below = [[file and file.relative_to(folder).as_posix() for file in (f.photo, f.keypoints)] for f in found]
    return [(f.name, *files) for f, files in zip(found, below, strict=True)]


def test_images_and_keypoints_folders(tmp_path):
    _make(tmp_path, "images/b.jpg", "images/sub/a.PNG", "images/only_photo.jpeg", "keypoints/b_keypoints.json")
    _make(tmp_path, "keypoints/sub/a_keypoints.json", "keypoints/only_keypoints.json", "other.json", "images/._b.jpg")
    assert _pairs(tmp_path, find_inputs(tmp_path)) == [
        ("b", "images/b.jpg", "keypoints/b_keypoints.json"),
        ("only", None, "keypoints/only_keypoints.json"),
        ("only_photo", "images/only_photo.jpeg", None),
        ("sub/a", "images/sub/a.PNG", "keypoints/sub/a_keypoints.json"),
    ]


@pytest.mark.parametrize(
    "keypoints",
    [
        "x_keypoints.json",
        "x.json",
        "x.jpg.predictions.json",
        "x.predictions.json",
        "x.jpg.json",
    ],
)
def test_pairs_side_by_side(tmp_path, keypoints):
    _make(tmp_path, "x.jpg", keypoints)
    pairs = [("x", "x.jpg", keypoints)]
    assert _pairs(tmp_path, find_inputs(tmp_path / "x.jpg")) == pairs
    assert _pairs(tmp_path, find_inputs(tmp_path)) == pairs
    assert _pairs(tmp_path, find_inputs(tmp_path / keypoints)) == pairs


def test_single_files_of_the_two_folders(tmp_path):
    _make(tmp_path, "images/x.jpg", "keypoints/x_keypoints.json", "keypoints/y_keypoints.json", "images/z.jpg")
    both = [("x", "images/x.jpg", "keypoints/x_keypoints.json")]
    assert _pairs(tmp_path, find_inputs(tmp_path / "images/x.jpg")) == both
    assert _pairs(tmp_path, find_inputs(tmp_path / "keypoints/x_keypoints.json")) == both
    assert _pairs(tmp_path, find_inputs(tmp_path / "images/z.jpg")) == [("z", "images/z.jpg", None)]
    assert _pairs(tmp_path, find_inputs(tmp_path / "keypoints/y_keypoints.json")) == [
        ("y", None, "keypoints/y_keypoints.json")
    ]


def test_natural_order(tmp_path):
    _make(tmp_path, "frame10.jpg", "frame2.jpg", "frame1.jpg")
    assert [item.name for item in find_inputs(tmp_path)] == ["frame1", "frame2", "frame10"]


def test_names_stay_distinct(tmp_path):
    _make(tmp_path, "a.jpg", "a.png", "b.jpg")
    assert [item.name for item in find_inputs(tmp_path)] == ["a.jpg", "a.png", "b"]


def _annotations(*names):
    return {
        "images": [{"id": i, "file_name": name, "width": 4, "height": 3} for i, name in enumerate(names)],
        "annotations": [{"image_id": i, "keypoints": [1.0] * 51} for i in range(len(names)) for _ in range(i)],
    }


def test_an_annotation_file_goes_with_all_its_photos(tmp_path):
    _make(tmp_path, "a.jpg", "c.jpg", "val/d.jpg")
    _make(tmp_path, "people.json", content=_annotations("a.jpg", "b.jpg", "val/d.jpg"))
    found = find_inputs(tmp_path)
    assert _pairs(tmp_path, found) == [
        ("a", "a.jpg", "people.json"),
        ("b", None, "people.json"),
        ("c", "c.jpg", None),
        ("val/d", "val/d.jpg", "people.json"),
    ]
    assert [len(read_keypoints(f.keypoints, image=f.image)) for f in found if f.keypoints] == [0, 1, 2]
    assert [item.name for item in find_inputs(tmp_path / "people.json")] == ["a", "b", "val/d"]


def test_two_annotation_files_for_one_photo_are_two_inputs(tmp_path):
    _make(tmp_path, "a.jpg")
    _make(tmp_path, "body.json", "hands.json", content=_annotations("a.jpg"))
    found = find_inputs(tmp_path)
    assert [item.name for item in found] == ["a_body", "a_hands"]
    assert all(item.photo == tmp_path / "a.jpg" for item in found)


def test_a_broken_keypoint_file_stays_an_input_of_its_own(tmp_path):
    _make(tmp_path, "a.jpg", "a_keypoints.json")
    (tmp_path / "broken.json").write_text('{"images": [')
    assert FitInput(None, tmp_path / "broken.json", "broken") in find_inputs(tmp_path)


def test_results_written_below_are_not_inputs(tmp_path):
    _make(tmp_path, "a.jpg", "a.json", "out/images/a.jpg", "out/summary.json")
    assert [item.name for item in find_inputs(tmp_path, exclude=[tmp_path / "out"])] == ["a"]


def test_nothing_to_fit_is_said(tmp_path):
    with pytest.raises(BodyfitError, match=r"no photos .* and no keypoint files"):
        find_inputs(tmp_path)
    with pytest.raises(BodyfitError, match="nowhere: no such file or folder"):
        find_inputs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("image", "names", "match"),
    [
        ("a/b.jpg", ["b.jpg", "a/b.jpg"], "a/b.jpg"),
        ("x/b.jpg", ["c.jpg", "b.jpg"], "b.jpg"),
        ("b.png", ["c.jpg", "b.jpg"], "b.jpg"),
        ("COCO_val_000000000785.jpg", ["78", "785"], "785"),
        ("b.jpg", ["c.jpg"], None),
    ],
)
def test_images_are_found_by_other_names(image, names, match):
    assert match_image(image, names) == match


def test_each_folder_is_looked_into_once_whatever_links_lead_to_it(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a_keypoints.json").write_text('{"people": []}')
    for name in ("one", "two", "three"):
        (tmp_path / name).symlink_to(tmp_path)
        (tmp_path / "sub" / name).symlink_to(tmp_path / "sub")
    (tmp_path / "nowhere").symlink_to(tmp_path / "nowhere")
    assert [item.name for item in find_inputs(tmp_path)] == ["sub/a"]


def _results(*ids, key="image_id"):
    return [{key: image, "keypoints": [10.0, 20.0, 0.9] * 17, "score": 0.9} for image in ids]


def test_another_cameras_annotations_are_refused(tmp_path):
    """camB_0001 is not camA_0001, although both end in the same number."""
    _make(tmp_path, "camA_0001.jpg")
    _make(tmp_path, "camB.json", content=_annotations("camB_0001.jpg"))
    for path in (tmp_path, tmp_path / "camB.json"):
        (found,) = [item for item in find_inputs(path) if item.keypoints]
        assert found.photo is None
        assert "holds keypoints of camB_0001.jpg; none of the photos here (camA_0001.jpg)" in found.problem
    _make(tmp_path, "x.jpg")
    _make(tmp_path, "x.json", content=_annotations("y.jpg"))
    assert "holds keypoints of y.jpg, which is another image than x.jpg" in find_inputs(tmp_path / "x.jpg")[0].problem


@pytest.mark.parametrize(
    ("photos", "ids", "meant"),
    [
        (["frame_0", "frame_1", "frame_2"], [0, 1, 2], ["frame_0", "frame_1", "frame_2"]),
        (["frame_1", "frame_2"], [1, 2], ["frame_1", "frame_2"]),
        (["frame_0", "frame_1"], [1, 2], None),  # counted from 1: frame_0 and frame_1
        (["frame_0", "frame_1", "frame_2"], [1, 2], None),
        (["frame_1", "frame_2", "frame_3"], [1, 2], None),  # counted from 0: frame_2 and frame_3
        (["000000000785", "000000040083"], [785, 40083], ["000000000785", "000000040083"]),
        (["COCO_val2014_000000000785"], [785], ["COCO_val2014_000000000785"]),
        (["a_785", "a_900"], [785, 900], ["a_785", "a_900"]),
        (["camA_1", "camB_1"], [1], None),
    ],
)
def test_numbers_mean_photos_only_where_nothing_else_could_be_meant(tmp_path, photos, ids, meant):
    _make(tmp_path, *(f"{name}.jpg" for name in photos))
    _make(tmp_path, "results.json", content=_results(*ids))
    found = [item for item in find_inputs(tmp_path) if item.keypoints]
    if meant is None:
        assert [item.photo for item in found] == [None] and found[0].problem
    else:
        assert [item.photo.stem for item in found] == meant and not any(item.problem for item in found)


@pytest.mark.parametrize("key", ["image_id", "image", "image_path", "file_name", "frame"])
def test_lists_that_name_photos_give_an_input_for_each(tmp_path, key):
    _make(tmp_path, "a.jpg", "b.jpg")
    _make(tmp_path, "predictions.json", content=_results("/data/a.jpg", "/data/b.jpg", "/data/b.jpg", key=key))
    found = find_inputs(tmp_path)
    assert [(item.name, item.image) for item in found] == [("a", "/data/a.jpg"), ("b", "/data/b.jpg")]
    assert [len(read_keypoints(item.keypoints, image=item.image)) for item in found] == [1, 2]


def test_the_same_file_name_in_two_folders(tmp_path):
    _make(tmp_path, "camA/0001.jpg", "camB/0001.jpg")
    _make(tmp_path, "people.json", content=_annotations("camB/0001.jpg", "camA/0001.jpg"))
    assert [i.photo.parent.name for i in find_inputs(tmp_path)] == ["camA", "camB"]
    assert match_image("0001.jpg", ["camA/0001.jpg", "camB/0001.jpg"]) is None


@pytest.mark.parametrize("name", ["x.txt", "x.npy", "x.csv", "x.npz", "x.jsonl"])
def test_other_keypoint_files_beside_their_photo(tmp_path, name):
    _make(tmp_path, "x.jpg", "y.jpg", "y.json")
    (tmp_path / name).write_text("")
    (tmp_path / "README.txt").write_text("not keypoints")
    assert _pairs(tmp_path, find_inputs(tmp_path)) == [("x", "x.jpg", name), ("y", "y.jpg", "y.json")]
    assert _pairs(tmp_path, find_inputs(tmp_path / "x.jpg")) == [("x", "x.jpg", name)]


def test_yolos_images_and_labels(tmp_path):
    _make(tmp_path, "images/x.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "x.txt").write_text("")
    assert _pairs(tmp_path, find_inputs(tmp_path)) == [("x", "images/x.jpg", "labels/x.txt")]


def test_a_video_is_named_as_such(tmp_path):
    _make(tmp_path, "x.mp4")
    with pytest.raises(BodyfitError, match=r"x\.mp4: a video. Expected photos"):
        find_inputs(tmp_path / "x.mp4")


def test_keypoints_named_apart_are_matched_as_in_their_folders(tmp_path):
    _make(tmp_path, "photos/sub/a.jpg", "photos/b.jpg", "photos/c.jpg", "json/sub/a_keypoints.json", "json/b.json")
    _make(tmp_path, "json/other.json", "json/a.json")
    assert _pairs(tmp_path, find_inputs_with([tmp_path / "photos"], tmp_path / "json")) == [
        ("a", None, "json/a.json"),
        ("b", "photos/b.jpg", "json/b.json"),
        ("c", "photos/c.jpg", None),
        ("other", None, "json/other.json"),
        ("sub/a", "photos/sub/a.jpg", "json/sub/a_keypoints.json"),
    ]


def test_one_file_named_apart_holds_the_keypoints_of_several_photos(tmp_path):
    _make(tmp_path, "photos/a.jpg", "photos/b.jpg", "photos/c.jpg")
    _make(tmp_path, "coco.json", content=_annotations("a.jpg", "b.jpg", "z.jpg"))
    photos = [tmp_path / "photos" / name for name in ("b.jpg", "a.jpg")]
    found = find_inputs_with(photos, tmp_path / "coco.json")
    assert [(f.photo, f.image) for f in found] == [(photos[1], "a.jpg"), (photos[0], "b.jpg"), (None, "z.jpg")]
    with pytest.raises(BodyfitError, match="none of the photos here"):
        find_inputs_with([tmp_path / "photos" / "c.jpg"], tmp_path / "coco.json")


def test_mistakes_with_keypoints_named_apart_are_errors(tmp_path):
    _make(tmp_path, "one/a.jpg", "two/a.jpg", "json/b.json", "nothing/x.txt")
    for paths, keypoints, expected in (
        (["one"], "nowhere", "no such file or folder"),
        (["one"], "json", "1 keypoint file, none for any of 1 photo"),
        (["one", "two"], "json", "another photo is named a.jpg, too"),
        (["nothing"], "json", "no photos"),
        (["json/b.json"], "json", "no photo. Expected photos"),
    ):
        with pytest.raises(BodyfitError, match=expected):
            find_inputs_with([tmp_path / path for path in paths], tmp_path / keypoints)


def test_photos_of_kinds_that_are_not_read_are_named(tmp_path, caplog):
    """Phones write HEIC: it was taken for a broken keypoint file, and in a folder nothing was said of it."""
    for name in ("IMG_1.HEIC", "IMG_2.heic", "b.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(BodyfitError, match=r"IMG_1\.HEIC: \.HEIC photos are not read\. Save such photos as JPEG"):
        find_inputs(tmp_path / "IMG_1.HEIC")
    with pytest.raises(BodyfitError, match=r"\.HEIC photos are not read"):
        find_inputs_with([tmp_path / "IMG_1.HEIC"], tmp_path)
    with caplog.at_level("WARNING"):
        assert [item.name for item in find_inputs(tmp_path)] == ["b"]
    assert "IMG_1.HEIC and 1 more: .heic photos are not read, left out" in caplog.text
