"""The report of a clip: a few moments of each person instead of all, and curves over time."""

from collections import Counter

from bodyfit.data.results.clip_index import ClipIndex
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.clip_report import CARDS_PER_PERSON, curves_over_time, people_over_time
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
    error, acceleration = curves_over_time(ClipFrames.of(open_results_folder(clip_folder)))
    assert error.count("<polyline") == acceleration.count("<polyline") == 2


def test_the_page_says_what_it_leaves_out(clip_folder, tmp_path):
    page = write_report(open_results_folder(clip_folder), tmp_path / "r.html", meshes=False).read_text()
    assert "Acceleration of the body joints" in page and "2 people over time" in page
