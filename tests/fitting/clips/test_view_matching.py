"""Who is who across cameras and over time: made-up people in exact geometry, orders shuffled from frame to frame."""

import numpy as np
import pytest

from bodyfit.fitting.clips.view_matching import match_people
from tests.fitting.clips.view_scene import frame, person, place

CAMERAS = {f"cam{n}": place(angle) for n, angle in enumerate((0.0, 1.2, 2.9, 4.4))}
FPS = 30.0


def scene(paths, moments=20, *, hidden=lambda who, camera, t: False, cameras=CAMERAS):
    """Frames of people who walk along paths, and who each detection is: (moment, camera, number) -> person."""
    draw, frames, truth = np.random.default_rng(3), {}, {}
    for t in range(moments):
        frames[t] = {}
        for n, (camera, extrinsics) in enumerate(cameras.items()):
            who = [w for w in draw.permutation(len(paths)) if not hidden(w, camera, t)]
            points = [person(paths[w](t), turned=w + 0.05 * t) for w in who]
            frames[t][camera] = frame(f"{camera}/{t:06d}", points, extrinsics, 4.0, seed=100 * t + n)
            truth |= {(t, camera, i): w for i, w in enumerate(who)}
    return frames, truth


def identities(people, truth):
    """Which true people each of those found is made of."""
    return [{int(truth[s.moment, s.frame.name.split("/")[0], s.person]) for s in sightings} for sightings in people]


def standing(*at):
    return lambda t: np.array(at)


def test_two_people_who_cross_keep_their_names():
    paths = [lambda t: np.array([-0.8 + 0.08 * t, 0, 0.25]), lambda t: np.array([0.8 - 0.08 * t, 0, -0.25])]
    frames, truth = scene(paths)
    people = match_people(frames, FPS)
    assert sorted(map(sorted, identities(people, truth))) == [[0], [1]]
    assert [len(sightings) for sightings in people] == [80, 80]


def test_three_close_people_in_shuffled_order():
    frames, truth = scene([standing(0, 0, 0), standing(0.5, 0, 0.2), standing(-0.5, 0, -0.3)], 5)
    people = match_people(frames, FPS)
    assert sorted(map(sorted, identities(people, truth))) == [[0], [1], [2]]


def test_somebody_whom_one_camera_alone_sees_is_a_person_of_its_own():
    paths = [standing(0, 0, 0), standing(0.9, 0, 0.4)]
    frames, truth = scene(paths, hidden=lambda who, camera, t: who == 1 and camera != "cam2")
    people = match_people(frames, FPS)
    assert identities(people, truth) == [{0}, {1}]
    assert [len(sightings) for sightings in people] == [80, 20]


def test_views_missing_for_a_while_and_a_camera_with_fewer_frames():
    paths = [lambda t: np.array([0.02 * t, 0, 0])]
    gone = {"cam1": range(5, 12), "cam3": range(8, 20), "cam0": range(9, 11), "cam2": range(9, 11)}
    frames, truth = scene(paths, hidden=lambda who, camera, t: t in gone.get(camera, ()))
    for t in range(14, 20):
        del frames[t]["cam3"]
    people = match_people(frames, FPS)
    assert identities(people, truth) == [{0}]
    assert {s.moment for s in people[0]} == set(range(20)) - {9, 10}


def test_a_detection_that_jumps_to_somebody_else_does_not_take_the_others_along():
    """Half of the moments one camera reports only the other person."""
    paths = [standing(0, 0, 0), standing(1.0, 0, -0.6)]
    frames, truth = scene(paths, hidden=lambda who, camera, t: camera == "cam1" and who == t // 10)
    people = match_people(frames, FPS)
    assert sorted(map(sorted, identities(people, truth))) == [[0], [1]]


def test_first_seen_by_single_cameras_then_by_both():
    """Each camera alone starts a person; once both see them, they are one."""

    def hidden(who, camera, t):
        return (camera == "cam0" and 5 <= t < 10) or (camera == "cam1" and t < 5) or camera in ("cam2", "cam3")

    frames, truth = scene([standing(0, 0, 0)], hidden=hidden)
    people = match_people(frames, FPS)
    assert identities(people, truth) == [{0}]


@pytest.mark.parametrize("frames", [{}, {0: {}}, {0: {"cam0": frame("cam0/000000", [], CAMERAS["cam0"])}}])
def test_nobody(frames):
    assert match_people(frames, FPS) == []
