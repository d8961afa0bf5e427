"""The promises of the layout: arrows go one way, and the three files that say what is installed agree."""

import ast
import graphlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "data": set(),  # errors, files, landmarks
    "data.keypoints": {"data"},
    "data.photo": {"data"},
    "data.detect": {"data", "data.keypoints", "data.photo"},
    "data.body": {"data"},
    "data.motion": {"data", "data.body"},
    "data.results": {"data", "data.body"},
    "prior.model": {"data", "data.body"},
    "prior.training": {"data", "data.motion", "prior.model"},
    "prior.judging": {"data", "data.body", "prior.model", "prior.training"},
    "fitting.energy": {"data", "data.body", "prior.model"},
    "fitting.start": {"data", "data.body", "data.motion", "prior.model", "prior.training", "fitting.energy"},
    "fitting.uncertainty": {"data", "data.body", "prior.model", "fitting.energy"},
    "fitting.solve": {
        *("data", "data.body", "data.keypoints", "data.photo", "data.detect", "data.results", "prior.model"),
        *("fitting.energy", "fitting.start", "fitting.uncertainty"),
    },
    "fitting.draw": {"data"},
    "fitting.show": {
        *("data", "data.body", "data.photo", "data.results", "prior.model"),
        *("prior.training", "fitting.draw"),
    },
    "fitting.run": {
        *("data", "data.body", "data.keypoints", "data.photo", "data.results", "prior.model"),
        *("fitting.solve", "fitting.draw"),
    },
    "fitting.sequence": {
        *("data", "data.body", "data.results", "prior.model"),
        *("fitting.energy", "fitting.uncertainty", "fitting.solve"),
    },
    "fitting.clips": {
        *("data", "data.body", "data.keypoints", "data.photo", "data.detect", "data.results", "prior.model"),
        *("fitting.energy", "fitting.solve", "fitting.sequence", "fitting.run"),
    },
    "fitting.benchmark": {
        *("data", "data.body", "data.keypoints", "data.motion", "data.photo", "data.results", "prior.model"),
        *("prior.training", "prior.judging"),
        *("fitting.energy", "fitting.start", "fitting.solve", "fitting.sequence", "fitting.uncertainty"),
    },
    "scripts.open_body": {"data", "data.body", "fitting.draw"},
    "scripts.detector": {"data", "data.keypoints", "data.photo", "data.detect", "data.body", "fitting.solve"},
}
"""Each room and the rooms that its files may import from, besides their own. `scripts` may import from all."""

SOURCES = [f for layer in ("data", "prior", "fitting", "scripts") for f in sorted((ROOT / layer).rglob("*.py"))]


def name_of_module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """The folder of a module: data.body of data.body.posing, data of data.errors."""
    parts = module.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 or module in ROOMS else parts[0]


def imports_of(file: Path) -> set[str]:
    """Modules of ours that a file imports anywhere, in functions and for types alone, too."""
    modules, found = {name_of_module(f) for f in SOURCES}, set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {n.removeprefix("bodyfit.") for n in names if n.startswith("bodyfit.")} & modules
    return {n for n in found if not any(other.startswith(f"{n}.") for other in found)}


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: str(f.relative_to(ROOT)))
def test_arrows_go_one_way(file):
    """A file imports from its own room and from those below it alone."""
    room = room_of(name_of_module(file))
    if room in ROOMS:
        assert {room_of(name) for name in imports_of(file)} - {room} - ROOMS[room] == set()


def test_every_folder_is_a_known_room():
    folders = {room_of(name_of_module(f)) for f in SOURCES if f.name != "__init__.py"}
    assert folders - {"scripts"} == set(ROOMS)


def test_no_circles():
    """No file imports, by whatever way, one that imports it."""
    graph = {name_of_module(f): imports_of(f) for f in SOURCES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_every_room_but_the_builder_is_packaged():
    packages = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    rooms = {name_of_module(f) for f in SOURCES if f.name == "__init__.py"}
    assert packages == {"bodyfit", *(f"bodyfit.{room}" for room in rooms - {"scripts.open_body", "scripts.detector"})}


def test_tests_mirror_the_rooms():
    """Tests of a room's files stand in the folder of the same name."""
    rooms = {Path(*room.split(".")) for room in [*ROOMS, "scripts"]}
    found = {f.parent.relative_to(ROOT / "tests") for f in (ROOT / "tests").rglob("test_*.py")}
    assert found - rooms - {Path(".")} - {Path("prior"), Path("examples")} == set()


def test_the_architecture_page_names_every_room_and_only_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {room.replace(".", "/") for room in ROOMS if "." in room} | {"scripts"}
    assert {room for room in rooms if f"| `{room}` |" not in text} == set()
    named = re.findall(r"`((?:data|prior|fitting|scripts|tests)/[\w/]*(?:\.py)?)`", text)
    assert {name for name in named if not (ROOT / name).exists()} == set()


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
    wanted = [
        *project()["dependencies"],
        *(r for name in ("train", "view", "video", "bench", "test") for r in extras[name]),
    ]
    assert set(found) == {name_of(r) for r in wanted} - {"bodyfit"}


def test_environment_and_constraints_pin_the_same():
    constraints = pins((ROOT / "constraints.txt").read_text())
    found = pins((ROOT / "environment.yml").read_text())
    assert {name: constraints.get(name) for name in found} == found


def test_readme_holds_the_two_commands_that_ci_runs():
    lines = [s for s in (ROOT / "README.md").read_text().splitlines() if s.startswith("pip install -c constraints.txt")]
    assert lines == [
        "pip install -c constraints.txt -e . && bodyfit fit data/assets/samples -o out",
        'pip install -c constraints.txt -e ".[test]" && pytest -n auto --dist loadfile',
    ]
