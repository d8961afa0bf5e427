"""Files built exactly in the structure of each producer: every point ends up under its right name, in pixels."""

import json
from pathlib import Path

import numpy as np
import pytest

from bodyfit.data.keypoints import formats as kf
from bodyfit.data.keypoints.detections import KeypointError, read_keypoints
from bodyfit.data.keypoints.names import landmark_of
from bodyfit.data.landmarks import LANDMARK_INDEX as IDS
from bodyfit.data.landmarks import mirrored_name

SIZE = (400, 600)

# Somebody seen from the front, in pixels of a photo of SIZE; the right side mirrors the left.
_LEFT = {
    "eye": (210, 70), "ear": (222, 75), "shoulder": (240, 140), "elbow": (265, 210), "wrist": (270, 280),
    "hip": (225, 300), "knee": (230, 410), "ankle": (232, 510), "heel": (232, 525), "big_toe": (240, 540),
    "small_toe": (250, 535),
}  # fmt: skip
BODY = {"nose": (200.0, 80.0), "neck": (200.0, 140.0), "pelvis": (200.0, 300.0)}
BODY |= {f"left_{name}": (float(x), float(y)) for name, (x, y) in _LEFT.items()}
BODY |= {f"right_{name}": (400.0 - x, float(y)) for name, (x, y) in _LEFT.items()}
for side, sign in (("left", 1), ("right", -1)):
    for f, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
        for p, part in enumerate(("1", "2", "3", "")):
            BODY[f"{side}_{finger}{part}"] = (200.0 + sign * (66 + 3 * f), 284.0 + 4 * p)


def at(name):
    """Where a point is; points that SMPL-X does not have are at a place of their own."""
    return BODY.get(name, (390.0, 590.0))


def flat(points, score=0.9):
    return [value for name in points for value in (*at(name), score)]


def pairs(points):
    return [list(at(name)) for name in points]


def read(tmp_path, content, name="x.json", **options):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_keypoints(path, image_size=SIZE, **options)


def check(found, points, person=0, atol=0.51):
    """The landmarks among `points` are where they belong, and they are many enough to mean something."""
    names = [name for name in points if name in BODY and name in IDS]
    assert len(names) >= 11
    for name in names:
        assert found.confidence[person, IDS[name]] > 0, name
        np.testing.assert_allclose(found.xy[person, IDS[name]], at(name), atol=atol, err_msg=name)
    unnamed = set(IDS) - set(points)
    assert not found.confidence[person, [IDS[name] for name in unnamed]].any()
    assert found.problems[person] is None


COCO = kf.COCO_17.points


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", kf.BODY_FORMATS.values(), ids=lambda table: table.name)
def test_every_table_is_read_from_a_list_of_people_by_its_name(tmp_path, table):
    found = read(tmp_path, [{"keypoints": flat(table.points)}], format=table.name)
    assert found.format.startswith(table.name)
    if table is not kf.MEDIAPIPE_33:
        check(found, table.points)


def test_body_135_by_known_indices(tmp_path):
    """OpenPose's POSE_BODY_135_BODY_PARTS: 17 upper neck, 19 left big toe, 24 right heel, 25 the left thumb's first
    joint, 28 its tip, 64 the right little finger's tip, 65 the face's first point."""
    points = kf.OPENPOSE_BODY_135.points
    expected = {19: "left_big_toe", 24: "right_heel", 25: "left_thumb1", 28: "left_thumb", 64: "right_pinky"}
    assert {i: points[i] for i in expected} == expected and points[65] == kf.FACE_70.points[0] and len(points) == 135


def test_dwpose_134_by_known_indices():
    """rtmlib and DWPose: 18 body points of OpenPose, 6 feet, 68 face, 21 left hand, 21 right hand."""
    expected = {1: "neck", 4: "right_wrist", 17: "left_ear", 18: "left_big_toe", 92: "left_wrist", 133: "right_pinky"}
    assert {i: kf.DWPOSE_134.points[i] for i in expected} == expected


def test_sapiens_308_by_known_indices():
    """The Goliath order: hips before knees without wrists between them, right hand first, tips first."""
    expected = {9: "left_hip", 14: "right_ankle", 15: "left_big_toe", 20: "right_heel", 21: "right_thumb"}
    expected |= {
        24: "right_thumb1",
        25: "right_index",
        41: "right_wrist",
        42: "left_thumb",
        62: "left_wrist",
        69: "neck",
    }
    assert {i: kf.SAPIENS_308.points[i] for i in expected} == expected and len(kf.SAPIENS_308) == 308


@pytest.mark.parametrize("count", [15, 18, 26, 134, 135, 136, 133, 308])
def test_tables_are_known_by_their_number_of_points_in_openpose_layout(tmp_path, count):
    points = kf.BY_COUNT[count].points
    found = read(tmp_path, {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": flat(points)}]})
    check(found, points)


# --- names in the file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "landmark"),
    [
        (
            "left_shoulder LShoulder lsho leftShoulder Left-Shoulder L_Shoulder shoulder_left left|shoulder",
            "left_shoulder",
        ),
        ("rwri right_wrist RWrist r_wri", "right_wrist"),
        ("root pelvis Hip MidHip mid_hip", "pelvis"),
        ("LAnkle left_ankle lank", "left_ankle"),
        ("left_forefinger1 left_index1 LIndex1", "left_index1"),
        ("left_thumb4 left_thumb_tip", "left_thumb"),
        ("right_thumb_third_joint", "right_thumb1"),
        ("LBigToe left_big_toe", "left_big_toe"),
        ("face-30", "nose4"),
    ],
)
def test_names_in_many_spellings(words, landmark):
    assert {word: landmark_of(word) for word in words.split()} == dict.fromkeys(words.split(), landmark)


def test_a_name_and_its_mirror_image_never_mean_the_same_side():
    for name in IDS:
        assert mirrored_name(landmark_of(name)) == landmark_of(mirrored_name(name))
    for word in ("chest", "head_top", "spine", "left", "r", "lip", "rear_wheel", ""):
        assert landmark_of(word) is None, word


def _coco_file(order, names, *, size=SIZE, category="person", annotation=None):
    entry = {"id": 1, "image_id": 5, "category_id": 1, "keypoints": flat(order, 2), "iscrowd": 0, "num_keypoints": 17}
    return {
        "images": [{"id": 5, "file_name": "x.jpg", "width": size[0], "height": size[1]}],
        "annotations": [entry | (annotation or {})],
        "categories": [{"id": 1, "name": category, "keypoints": names}],
    }


def test_coco_categories_name_their_own_order(tmp_path):
    order = [name for name in reversed(COCO)]
    check(read(tmp_path, _coco_file(order, order)), COCO)
    short = {"eye": "eye", "ear": "ear", "shoulder": "sho", "elbow": "elb", "wrist": "wri", "ankle": "ank"}
    words = [n if "_" not in n else n[0] + short.get(n.split("_")[1], n.split("_")[1]) for n in order]
    check(read(tmp_path, _coco_file(order, words)), COCO)
    numbers = [str(i) for i in range(17)]  # CVAT's skeletons have labels that are numbers
    check(read(tmp_path, _coco_file(COCO, numbers)), COCO)


def test_posetrack_names_and_track_ids(tmp_path):
    names = ["nose", "head_bottom", "head_top", *COCO[3:]]
    content = _coco_file(names, names, annotation={"track_id": 7})
    found = read(tmp_path, content)
    check(found, kf.POSETRACK_17.points)
    assert found.person_ids == ("007",)


def test_coco_names_that_mean_nothing_are_refused(tmp_path):
    with pytest.raises(
        KeypointError, match=r"only 0 of them mean points of a human body. Not understood: front_left_p"
    ):
        read(tmp_path, _coco_file(COCO, [f"front_left_{c}" for c in "pqrstuvwxyzabcdef"]))


def test_crowds_and_other_categories_are_no_people(tmp_path):
    content = _coco_file(COCO, list(COCO))
    crowd = content["annotations"][0] | {"iscrowd": 1}
    dog = content["annotations"][0] | {"category_id": 2}
    content["annotations"] += [crowd, dog]
    content["categories"].append({"id": 2, "name": "dog", "keypoints": list(COCO)})
    assert len(read(tmp_path, content)) == 1
    animals = _coco_file(COCO, ["root_of_tail", *COCO[1:]], category="cat")
    assert len(read(tmp_path, animals)) == 0


def _mmpose(points, meta, scores=0.9, frames=None):
    person = {"keypoints": pairs(points), "keypoint_scores": [scores] * len(points), "bbox": [[0, 0, 9, 9]]}
    people = [person | {"bbox_score": 0.9}]
    instances = [{"frame_id": i, "instances": people} for i in frames] if frames else people
    return {"meta_info": meta, "instance_info": instances}


def test_mmpose_meta_info_names_the_points(tmp_path):
    words = (
        "root right_hip right_knee right_foot left_hip left_knee left_foot spine thorax neck_base head left_shoulder"
    )
    words = (words + " left_elbow left_wrist right_shoulder right_elbow right_wrist").split()
    meta = {"dataset_name": "h36m", "keypoint_id2name": {str(i): word for i, word in enumerate(words)}}
    points = kf.H36M_17.points
    check(read(tmp_path, _mmpose(points, meta)), points)
    by_name = {"dataset_name": "h36m", "keypoint_name2id": {word: i for i, word in enumerate(words)}}
    check(read(tmp_path, _mmpose(points, by_name)), points)
    check(read(tmp_path, _mmpose(points, {"dataset_name": "h36m"})), points)
    check(read(tmp_path, _mmpose(points, {"dataset_name": "h36m"}, frames=[1, 2]), image="2"), points)


def test_mmpose_human36m_without_a_word_is_seen_by_its_shape(tmp_path, caplog):
    """17 points are COCO's unless they form a body in the order of Human3.6M alone; that is logged."""
    check(read(tmp_path, _mmpose(kf.H36M_17.points, {})), kf.H36M_17.points)
    assert "in the order of h36m17" in caplog.text
    caplog.clear()
    check(read(tmp_path, _mmpose(COCO, {})), COCO)
    assert not caplog.text


def test_mmpose_inferencer_writes_lists_of_people(tmp_path):
    person = {"keypoints": pairs(COCO), "keypoint_scores": [0.9] * 17, "bbox": [[0, 0, 9, 9]], "bbox_score": 0.9}
    check(read(tmp_path, [[person, person]]), COCO, person=1)


@pytest.mark.parametrize("form", ["tfjs", "posenet"])
def test_points_as_objects_with_names(tmp_path, form):
    if form == "tfjs":
        points = [{"x": at(n)[0], "y": at(n)[1], "score": 0.9, "name": n} for n in reversed(COCO)]
    else:
        camel = [n.split("_")[0] + "".join(w.title() for w in n.split("_")[1:]) for n in COCO]
        points = [
            {"score": 0.9, "part": part, "position": {"x": at(n)[0], "y": at(n)[1]}}
            for part, n in zip(camel, COCO, strict=True)
        ]
    check(read(tmp_path, [{"score": 0.8, "keypoints": points}]), COCO)
    check(read(tmp_path, {"score": 0.8, "keypoints": points}), COCO)


# --- YOLO ------------------------------------------------------------------------------------------------------------


def _yolo_json(track=None):
    x, y = zip(*pairs(COCO), strict=True)
    keypoints = {"x": list(x), "y": list(y), "visible": [0.9] * 17}
    box = {"x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0}
    person = {"name": "person", "class": 0, "confidence": 0.9, "box": box, "keypoints": keypoints}
    return person if track is None else person | {"track_id": track}


def test_yolo_results(tmp_path):
    found = read(tmp_path, [_yolo_json(4), _yolo_json(2), _yolo_json(4) | {"name": "dog", "class": 16}])
    check(found, COCO)
    assert found.person_ids == ("004", "002")


@pytest.mark.parametrize(
    ("third", "tail"), [("2", ""), ("0.91", ""), ("0.91", " 0.8"), ("0.91", " 0.8 12"), (None, "")]
)
def test_yolo_labels(tmp_path, third, tail):
    numbers = " ".join(
        f"{(x + 0.5) / SIZE[0]:.6f} {(y + 0.5) / SIZE[1]:.6f}" + (f" {third}" if third else "") for x, y in pairs(COCO)
    )
    found = read(tmp_path, f"0 0.5 0.5 0.4 0.9 {numbers}{tail}\n", name="x.txt")
    check(found, COCO)
    assert found.person_ids == (("012",) if tail.endswith("12") else ("000",))


def test_other_texts_are_no_labels(tmp_path):
    with pytest.raises(KeypointError, match="not a label file of YOLO pose"):
        read(tmp_path, "hello world\n", name="x.txt")
    with pytest.raises(KeypointError, match=r"line 1 holds 5 numbers.*without keypoints has only 5"):
        read(tmp_path, "0 0.5 0.5 0.4 0.9\n", name="x.txt")


# --- MediaPipe -------------------------------------------------------------------------------------------------------


def _landmarks():
    shares = ((at(n)[0] + 0.5, at(n)[1] + 0.5) for n in kf.MEDIAPIPE_33.points)
    return [{"x": x / SIZE[0], "y": y / SIZE[1], "z": 0.1, "visibility": 0.9} for x, y in shares]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda b: {"pose_landmarks": b},
        lambda b: {"pose_landmarks": [b]},
        lambda b: {"poseLandmarks": b, "leftHandLandmarks": None},
        lambda b: {"landmarks": [b], "worldLandmarks": [b]},
        lambda b: {"landmark": b},
        lambda b: {"pose_landmarks": {"landmark": b}, "face_landmarks": None},
        lambda b: b,
        lambda b: [b],
        lambda b: {"pose_landmarks": [[p["x"], p["y"], p["z"], p["visibility"]] for p in b]},
    ],
)
def test_mediapipe_in_the_layouts_of_its_interfaces(tmp_path, wrap):
    found = read(tmp_path, wrap(_landmarks()))
    assert found.format == "mediapipe33"
    for name in ("left_knee", "right_big_toe", "nose", "left_shoulder"):
        np.testing.assert_allclose(found.xy[0, IDS[name]], at(name), atol=1e-6)


# --- tables and arrays -----------------------------------------------------------------------------------------------


def test_arrays(tmp_path):
    body = np.array(flat(COCO)).reshape(1, 17, 3)
    np.save(tmp_path / "a.npy", body)
    check(read_keypoints(tmp_path / "a.npy", image_size=SIZE), COCO)
    names = list(reversed(COCO))
    points, scores = np.array([pairs(names)]), np.full((1, 17), 0.9)
    np.savez(tmp_path / "b.npz", keypoints=points, scores=scores, names=names, image_size=SIZE)
    check(read_keypoints(tmp_path / "b.npz", image_size=SIZE), COCO)
    np.save(tmp_path / "video.npy", np.stack([body, body + 1]))
    assert len(read_keypoints(tmp_path / "video.npy", image="1")) == 1
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for name, message in (("object.npy", "not an array of plain numbers"),):
        with pytest.raises(KeypointError, match=message):
            read_keypoints(tmp_path / name)
    np.save(tmp_path / "mesh.npy", np.zeros((10, 7)))
    with pytest.raises(KeypointError, match=r"shape \(10, 7\). Expected \(points, 2 or 3\)"):
        read_keypoints(tmp_path / "mesh.npy")


def test_tables_of_one_line_for_each_point_or_each_person(tmp_path):
    lines = [f"x.jpg,3,{n},{at(n)[0]},{at(n)[1]},0.9" for n in COCO]
    found = read(tmp_path, "\n".join(["image,person,name,x,y,score", *lines]), name="a.csv", image="x.jpg")
    check(found, COCO)
    assert found.person_ids == ("003",)
    head = ";".join(f"{n}_x;{n}_y;{n}_score" for n in COCO)
    row = ";".join(f"{at(n)[0]};{at(n)[1]};0.9" for n in COCO)
    check(read(tmp_path, f"{head}\n{row}\n", name="b.csv"), COCO)
    with pytest.raises(KeypointError, match=r"columns a, b\. Expected a line for each point"):
        read(tmp_path, "a,b\n1,2\n", name="c.csv")


# --- videos, tracking ------------------------------------------------------------------------------------------------


def test_openpifpaf_video_is_a_document_a_line(tmp_path):
    people = [{"keypoints": flat(COCO), "bbox": [0, 0, 1, 1], "score": 0.9, "category_id": 1, "id_": i} for i in (3, 1)]
    lines = "\n".join(json.dumps({"frame": f, "predictions": people}) for f in (1, 2))
    found = read(tmp_path, lines, name="clip.mp4.openpifpaf.json", image="2")
    check(found, COCO, person=1)
    assert found.person_ids == ("003", "001")
    assert read_keypoints(tmp_path / "clip.mp4.openpifpaf.json", image="1").image_size == (271, 511)  # of all frames
    with pytest.raises(KeypointError, match="no readable JSON"):
        read(tmp_path, lines[:-20], name="cut.json", image="2")


@pytest.mark.parametrize("key", ["image_id", "file_name", "image", "image_path", "img_path", "filename", "frame"])
def test_lists_name_their_photos_in_many_ways(tmp_path, key):
    people = [{key: f"/data/{name}.jpg", "keypoints": flat(COCO)} for name in "abb"]
    assert len(read(tmp_path, people, image="b.jpg")) == 2


def test_alphapose_open_and_cmu(tmp_path):
    points = kf.OPENPOSE_COCO_18.points
    for people in ({"people": [{"pose_keypoints_2d": flat(points)}]}, {"bodies": [{"joints": flat(points)}]}):
        content = {"1.jpg": {"version": "AlphaPose v0.3", **people}, "2.jpg": {"version": "AlphaPose v0.3", **people}}
        check(read(tmp_path, content, image="2.jpg"), points)


def test_tracking_numbers_that_repeat_follow_nobody(tmp_path):
    people = [{"image_id": "a.jpg", "keypoints": flat(COCO), "idx": 0} for _ in range(2)]
    assert read(tmp_path, people).person_ids == ("000", "001")
    people[1]["idx"] = [5.0]
    assert read(tmp_path, people).person_ids == ("000", "005")


# --- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.5, 0.25], (0.5, 0.25)),
        ([1.3, 0.5], (1, 0.5)),  # SimCC's peaks
        ([7.0, 0.5], (1, 0.5)),  # DWPose
        ([2, 1], (1, 0.5)),  # COCO's visibility
        ([95.0, 40.0], (0.95, 0.4)),  # percent
        ([3.0, -1.5], (1 / (1 + np.exp(-3.0)), 1 / (1 + np.exp(1.5)))),  # logits
    ],
)
def test_what_scores_mean(tmp_path, scores, expected):
    all_scores = [scores[i % 2] for i in range(17)]
    content = [{"keypoints": pairs(COCO), "keypoint_scores": all_scores}]
    found = read(tmp_path, content)
    np.testing.assert_allclose(found.confidence[0, [IDS["nose"], IDS["left_eye"]]], expected, rtol=1e-6)


def test_scores_that_are_none_are_refused(tmp_path):
    with pytest.raises(KeypointError, match="scores of the points reach 300"):
        read(tmp_path, [{"keypoints": flat(COCO, 300)}])


def test_low_scores_want_a_word_from_the_user(tmp_path):
    content = [{"keypoints": flat(COCO, 0.05)}]
    problem = read(tmp_path, content).problems[0]
    assert (
        "the best score in the file is 0.05: " not in problem
        and "best score in the file is 0.05. Say --min-conf" in problem
    )
    found = read(tmp_path, content, min_confidence=0.02)
    check(found, COCO)
    assert found.confidence.max() == 1


def test_the_docs_name_every_format():
    page = (Path(__file__).parents[3] / "docs" / "keypoints.md").read_text()
    assert [name for name in kf.BODY_FORMATS if f"`{name}`" not in page] == []
