"""Templates: what is put in is text, unless it was marked as markup."""

import json

import jinja2
import pytest

from bodyfit.fitting.show.pages import fill_page, page_asset, script_safe_json


def test_text_is_escaped_wherever_it_stands():
    rows = {"<script>alert(1)</script>": '"><img src=x onerror=alert(1)>'}
    html = fill_page("figures.html", status="</b><script>", colour='"><script>', rows=rows)
    assert "<script" not in html and "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_a_variable_that_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="colour"):
        fill_page("figures.html", status="", rows={})


def test_data_comes_back_and_cannot_end_its_script():
    data = {"name": "</script><script>alert('ä & \\u2028')</script>", "n": [1, None]}
    text = script_safe_json(data)
    assert "<" not in text and json.loads(text) == data


def test_scripts_of_ours_stay_as_they_are():
    script = page_asset("report.js")
    assert "=>" in fill_page("report.html", **dict.fromkeys(("title", "subtitle", "css", "data", "viewer_js"), ""),
                             tiles={}, plots=[], notes=[], strips=[], report_js=script)  # fmt: skip
