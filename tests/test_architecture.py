"""The promises of the layout: arrows go one way, and the three files that say what is installed agree."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("data", "prior", "fitting", "scripts")


def imported_layers(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("bodyfit.")}
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_arrows_go_one_way(layer):
    """data <- prior <- fitting <- scripts: nobody imports what stands above them."""
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    offenders = {f.name: imported_layers(f) & above for f in (ROOT / layer).glob("*.py")}
    assert {name: layers for name, layers in offenders.items() if layers} == {}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    return re.split(r"[<>=\[ ;]", requirement)[0].lower().replace("_", "-")


def pins(text: str) -> dict[str, str]:
    return {name.lower().replace("_", "-"): version for name, version in re.findall(r"([\w.-]+)==([\w.]+)", text)}


def all_requirements() -> set[str]:
    extras = [r for group in project()["optional-dependencies"].values() for r in group]
    return {name_of(r) for r in [*project()["dependencies"], *extras]} - {"bodyfit"}


def test_every_dependency_is_pinned():
    assert all_requirements() - set(pins((ROOT / "constraints.txt").read_text())) == set()


def test_environment_installs_what_pyproject_asks_for():
    """conda users get every package of the default installation and its tests, at the tested versions."""
    found = pins((ROOT / "environment.yml").read_text())
    extras = project()["optional-dependencies"]
    wanted = [*project()["dependencies"], *extras["train"], *extras["view"], *extras["test"]]
    assert set(found) == {name_of(r) for r in wanted} - {"bodyfit"}


def test_environment_and_constraints_pin_the_same():
    constraints = pins((ROOT / "constraints.txt").read_text())
    found = pins((ROOT / "environment.yml").read_text())
    assert {name: constraints.get(name) for name in found} == found


def test_readme_holds_the_two_commands_that_ci_runs():
    lines = [s for s in (ROOT / "README.md").read_text().splitlines() if s.startswith("pip install -c constraints.txt")]
    assert lines == [
        "pip install -c constraints.txt -e . && bodyfit fit data/assets/samples -o out",
        'pip install -c constraints.txt -e ".[test]" && pytest',
    ]
