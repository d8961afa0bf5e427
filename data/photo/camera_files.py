"""Camera files of many programs -> plain dictionaries of their fields, a dictionary for each camera.

OpenCV's YAML, XML and JSON; ROS; Kalibr; EasyMocap's intri.yml (and extri.yml beside it); Pose2Sim's and anipose's
TOML; COLMAP's cameras.txt; nerfstudio's and instant-ngp's transforms.json; .npy, .npz. `intrinsics.py` says what
the fields mean.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import ArrayFile, check_file, read_bytes, read_json

Fields = Mapping[str, Any]

_MOST_BYTES = 16 * 1024**2
SUFFIXES = (".json", ".npz", ".npy", ".yml", ".yaml", ".xml", ".toml", ".txt")

_COLMAP = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
}


class CameraError(BodyfitError):
    """A camera file or a focal length that cannot be used."""


def camera_fields(path: Path) -> dict[str, Fields]:
    """The fields of every camera of a file, by its name ('' where it has none). Raises CameraError."""
    suffix = path.suffix.lower()
    check_file(path, CameraError, most=None if suffix == ".npz" else _MOST_BYTES)
    if suffix == ".npz":
        with ArrayFile(path, CameraError) as file:
            return _split({key: file.read(key, most=_MOST_BYTES) for key in file.keys if not file.dtype(key).hasobject})
    if suffix == ".npy":
        return {"": {"K": _npy(path)}}
    if suffix == ".txt":
        return _colmap(path)
    if suffix in (".yml", ".yaml"):
        return _split(_yaml(path))
    if suffix == ".xml":
        return _split(_xml(path))
    if suffix == ".toml":
        return _split(_toml(path))
    content = read_json(path, CameraError, most=_MOST_BYTES * 16)
    return _split(content if isinstance(content, dict) else {"K": content})


# --- one or many cameras ---------------------------------------------------------------------------------------------

_SIGNS = {
    *("K", "camera_matrix", "intrinsics", "mtx", "matrix", "focal", "focal_px", "fx", "fl_x", "cameraMatrix"),
    *("Camera_Matrix", "intrinsic_matrix", "intrinsic", "camera_angle_x", "cameramatrix", "f"),
}


def _split(content: Any) -> dict[str, Fields]:
    """One camera's fields under '', or each camera's under its name."""
    if not isinstance(content, Mapping):
        raise CameraError("holds no fields")
    numbered = _by_suffix(content)
    if numbered:
        return numbered
    if _SIGNS & content.keys():
        return {"": content}
    listed = content.get("cameras")
    if isinstance(listed, list):
        content = {str(c.get("name", c.get("id", i))): c for i, c in enumerate(listed) if isinstance(c, Mapping)}
    elif isinstance(listed, Mapping):
        content = listed
    elif isinstance(content.get("frames"), list):
        frames = [f for f in content["frames"] if isinstance(f, Mapping) and _SIGNS & f.keys()]
        content = {str(f.get("file_path", i)): f for i, f in enumerate(frames)}
    found = {str(k): v for k, v in content.items() if isinstance(v, Mapping) and _SIGNS & v.keys()}
    named = {str(v.get("name", k)): v for k, v in found.items()}
    return named if len(named) == len(found) else found


def _by_suffix(content: Fields) -> dict[str, Fields]:
    """EasyMocap's K_01, dist_01, R_01, T_01, ... by camera."""
    cameras = [key.removeprefix("K_") for key in content if isinstance(key, str) and re.fullmatch(r"K_.+", key)]
    kinds = ("K", "dist", "R", "Rot", "T", "H", "W", "D")
    listed = content.get("names")  # Pose2Sim's converter numbers the fields and gives the names only here
    names = [str(name) for name in listed] if isinstance(listed, list) else []
    names = names if len(set(names)) == len(cameras) and not set(names) & set(cameras) else cameras
    return {
        name: {kind: content[f"{kind}_{key}"] for kind in kinds if f"{kind}_{key}" in content}
        for name, key in zip(names, cameras, strict=True)
    }


# --- kinds of files --------------------------------------------------------------------------------------------------


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as cause:
        raise CameraError(f"{path}: not an array of numbers ({cause}). Expected a 3 x 3 camera matrix.") from cause


def _yaml(path: Path) -> Any:
    """YAML as OpenCV, ROS and Kalibr write it: OpenCV's head is no YAML, and its matrices have a tag of their own."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain values and OpenCV's matrices."""

    for kind in ("opencv-matrix", "opencv-nd-matrix"):
        Loader.add_constructor(
            f"tag:yaml.org,2002:{kind}", lambda loader, node: loader.construct_mapping(node, deep=True)
        )
    merged: dict[str, Any] = {}
    beside = path.with_name({"i": "e", "I": "E"}.get(path.name[0], "") + "xtri" + path.name[5:])
    both = path.name[1:5] == "ntri" and beside.is_file()
    for file in (path, beside) if both else (path,):
        text = re.sub(r"\A%YAML[: ]\s*[\d.]+\s*", "", _text(file))
        try:
            # OpenCV writes "key:!!tag" and "key:value" in old versions; "1." and "1.e+03" are floats to it.
            found = yaml.load(re.sub(r"(?m)^(\s*\w+):(?=[^\s/\\])", r"\1: ", text), Loader)
        except (yaml.YAMLError, ValueError, RecursionError) as cause:
            reason = str(cause).replace("\n", " ")
            raise CameraError(f"{file}: not readable as YAML ({reason:.200}).") from cause
        if not isinstance(found, Mapping):
            raise CameraError(f"{file}: holds no fields. Expected a camera matrix and its like.")
        merged = {**found, **merged}
    return merged


def _xml(path: Path) -> Any:
    text = _text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CameraError(f"{path}: XML with definitions of its own, which is not read for safety.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as cause:
        raise CameraError(f"{path}: not readable as XML ({cause}).") from cause
    return {child.tag: _xml_value(child) for child in root}


def _xml_value(element: ElementTree.Element) -> Any:
    if len(element):
        return {child.tag: _xml_value(child) for child in element}
    words = (element.text or "").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return (element.text or "").strip()
    return numbers[0] if len(numbers) == 1 else numbers


def _toml(path: Path) -> Any:
    try:
        return tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as cause:
        raise CameraError(f"{path}: not readable as TOML ({cause}).") from cause


def _colmap(path: Path) -> dict[str, Fields]:
    """CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]; COLMAP's first pixel has its centre at (0.5, 0.5)."""
    cameras = {}
    for line in _text(path).splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        names = _COLMAP.get(words[1], "").split() if len(words) > 4 else []
        if not names:
            known = ", ".join(_COLMAP)
            raise CameraError(
                f"{path}: '{line[:60]}' is no camera of COLMAP that is known. Expected ID MODEL WIDTH HEIGHT "
                f"PARAMETERS, with a model of {known}."
            )
        try:
            numbers = [float(word) for word in words[2:]]
        except ValueError as cause:
            raise CameraError(f"{path}: '{line[:60]}' holds words where numbers are expected.") from cause
        if len(numbers) != 2 + len(names):
            raise CameraError(f"{path}: {words[1]} has {len(names)} parameters, found {len(numbers) - 2}.")
        fields = dict(zip(names, numbers[2:], strict=True))
        fields |= {"cx": fields["cx"] - 0.5, "cy": fields["cy"] - 0.5, "width": numbers[0], "height": numbers[1]}
        cameras[words[0]] = fields | {"camera_model": words[1]}
    return cameras


def _text(path: Path) -> str:
    try:
        return read_bytes(path, CameraError, most=_MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise CameraError(f"{path}: not a text file.") from cause
