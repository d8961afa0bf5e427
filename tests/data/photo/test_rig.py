"""Calibrations of several cameras in the files of each program: the same lenses, places, names and sizes come out."""

import json

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bodyfit.data.photo.camera_files import CameraError
from bodyfit.data.photo.intrinsics import read_camera
from bodyfit.data.photo.rig import Rig, center_of, read_rig

SIZE = (1088, 1920)
NAMES = ("cam_01", "cam_02", "cam_10")
MATRICES = [np.array([[1681.2 + n, 0, 533.0 - n], [0, 1681.1, 948.1], [0, 0, 1]]) for n in range(3)]
DIST = [np.array([-0.1, 0.02, 1e-3, -2e-3, 1e-3 * n]) for n in range(3)]
TURNS = [np.array([1.69, 1.05, -0.42]), np.array([1.35, 1.6, -1.2]), np.array([0.0, 0.0, 0.0])]
SHIFTS = [np.array([0.32, 0.96, 2.89]), np.array([-0.11, 0.78, 3.07]), np.array([0.0, 0.0, 0.0])]


def toml(path, extra=""):
    """As Pose2Sim, anipose and freemocap write it."""
    text = ""
    for name, k, d, r, t in zip(NAMES, MATRICES, DIST, TURNS, SHIFTS, strict=True):
        text += f'[{name}]\nname = "{name}"\nsize = [ {SIZE[0]}.0, {SIZE[1]}.0]\nmatrix = {k.tolist()}\n'
        text += f"distortions = {d.tolist()}\nrotation = {r.tolist()}\ntranslation = {t.tolist()}\nfisheye = false\n"
        text += extra + "\n"
    path.write_text(text + "[metadata]\nadjusted = false\nerror = 0.0\n")
    return path


def easymocap(folder, names=NAMES, keys=NAMES, files=("intri.yml", "extri.yml")):
    """By OpenCV's own writer, as EasyMocap and Pose2Sim's converter do it."""
    intri, extri = (cv2.FileStorage(str(folder / name), cv2.FILE_STORAGE_WRITE) for name in files)
    for file in (intri, extri):
        file.write("names", list(names))
    for key, k, d, r, t in zip(keys, MATRICES, DIST, TURNS, SHIFTS, strict=True):
        intri.write(f"K_{key}", k)
        intri.write(f"dist_{key}", d[None])
        extri.write(f"R_{key}", r[:, None])
        extri.write(f"Rot_{key}", cv2.Rodrigues(r)[0])
        extri.write(f"T_{key}", t[:, None])
    intri.release()
    extri.release()
    return folder


def opencv_files(folder):
    for name, k, d, r, t in zip(NAMES, MATRICES, DIST, TURNS, SHIFTS, strict=True):
        file = cv2.FileStorage(str(folder / f"{name}.yml"), cv2.FILE_STORAGE_WRITE)
        file.write("image_width", SIZE[0])
        file.write("image_height", SIZE[1])
        for key, value in (("camera_matrix", k), ("distortion_coefficients", d), ("rvec", r), ("tvec", t)):
            file.write(key, value)
        file.release()
    return folder


def opencv_in_one(path):
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, k, d, r, t in zip(NAMES, MATRICES, DIST, TURNS, SHIFTS, strict=True):
        file.startWriteStruct(name, cv2.FILE_NODE_MAP)
        for key, value in (("camera_matrix", k), ("dist_coeffs", d), ("R", cv2.Rodrigues(r)[0]), ("T", t)):
            file.write(key, value)
        file.endWriteStruct()
    file.release()
    return path


def colmap(folder, images=tuple(f"{name}.jpg" for name in NAMES)):
    """Text model; pixels start at the corner, and lines of points may be empty."""
    cameras, places = "# Camera list\n", "# Image list\n"
    for n, (k, d, r, t) in enumerate(zip(MATRICES, DIST, TURNS, SHIFTS, strict=True), 1):
        numbers = [k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5, *d, 0, 0, 0]
        cameras += f"{n} FULL_OPENCV {SIZE[0]} {SIZE[1]} {' '.join(map(str, numbers))}\n"
        x, y, z, w = Rotation.from_rotvec(r).as_quat()
        places += f"{n} {w} {x} {y} {z} {t[0]} {t[1]} {t[2]} {n} {images[n - 1]}\n"
        places += "533.5 900.25 17 12.5 3.0e-05 -1\n" if n == 1 else "\n"
    (folder / "cameras.txt").write_text(cameras)
    (folder / "images.txt").write_text(places)
    return folder


def own_json(path):
    fields = zip(NAMES, MATRICES, DIST, TURNS, SHIFTS, strict=True)
    cameras = {
        name: {"K": k.tolist(), "distortion": d.tolist(), "R": cv2.Rodrigues(r)[0].tolist(), "t": t.tolist()}
        | {"image_size": SIZE}
        for name, k, d, r, t in fields
    }
    path.write_text(json.dumps({"cameras": cameras}))
    return path


WRITERS = {
    "pose2sim": lambda folder: toml(folder / "Calib.toml"),
    "pose2sim folder": lambda folder: toml(folder / "Calib.toml").parent,
    "freemocap": lambda folder: toml(folder / "camera_calibration.toml", "world_position = [0.0, 0.0, 0.0]\n"),
    "easymocap": easymocap,
    "intri.yml": lambda folder: easymocap(folder) / "intri.yml",
    "extri.yml": lambda folder: easymocap(folder) / "extri.yml",
    "numbered": lambda folder: easymocap(folder, keys=("1", "2", "3"), files=("Intrinsic.yml", "Extrinsic.yml")),
    "opencv": opencv_files,
    "opencv in one": lambda folder: opencv_in_one(folder / "calib.yml"),
    "colmap": colmap,
    "images.txt": lambda folder: colmap(folder) / "images.txt",
    "colmap folders": lambda folder: colmap(folder, [f"{name}/000001.jpg" for name in NAMES]),
    "json": lambda folder: own_json(folder / "calib.json"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_program(tmp_path, kind):
    rig = read_rig(WRITERS[kind](tmp_path))
    assert sorted(rig.cameras) == sorted(NAMES)
    assert rig.units == ("arbitrary" if kind in ("colmap", "images.txt", "colmap folders") else "file")
    points = np.random.default_rng(1).normal(size=(20, 3)) * 0.5
    for name, k, d, r, t in zip(NAMES, MATRICES, DIST, TURNS, SHIFTS, strict=True):
        camera = rig.for_size(name, SIZE)
        there = points @ np.array(camera.extrinsics.rotation).T + camera.extrinsics.translation
        there[:, 2] += 4  # in front of every camera
        ideal = there[:, :2] / there[:, 2:] * camera.focal_px + camera.center_px
        expected, _ = cv2.projectPoints(points, r, t + np.array([0, 0, 4]), k, d)
        np.testing.assert_allclose(camera.lens.distorted(ideal), expected[:, 0], atol=1e-3)


def test_fisheye_where_the_file_says_so(tmp_path):
    path = toml(tmp_path / "calib.toml")
    lines = path.read_text().replace("fisheye = false", "fisheye = true").splitlines()
    four = [line.replace(line[line.rindex(",") :], "]") if line.startswith("dist") else line for line in lines]
    path.write_text("\n".join(four))
    assert {camera.lens.model for camera in read_rig(path).cameras.values()} == {"fisheye"}


def test_one_camera_of_a_rig_at_the_origin_is_still_no_place_for_single_photos(tmp_path):
    path = toml(tmp_path / "calib.toml")
    assert read_rig(path).cameras["cam_10"].extrinsics.translation == (0, 0, 0)
    assert read_camera(path, "cam_10").extrinsics is None


def test_names(tmp_path):
    rig = read_rig(toml(tmp_path / "calib.toml"))
    for text, name in {
        **{"cam_01": "cam_01", "cam01_json": "cam_01", "cam1": "cam_01", "Cam-01.mp4": None, "Static_cam_02": "cam_02"},
        **{"10": "cam_10", "int_cam10_img": "cam_10", "cam": None, "cam_3": None, "01_02": None},
    }.items():
        assert rig.camera_named(text) == name, text


def test_scaled_moves_cameras_apart(tmp_path):
    rig = read_rig(toml(tmp_path / "calib.toml"))
    first, larger = (center_of(r.cameras["cam_01"].extrinsics) for r in (rig, rig.scaled(1000)))
    np.testing.assert_allclose(larger, 1000 * first)


@pytest.mark.parametrize("size", [(544, 960), (2176, 3840)])
def test_a_calibration_of_another_resolution_is_scaled(tmp_path, size):
    rig = read_rig(toml(tmp_path / "calib.toml"))
    camera, own = rig.for_size("cam_01", size), rig.cameras["cam_01"]
    assert camera.focal_px == pytest.approx(own.focal_px * size[0] / SIZE[0])
    assert camera.lens.fx == pytest.approx(own.lens.fx * size[0] / SIZE[0])


def test_a_few_pixels_that_a_codec_adds_are_no_scaling(tmp_path):
    rig = read_rig(toml(tmp_path / "calib.toml"))
    assert rig.for_size("cam_01", (1080, 1920)).lens == rig.cameras["cam_01"].lens


@pytest.mark.parametrize("size", [(1920, 1088), (1000, 1000), (1088, 1000)])
def test_a_calibration_of_another_shape_is_refused(tmp_path, size):
    rig = read_rig(toml(tmp_path / "calib.toml"))
    with pytest.raises(CameraError, match=r"cam_01.*differ in shape"):
        rig.for_size("cam_01", size)


def test_a_principal_point_tells_the_size_that_a_file_does_not(tmp_path, caplog):
    """EasyMocap's files name no size: K of 1088 x 1920 used on photos of half the size."""
    rig = read_rig(easymocap(tmp_path))
    camera = rig.for_size("cam_01", (544, 960))
    assert camera.focal_px == pytest.approx(rig.cameras["cam_01"].focal_px / 2, rel=0.05)
    assert "scaled to 544 x 960" in caplog.text
    with pytest.raises(CameraError, match="principal point"):
        rig.for_size("cam_01", (1920, 1088))


def test_numbers_in_memory_are_the_file_with_the_same_numbers(tmp_path):
    rig = Rig.from_arrays(MATRICES, TURNS, SHIFTS, dist=DIST, image_size=SIZE, names=NAMES)
    assert rig.cameras == read_rig(toml(tmp_path / "calib.toml")).cameras
    for wrong in (
        {"K": MATRICES[0]},
        {"t": SHIFTS[:2]},
        {"R": np.ones((3, 3, 3))},
        {"dist": DIST[0]},
        {"names": "aab"},
    ):
        with pytest.raises(CameraError):
            Rig.from_arrays(**{"K": MATRICES, "R": TURNS, "t": SHIFTS} | wrong)


def test_what_is_no_rig_is_refused(tmp_path):
    cases = {
        "nothing": (lambda: tmp_path / "nothing", "no such file"),
        "empty": (lambda: _made(tmp_path / "empty"), "no camera files"),
        "no place": (lambda: _text(tmp_path / "a.json", {"a": {"K": MATRICES[0].tolist()}}), "no rotation"),
        "half": (lambda: _without(easymocap(_made(tmp_path / "half")), "extri.yml"), "extri.yml is not beside"),
        "colmap": (lambda: _without(colmap(_made(tmp_path / "c")), "images.txt") / "cameras.txt", "no images.txt"),
        "one place": (
            lambda: _text(
                tmp_path / "b.json",
                {n: {"K": MATRICES[0].tolist(), "R": np.eye(3).tolist(), "t": [0, 0, 0]} for n in "ab"},
            ),
            "same place",
        ),
        "moving": (lambda: colmap(_made(tmp_path / "m"), ["a/1.jpg", "a/2.jpg", "b/1.jpg"]), "several places"),
        "broken": (lambda: _broken(colmap(_made(tmp_path / "x"))), "no image of COLMAP"),
    }
    for name, (make, message) in cases.items():
        with pytest.raises(CameraError, match=message):
            read_rig(make())
            pytest.fail(name)


def _made(folder):
    folder.mkdir()
    return folder


def _text(path, content):
    path.write_text(json.dumps(content))
    return path


def _without(folder, name):
    (folder / name).unlink()
    return folder


def _broken(folder):
    file = folder / "images.txt"
    file.write_text(file.read_text().replace("1 0.", "1 x.", 1))
    return folder


def test_rigs_are_plain_values():
    with pytest.raises(AttributeError):
        Rig({}, "").source = "x"
