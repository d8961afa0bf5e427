"""Cuts are found; flashes, motion and slow changes of light are none."""

import numpy as np
import pytest

from bodyfit.fitting.clips.cuts import CutFinder


def room(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)


def with_person(picture: np.ndarray, x: int) -> np.ndarray:
    out = picture.copy()
    out[30:110, x : x + 30] = (200, 150, 120)
    return out


def cuts_of(pictures: list[np.ndarray]) -> list[int]:
    finder = CutFinder()
    for picture in pictures:
        finder.add(picture)
    return finder.cuts()


def test_cuts_are_found_where_they_are():
    film = [with_person(room(1), 2 * t) for t in range(30)] + [with_person(room(2), 2 * t) for t in range(25)]
    assert cuts_of([*film, *([room(3)] * 10)]) == [30, 55]
    assert cuts_of([np.zeros((120, 160, 3), np.uint8), *([room(3)] * 10)]) == [1]  # a black frame at the start


@pytest.mark.parametrize("length", [0, 1, 2])
def test_short_films_have_none(length):
    assert cuts_of([room(1)] * length) == []


def test_a_flash_motion_and_fading_light_are_no_cuts():
    flash = [room(1)] * 20 + [np.full((120, 160, 3), 255, np.uint8)] + [room(1)] * 20
    assert cuts_of(flash) == []
    shaking = [np.roll(room(1), 40 * (t % 3), axis=1) for t in range(30)]  # every frame far from the last
    assert cuts_of(shaking) == []
    fading = [(room(1) * (1 - t / 40)).astype(np.uint8) for t in range(40)]
    assert cuts_of(fading) == []
