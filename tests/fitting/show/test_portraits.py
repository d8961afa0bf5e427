"""Pictures of a run: overlays in their styles, sides of a person, turntables, and the command that writes them."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.draw.animation import save_animation
from bodyfit.fitting.show.portraits import OverlayStyle, overlay_picture, turntable, views_picture
from bodyfit.fitting.show.results_folder import open_results_folder
from bodyfit.scripts.render import RenderCommand

BEACH = (40, 60, 120)


@pytest.fixture
def beach(results_folder):
    return open_results_folder(results_folder).find("beach")


@pytest.fixture
def street(results_folder):
    return open_results_folder(results_folder).find("street")[0]


def drawn(picture):
    return (picture != BEACH).any(axis=2)


def test_overlay_draws_everybody_where_their_keypoints_are(beach):
    picture, photo = overlay_picture(beach, backend="software")
    assert (photo == BEACH).all()
    for person in beach:
        result = person.result()
        inside = result.landmarks_px[[0, 3, 6, 9]].round().astype(int)  # pelvis and spine
        assert drawn(picture)[inside[:, 1], inside[:, 0]].all()
    colours = [picture[tuple(p.result().landmarks_px[3].round().astype(int)[::-1])].astype(int) for p in beach]
    assert np.abs(colours[0] - colours[1]).max() > 60


def test_styles_add_what_they_name(beach):
    plain, _ = overlay_picture(beach, backend="software")
    for style in (OverlayStyle(skeleton=True), OverlayStyle(keypoints=True), OverlayStyle(shadow=True)):
        picture, _ = overlay_picture(beach, style, backend="software")
        assert (picture != plain).any()


@pytest.mark.parametrize("wireframe", [False, True])
def test_bodies_without_the_photo(beach, wireframe):
    """Transparent pictures over white are the white ones; over the photo, near the usual overlay."""
    overlay, photo = overlay_picture(beach, OverlayStyle(wireframe=wireframe), backend="software")
    white, _ = overlay_picture(beach, OverlayStyle(background="white", wireframe=wireframe), backend="software")
    clear, _ = overlay_picture(beach, OverlayStyle(background="transparent", wireframe=wireframe), backend="software")
    assert clear.shape == (*photo.shape[:2], 4) and (clear[..., 3] == 0).mean() > 0.3
    alpha = clear[..., 3:] / 255.0
    for background, expected in ((255, white), (photo, overlay)):
        found = clear[..., :3] * alpha + background * (1 - alpha)
        assert np.abs(found - expected).max() < 4


def test_photo_that_is_gone_is_replaced_by_a_grey_background(results_folder, tmp_path):
    folder = shutil.copytree(results_folder, tmp_path / "out")
    text = (folder / "summary.json").read_text().replace("beach.png", "gone.png").replace("images/gone", "images/beach")
    (folder / "summary.json").write_text(text)
    _, photo = overlay_picture(open_results_folder(folder).find("beach"), backend="software")
    assert photo.shape == (240, 320, 3)
    assert len(np.unique(photo)) == 1


def test_people_without_bodies_are_named(results_folder):
    with pytest.raises(BodyfitError, match=r"broken · \?"):
        overlay_picture(open_results_folder(results_folder).find("broken"))


def test_person_stands_upright_in_views_and_is_whole(street):
    picture = views_picture(street, height_px=120, backend="software")
    assert picture.shape == (120, 360, 3)
    front = (picture[:, :90] < 245).any(axis=2)
    rows = np.flatnonzero(front.any(axis=1))
    width = front.sum(axis=1)
    assert rows[0] > 0
    assert rows[-1] < 119
    assert rows[-1] - rows[0] > 80
    assert width[rows[0] + 2] > 0
    assert width[30:60].max() > width[rows[0] : rows[0] + 10].max()  # shoulders are wider than the head, and below it


def test_turntable_goes_once_around(street):
    frames = list(turntable(street, frames=4, size_px=(80, 80), backend="software"))
    assert len(frames) == 4
    front, side, back, _ = (((frame < 245).any(axis=2)).sum() for frame in frames)
    assert side < 0.8 * front  # with the arms out, a person is narrower from the side
    assert back == pytest.approx(front, rel=0.1)


def test_gif_repeats_and_has_every_frame(tmp_path):
    frames = [np.full((20, 30, 3), shade, dtype=np.uint8) for shade in (0, 100, 200)]
    with Image.open(save_animation(frames, tmp_path / "turn.gif", fps=10)) as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"], gif.info["duration"]) == (3, (30, 20), 0, 100)


@pytest.fixture(params=["PyAV", "OpenCV"])
def encoder(request, monkeypatch):
    """Both ways to write a video; the first where it is installed."""
    if request.param == "PyAV":
        pytest.importorskip("av", reason="an extra: pip install 'bodyfit[video]'")
    else:
        monkeypatch.setattr("bodyfit.fitting.draw.animation._av_with_codec", lambda suffix: None)
    return request.param


@pytest.mark.parametrize("ending", [".webm", ".mp4"])
def test_video_plays_in_a_browser(page, tmp_path, ending, capfd, encoder):
    frames = [np.full((49, 65, 3), (shade, 0, 0), dtype=np.uint8) for shade in (40, 120, 200)]  # odd sizes too
    for frame in frames:
        frame[:, 33:] = (0, 0, 180)
    path = save_animation(frames, tmp_path / f"turn{ending}", fps=10)
    assert capfd.readouterr().err == ""
    (tmp_path / "video.html").write_text(f"<video muted src='{path.name}'></video>")
    page.open((tmp_path / "video.html").as_uri())
    page.wait("return document.querySelector('video').readyState >= 2")
    page.run("const v = document.querySelector('video'); v.currentTime = 0.25; return 0")
    page.wait("const v = document.querySelector('video'); return !v.seeking && v.readyState >= 2")
    assert page.run("const v = document.querySelector('video'); return [v.videoWidth, v.videoHeight]") == [66, 50]
    left, right = (page.screenshot("video")[24, x] for x in (10, 50))
    np.testing.assert_allclose(left, [200, 0, 0], atol=14)
    np.testing.assert_allclose(right, [0, 0, 180], atol=14)
    assert page.errors() == []


def test_video_has_every_frame(tmp_path, encoder):
    frames = [np.full((48, 64, 3), (shade, 0, 0), dtype=np.uint8) for shade in (40, 120, 200)]
    video = cv2.VideoCapture(str(save_animation(frames, tmp_path / "turn.webm", fps=10)))
    read = [video.read()[1] for _ in range(3)]
    assert not video.read()[0]
    np.testing.assert_allclose([frame[24, 32, 2] for frame in read], [40, 120, 200], atol=8)  # red stays red


def test_animation_of_another_kind_is_refused(tmp_path):
    with pytest.raises(BodyfitError, match=r"a \.gif, a \.webm or an \.mp4"):
        save_animation([], tmp_path / "turn.avi", fps=10)


def test_alternative_is_drawn_in_place_of_the_best(beach, street):
    best, _ = overlay_picture(beach, backend="software")
    other, _ = overlay_picture(beach, OverlayStyle(runner_up=True), backend="software")
    left, right = np.s_[:, :160], np.s_[:, 160:]
    assert (best[left] != other[left]).any(axis=2).mean() > 0.01
    np.testing.assert_array_equal(best[right], other[right])  # who has no alternative hypothesis stays as they are
    with pytest.raises(BodyfitError, match="street · 000: no alternative"):
        overlay_picture([street], OverlayStyle(runner_up=True), backend="software")
    with pytest.raises(BodyfitError, match="street · 000: no alternative"):
        views_picture(street, runner_up=True, backend="software")


def test_command_does_not_mix_up_hypotheses(results_folder, tmp_path):
    with pytest.raises(BodyfitError, match="--skeleton and --keypoints belong to the best hypothesis"):
        RenderCommand(results_folder, tmp_path, runner_up=True, skeleton=True).run()


def test_command_writes_a_file_a_photo_into_a_folder(results_folder, tmp_path, caplog):
    command = RenderCommand(results_folder, tmp_path / "pictures", style="side-by-side", backend="software")
    assert command.run() == 0
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["beach.png", "street.png"]
    assert "broken" in caplog.text
    assert Image.open(tmp_path / "pictures" / "beach.png").size == (320 + 8 + 320, 240)


def test_command_draws_one_person_into_one_file(results_folder, tmp_path):
    path = tmp_path / "turn.gif"
    options = {"style": "turntable", "image": "beach", "people": ("001",), "backend": "software"}
    assert RenderCommand(results_folder, path, seconds=0.2, fps=10, size_px=64, **options).run() == 0
    with Image.open(path) as gif:
        assert gif.n_frames == 2


def test_command_does_not_write_many_pictures_over_one_another(results_folder, tmp_path):
    with pytest.raises(BodyfitError, match="one file cannot hold"):
        RenderCommand(results_folder, tmp_path / "one.png").run()
