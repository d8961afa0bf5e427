"""Every keypoint format ends up under the right names; what is wrong with a file or a person is said, not hidden."""

import json
from random import Random

import numpy as np
import pytest

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.detections import Detections, KeypointError, read_keypoints
from bodyfit.data.landmarks import LANDMARK_INDEX, LANDMARK_NAMES, mirrored_name

IDS = LANDMARK_INDEX


def _place(name: str) -> tuple[float, float]:
    """A pixel of its own for every point name, so that a swap cannot go unnoticed."""
    if name in IDS:
        return 10.0 + IDS[name], 500.0 - IDS[name]
    return 900.0, 900.0  # points that SMPL-X does not have


def _flat(table: kf.KeypointFormat, confidence: float = 0.9, limit: int | None = None) -> list[float]:
    return [value for name in table.points[:limit] for value in (*_place(name), confidence)]


def _write(tmp_path, content, name="x_keypoints.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _check(found: Detections, tables, confidence=0.9, person=0):
    """All points of `tables` are in their places, and nothing else is there."""
    names = {name for table in tables for name in table.points if name in IDS}
    for i, name in enumerate(LANDMARK_NAMES):
        if name in names:
            assert tuple(found.xy[person, i]) == _place(name), name
            assert found.confidence[person, i] == pytest.approx(confidence), name
        else:
            assert found.confidence[person, i] == 0 and not found.xy[person, i].any(), name


HANDS_FACE = (kf.LEFT_HAND_21, kf.RIGHT_HAND_21, kf.FACE_70)


def _openpose(body, **parts):
    return {"person_id": [-1], "pose_keypoints_2d": body, **parts}


@pytest.mark.parametrize("table", [*kf.BODY_FORMATS.values(), *HANDS_FACE, kf.FACE_68], ids=lambda t: t.name)
def test_tables_name_each_point_once_and_are_symmetric(table):
    assert len(set(table.points) - {f"{s}_wrist" for s in ("left", "right")}) >= len(table.points) - 4
    if not table.name.endswith("hand21"):
        assert {mirrored_name(name) for name in table.points} == set(table.points)


def test_openpose_body_hands_face(tmp_path):
    parts = {
        "hand_left_keypoints_2d": _flat(kf.LEFT_HAND_21),
        "hand_right_keypoints_2d": _flat(kf.RIGHT_HAND_21),
        "face_keypoints_2d": _flat(kf.FACE_70),
    }
    people = [_openpose(_flat(kf.OPENPOSE_BODY_25), **parts)] * 2
    found = read_keypoints(_write(tmp_path, {"version": 1.3, "people": people}))
    assert found.format == "openpose_body25_hands_face"
    assert (len(found), found.person_ids, found.problems) == (2, ("000", "001"), (None, None))
    _check(found, (kf.OPENPOSE_BODY_25, *HANDS_FACE), person=1)


def test_openpose_order_by_known_indices(tmp_path):
    """Against OpenPose's documentation: 1 neck, 8 mid-hip, 14 left ankle, 19 left big toe, 24 right heel; hand 4 is the
    thumb's tip, 17 the little finger's knuckle; face 30 is the nose's tip, 8 the chin.
    """
    body = [value for i in range(25) for value in (i, 100 + i, 0.9)]
    hand = [value for i in range(21) for value in (200 + i, 1, 0.9)]
    face = [value for i in range(70) for value in (300 + i, 1, 0.9)]
    person = _openpose(body, hand_right_keypoints_2d=hand, face_keypoints_2d=face)
    path = _write(tmp_path, {"people": [person]})
    x = read_keypoints(path, format="openpose_body25").xy[0, :, 0]
    for name, index in (("neck", 1), ("pelvis", 8), ("left_ankle", 14), ("left_big_toe", 19), ("right_heel", 24)):
        assert x[IDS[name]] == index
    assert x[IDS["right_thumb"]] == 204 and x[IDS["right_pinky1"]] == 217
    assert x[IDS["nose4"]] == 330 and x[IDS["contour_middle"]] == 308 and x[IDS["right_eye_brow1"]] == 317


def test_openpose_1_0_with_18_points(tmp_path):
    person = {"pose_keypoints": _flat(kf.OPENPOSE_COCO_18), "face_keypoints": [], "hand_left_keypoints": []}
    found = read_keypoints(_write(tmp_path, {"version": 1.0, "people": [person]}))
    assert found.format == "openpose_coco18"
    _check(found, (kf.OPENPOSE_COCO_18,))


def test_no_people_is_no_error(tmp_path):
    for content in ({"people": []}, {"version": 1.3, "people": []}, []):
        assert len(read_keypoints(_write(tmp_path, content))) == 0


# --- BODY_25 and BODY_25B --------------------------------------------------------------------------------------------

STANDING = {  # pixels of someone seen from the front; the mirror image is x -> 400 - x
    "nose": (200, 80), "neck": (200, 140), "pelvis": (200, 300), "left_eye": (210, 70), "left_ear": (222, 75),
    "left_shoulder": (240, 140), "left_elbow": (265, 210), "left_wrist": (270, 280), "left_hip": (225, 300),
    "left_knee": (230, 410), "left_ankle": (232, 510), "left_heel": (232, 525), "left_big_toe": (240, 540),
    "left_small_toe": (250, 535), "upper_neck": (200, 120), "head_top": (200, 30),
}  # fmt: skip


def _standing(table, names=None):
    def at(name):
        x, y = STANDING[name] if name in STANDING else STANDING[mirrored_name(name)]
        return (x, y) if name in STANDING else (400 - x, y)

    return [v for name in table.points for v in ((*at(name), 0.8) if names is None or name in names else (0, 0, 0))]


UPPER_BODY = {name for name in STANDING if STANDING[name][1] < 300}
UPPER_BODY |= {mirrored_name(name) for name in UPPER_BODY}


@pytest.mark.parametrize("table", [kf.OPENPOSE_BODY_25, kf.OPENPOSE_BODY_25B], ids=lambda t: t.name)
@pytest.mark.parametrize("names", [None, UPPER_BODY], ids=["whole", "upper body"])
def test_the_order_is_told_by_the_parts_that_are_seen(tmp_path, table, names):
    people = [_openpose(_standing(table, names))]
    assert read_keypoints(_write(tmp_path, {"people": people})).format == table.name


@pytest.mark.parametrize("table", [kf.OPENPOSE_BODY_25, kf.OPENPOSE_BODY_25B], ids=lambda t: t.name)
@pytest.mark.parametrize("turn", [0, 90, 180])
def test_the_two_orders_of_25_points_are_told_apart(tmp_path, table, turn):
    points = np.reshape(_standing(table), (-1, 3))
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points[:, :2] = points[:, :2] @ rotation.T + 600
    found = read_keypoints(_write(tmp_path, {"people": [_openpose(points.ravel().tolist())]}))
    assert found.format == table.name
    expected = points[table.points.index("right_knee"), :2]
    np.testing.assert_allclose(found.xy[0, IDS["right_knee"]], expected)


def test_people_of_one_file_are_of_one_order(tmp_path):
    whole, stray = _standing(kf.OPENPOSE_BODY_25B), _standing(kf.OPENPOSE_BODY_25B, names=("nose", "left_wrist"))
    found = read_keypoints(_write(tmp_path, {"people": [_openpose(stray), _openpose(whole), _openpose([])]}))
    assert found.format == "openpose_body25b"
    assert tuple(found.xy[0, IDS["left_wrist"]]) == STANDING["left_wrist"]
    assert [problem is None for problem in found.problems] == [False, True, False]


def test_format_can_be_said(tmp_path):
    path = _write(tmp_path, {"people": [_openpose(_standing(kf.OPENPOSE_BODY_25))]})
    assert read_keypoints(path, format="openpose_body25b").format == "openpose_body25b"
    with pytest.raises(KeypointError, match=r"holds 25 points. Expected 17 \(format 'coco17'\)"):
        read_keypoints(path, format="coco17")
    with pytest.raises(KeypointError, match=r"format must be one of .*openpose_body25b.*, got 'body'"):
        read_keypoints(path, format="body")


# --- COCO, Halpe, predictions ----------------------------------------------------------------------------------------


def _annotations(entries, sizes=((640, 480), (320, 200))):
    images = [{"id": 7 + i, "file_name": f"photo{i}.jpg", "width": w, "height": h} for i, (w, h) in enumerate(sizes)]
    return {"images": images, "annotations": entries, "categories": []}


def test_annotation_files_hold_many_images(tmp_path):
    visible = {"image_id": 7, "keypoints": _flat(kf.COCO_17, 2)}
    hidden = {"image_id": 8, "keypoints": _flat(kf.COCO_17, 1)}
    thing = {"image_id": 7, "bbox": [0, 0, 1, 1]}
    path = _write(tmp_path, _annotations([visible, hidden, thing, visible]))
    first = read_keypoints(path, image="photo0.jpg")
    assert (len(first), first.image_size, first.format) == (2, (640, 480), "coco17")
    _check(first, (kf.COCO_17,), confidence=1)
    _check(read_keypoints(path, image="elsewhere/photo1.png"), (kf.COCO_17,), confidence=0.5)
    with pytest.raises(KeypointError, match=r"2 images. Say which: photo0.jpg, photo1.jpg"):
        read_keypoints(path)
    with pytest.raises(KeypointError, match=r"no image 'other.jpg'. Found: photo0.jpg"):
        read_keypoints(path, image="other.jpg")


def test_coco_wholebody_annotations(tmp_path):
    feet = kf.KeypointFormat("feet", kf.COCO_WHOLEBODY_133.points[17:23])
    parts = {
        "foot_kpts": feet,
        "face_kpts": kf.FACE_68,
        "lefthand_kpts": kf.LEFT_HAND_21,
        "righthand_kpts": kf.RIGHT_HAND_21,
    }
    entry = {"image_id": 7, "keypoints": _flat(kf.COCO_17, 2)} | {key: _flat(t, 2) for key, t in parts.items()}
    found = read_keypoints(_write(tmp_path, _annotations([entry], [(10, 10)])))
    assert found.format == "coco_wholebody133"
    _check(found, (kf.COCO_17, *parts.values()), confidence=1)


@pytest.mark.parametrize("table", [kf.COCO_17, kf.HALPE_26, kf.HALPE_136, kf.COCO_WHOLEBODY_133], ids=lambda t: t.name)
def test_lists_of_predictions(tmp_path, table):
    people = [{"image_id": image, "keypoints": _flat(table), "score": 2.5} for image in ("a.jpg", "b.jpg", "a.jpg")]
    found = read_keypoints(_write(tmp_path, people), image="a.jpg")
    assert (len(found), found.format) == (2, table.name)
    _check(found, (table,))
    alone = [{"keypoints": _flat(table), "bbox": [0, 0, 1, 1], "score": 0.7, "category_id": 1}]
    _check(read_keypoints(_write(tmp_path, alone), image="whatever.jpg"), (table,))


def test_results_with_numbered_images(tmp_path):
    path = _write(tmp_path, [{"image_id": number, "keypoints": _flat(kf.COCO_17)} for number in (785, 40083)])
    assert len(read_keypoints(path, image="000000040083.jpg")) == 1


def test_mmpose(tmp_path):
    points = [list(_place(name)) for name in kf.COCO_WHOLEBODY_133.points]
    person = {"keypoints": points, "keypoint_scores": [0.9] * 133, "bbox": [[0, 0, 1, 1]]}
    _check(read_keypoints(_write(tmp_path, [person])), (kf.COCO_WHOLEBODY_133,))
    video = {"meta_info": {}, "instance_info": [{"frame_id": i, "instances": [person] * i} for i in (1, 2)]}
    assert len(read_keypoints(_write(tmp_path, video), image="2")) == 2
    person["keypoint_scores"] = [0.9]
    with pytest.raises(KeypointError, match="133 'keypoints' but 1 scores"):
        read_keypoints(_write(tmp_path, [person]))


def test_mediapipe(tmp_path):
    def shares(table):
        return [{"x": (_place(n)[0] + 0.5) / 1000, "y": (_place(n)[1] + 0.5) / 800, "z": 0.1} for n in table.points]

    face = [[0.0, 0.0]] * 478
    for vertex, name in zip(kf.MEDIAPIPE_FACE_68, kf.FACE_68.points, strict=True):
        face[vertex] = [(_place(name)[0] + 0.5) / 1000, (_place(name)[1] + 0.5) / 800]
    body = [{**point, "visibility": 0.9} for point in shares(kf.MEDIAPIPE_33)]
    person = {"pose_landmarks": body, "left_hand_landmarks": shares(kf.LEFT_HAND_21), "face_landmarks": face}
    sized = read_keypoints(_write(tmp_path, {"image_size": [1000, 800], "people": [person]}))
    assert (sized.format, sized.image_size) == ("mediapipe33_hands_face", (1000, 800))
    for name in ("left_knee", "left_index1", "left_thumb", "nose4", "right_eye1", "contour_middle", "right_big_toe"):
        np.testing.assert_allclose(sized.xy[0, IDS[name]], _place(name), atol=1e-9, err_msg=name)
    assert sized.confidence[0, IDS["left_knee"]] == 0.9 and sized.confidence[0, IDS["left_index1"]] == 1
    alone = _write(tmp_path, person)
    np.testing.assert_allclose(read_keypoints(alone, image_size=(1000, 800)).xy, sized.xy)
    with pytest.raises(KeypointError, match=r"its size is not known\. Add .image_size"):
        read_keypoints(alone)
    with pytest.raises(KeypointError, match=r"'face_landmarks' holds 5 points. Expected 468 or 478"):
        read_keypoints(_write(tmp_path, {**person, "face_landmarks": face[:5], "image_size": [10, 10]}))


# --- bad and missing points ------------------------------------------------------------------------------------------


def test_broken_numbers_count_as_unseen_and_are_logged(tmp_path, caplog):
    body = np.reshape(_flat(kf.OPENPOSE_BODY_25), (-1, 3))
    body[kf.OPENPOSE_BODY_25.points.index("left_knee"), 0] = np.nan
    body[kf.OPENPOSE_BODY_25.points.index("right_knee"), 2] = -0.5
    body[kf.OPENPOSE_BODY_25.points.index("left_hip")] = (5, np.inf, 0.7)
    body[kf.OPENPOSE_BODY_25.points.index("nose"), 2] = 1.006
    body[kf.OPENPOSE_BODY_25.points.index("neck")] = (0, 0, 0.4)
    path = _write(tmp_path, {"people": [_openpose(body.ravel().tolist())]})  # NaN and Infinity as Python writes them
    found = read_keypoints(path, format="openpose_body25")
    for name in ("left_knee", "right_knee", "left_hip", "neck"):
        assert found.confidence[0, IDS[name]] == 0 and not found.xy[0, IDS[name]].any(), name
    assert found.confidence[0, IDS["nose"]] == 1
    assert np.isfinite(found.xy).all()
    assert "person 000: 3 points" in caplog.text


def test_null_points_are_unseen(tmp_path):
    body = _flat(kf.COCO_17)
    body[:3] = [None, None, None]
    assert read_keypoints(_write(tmp_path, [{"keypoints": body}])).confidence[0, IDS["nose"]] == 0


@pytest.mark.parametrize(("hand_confidence", "winner"), [(0.3, "body"), (0.9, "hand")])
def test_the_more_confident_wrist_counts(tmp_path, hand_confidence, winner):
    hand = np.reshape(_flat(kf.LEFT_HAND_21), (-1, 3))
    hand[0] = (77, 78, hand_confidence)
    person = _openpose(_flat(kf.OPENPOSE_BODY_25, 0.5), hand_left_keypoints_2d=hand.ravel().tolist())
    found = read_keypoints(_write(tmp_path, {"people": [person]}), format="openpose_body25")
    expected = {"hand": (77, 78), "body": _place("left_wrist")}[winner]
    assert tuple(found.xy[0, IDS["left_wrist"]]) == expected


def test_vitpose_without_neck_and_mid_hip(tmp_path):
    body = np.reshape(_flat(kf.OPENPOSE_BODY_25), (-1, 3))
    body[[1, 8]] = 0
    found = read_keypoints(_write(tmp_path, {"people": [_openpose(body.ravel().tolist())]}), format="openpose_body25")
    assert found.confidence[0, [IDS["neck"], IDS["pelvis"]]].tolist() == [0, 0]


def test_a_person_with_too_few_points_is_listed_with_the_reason(tmp_path):
    few, enough = np.zeros((25, 3)), np.zeros((25, 3))
    few[[0, 1, 2, 3, 4]] = enough[[0, 1, 2, 3, 4, 5]] = (10, 10, 0.5)
    few[5] = (10, 10, 0.05)
    hand = _flat(kf.RIGHT_HAND_21)  # fingers are no body points
    people = [_openpose(few.ravel().tolist(), hand_right_keypoints_2d=hand), _openpose(enough.ravel().tolist())]
    found = read_keypoints(_write(tmp_path, {"people": people}), format="openpose_body25")
    assert found.problems[1] is None
    assert "at least 6 are needed" in found.problems[0] and "only 6" not in found.problems[0]


# --- files that are no keypoint files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"version": 1.3, "people": [{"pose_keypoi', r"x_keypoints.json: no readable JSON .* Is the file complete"),
        ("", "no readable JSON"),
        ("\x00\xff", "no readable JSON"),
        ({"name": "package", "scripts": {}}, r"found an object with 'name', 'scripts'. Expected keypoints of OpenPose"),
        ([1, 2], "found a list of 2, the first a int"),
        ("3", "found a int"),
        ({"people": [1]}, "'people' is not a list of objects"),
        ({"people": [{"pose_keypoints_2d": [1.0] * 10}]}, "'pose' holds 10 numbers, expected three a point"),
        ({"people": [{"pose_keypoints_2d": [1.0] * 30}]}, "holds 10 points. Expected 15, 16, 17, 18, 25, 26, 33, 133"),
        ({"people": [{"pose_keypoints_2d": ["a"] * 75}]}, "is not a list of numbers"),
        ({"people": [{"pose_keypoints_2d": {"x": 1}}]}, "is not a list of numbers"),
        (
            {"people": [_openpose([1.0] * 75, face_keypoints_2d=[1.0] * 9)]},
            "holds 3 points. Expected 70 or 68, or none",
        ),
        ({"images": [], "annotations": [{"image_id": 1, "keypoints": []}]}, "image 1, not in 'images'"),
        ({"images": [], "annotations": []}, "holds 0 images"),
    ],
)
def test_what_was_found_and_expected_is_said(tmp_path, content, message):
    with pytest.raises(KeypointError, match=message) as caught:
        read_keypoints(_write(tmp_path, content))
    assert "x_keypoints.json" in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(KeypointError, match=r"nothing.json: no such keypoint file"):
        read_keypoints(tmp_path / "nothing.json")


# --- files of the real programs --------------------------------------------------------------------------------------

REAL = [
    ("formats/openpifpaf/000000081988.jpg.predictions.json", None, "coco17", 5, 5),
    ("formats/openpose_v1/random_keypoints.json", None, "openpose_coco18", 2, 2),
    ("formats/openpose_v1.2_body_face/0000_keypoints.json", None, "openpose_body25_face", 1, 1),
    ("formats/vitpose_as_openpose/image_8_keypoints.json", None, "openpose_body25_hands_face", 2, 2),
    ("formats/coco/test_coco.json", "000000196141.jpg", "coco17", 5, 4),
    ("formats/coco/test_coco_wholebody.json", "000000196141.jpg", "coco_wholebody133", 5, 4),
    ("formats/halpe/test_halpe.json", "000000000785.jpg", "halpe136", 1, 1),
    ("exif/keypoints/P01125-150055_keypoints.json", None, "openpose_body25_hands_face", 1, 1),
]


@pytest.mark.parametrize(("file", "image", "format", "people", "usable"), REAL)
def test_real_files(shared, file, image, format, people, usable):
    found = read_keypoints(shared / "photos" / file, image=image)
    assert (found.format, len(found), sum(problem is None for problem in found.problems)) == (format, people, usable)


def test_real_openpose_files_are_read_as_body_25(shared):
    files = sorted((shared / "photos" / "openpose" / "keypoints").glob("*.json"))
    found = [read_keypoints(file) for file in files]
    assert {item.format for item in found} == {"openpose_body25_hands_face"}
    assert sum(len(item) for item in found) == 21


def _damaged(content, random):
    """A copy of a JSON document with one value replaced, removed or doubled somewhere inside."""
    content = json.loads(json.dumps(content))
    at, parent, key = content, None, None
    while isinstance(at, dict | list) and at and (parent is None or random.random() < 0.8):
        parent, key = at, random.choice(list(at) if isinstance(at, dict) else range(len(at)))
        at = parent[key]
    match random.randrange(3):
        case 0:
            parent[key] = random.choice([None, -1, 1e400, 10**400, "x", [], {}, [[]], [1, [2]], True, {"a": 1}])
        case 1:
            del parent[key]
        case 2 if isinstance(parent, list):
            parent.insert(key, at)
    return content


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_give_detections_or_a_clear_error_and_nothing_else(tmp_path, seed):
    body, hand = _flat(kf.OPENPOSE_BODY_25), _flat(kf.LEFT_HAND_21)
    share = {"x": 0.5, "y": 0.5, "visibility": 1.0}
    whole = [
        {"people": [_openpose(body, hand_left_keypoints_2d=hand)]},
        _annotations([{"image_id": 7, "keypoints": _flat(kf.COCO_17, 2), "lefthand_kpts": hand}]),
        [{"image_id": "a.jpg", "keypoints": _flat(kf.HALPE_26)}],
        {"instance_info": [{"instances": [{"keypoints": [[1, 2]] * 17, "keypoint_scores": [0.5] * 17}]}]},
        {"image_size": [10, 10], "people": [{"pose_landmarks": [share] * 33, "face_landmarks": [[0.1, 0.2]] * 468}]},
    ]
    random = Random(seed)
    for _ in range(100):
        path = _write(tmp_path, _damaged(random.choice(whole), random))
        try:
            found = read_keypoints(path, image="photo0.jpg")
        except KeypointError as error:
            assert str(path) in str(error)
        else:
            assert np.isfinite(found.xy).all() and (found.confidence >= 0).all() and (found.confidence <= 1).all()
