"""The public names, what importing bodyfit costs, and that annotations name types that exist."""

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
import typing
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import bodyfit

ROOT = Path(__file__).parents[1]
PUBLIC = """
    BodyModel BodyfitError Detections FitConfig FitResult Fitter Frame Measures Track VPoser export_track fit fit_many
    fit_video fit_views read_rig Rig
    inverse_kinematics load_body_model load_prior measure_body open_results pose_body read_keypoints read_track
    render_overlay save_prior train_prior write_track __version__
"""
"""A name leaves this list only with a major version."""


def test_the_public_names_are_these():
    assert sorted(bodyfit.__all__) == sorted(PUBLIC.split())


@pytest.mark.parametrize("name", PUBLIC.split())
def test_public_name_resolves_and_is_listed(name):
    value = getattr(bodyfit, name)
    assert name in dir(bodyfit)
    assert getattr(value, "__name__", name) == name  # not another thing under this name


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'bodyfit' has no attribute 'fitt'"):
        _ = bodyfit.fitt


def test_type_checkers_see_the_same_names_at_the_same_places():
    tree = ast.parse((ROOT / "bodyfit" / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(block.body)
    seen = {alias.name: node.module for node in imports for alias in node.names if alias.asname == alias.name}
    assert seen == {name: f"bodyfit.{place}" for name, place in bodyfit._HOME.items()}


def functions_of(value: object) -> dict[str, object]:
    """A function itself; of a class, what it defines itself and does not begin with an underscore, and __init__."""
    if not inspect.isclass(value):
        return {value.__name__: value}
    members = {
        name: getattr(member, "__func__", getattr(member, "fget", member)) for name, member in vars(value).items()
    }
    return {
        f"{value.__name__}.{name}": member
        for name, member in members.items()
        if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_"))
    }


@pytest.mark.parametrize("name", [name for name in bodyfit.__all__ if name != "__version__"])
def test_public_functions_are_annotated_in_full(name):
    for where, function in functions_of(getattr(bodyfit, name)).items():
        signature = inspect.signature(function)
        parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
        assert [p.name for p in parameters if p.annotation is p.empty] == [], where
        assert signature.return_annotation is not signature.empty or where.endswith("__init__"), where


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after running `code`."""
    code += "\nimport sys\nsys.stdout.write('\\n'.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_import_alone_is_light():
    found = modules_after("import bodyfit\nbodyfit.__version__, dir(bodyfit)")
    assert found & {"torch", "numpy", "scipy", "trimesh", "cv2", "smplx", "pyrender", "lightning"} == set()
    assert {name for name in found if name.startswith("bodyfit.")} == set()


def test_results_and_keypoints_are_read_without_torch():
    found = modules_after("import bodyfit\nbodyfit.FitResult, bodyfit.read_keypoints, bodyfit.BodyfitError")
    assert "torch" not in found


def test_one_version_number():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"] and "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "bodyfit.__version__"}
    assert metadata.version("bodyfit") == bodyfit.__version__


MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ("data", "prior", "fitting", "scripts")
    for file in sorted((ROOT / room).rglob("*.py"))
]


def definitions_of(module: object) -> list[tuple[str, object]]:
    """Functions, classes and methods that a module defines itself, with their names."""
    found = []
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__ or not callable(value):
            continue
        if inspect.isfunction(inspect.unwrap(value)) or inspect.isclass(value):
            found.append((name, inspect.unwrap(value)))
        for inner, member in vars(value).items() if inspect.isclass(value) else ():
            function = getattr(member, "fget", None) or getattr(member, "__func__", None) or inspect.unwrap(member)
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                found.append((f"{name}.{inner}", function))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_annotations_name_types_that_exist(name):
    unknown = {}
    for definition, value in definitions_of(importlib.import_module(f"bodyfit.{name}")):
        try:
            typing.get_type_hints(value)
        except NameError as error:
            unknown[definition] = str(error)
    assert unknown == {}


def test_what_a_notebook_shows_is_short():
    """The value of a cell's last line is printed: a sentence says more than hundreds of numbers."""
    frame = bodyfit.Frame.from_keypoints(np.zeros((2, 17, 3)), "coco17", image_size=(640, 480))
    result = bodyfit.fit([frame])[0]
    rig = bodyfit.Rig.from_arrays(np.diag([500, 500, 1.0])[None], np.eye(3)[None], np.zeros((1, 3)))
    shown = [repr(one) for one in (frame, frame.detections, result, bodyfit.load_body_model(), rig)]
    assert max(map(len, shown)) < 300 and not any("array(" in one for one in shown)
    assert "2 people, 640 x 480 px" in shown[0] and "failed (" in shown[2]
