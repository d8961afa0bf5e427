"""Whatever a file or folder holds: one clear error or a failed person; nothing is executed, hangs or fills the memory.

Hundreds of bad inputs over every reader are made on the spot. A few processes of their own open them, each with at
most 10 s a file and 1 GB on top of what it had before (tests/hostile/child.py).
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and pipes are Linux's here")

HERE = Path(__file__).parent / "hostile"
SAMPLES = Path(__file__).parents[1] / "data" / "assets" / "samples"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"hostile_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Case:
    """A bad input, and how it ended."""

    name: str
    reader: str
    path: Path
    must_fail: bool
    how: str = "not reached"
    words: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0
    """Memory at most, on top of what the process had taken before."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


def _written(
    base: Path, reader: str, suffix: str, contents: dict[str, bytes], must_fail: bool = True
) -> Iterator[Case]:
    for name, content in contents.items():
        folder = base / reader.replace(" ", "_") / f"{len(os.listdir(_made(base / reader.replace(' ', '_'))))}"
        path = _made(folder) / f"x{suffix}"
        path.write_bytes(content)
        yield Case(name, reader, path, must_fail)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _json_cases(base: Path) -> Iterator[Case]:
    files = _module("files")
    whole = files.whole_json()
    keypoints = json.loads((SAMPLES / "keypoints" / "two_people_keypoints.json").read_text())
    keypoints["people"] = keypoints["people"][:1]
    camera = {"K": [[800, 0, 320], [0, 800, 240], [0, 0, 1]], "image_size": [640, 480]}
    config = {"fit": {"energy": {"hands": 1.0}, "solver": {"max_iterations": 3}}, "camera": {"image_size": [640, 480]}}
    coco = [{"image_id": 1, "category_id": 1, "keypoints": [float(n % 50) for n in range(51)], "score": 0.9}]
    for reader, document in (("keypoints", keypoints), ("camera", camera), ("config", config)):
        yield from _written(base, reader, ".json", whole, must_fail=False)
        yield from _written(base, reader, ".json", dict(files.changed_json(document)), must_fail=False)
    yield from _written(base, "keypoints", ".json", dict(files.changed_json(coco)), must_fail=False)
    yield from _written(base, "result", ".json", whole)
    for reader, name in (
        ("splits", "splits.json"),
        ("prepared poses", "manifest.json"),
        ("results folder", "summary.json"),
    ):
        for case in _written(base, reader, ".json", whole, must_fail=reader != "splits"):
            case.path.rename(case.path.with_name(name))
            yield Case(case.name, reader, case.path.parent, case.must_fail)
    for case in _written(base, "prior", ".json", whole):
        case.path.with_suffix(".safetensors").write_bytes(bytes(8))
        yield Case(case.name, "prior", case.path.with_suffix(".safetensors"), True)


def _binary_cases(base: Path) -> Iterator[Case]:
    files = _module("files")
    names = {
        "body": ("v_template", "weights", "f", "shapedirs"),
        "motion": ("poses", "mocap_framerate"),
        "init": ("global_orient", "body_pose", "betas"),
        "camera": ("K",),
        "upload": ("body_pose",),
    }
    for reader, arrays in names.items():
        yield from _written(base, reader, ".npz", files.broken_arrays(arrays), must_fail=reader in ("body", "motion"))
    yield from _written(base, "result", ".npz", files.broken_arrays(("body_pose", "transl")))
    yield from _written(base, "body", ".pkl", files.pickles())
    for suffix in (".pt", ".ckpt"):
        yield from _written(base, "prior", suffix, files.pickles())
    yield from _written(base, "prior", ".ckpt", files.checkpoints())
    yield from _written(base, "start network", ".safetensors", files.whole_json())
    for reader in ("photo", "photo size"):
        yield from _written(base, reader, ".jpg", files.pictures(), must_fail=False)
    yield from _written(base, "motion", ".bvh", files.bvh_files())


def _pipes(base: Path) -> Iterator[Case]:
    """What would hang, or never end, if it was opened."""
    suffixes = {"keypoints": ".json", "camera": ".json", "config": ".json", "result": ".npz", "body": ".npz"}
    suffixes |= {"prior": ".ckpt", "start network": ".safetensors", "motion": ".bvh", "init": ".npz", "photo": ".jpg"}
    for reader, suffix in suffixes.items():
        for name in ("pipe", "folder", "zeros without end", "loop of links", "missing"):
            path = _made(base / "pipes" / f"{reader}_{name}".replace(" ", "_")) / f"x{suffix}"
            if name == "pipe":
                os.mkfifo(path)
            elif name == "folder":
                path.mkdir()
            elif name != "missing":
                path.symlink_to("/dev/zero" if name.startswith("zeros") else path)
            yield Case(name, reader, path, must_fail=(reader, name) != ("start network", "folder"))


def _folder_cases(base: Path) -> Iterator[Case]:
    folders, sound = _module("folders"), _made(base / "in" / "sound")
    shutil.copy(SAMPLES / "images" / "portrait.jpg", sound / "portrait.jpg")
    shutil.copy(SAMPLES / "keypoints" / "portrait_keypoints.json", sound / "portrait_keypoints.json")
    yield Case("sound", "fit", sound, must_fail=False)
    for name, folder in folders.input_folders(_made(base / "inputs")):
        yield Case(name, "inputs", folder, must_fail=False)
        yield Case(name, "fit", folder, must_fail=False)
    result = _results_folder(base)
    readers = ("report", "render", "convert", "compare", "convert meshes", "side by side")
    for number, (name, folder) in enumerate(folders.tampered_results(result, _made(base / "tampered"))):
        yield Case(name, "results folder", folder, must_fail=False)
        if number % 2 == 0 or name.startswith(("array", "mesh", "result")):  # commands take longer
            yield Case(name, readers[number // 2 % len(readers)], folder, must_fail=False)


def _results_folder(base: Path) -> Path:
    """Results of one person, fitted here."""
    from bodyfit.data.keypoints.inputs import find_inputs
    from bodyfit.fitting.run.config_files import RunConfig
    from bodyfit.fitting.run.folder_run import FolderRun
    from bodyfit.fitting.solve.fitter import Fitter

    config = RunConfig()
    FolderRun(base / "results_sound", Fitter(config=config.fit), config).run(find_inputs(base / "in" / "sound"))
    return base / "results_sound"


def _opened(cases: list[Case], sandbox: Path, work: Path) -> list[Case]:
    """The cases with how they ended."""
    listing = work / "cases.json"
    listing.write_text(json.dumps([[case.reader, str(case.path)] for case in cases]))
    ended: dict[int, dict] = {}
    first = 0
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "HOME": str(sandbox),
        "TMPDIR": str(work),
    }
    while first < len(cases):
        child = subprocess.run(
            [sys.executable, str(HERE / "child.py"), str(listing), str(first), str(sandbox)],
            capture_output=True, text=True, env=environment, timeout=600,
        )  # fmt: skip
        lines = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("{")]
        ended |= {line["end"]: line for line in lines if "end" in line}
        begun = max((line["begin"] for line in lines if "begin" in line), default=None)
        if begun is None:
            raise AssertionError(f"the process that opens the files does not start: {child.stderr[-2000:]}")
        if begun not in ended:
            how = f"the process died ({child.returncode})"
            ended[begun] = {"how": how, "words": child.stderr[-500:], "seconds": 0.0, "peak_mb": 0.0}
        first = begun + 1
    return [
        Case(c.name, c.reader, c.path, c.must_fail, *(ended[n][key] for key in ("how", "words", "seconds", "peak_mb")))
        for n, c in enumerate(cases)
    ]


def _file_cases(base: Path) -> Iterator[Case]:
    yield from _json_cases(base)
    yield from _binary_cases(base)
    yield from _pipes(base)


MAKERS = {"files": _file_cases, "folders": _folder_cases}
FEWEST = {"files": 1000, "folders": 250}


@pytest.mark.parametrize("kind", MAKERS)
def test_bad_inputs_end_in_one_clear_error(kind, tmp_path, sandbox, record_property):
    cases = list(MAKERS[kind](tmp_path))
    assert len(cases) >= FEWEST[kind]
    outside = _tree(sandbox.parent, but=(sandbox, tmp_path))
    cases = _opened(cases, sandbox, tmp_path)
    record_property("cases", len(cases))
    record_property("peak_mb", max(case.peak_mb for case in cases))
    wrong = [
        f"{case.reader}, {case.name}: {case.how}, {case.seconds:.1f} s: {case.words.strip()[-400:]}"
        for case in cases
        if case.how not in ("read", "error")
        or "Traceback (most recent call last)" in case.words
        or (case.must_fail and case.how != "error")
        or (case.how == "error" and len(case.words) > 2500)
        or case.seconds > 10
        or case.peak_mb > 1000
    ]
    assert wrong == [], f"{len(wrong)} of {len(cases)}"
    assert [str(path) for path in sandbox.parent.rglob("executed")] == []
    assert not Path("/tmp/escaped").exists() and not list(sandbox.rglob("escaped*"))
    assert _tree(sandbox.parent, but=(sandbox, tmp_path)) == outside


def _tree(folder: Path, but: tuple[Path, ...]) -> set[Path]:
    return {path for path in folder.iterdir() if path not in but}


def test_keypoints_that_nobody_explains_fail_alone(tmp_path):
    """A run over sound and bad files: the sound come out whole, no nonsense is called converged."""
    from bodyfit.data.keypoints.inputs import find_inputs
    from bodyfit.fitting.run.config_files import OutputOptions, RunConfig
    from bodyfit.fitting.run.folder_run import FolderRun
    from bodyfit.fitting.solve.fitter import Fitter

    folders, photos = _module("folders"), _made(tmp_path / "in")
    numerics = folders.numerics()
    for name, content in numerics.items():
        (photos / f"{name}_keypoints.json").write_bytes(content)
        shutil.copy(SAMPLES / "images" / "two_people.jpg", photos / f"{name}.jpg")
    (photos / "sound_keypoints.json").write_bytes(folders.openpose(folders.person()))
    shutil.copy(SAMPLES / "images" / "two_people.jpg", photos / "sound.jpg")
    config = RunConfig(output=OutputOptions(meshes=False, overlays=False))
    FolderRun(tmp_path / "out", Fitter(config=config.fit), config).run(find_inputs(photos))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    rows = {row["image"]: row for row in summary["people"]}
    assert rows["sound"]["status"] == "converged"
    called_fine = {name for name in numerics if rows[name]["status"] in ("converged", "max_iterations")}
    assert called_fine <= folders.PLAUSIBLE
    assert all(len(rows[name]["reason"]) > 20 for name in numerics.keys() - called_fine)
