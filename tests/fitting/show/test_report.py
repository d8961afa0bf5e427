"""The report: one file, whole, harmless, small, and alive in a real browser without any network."""

import base64
import json
import re

import numpy as np
import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.meshes import load_mesh
from bodyfit.fitting.show.plots import bands_svg, bars_svg, histogram_svg, lines_svg, nice_ceiling
from bodyfit.fitting.show.report import write_report
from bodyfit.fitting.show.results_folder import open_results_folder
from bodyfit.scripts.report import ReportCommand


@pytest.fixture
def report(results_folder, tmp_path):
    return write_report(open_results_folder(results_folder), tmp_path / "report.html", title="Summer & <sun>")


def page_data(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def test_report_shows_everybody_failures_first(report):
    people = page_data(report)["people"]
    assert [p["name"] for p in people] == ["broken · ?", "beach · 001", "street · 000", "beach · 000"]
    assert [p["mesh"] is not None for p in people] == [False, True, True, True]


def test_photos_and_triangles_are_stored_once(report):
    data = page_data(report)
    assert len(data["images"]) == 2
    assert len(data["topologies"]) == 1


def test_who_is_ambiguous_is_shown_in_all_modes_with_words(report, page):
    modes = [p["modes"] for p in page_data(report)["people"]]
    assert [len(one) for one in modes] == [0, 0, 0, 2]
    assert sum(len(mode["src"]) for mode in modes[3]) < 20_000
    assert modes[3][0]["words"] == "1: best" and modes[3][1]["words"].startswith("2: another pose")
    page.open(report.as_uri())
    page.click(".card:nth-child(4)")
    page.wait(
        "const i = [...document.querySelectorAll('#modes img')];"
        "return i.length === 2 && i.every((one) => one.complete && one.naturalWidth === 300)"
    )
    page.click("#previous")
    page.wait("return document.getElementById('modes').hidden")
    assert page.errors() == []


def test_names_and_reasons_cannot_break_out_of_the_page(report):
    text = report.read_text(encoding="utf-8")
    assert "</script><b>" not in text
    assert "Summer &amp; &lt;sun&gt;" in text
    assert page_data(report)["people"][0]["reason"] == "broken.jpg: </script><b>not an image</b>"


def test_report_refers_to_nothing_outside_itself(report):
    text = re.sub(r'"src":"data:[^"]*"|"data":"[^"]*"|"(?:faces|parents)":"[^"]*"', "", report.read_text())
    links = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s'\"]*|src=[\"'](?!data:)[^\"']+", text))
    assert links <= {"http://www.w3.org/2000/svg"}  # the name of SVG's language, not an address to ask


def test_two_hundred_people_fit_thirty_megabytes(report):
    """Counted from the parts, so that the test need not draw 200 people: each photo its own, each person a mesh."""
    data = page_data(report)
    mesh = max(len(json.dumps(p["mesh"])) for p in data["people"])
    # A 600 x 450 JPEG of a photo takes at most about 66 kB at this quality.
    modes = max(sum(len(mode["src"]) for mode in p["modes"]) for p in data["people"])
    assert 200 * (mesh + modes + 66_000 * 4 / 3) + len(json.dumps(data["topologies"])) < 30e6


def test_more_people_than_cards_are_still_counted(results_folder, tmp_path):
    path = write_report(open_results_folder(results_folder), tmp_path / "few.html", max_people=1, meshes=False)
    assert len(page_data(path)["people"]) == 1
    assert "Cards for the 1 worst of 4 people" in path.read_text()


def test_report_of_nobody_is_refused(with_rows, tmp_path):
    with pytest.raises(BodyfitError, match="lists no people"):
        write_report(open_results_folder(with_rows([])), tmp_path / "report.html")


def test_command_writes_beside_the_results(results_folder):
    assert ReportCommand(results_folder, meshes=False).run() == 0
    assert (results_folder / "report.html").stat().st_size > 10_000


def test_report_lives_in_a_browser_without_network(report, page):
    page.open(report.as_uri())
    page.requests()
    assert page.run("return document.querySelectorAll('.card').length") == 4
    # The pictures are drawn.
    assert page.run("return [...document.images].filter(i => i.src).every(i => i.complete && i.naturalWidth > 0)")
    # A click opens a person, and the body is seen.
    page.click(".card:nth-child(3)")
    page.wait("return document.body.dataset.shows === 'street · 000'")
    first = page.screenshot("#canvas")
    assert body_share(first) > 0.03
    # The mouse turns it, the buttons look from elsewhere, the next one is another person.
    page.drag("#canvas", 150, 20)
    turned = page.screenshot("#canvas")
    assert np.abs(first.astype(int) - turned).mean() > 1
    page.press("#next", "ArrowRight")
    page.wait("return document.body.dataset.shows === 'beach · 000'")
    assert page.run("return document.getElementById('name').textContent") == "beach · 000"
    page.click("#previous")
    page.wait("return document.body.dataset.shows === 'street · 000'")
    assert page.errors() == []
    assert [url for url in page.requests() if not url.startswith(("file:", "data:", "blob:", "chrome"))] == []


def test_report_filters_by_status_and_words(report, page):
    page.open(report.as_uri())
    page.click("#statuses label:nth-child(1) input")  # failed ones away
    assert page.run("return [...document.querySelectorAll('.card b')].map(b => b.textContent)") == [
        "beach · 001",
        "street · 000",
        "beach · 000",
    ]
    page.press("#search", "beach")
    assert page.run("return document.getElementById('count').textContent") == "2 of 4 people"
    assert page.errors() == []


def test_glb_saved_by_the_page_is_the_body(report, page, results_folder, tmp_path):
    page.open(report.as_uri())
    page.click(".card:nth-child(3)")
    page.wait("return document.body.dataset.shows === 'street · 000'")
    encoded = page.run(
        "const reader = new FileReader(); reader.readAsDataURL(glbOf(body.positions, body.faces));"
        "return new Promise(done => { reader.onload = () => done(reader.result.split(',')[1]) })"
    )
    path = tmp_path / "saved.glb"
    path.write_bytes(base64.b64decode(encoded))
    saved, _ = load_mesh(path)
    vertices, _ = open_results_folder(results_folder).find("street")[0].mesh()
    assert len(saved) == len(vertices)
    np.testing.assert_allclose(np.ptp(saved, axis=0), np.ptp(vertices, axis=0), atol=1e-3)
    arms_reach_widest_at = saved[np.abs(saved[:, 0]).argmax(), 1]
    widest_in_camera = vertices[np.abs(vertices[:, 0] - np.mean([vertices[:, 0].max(), vertices[:, 0].min()])).argmax()]
    middle = (vertices[:, 1].max() + vertices[:, 1].min()) / 2
    assert arms_reach_widest_at == pytest.approx(middle - widest_in_camera[1], abs=0.02)  # y is up


def body_share(picture):
    """Share of pixels that are coloured, as bodies are and paper is not."""
    return float((np.ptp(picture.astype(int), axis=2) > 40).mean())


def test_histogram_counts_everything_and_marks_the_median():
    svg = histogram_svg({"a": [1, 1, 2], "b": [1000.0]}, colours={}, title="T <1>", unit="px", bins=4)
    counts = [int(n) for n in re.findall(r"<title>[ab]: (\d+) from", svg)]
    assert sum(counts) == 4
    assert "median 1.5 px" in svg
    assert "T &lt;1&gt;" in svg


def test_words_on_the_median_stay_inside_the_plot():
    for values, anchor in (([1.0, 1.0, 10.0], "start"), ([1.0, 9.9, 10.0], "end")):
        svg = histogram_svg({"a": values}, colours={}, title="t", unit="px")
        assert f"text-anchor='{anchor}'>median" in svg


def test_charts_of_nothing_say_so():
    assert "no numbers" in histogram_svg({"a": []}, colours={}, title="t", unit="px")
    assert "no numbers" in lines_svg({"loss": ([0, 1], [np.nan, np.nan])}, title="t", x_unit="epoch")


def test_bars_show_shares():
    assert "3 (75 %)" in bars_svg({"converged": 3, "failed": 1}, colours={}, title="Status")


def test_curves_leave_out_what_is_not_finite():
    svg = lines_svg({"loss": ([0, 1, 2], [1.0, np.inf, 0.1])}, title="t", x_unit="epoch", log_y=True)
    assert len(re.search(r"points='([^']*)'", svg)[1].split()) == 2


def test_a_curve_of_one_point_is_seen():
    assert lines_svg({"loss": ([0], [1.0])}, title="t", x_unit="epoch").count("<circle") == 1
    assert "<circle" not in lines_svg({"loss": ([0, 1], [1.0, 2.0])}, title="t", x_unit="epoch")


@pytest.mark.parametrize("people", [1, 6, 14])
def test_the_legend_of_curves_lies_above_them(people):
    """Before, it lay over the lines. Whatever the number of names, all are inside the picture."""
    svg = lines_svg({f"{n:03d}": ([0, 1], [5.0, 10.0]) for n in range(people)}, title="t", x_unit="s", from_zero=True)
    heights = [float(y) for points in re.findall(r"points='([^']*)'", svg) for y in re.findall(r",([\d.]+)", points)]
    names = re.findall(r"<text x='(\d+)' y='(\d+)'>\d{3}</text>", svg)
    assert len(names) == people and max(int(y) for _, y in names) < min(heights)
    assert max(int(x) for x, _ in names) < 340
    assert ">10</text>" in svg and ">0</text>" in svg


def test_bands_stand_where_something_is_the_case():
    rows, colours = {"000 L": [(0.5, 1.0)], "000 R": []}, {"000 L": "#123456"}
    svg = bands_svg(rows, colours=colours, title="Feet", x_range=(0.0, 2.0), x_unit="s")
    [(x, width)] = re.findall(r"<rect x='([\d.]+)' y='[\d.]+' width='([\d.]+)'[^>]*fill='#123456'", svg)
    assert float(x) == pytest.approx(44 + 304 / 4, abs=0.1) and float(width) == pytest.approx(304 / 4, abs=0.1)


@pytest.mark.parametrize(("value", "expected"), [(0, 1), (0.03, 0.05), (1, 1), (2.1, 2.5), (7, 10), (100, 100)])
def test_axes_end_on_round_numbers(value, expected):
    assert nice_ceiling(value) == pytest.approx(expected)


def test_a_report_goes_to_a_folder_or_an_html_file(results_folder, tmp_path):
    (tmp_path / "there").mkdir()
    assert ReportCommand(results_folder, output=tmp_path / "there", meshes=False).run() == 0
    assert (tmp_path / "there" / "report.html").is_file()
    with pytest.raises(BodyfitError, match=r"report\.pdf: a report is an \.html file"):
        ReportCommand(results_folder, output=tmp_path / "report.pdf").run()
