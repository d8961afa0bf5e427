"""Camera files in the structure of each program: focal length, centre, distortion and place are all used or refused."""

import json

import numpy as np
import pytest

from bodyfit.data.photo.camera_files import CameraError
from bodyfit.data.photo.intrinsics import Intrinsics, read_camera

K = [[1100.0, 0, 640], [0, 1100.0, 360], [0, 0, 1]]
DIST = (-0.1, 0.01, 0.001, -0.002, 0.003)
MATRIX = "!!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n"
MATRIX += "   data: [ 1100., 0., 640., 0.,\n       1.1e+03, 360., 0., 0., 1. ]"
DIST_ROW = "!!opencv-matrix\n   rows: 1\n   cols: 5\n   dt: d\n   data: [ -0.1, 0.01, 0.001, -0.002, 0.003 ]"
XML_DIST = "<rows>1</rows><cols>5</cols><dt>d</dt><data>-0.1 0.01 0.001 -0.002 0.003</data>"

FILES = {
    "opencv.yml": f"%YAML:1.0\n---\nimage_width: 1280\nimage_height: 720\ncamera_matrix: {MATRIX}\n"
    f"distortion_coefficients: {DIST_ROW}\n",
    "opencv.xml": '<?xml version="1.0"?>\n<opencv_storage>\n<image_width>1280</image_width>'
    '<image_height>720</image_height><cameraMatrix type_id="opencv-matrix"><rows>3</rows><cols>3</cols>'
    f'<dt>d</dt><data>1100. 0. 640. 0. 1100. 360. 0. 0. 1.</data></cameraMatrix>'
    f'<distCoeffs type_id="opencv-matrix">{XML_DIST}</distCoeffs></opencv_storage>',
    "ros.yaml": "image_width: 1280\nimage_height: 720\ncamera_name: cam\ncamera_matrix:\n  rows: 3\n  cols: 3\n"
    "  data: [1100.0, 0.0, 640.0, 0.0, 1100.0, 360.0, 0.0, 0.0, 1.0]\ndistortion_model: plumb_bob\n"
    "distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: [-0.1, 0.01, 0.001, -0.002, 0.003]\n"
    "projection_matrix:\n  rows: 3\n  cols: 4\n  data: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]\n",
    "pose2sim.toml": '[cam_01]\nname = "cam_01"\nsize = [ 1280.0, 720.0]\nmatrix = [ [ 1100.0, 0.0, 640.0], [ 0.0, '
    "1100.0, 360.0], [ 0.0, 0.0, 1.0]]\ndistortions = [ -0.1, 0.01, 0.001, -0.002, 0.003]\nrotation = [ 0"
    ".0, 0.0, 0.0]\n"
    "translation = [ 0.0, 0.0, 0.0]\nfisheye = false\n\n[metadata]\nadjusted = false\nerror = 0.0\n",
    "cameras.txt": "# Camera list with one line of data per camera:\n"
    "1 FULL_OPENCV 1280 720 1100 1100 640.5 360.5 -0.1 0.01 0.001 -0.002 0.003 0 0 0\n",
    "intri.yml": f'%YAML:1.0\n---\nnames:\n  - "01"\nK_01: {MATRIX}\ndist_01: {DIST_ROW}\n',
    "dist.json": json.dumps({"K": K, "dist": [list(DIST)]}),
    "panoptic.json": json.dumps({"cameras": [{"name": "00_01", "resolution": [1280, 720], "K": K, "distCoef": DIST}]}),
    "nerfstudio.json": json.dumps(
        {"fl_x": 1100, "fl_y": 1100, "cx": 640, "cy": 360, "w": 1280, "h": 720, "camera_model": "OPENCV", "frames": []}
        | {"k1": -0.1, "k2": 0.01, "p1": 0.001, "p2": -0.002, "k3": 0.003}
    ),
    "per_camera.json": json.dumps({"01": {"K": K, "dist": DIST}}),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_program(tmp_path, name):
    path = tmp_path / name
    path.write_text(FILES[name])
    camera = read_camera(path)
    assert (camera.focal_px, camera.center_px) == (pytest.approx(1100), (640, 360))
    assert camera.lens.distortion[:5] == DIST and camera.lens.model == "opencv"
    assert camera.image_size in ((1280, 720), None)
    assert camera.extrinsics is None


def test_kalibr(tmp_path):
    text = (
        "cam0:\n  cam_overlaps: []\n  camera_model: pinhole\n  distortion_coeffs: [0.05, -0.01, 0.003, -0.001]\n"
        "  distortion_model: equidistant\n  intrinsics: [500.0, 510.0, 640.0, 360.0]\n  resolution: [1280, 720]\n"
        "  rostopic: /cam0/image_raw\n"
    )
    path = tmp_path / "camchain.yaml"
    path.write_text(text)
    camera = read_camera(path)
    assert (camera.lens.fx, camera.lens.fy, camera.lens.model) == (500, 510, "fisheye")
    assert camera.focal_px == pytest.approx(np.sqrt(500 * 510)) and camera.image_size == (1280, 720)
    path.write_text(text.replace("pinhole", "omni"))
    with pytest.raises(CameraError, match="camera model 'omni', which is not known"):
        read_camera(path)


def test_matrices_alone(tmp_path):
    np.save(tmp_path / "K.npy", np.array(K))
    np.savez(tmp_path / "calib.npz", mtx=np.array(K), dist=np.array([DIST]))
    assert read_camera(tmp_path / "K.npy") == Intrinsics(1100.0, (640.0, 360.0))
    assert read_camera(tmp_path / "calib.npz").lens.distortion == DIST
    np.save(tmp_path / "eye.npy", np.eye(3))
    with pytest.raises(CameraError, match="focal length 1 px: a camera matrix in other units"):
        read_camera(tmp_path / "eye.npy")


@pytest.mark.parametrize("keys", [("width", "height"), ("image_width", "image_height"), ("w", "h")])
def test_a_camera_made_for_another_size_is_scaled(tmp_path, keys):
    path = tmp_path / "K.json"
    half = [[550.0, 0, 319.5], [0, 550.0, 179.5], [0, 0, 1]]
    path.write_text(json.dumps({"K": half, "dist": DIST, keys[0]: 640, keys[1]: 360}))
    camera = read_camera(path).for_size((1280, 720))
    assert (camera.focal_px, camera.center_px) == (pytest.approx(1100), (639.5, 359.5))
    assert camera.lens.fx == camera.lens.fy == 1100 and camera.lens.distortion == DIST
    with pytest.raises(CameraError, match="differ in shape"):
        read_camera(path).for_size((720, 1280))


def test_a_size_that_its_own_principal_point_contradicts(tmp_path, caplog):
    path = tmp_path / "K.json"
    path.write_text(json.dumps({"K": K, "width": 640, "height": 360}))
    assert read_camera(path).for_size((1280, 720)).focal_px == 1100
    assert "principal point is the middle of 1280 x 720" in caplog.text


def test_unequal_focal_lengths_are_kept_apart(tmp_path):
    path = tmp_path / "K.json"
    path.write_text(json.dumps([[1000.0, 0, 640], [0, 1210.0, 360], [0, 0, 1]]))
    camera = read_camera(path)
    assert (camera.focal_px, camera.lens.fx, camera.lens.fy) == (pytest.approx(1100), 1000, 1210)
    # The same ray: 0.2 to the right and down, seen at different distances from the centre in both.
    np.testing.assert_allclose(camera.lens.undistorted(np.array([[840.0, 602.0]])), [[860.0, 580.0]])


@pytest.mark.parametrize(
    "place",
    [
        {"R": [[0, -1, 0], [1, 0, 0], [0, 0, 1]], "T": [1, 2, 3]},
        {"R": [0, 0, np.pi / 2], "t": [[1], [2], [3]]},
        {"rvec": [0, 0, np.pi / 2], "tvec": [1, 2, 3]},
        {"extrinsics": [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]},
    ],
)
def test_where_the_camera_stands(tmp_path, place):
    path = tmp_path / "K.json"
    path.write_text(json.dumps({"K": K} | place))
    stands = read_camera(path).extrinsics
    np.testing.assert_allclose(stands.rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    assert stands.translation == (1, 2, 3)
    path.write_text(json.dumps({"K": K, "R": [[2, 0, 0], [0, 2, 0], [0, 0, 2]]}))
    with pytest.raises(CameraError, match="R and t that are no rotation"):
        read_camera(path)


def test_easymocap_with_extri_beside_it(tmp_path):
    row = "!!opencv-matrix\n  rows: 3\n  cols: 1\n  dt: d\n  data: [ 0., 0., 1.5 ]"
    intri = "".join(f"K_{c}: {MATRIX}\n" for c in ("01", "02"))
    extri = "".join(f"R_{c}: {row}\nT_{c}: {row}\n" for c in ("01", "02"))
    names = '%YAML:1.0\n---\nnames:\n  - "01"\n  - "02"\n'
    (tmp_path / "intri.yml").write_text(names + intri)
    (tmp_path / "extri.yml").write_text(names + extri)
    camera = read_camera(tmp_path / "intri.yml", photo=tmp_path / "images" / "02" / "000000.jpg")
    assert camera.extrinsics.translation == (0, 0, 1.5)
    assert camera.extrinsics.rotation[0][0] == pytest.approx(np.cos(1.5))
    assert read_camera(tmp_path / "intri.yml", name="01") == camera
    with pytest.raises(CameraError, match=r"2 cameras \(01, 02\).*--camera-name"):
        read_camera(tmp_path / "intri.yml")
    with pytest.raises(CameraError, match=r"no camera '3'. Found: 01, 02"):
        read_camera(tmp_path / "intri.yml", name="3")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yml", "%YAML:1.0\n---\nK: [", "not readable as YAML"),
        ("a.yml", "!!python/object/apply:os.system [ls]", "not readable as YAML"),
        ("a.yml", "a: 1", "found no camera"),
        ("a.xml", "<opencv_storage><K>", "not readable as XML"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY x "y">]><opencv_storage/>', "not read for safety"),
        ("a.toml", "a = [", "not readable as TOML"),
        ("cameras.txt", "1 FOV 1280 720 1 2 3 4 5", "no camera of COLMAP that is known"),
        ("cameras.txt", "1 PINHOLE 1280 720 1 2 3", "PINHOLE has 4 parameters, found 3"),
        ("a.json", json.dumps({"K": K, "dist": [0.1] * 20}), "20 distortion coefficients"),
        ("a.json", json.dumps({"K": K, "dist": ["a"]}), "could not convert"),
        ("a.json", json.dumps({"fx": 1100, "cx": 2}), None),
        ("a.npy", "x", "not an array of numbers"),
    ],
)
def test_broken_files_say_what_was_found(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    if message is None:
        assert read_camera(path).focal_px == 1100
        return
    with pytest.raises(CameraError, match=message) as caught:
        read_camera(path)
    assert str(path) in str(caught.value) and "Expected" in str(caught.value)
