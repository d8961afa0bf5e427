"""`bodyfit.fit_video` on arrays: people are told apart whatever their order, and results belong to frames."""

import numpy as np
import pytest

import bodyfit
from bodyfit.fitting.clips import fitting_people
from bodyfit.fitting.clips.fitting_people import FollowedPerson, chosen_people


def test_arrays_of_several_people_in_any_order(figures):
    keypoints = np.full((12, 2, 17, 3), np.nan)
    for t in range(12):
        keypoints[t, t % 2] = figures.figure(200 + 3 * t)
        if t not in (5, 6):
            keypoints[t, 1 - t % 2] = figures.figure(450 - 2 * t, 230, 280)
    clip = bodyfit.fit_video(keypoints, "coco17", fps=30, image_size=figures.size)
    first, second = clip.people
    assert (first.name, second.name) == ("000", "001") and len(clip.tracks) == 2
    assert second.track.status.count("interpolated") == 2
    results = clip.results("001")
    assert (
        len(results) == 10
        and {r.person_id for r in results} == {"001"}
        and {r.status for r in results} == {"converged"}
    )
    assert all(np.array_equal(r.betas, second.track.betas) for r in results)
    assert np.ptp([r.landmarks_px[0, 0] for r in clip.results("000")]) == pytest.approx(33, abs=4)
    with pytest.raises(bodyfit.BodyfitError, match=r"no person '007'\. Found: 000, 001"):
        clip.results("007")


def test_one_person_and_frames(figures):
    keypoints = np.array([figures.figure(200 + 3 * t) for t in range(6)])
    by_array = bodyfit.fit_video(keypoints, "coco17", fps=30, image_size=figures.size)
    frames = [figures.frame([person]) for person in keypoints]
    by_frames = bodyfit.fit_video([*frames[:3], None, *frames[4:]], fps=30)
    assert len(by_array.tracks) == len(by_frames.tracks) == 1
    assert by_frames.tracks[0].status[3] == "interpolated"
    assert np.abs(by_array.tracks[0].transl - by_frames.tracks[0].transl).max() < 0.05


def test_each_frame_may_have_as_many_people_as_were_found_in_it(figures):
    """What detectors give: a list of arrays of different lengths, and None or an empty list where nobody was found."""
    first, second = (np.array([figures.figure(x + 3 * t) for t in range(7)]) for x in (200, 450))
    found = [
        first[:1],
        np.stack([second[1], first[1]]),
        None,
        second[3:4],
        np.stack([first[4], second[4]]),
        [],
        first[6],
    ]
    clip = bodyfit.fit_video(found, "coco17", fps=30, image_size=figures.size)
    frames = [[sighting.frame.name for sighting in person.sightings] for person in clip.people]
    assert frames == [["000000", "000001", "000004", "000006"], ["000001", "000003", "000004"]]


def test_what_is_known_of_people_is_said_as_to_fit(figures):
    keypoints = np.array([figures.figure(200) for _ in range(4)])
    known = {"height": 1.6, "gender": "female", "age": "adult"}
    track = bodyfit.fit_video(keypoints, "coco17", fps=30, image_size=figures.size, **known).tracks[0]
    body = bodyfit.load_body_model(gender="female")
    assert (track.body_model, track.age) == (body.name, "adult, given")
    assert bodyfit.measure_body(body, track.betas).stature == pytest.approx(1.6, abs=0.005)


@pytest.mark.parametrize("ground", [False, True])
def test_motions_are_drawn_without_naming_the_prior(figures, ground):
    """As docs/uncertainty.md shows it: whatever is said about tracks after the fit does not lose what draws them."""
    keypoints = np.array([figures.figure(200) for _ in range(6)])
    track = bodyfit.fit_video(keypoints, "coco17", fps=30, image_size=figures.size, ground=ground).tracks[0]
    drawn = track.sample(2)
    assert drawn["body_pose"].shape == (2, 6, 63) and track.world is not None


@pytest.mark.parametrize(
    ("keypoints", "format", "fps", "message"),
    [
        (np.ones((4, 17, 3)), "coco17", 0, "fps is 0"),
        (np.ones((4, 17, 3)), None, 30, "format='coco17'"),
        (np.ones((17, 3)), "coco17", 30, r"shape \(17, 3\)"),
        (np.ones((4, 16, 3)), "coco17", 30, "17"),
        (np.ones((4, 17, 3)), "coco17", "30", "fps is '30'"),
        ([np.ones((17, 3)), np.ones((1, 1, 17, 3))], "coco17", 30, r"moment 1 have shape \(1, 1, 17, 3\)"),
        ("clip.mp4", "coco17", 30, "clip: keypoints is not an array of numbers"),
    ],
)
def test_what_is_no_clip_is_one_clear_error(keypoints, format, fps, message):
    with pytest.raises(bodyfit.BodyfitError, match=message):
        bodyfit.fit_video(keypoints, format, fps=fps, image_size=(640, 480))


def test_some_people_are_chosen_by_size_and_time():
    people = [
        FollowedPerson(f"{n:03d}", (None,) * count, size) for n, (count, size) in enumerate([(9, 10), (3, 90), (8, 20)])
    ]
    names = {which: [p.name for p in chosen_people(people, which)] for which in ("all", "main", "2", "002", "007")}
    assert names == {"all": ["000", "001", "002"], "main": ["001"], "2": ["001", "002"], "002": ["002"], "007": []}


def test_people_of_one_shot_stand_on_one_floor(figures, monkeypatch):
    """Those of another shot, with another camera, do not; results of all name the floor that they were given."""
    groups, put = [], fitting_people.put_on_ground

    def noted(fits, config):
        groups.append(sorted(len(fit.x) for fit in fits))
        return put(fits, config)

    monkeypatch.setattr(fitting_people, "put_on_ground", noted)
    keypoints = np.full((14, 2, 17, 3), np.nan)
    for t in range(14):
        keypoints[t, 0] = figures.figure(200)
        if t < 8:
            keypoints[t, 1] = figures.figure(450, 230, 280)
    clip = bodyfit.fit_video(keypoints, "coco17", fps=30, image_size=figures.size, cuts=[8], ground=True)
    assert groups == [[8, 8], [6]] and len(clip.tracks) == 3
    assert all(track.floor_source and len(track.touching) == len(track) for track in clip.tracks)
    first, second, _ = clip.tracks
    assert first.floor.size and np.array_equal(first.floor, second.floor)
