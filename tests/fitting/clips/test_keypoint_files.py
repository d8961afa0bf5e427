"""Which keypoint file is of which frame, and what is said where the two do not fit together."""

import json
import logging

import numpy as np
import pytest

from bodyfit.data.keypoints.people import KeypointError
from bodyfit.fitting.clips.keypoint_files import find_keypoints


def write(figures, folder, names):
    for name in names:
        figures.write_json(folder / name, [figures.figure(300)])


def numbers(found, count):
    return sorted(found.of_frames(count))


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("keypoints", "clip_{:012d}_keypoints.json"),  # OpenPose
        ("clip_json", "clip.{:04d}.json"),  # Pose2Sim
        ("keypoints/clip", "{:06d}.json"),
        (".", "clip_{:012d}_keypoints.json"),
    ],
)
def test_files_are_found_beside_the_video(tmp_path, figures, folder, pattern):
    write(figures, tmp_path / folder, [pattern.format(n) for n in range(12)])
    found = find_keypoints(tmp_path / "clip.mp4", None)
    assert numbers(found, 12) == list(range(12))
    assert found.by_number[7].file.name == pattern.format(7)


def test_files_of_pose2sim_stand_beside_the_folder_of_videos(tmp_path, figures):
    write(figures, tmp_path / "pose" / "cam01_json", [f"cam01.{n:04d}.json" for n in range(3)])
    assert numbers(find_keypoints(tmp_path / "videos" / "cam01.mp4", None), 3) == [0, 1, 2]


def test_files_of_another_video_are_not_taken(tmp_path, figures):
    write(figures, tmp_path / "keypoints", [f"other_{n:012d}_keypoints.json" for n in range(3)])
    assert find_keypoints(tmp_path / "clip.mp4", None) is None
    write(figures, tmp_path / "keypoints", [f"clip2_{n:012d}_keypoints.json" for n in range(3)])
    assert find_keypoints(tmp_path / "clip.mp4", None) is None


def test_one_file_may_hold_all_frames(tmp_path):
    people = [
        {"image_id": f"{n}.jpg", "category_id": 1, "keypoints": [100.0 + n, 50.0, 0.9] * 17, "score": 1.0}
        for n in range(5)
    ]
    path = tmp_path / "alphapose-results.json"
    path.write_text(json.dumps(people))
    found = find_keypoints(tmp_path / "clip.mp4", path)
    assert numbers(found, 5) == [0, 1, 2, 3, 4] and found.by_number[3].image == "3.jpg"


def test_numbers_from_one_are_moved_and_said(tmp_path, figures, caplog):
    write(figures, tmp_path / "keypoints", [f"clip_{n:06d}.json" for n in range(1, 11)])
    with caplog.at_level(logging.INFO):
        assert numbers(find_keypoints(tmp_path / "clip.mp4", None), 10) == list(range(10))
    assert "numbered from 1" in caplog.text


def test_fewer_files_than_frames_are_said_with_both_numbers(tmp_path, figures, caplog):
    write(figures, tmp_path / "keypoints", [f"clip_{n:06d}.json" for n in range(8)])
    assert numbers(find_keypoints(tmp_path / "clip.mp4", None), 100) == list(range(8))
    assert "keypoints of 8 frames" in caplog.text and "the video has 100 frames" in caplog.text


def test_files_of_all_frames_that_are_fitted_need_no_word(tmp_path, figures, caplog):
    write(figures, tmp_path / "keypoints", [f"clip_{n:06d}.json" for n in range(0, 100, 2)])
    found = find_keypoints(tmp_path / "clip.mp4", None)
    assert len(found.of_frames(100, fitted=range(0, 100, 2))) == 50 and not caplog.text
    assert len(found.of_frames(100, fitted=range(0, 100, 4))) == 50 and not caplog.text
    found.of_frames(100, fitted=range(100))
    assert "nobody is seen in the others" in caplog.text


def test_a_few_files_after_the_end_are_left_out_and_said(tmp_path, figures, caplog):
    write(figures, tmp_path / "keypoints", [f"clip_{n:06d}.json" for n in range(12)])
    assert numbers(find_keypoints(tmp_path / "clip.mp4", None), 10) == list(range(10))
    assert "2 beyond its end are left out" in caplog.text


def test_files_of_a_longer_video_are_refused_with_both_numbers(tmp_path, figures):
    write(figures, tmp_path / "keypoints", [f"clip_{n:06d}.json" for n in range(40)])
    found = find_keypoints(tmp_path / "clip.mp4", None)
    with pytest.raises(KeypointError, match=r"keypoints of 40 frames .* the video has 10 frames"):
        found.of_frames(10)
    assert sorted(found.of_frames(10, checks=False)) == list(range(10))


def test_a_place_that_was_given_and_holds_nothing_is_an_error(tmp_path, figures):
    (tmp_path / "empty").mkdir()
    for place, message in (("empty", "is empty"), ("missing", "no such file or folder")):
        with pytest.raises(KeypointError, match=message):
            find_keypoints(tmp_path / "clip.mp4", tmp_path / place)
    np.save(tmp_path / "one.npy", np.ones((17, 3)))
    with pytest.raises(KeypointError, match="numbered frames"):
        find_keypoints(tmp_path / "clip.mp4", tmp_path / "one.npy")
    write(figures, tmp_path / "twice", ["a_001.json", "b_001.json"])
    with pytest.raises(KeypointError, match="both end in 1"):
        find_keypoints(tmp_path / "clip.mp4", tmp_path / "twice")
