"""What PyPI shows of the README, and what goes into the packages."""

import re
import runpy
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def readme_for_pypi():
    return runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["readme_for_pypi"]


TEXT = (
    "![A *page*](docs/a.jpg)\n\nSee [the solver](docs/solver.md#terms), [start](#start), [x](https://example.org/y).\n"
)


def test_pictures_and_links_get_whole_addresses(readme_for_pypi):
    assert readme_for_pypi(TEXT, "https://example.org/me/it/") == (
        "![A *page*](https://example.org/me/it/raw/HEAD/docs/a.jpg)\n\n"
        "See [the solver](https://example.org/me/it/blob/HEAD/docs/solver.md#terms), [start](#start), "
        "[x](https://example.org/y).\n"
    )


def test_without_an_address_nothing_leads_nowhere(readme_for_pypi):
    assert readme_for_pypi(TEXT, None) == "See the solver, [start](#start), [x](https://example.org/y).\n"


def test_readme_on_pypi_has_no_path_into_the_repository(readme_for_pypi):
    for repository in (None, "https://example.org/me/it"):
        shown = readme_for_pypi((ROOT / "README.md").read_text(), repository)
        targets = re.findall(r"\]\(([^)]*)\)", shown)
        assert [target for target in targets if not target.startswith(("https://", "#"))] == []
        assert "# bodyfit" in shown and "pip install" in shown


def test_pictures_and_links_of_the_readme_exist():
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", (ROOT / "README.md").read_text())
    assert targets and [target for target in targets if not (ROOT / target).exists()] == []


def test_metadata_is_complete():
    found = metadata.metadata("bodyfit")
    assert found["Description-Content-Type"] == "text/markdown"
    assert found["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in found.get_all("Classifier")
    assert found.get_payload().startswith("# bodyfit")


def test_typed_marker_is_package_data():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert data["bodyfit"] == ["py.typed"] and (ROOT / "bodyfit" / "py.typed").is_file()
