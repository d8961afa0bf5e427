"""Bad folders: inputs with pipes and loops of links, tampered results, keypoints that nobody explains."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SAMPLES = Path(__file__).parents[2] / "data" / "assets" / "samples"
EVIL_NAMES = {
    "script": "<script>alert(1)</script>",
    "climbing": "../../../../escaped",
    "absolute": "/tmp/escaped",
    "drive": "C:\\escaped",
    "backslashes": "..\\..\\escaped",
    "NUL": "a\0b",
    "surrogate": "a\ud800b",
    "line": "a\nb",
    "long": "x" * 5000,
    "dots": "...",
    "empty": "",
    "quotes": "\"'><img src=x onerror=alert(1)>",
    "template": "{{7*7}}${7*7}#{7*7}",
    "formula": "=cmd|' /C calc'!A0",
    "override": "a\u202egpj.exe",
    "device": "CON",
}


def person() -> list[float]:
    """The sample's 25 points of a body."""
    document = json.loads((SAMPLES / "keypoints" / "two_people_keypoints.json").read_text())
    return document["people"][0]["pose_keypoints_2d"]


def openpose(numbers: object) -> bytes:
    """A keypoint file of one person."""
    return json.dumps({"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": numbers}]}).encode()


def numerics() -> dict[str, bytes]:
    """Keypoints in a sound file that no body explains, or that are no numbers."""
    points, draw = np.array(person()).reshape(-1, 3), np.random.default_rng(0)

    def moved(xy: np.ndarray) -> bytes:
        return openpose(np.concatenate([np.where(points[:, 2:] > 0, xy, 0), points[:, 2:]], axis=1).ravel().tolist())

    def one(value: float) -> bytes:
        changed = points.copy()
        changed[5, 0] = value
        return openpose(changed.ravel().tolist())

    xy = points[:, :2]
    return {
        "at 1e9 px": moved(xy + 1e9),
        "at -1e9 px": moved(xy - 1e9),
        "at 1e30 px": moved(xy + 1e30),
        "at 1e308 px": moved(np.full_like(xy, 1e308)),
        "100 000 px tall": moved((xy - xy.mean(axis=0)) * 1e5 / np.ptp(xy, axis=0).max()),
        "1e-6 px tall": moved(xy.mean(axis=0) + 1e-9 * xy),
        "normalised": moved(xy / [1280, 720]),
        "identical": moved(np.full_like(xy, 300)),
        "on a line": moved(np.stack([xy[:, 0], 300 + 0 * xy[:, 0]], axis=1)),
        "random": moved(draw.random(xy.shape) * [1280, 720]),
        "permuted": moved(xy[draw.permutation(len(xy))]),
        "one at 1e9": one(1e9),
        "one at 1e308": one(1e308),
        "one NaN": one(float("nan")),
        "one infinite": one(float("inf")),
        "confidence 1e308": openpose((points * [1, 1, 1e308]).ravel().tolist()),
        "confidence 1e-6": openpose((points * [1, 1, 1e-6]).ravel().tolist()),
        "confidence negative": openpose((points * [1, 1, -1]).ravel().tolist()),
        "all zero": openpose([0.0] * 75),
        "texts": openpose(["a"] * 75),
        "true": openpose([True] * 75),
    }


PLAUSIBLE = {"one at 1e9", "one at 1e308", "one NaN", "one infinite", "confidence 1e308", "on a line", "normalised"}
"""Of `numerics`: one bad point, shares of the photo, or something that a lying person may look like."""


def input_folders(base: Path) -> Iterator[tuple[str, Path]]:
    """Folders for `find_inputs`, each with something that is no photo and no keypoint file."""
    for name in ("loop", "pipes", "deep", "link outside", "folders named as files", "device"):
        folder = base / name
        folder.mkdir(parents=True)
        (folder / "a_keypoints.json").write_bytes(openpose(person()))
        if name == "loop":
            (folder / "one").symlink_to(folder / "two")
            (folder / "two").symlink_to(folder / "one")
            (folder / "self").symlink_to(folder)
            (folder / "x.jpg").symlink_to(folder / "x.jpg")
        elif name == "pipes":
            os.mkfifo(folder / "b_keypoints.json")
            os.mkfifo(folder / "b.jpg")
        elif name == "deep":
            (folder / "/".join(["d"] * 300)).mkdir(parents=True)
        elif name == "link outside":
            (folder / "b_keypoints.json").symlink_to("/etc/passwd")
            (folder / "c.jpg").symlink_to("/etc/passwd")
        elif name == "folders named as files":
            (folder / "b_keypoints.json").mkdir()
            (folder / "b.jpg").mkdir()
        elif name == "device":
            (folder / "b_keypoints.json").symlink_to("/dev/zero")
            (folder / "b.jpg").symlink_to("/dev/zero")
        yield name, folder


def tampered_results(sound: Path, base: Path) -> Iterator[tuple[str, Path]]:
    """Copies of a results folder of one person, each with one thing changed."""
    summary = json.loads((sound / "summary.json").read_text())
    row = summary["people"][0]

    def copy(name: str) -> Path:
        folder = base / f"{len(list(base.iterdir()))}"
        shutil.copytree(sound, folder)
        (folder / "about.txt").write_text(name, encoding="utf-8", errors="backslashreplace")
        return folder

    def with_row(name: str, **changes: object) -> tuple[str, Path]:
        folder = copy(name)
        (folder / "summary.json").write_text(json.dumps(summary | {"people": [row | changes]}))
        return name, folder

    for kind, evil in EVIL_NAMES.items():
        yield with_row(f"image {kind}", image=evil)
        yield with_row(f"person {kind}", person=evil)
    for kind in ("result", "mesh", "overlay", "photo"):
        for target in ("/etc/passwd", "../../../../etc/passwd", "/dev/zero", "", 5, None, ["a"], "a\0b", "x" * 5000):
            yield with_row(f"{kind} {target!s:.20}", **{kind: target})
    for key in ("status", "reason", "cost", "error_px", "error_share", "seconds", "ambiguous", "focal_px"):
        for value in (None, "text", -1, 1e308, 10**400, [], {"a": 1}, True, "<script>alert(1)</script>"):
            yield with_row(f"{key} {value!s:.20}", **{key: value})
    yield with_row("status missing", **{"status": None, "image": "two_people"})
    for name, people in (("no rows", []), ("rows of numbers", [1]), ("rows without status", [{"image": "a"}])):
        folder = copy(name)
        (folder / "summary.json").write_text(json.dumps(summary | {"people": people}))
        yield name, folder
    for file in ("summary.json", "config.json"):
        for name, content in (
            ("deep", "[" * 100_000),
            ("cut off", "{"),
            ("UTF-16", "{}".encode("utf-16").decode("latin1")),
        ):
            folder = copy(f"{file} {name}")
            (folder / file).write_text(content, encoding="latin1")
            yield f"{file} {name}", folder
    yield from _tampered_arrays(sound, copy, row)


def _tampered_arrays(sound: Path, copy, row: dict) -> Iterator[tuple[str, Path]]:
    with np.load(sound / row["result"]) as file:
        whole = dict(file)
    changes = {
        "conventions_version": (np.nan, "text", 10**6, -1, np.zeros(3), 1j),
        "image_size": ([0, 0], [10**6, 10**6], [-5, 5], [np.inf, 1], [1], "text"),
        "focal_px": (0.0, -5.0, np.nan, 1e308, "text", np.zeros(2)),
        "landmarks_px": (np.full((144, 2), 1e308), np.full((144, 2), np.nan), np.zeros(3)),
        "keypoints_px": (np.full((144, 2), -1e308), np.full((144, 2), np.inf)),
        "transl": ([0, 0, 0], [0, 0, -5], [1e308] * 3, [np.nan] * 3, [0, 0, 1e-300]),
        "betas": (np.full(10, 1e30), np.full(10, np.nan), np.zeros(0), np.zeros(100_000), np.zeros((2, 5))),
        "body_pose": (np.full(63, 1e308), np.full(63, np.nan), np.zeros(62)),
        "status": ("unknown", 5, "<script>"),
        "photo": ("/etc/passwd", "a\0b", "x" * 100_000, 5),
        "landmark_names": (["nose"], np.zeros(144), ["<script>"] * 144),
        "body_gender": ("../../etc", 5),
        "cost": (np.nan, "text", 1e308),
        "runner_up_body_pose": (np.zeros(63), np.zeros(3)),
    }
    for key, values in changes.items():
        for number, value in enumerate(values):
            name = f"array {key} {number}"
            folder = copy(name)
            np.savez(folder / row["result"], **(whole | {key: np.asarray(value)}))
            yield name, folder
    for name, content in (("cut off", b"PK\x03\x04"), ("empty", b""), ("text", b"hello")):
        for kind in ("result", "mesh"):
            folder = copy(f"{kind} file {name}")
            (folder / row[kind]).write_bytes(content)
            yield f"{kind} file {name}", folder
    folder = copy("result is a pipe")
    (folder / row["result"]).unlink()
    os.mkfifo(folder / row["result"])
    yield "result is a pipe", folder
