"""The report of a clip: a few moments of each person instead of all, small pictures of them, and curves over time."""

import base64
import io
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.fitting.draw.colours import person_colour, person_hex
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.clip_report import CARDS_PER_PERSON, clip_tiles, curves_over_time, people_over_time
from bodyfit.fitting.show.clip_strips import strips
from bodyfit.fitting.show.report import write_report
from bodyfit.fitting.show.results_folder import ResultsFolder, open_results_folder


def test_a_long_clip_has_few_cards_spread_over_time(clip_folder):
    """The first, the last and the worst moment of each person are among them."""
    short = open_results_folder(clip_folder)
    entry = short.people[0]
    rows = [
        type(entry)(
            **{**entry.__dict__, "image": f"c/{n:06d}", "person": who, "error_share": 0.9 if n == 1234 else 0.01}
        )
        for n in range(2000)
        for who in ("000", "001")
    ]
    index = ClipIndex(30.0, (0, 1999), {"c": None}, {f"c/{n:06d}": n for n in range(2000)})
    chosen = people_over_time(ClipFrames(ResultsFolder(clip_folder, tuple(rows), {}), index), 200)
    assert max(Counter(p.person for p in chosen).values()) <= CARDS_PER_PERSON
    assert {"c/000000", "c/001234", "c/001999"} <= {p.image for p in chosen if p.person == "001"}


def test_curves_have_a_line_for_each_person(clip_folder):
    curves = curves_over_time(ClipFrames.of(open_results_folder(clip_folder)))
    assert [curve.count("<polyline") for curve in curves] == [2, 2, 2, 2, 0]
    assert all(person_hex(number) in curve for curve in curves[:4] for number in (0, 1))


def test_it_is_shown_when_feet_are_on_the_ground(clip_folder):
    """Person 001 stands on the left foot at moment 3 of 8, at 10 per second, and never on the right one."""
    *_, feet = curves_over_time(ClipFrames.of(open_results_folder(clip_folder)))
    assert re.findall(r"<title>(\d+ [LR]: [^<]*)</title>", feet) == ["001 L: 0.30 to 0.40 s"]


def test_the_page_says_what_it_leaves_out(clip_folder, tmp_path):
    page = write_report(open_results_folder(clip_folder), tmp_path / "r.html", meshes=False).read_text()
    assert "Acceleration of the body joints" in page and "results have a card" in page
    assert page.count('class="strip"') == 2 and 'alt="001 at 0.40 s, interpolated"' in page


@pytest.mark.parametrize("number, row", [(0, 0), (1, 1)])
def test_everybody_is_seen_in_small_pictures_over_time(clip_folder, number, row):
    """No overlay was written here: bodies are drawn for the strip, each in the colour of the person."""
    strip = strips(ClipFrames.of(open_results_folder(clip_folder)))[row]
    assert strip.person == f"{number:03d}"
    times = [float(picture.caption.split()[0]) for picture in strip.pictures]
    assert times == sorted(times) and len(times) == (7, 5)[row]
    assert [("interpolated" in picture.caption) for picture in strip.pictures].count(True) == (0, 2)[row]
    picture = Image.open(io.BytesIO(base64.b64decode(strip.pictures[-1].src.partition(",")[2])))
    assert picture.height <= 160 and picture.width <= 240
    colours = np.asarray(picture).reshape(-1, 3) / 255.0
    alike = colours @ person_colour(number) / np.linalg.norm(colours, axis=1).clip(1e-6)
    assert (alike > 0.98 * np.linalg.norm(person_colour(number))).mean() > 0.15


def test_the_strip_of_several_cameras_is_one_cameras(views_folder):
    clip = ClipFrames.of(open_results_folder(views_folder))
    [strip] = strips(clip)
    assert "8 moments seen · 3 cameras, here cam1" in strip.words and len(strip.pictures) == 8
    assert clip_tiles(clip)["people"] == "1" and clip_tiles(clip)["cameras"] == "3"
