"""Photos come upright with the right size and focal length; camera files and focal lengths mean what they say."""

import json
import math
import os
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from bodyfit.data.photo.camera import parse_focal
from bodyfit.data.photo.camera_files import CameraError
from bodyfit.data.photo.intrinsics import Intrinsics, read_camera
from bodyfit.data.photo.photo import PhotoError, photo_size, read_photo, read_photo_header

WIDTH, HEIGHT = 40, 30


def _photo(path, orientation=1, exif_tags=None, size=(WIDTH, HEIGHT)):
    """Stored upright: red at the top left, blue at the bottom right, green at the top right."""
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    half_h, half_w = size[1] // 2, size[0] // 2
    pixels[:half_h, :half_w], pixels[half_h:, half_w:], pixels[:half_h, half_w:] = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif).update(exif_tags or {})
    image.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


CORNER = {1: "red", 3: "blue", 6: "grey", 8: "green"}  # what is at the top left once the photo is upright
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 255, 0), "grey": (128, 128, 128)}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", CORNER)
def test_photos_are_upright_in_every_format(tmp_path, orientation, suffix):
    path = _photo(tmp_path / f"x{suffix}", orientation)
    photo = read_photo(path)
    size = (WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH)
    assert photo.size == photo_size(path) == size
    assert photo.image.dtype == np.uint8
    np.testing.assert_allclose(photo.image[3, 3], COLOURS[CORNER[orientation]], atol=30)


def test_grey_16_bit_and_transparent_images_become_rgb(tmp_path):
    Image.fromarray(np.full((4, 6), 300 * 128, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (6, 4), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert (read_photo(tmp_path / "deep.png").image == 150).all()
    assert read_photo(tmp_path / "clear.png").image.shape == (4, 6, 3)


@pytest.mark.parametrize("orientation", [1, 6])
def test_focal_of_35_mm_equivalent_goes_by_the_diagonal(tmp_path, orientation):
    photo = read_photo(_photo(tmp_path / "x.jpg", orientation, {ExifTags.Base.FocalLengthIn35mmFilm: 26}))
    assert photo.focal_px == pytest.approx(26 / math.hypot(36, 24) * 50)
    assert "26 mm in 35 mm film" in photo.focal_source


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("unit", "per_unit"), [(2, 254.0), (3, 100.0), (4, 10.0)])
def test_focal_of_lens_and_sensor_goes_by_the_width_as_taken(tmp_path, orientation, unit, per_unit):
    tags = {
        ExifTags.Base.FocalLength: 5.0,
        ExifTags.Base.FocalPlaneXResolution: per_unit,  # 10 pixels per mm
        ExifTags.Base.FocalPlaneResolutionUnit: unit,
        ExifTags.Base.ExifImageWidth: 2 * WIDTH,  # the photo was halved since
    }
    assert read_photo(_photo(tmp_path / "x.jpg", orientation, tags)).focal_px == pytest.approx(5 * 10 / 2)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {ExifTags.Base.FocalLengthIn35mmFilm: 0},
        {ExifTags.Base.FocalLength: 4.2},
        {ExifTags.Base.FocalLengthIn35mmFilm: 60000},
        {ExifTags.Base.FocalLength: 0.0, ExifTags.Base.FocalPlaneXResolution: 100.0},
    ],
)
def test_no_focal_where_exif_says_none_or_nonsense(tmp_path, tags):
    photo = read_photo(_photo(tmp_path / "x.jpg", exif_tags=tags))
    assert (photo.focal_px, photo.focal_source) == (None, None)


def test_unreadable_photos_say_so(tmp_path):
    whole = _photo(tmp_path / "whole.jpg", size=(400, 300)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not a photo")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(PhotoError, match=r"cut\.jpg: the image cannot be decoded .* complete\?"):
        read_photo(tmp_path / "cut.jpg")
    for name in ("text.jpg", "empty.png"):
        with pytest.raises(PhotoError, match=f"{name}: not an image that can be read. Expected JPEG"):
            read_photo(tmp_path / name)
    with pytest.raises(PhotoError, match=r"nothing\.jpg: no such photo"):
        read_photo(tmp_path / "nothing.jpg")


@pytest.mark.parametrize(
    ("text", "focal_px"),
    [
        ("1500", 1500),
        ("1500.5px", 1500.5),
        ("50mm", 50 / math.hypot(36, 24) * 500),
        ("4mm/8mm", 0.5 * 400),
        ("90deg", 150),
        (" 90 DEG ", 150),
    ],
)
def test_focal_lengths_as_users_write_them(text, focal_px):
    assert parse_focal(text, (300, 400)) == pytest.approx(focal_px)


@pytest.mark.parametrize("text", ["", "wide", "-5", "0", "180deg", "35cm", "1500/3mm", "60deg/2mm", "4mm/0mm", "nan"])
def test_other_focal_lengths_are_refused_with_examples(text):
    with pytest.raises(CameraError, match=r"is not understood. Expected pixels \(1500\)"):
        parse_focal(text, (300, 400))


K = [[1000.0, 0, 320], [0, 1000.0, 240], [0, 0, 1]]


@pytest.mark.parametrize(
    "content",
    [
        K,
        {"K": K},
        {"camera_matrix": K},
        {"focal": 1000, "center": [320, 240]},
        {"focal": [1000, 1000.5], "center": [320, 240]},
        {"focal_px": 1000, "center_px": [320, 240]},
    ],
)
def test_camera_files(tmp_path, content):
    path = tmp_path / "K.json"
    path.write_text(json.dumps(content))
    camera = read_camera(path)
    assert camera.focal_px == pytest.approx(1000, abs=0.3)
    assert camera.center_px == (320, 240)
    arrays = {"K": np.array(K)} if isinstance(content, list) else {k: np.array(v) for k, v in content.items()}
    np.savez(tmp_path / "K.npz", **arrays)
    assert read_camera(tmp_path / "K.npz") == camera


def test_camera_scales_with_its_image():
    camera = Intrinsics(1000.0, (319.5, 239.5), (640, 480))
    assert camera.for_size((1280, 960)) == Intrinsics(2000.0, (639.5, 479.5), (1280, 960))
    assert camera.for_size((640, 480)) is camera
    assert Intrinsics(1000.0).for_size((7, 5)) == Intrinsics(1000.0)
    with pytest.raises(CameraError, match=r"\(640, 480\), which differ in shape from \(480, 640\)"):
        camera.for_size((480, 640))


@pytest.mark.parametrize(
    "content", ['{"K": [[1, 2], [3, 4]]}', '{"focal": -1}', '{"name": 3}', "[", '{"focal": "a"}', '{"K": null, "x": 1}']
)
def test_bad_camera_files_say_what_was_expected(tmp_path, content):
    path = tmp_path / "K.json"
    path.write_text(content)
    with pytest.raises(CameraError, match=r"K\.json: .*Expected a .*camera matrix 'K'.* or 'focal' and 'center'"):
        read_camera(path)


def test_real_phone_photos(shared):
    folder = shared / "photos" / "exif" / "images"
    for path in folder.glob("*.jpg"):
        photo = read_photo(path)
        assert photo.size == photo_size(path) == (3024, 4032)
        assert photo.focal_px is None or 0.5 < photo.focal_px / 5040 < 2


def _png_that_says(width: int, height: int) -> bytes:
    """A PNG whose header promises width x height."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes(10**6), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(11_000, 11_000), (30_000, 30_000), (2_000_000, 60), (2**31 - 1, 2**31 - 1)])
def test_pictures_that_unfold_to_too_much_are_refused(tmp_path, size):
    (tmp_path / "x.png").write_bytes(_png_that_says(*size))
    for read in (read_photo, photo_size, read_photo_header):
        with pytest.raises(PhotoError, match=r"x\.png: .*(too large|not an image)"):
            read(tmp_path / "x.png")


@pytest.mark.parametrize("form", ["EPS", "GIF", "PPM", "TGA", "PCX", "PDF", "ICO", "SGI"])
def test_formats_that_are_no_photos_are_not_opened_whatever_their_name(tmp_path, form):
    Image.new("RGB", (32, 32)).save(tmp_path / "x", form)
    (tmp_path / "x").rename(tmp_path / "x.jpg")
    with pytest.raises(PhotoError, match="Expected JPEG, PNG, WebP, BMP or TIFF"):
        read_photo(tmp_path / "x.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_folders_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    (tmp_path / "y.jpg").mkdir()
    for name in ("x.jpg", "y.jpg"):
        with pytest.raises(PhotoError, match="Expected a file"):
            read_photo(tmp_path / name)
