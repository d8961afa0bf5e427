"""People keep their identity: when they cross, when nobody sees them for a while, and not across a cut."""

import numpy as np
import pytest

from bodyfit.fitting.clips.tracking import track_people

FPS = 30


def spans(tracking):
    return [(t.moments[0], t.moments[-1], len(t.moments)) for t in tracking.tracklets]


def people_of(tracking, frames):
    """The middle of each tracklet's person at each of its moments."""
    return [
        {m: frames[m].detections.xy[p][frames[m].detections.confidence[p] > 0].mean(0)[0] for m, p in
         zip(t.moments, t.people, strict=True)} for t in tracking.tracklets
    ]  # fmt: skip


def test_people_who_cross_keep_their_identities(figures):
    """Two walk through each other; while they overlap the one behind is unseen for a third of a second. The order in
    which the file lists them changes all the time."""
    rng, frames = np.random.default_rng(0), {}
    for t in range(90):
        left = figures.figure(100 + 5 * t, 240, 300, 0.08 * np.sin(t / 4))
        right = figures.figure(540 - 5 * t, 230, 260, 0.08 * np.cos(t / 4))
        people = [left] if 39 <= t < 49 else [left, right]
        for person in people:
            person[:, :2] += rng.normal(0, 2, (17, 2))
        rng.shuffle(people)
        frames[t] = figures.frame(people)
    tracking = track_people(frames, FPS)
    assert spans(tracking) == [(0, 89, 90), (0, 89, 80)] and not tracking.dropped
    first, second = people_of(tracking, frames)
    assert all(abs(x - (100 + 5 * t)) < 12 for t, x in first.items())
    assert all(abs(x - (540 - 5 * t)) < 12 for t, x in second.items())


def test_a_short_absence_is_bridged_and_a_long_one_is_not(figures):
    def seen(gap):
        return {t: figures.frame([] if 30 <= t < 30 + gap else [figures.figure(100 + 2 * t)]) for t in range(150)}

    assert spans(track_people(seen(20), FPS)) == [(0, 149, 130)]
    assert spans(track_people(seen(60), FPS)) == [(0, 29, 30), (90, 149, 60)]


def test_a_gap_without_frames_is_a_gap_like_any_other(figures):
    frames = {t: figures.frame([figures.figure(100 + 2 * t)]) for t in range(60) if not 20 <= t < 30}
    assert spans(track_people(frames, FPS)) == [(0, 59, 50)]


def test_nobody_is_followed_across_a_cut(figures):
    frames = {t: figures.frame([figures.figure(300 + t)]) for t in range(40)}
    assert spans(track_people(frames, FPS, cuts=[25])) == [(0, 24, 25), (25, 39, 15)]


def test_somebody_else_in_another_place_is_somebody_else(figures):
    frames = {t: figures.frame([figures.figure(100 if t < 20 else 500)]) for t in range(40)}
    assert len(track_people(frames, FPS).tracklets) == 2


def test_short_tracks_are_dropped_and_counted(figures):
    frames = {t: figures.frame([figures.figure(150)] + [figures.figure(450)] * (10 <= t < 14)) for t in range(40)}
    tracking = track_people(frames, FPS)
    assert spans(tracking) == [(0, 39, 40)]
    assert [(t.moments[0], len(t.moments)) for t in tracking.dropped] == [(10, 4)]


def test_somebody_found_twice_is_one_person(figures):
    frames = {}
    for t in range(40):
        person = figures.figure(150 + t)
        again = person + np.array([2.0, 1.0, 0.0])
        frames[t] = figures.frame([again, person] if t % 3 else [person])
    assert spans(track_people(frames, FPS)) == [(0, 39, 40)]


@pytest.mark.parametrize("fps", [5, 60])
def test_walking_and_running_are_followed_at_any_frame_rate(figures, fps):
    """A body of 300 px that moves 400 px per second, and then turns around."""
    place = np.concatenate([np.linspace(50, 590, int(1.4 * fps)), np.linspace(590, 50, int(1.4 * fps))])
    frames = {t: figures.frame([figures.figure(x, swing=0.1 * np.sin(9 * t / fps))]) for t, x in enumerate(place)}
    assert len(track_people(frames, fps).tracklets) == 1


def test_somebody_half_hidden_is_the_same_person(figures):
    frames = {}
    for t in range(40):
        person = figures.figure(200 + t)
        if 15 <= t < 30:
            person[11:] = 0  # behind a table
        frames[t] = figures.frame([person])
    assert spans(track_people(frames, FPS)) == [(0, 39, 40)]


def test_a_person_made_of_the_points_of_others_is_nobody(figures):
    """Detectors find a third person between two who walk side by side, and somebody again with the sides exchanged."""
    frames = {}
    for t in range(40):
        left, right = figures.figure(200 + 2 * t), figures.figure(290 + 2 * t)
        mixed = np.where(np.arange(17)[:, None] % 3 == 0, left, right) - [3, 0, 0.2]
        mirrored = right[[0, *(n - 1 if n % 2 == 0 else n + 1 for n in range(1, 17))]] + [2, 2, -0.1]
        people = [left, right] + [mixed] * (t > 10) + [mirrored] * (t > 20)
        frames[t] = figures.frame(people[::-1] if t % 2 else people)
    assert spans(track_people(frames, FPS)) == [(0, 39, 40), (0, 39, 40)]


def test_left_and_right_exchanged_in_some_frames_is_still_the_same_person(figures):
    frames = {}
    for t in range(40):
        person = figures.figure(200 + 2 * t, swing=0.1 * np.sin(t / 3))
        mirrored = person[[0, *(n - 1 if n % 2 == 0 else n + 1 for n in range(1, 17))]]
        frames[t] = figures.frame([mirrored if t % 5 in (1, 2) else person])
    assert spans(track_people(frames, FPS)) == [(0, 39, 40)]
