"""What commands import: optional and heavy packages only where they are used, in processes of their own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "data" / "assets" / "samples"

RUN = """
import json, sys
for name in {missing!r}:
    sys.modules[name] = None  # as if it could not be imported
from bodyfit.scripts.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(name for name, module in sys.modules.items() if module is not None)]))
"""


def run(*arguments, missing=()):
    """The command's exit code, the names of modules that were imported, and what it wrote on standard error."""
    script = RUN.format(missing=list(missing), arguments=[str(argument) for argument in arguments])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules), done.stderr


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """OUT of a fit with everything that it writes, where OpenCV cannot be imported; and what it imported."""
    folder = tmp_path_factory.mktemp("photos")
    shutil.copy(SAMPLES / "images" / "portrait.jpg", folder)
    shutil.copy(SAMPLES / "keypoints" / "portrait_keypoints.json", folder)
    code, modules, errors = run("fit", folder, "-o", folder / "out", missing=["cv2"])
    assert code == 0, errors
    return folder / "out", modules


def test_fit_needs_no_opencv(fitted):
    out, _ = fitted
    for kind in ("results/portrait/000.npz", "meshes/portrait/000.obj", "images/portrait.jpg"):
        assert (out / kind).stat().st_size > 1000


def test_fit_imports_neither_smplx_nor_what_other_commands_need(fitted):
    _, modules = fitted
    assert modules & {"smplx", "chumpy", "lightning", "pytorch_lightning", "viser", "anny", "matplotlib"} == set()


def test_fit_without_pictures_and_meshes_imports_nothing_that_makes_them(fitted, tmp_path):
    photos = fitted[0].parent / "portrait.jpg"
    code, modules, _ = run("fit", photos, "-o", tmp_path, "--no-overlays", "--no-meshes")
    assert code == 0 and modules & {"smplx", "pyrender", "OpenGL", "cv2", "trimesh"} == set()


def test_pages_and_overlays_need_no_opencv_and_keypoints_say_what_is_missing(fitted, tmp_path):
    out, _ = fitted
    assert run("report", out, "-o", tmp_path / "report.html", missing=["cv2"])[0] == 0
    render = ("render", out, "-o", tmp_path / "a.png", "--style", "side-by-side", "--shadow")
    assert run(*render, missing=["cv2"])[0] == 0
    code, _, errors = run(*render, "--keypoints", missing=["cv2"])
    assert code == 2 and "libgl1" in errors and "opencv-python-headless" in errors and "Traceback" not in errors


HELP = """
import contextlib, io, json, sys
from bodyfit.scripts.cli import main
for arguments in {commands!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([*arguments, "--help"])
print(json.dumps(sorted(sys.modules)))
"""


def test_help_does_not_wait_for_pytorch():
    commands = [["fit"], ["view"], ["report"], ["render"], ["convert"], ["info"], ["prior", "train"]]
    script = HELP.format(commands=commands)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert {"torch", "trimesh", "scipy", "lightning"} & set(json.loads(done.stdout)) == set()
