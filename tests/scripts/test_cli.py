"""The command line as a shell sees it: exit codes, one line for an error, JSON alone on stdout."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bodyfit.scripts.cli import COMMANDS, main

SAMPLES = Path(__file__).parents[2] / "data" / "assets" / "samples"


def bodyfit(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "bodyfit.scripts.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def portrait(tmp_path) -> Path:
    shutil.copy(SAMPLES / "images" / "portrait.jpg", tmp_path)
    shutil.copy(SAMPLES / "keypoints" / "portrait_keypoints.json", tmp_path)
    return tmp_path / "portrait.jpg"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*name.split(), "--help"])
    assert exit_.value.code == 0
    assert "--help" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(f"bodyfit {name}" in out for name in COMMANDS)


def test_json_is_all_that_stands_on_stdout(portrait, tmp_path):
    done = bodyfit("fit", str(portrait), "-o", str(tmp_path / "out"), "--no-overlays", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["people"]) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fit", "/nowhere/photo.jpg", "-o", "OUT"], "/nowhere/photo.jpg"),
        (["fit", "PHOTO", "-o", "OUT", "--body", "/nowhere/SMPLX.npz"], "/nowhere/SMPLX.npz"),
        (["fit", "PHOTO", "-o", "OUT", "--focal", "wide"], "wide"),
        (["fit", "PHOTO", "-o", "PHOTO/out"], "portrait.jpg/out"),
        (["prior", "dance"], "prior dance"),
    ],
    ids=["no input", "no body", "bad focal", "unwritable output", "no such command"],
)
def test_a_users_mistake_is_one_clear_line(portrait, tmp_path, arguments, expected):
    words = [a.replace("PHOTO", str(portrait)).replace("OUT", str(tmp_path / "out")) for a in arguments]
    done = bodyfit(*words)
    assert done.returncode != 0 and expected in done.stderr and "Traceback" not in done.stderr
