"""Videos of clips: every moment in order, at the clip's rate, with the people who are there and nobody else."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.track_files import read_track
from bodyfit.data.results.track_points import point_names, track_points
from bodyfit.data.results.worlds import World
from bodyfit.fitting.draw.colours import person_colour
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.clip_video import ClipStyle, overlay_frames
from bodyfit.fitting.show.portraits import OverlayStyle
from bodyfit.fitting.show.results_folder import body_of_track, open_results_folder
from bodyfit.fitting.show.side_view import Mover, _Stage, side_view_frames
from bodyfit.scripts.render import RenderCommand

STYLE = ClipStyle(OverlayStyle(), backend="software")
ALONE, BOTH = 0, 4
"""Moments with nobody but 000, and with both people."""


@pytest.fixture(scope="module")
def clip(clip_folder):
    return ClipFrames.of(open_results_folder(clip_folder))


def pictures(path):
    video = cv2.VideoCapture(str(path))
    found = []
    while (read := video.read())[0]:
        found.append(read[1][..., ::-1])
    return found, video.get(cv2.CAP_PROP_FPS)


def brightness(picture):
    """Of the corner, which no body covers: 100 + 5 n in frame n."""
    return float(picture[:10, :10].mean())


def covered(picture, number, tolerance=0.12):
    """Share of the pixels that have about the hue of a person."""
    wanted = person_colour(number)
    share = picture / np.maximum(picture.max(axis=2, keepdims=True), 1)
    near = (np.abs(share - wanted / wanted.max()) < tolerance).all(axis=2)
    return near.mean()


def test_the_video_has_each_frame_in_order_at_the_clips_rate(clip_folder, tmp_path):
    path = tmp_path / "over.mp4"
    assert RenderCommand(clip_folder, path, backend="software").run() == 0
    found, fps = pictures(path)
    assert (len(found), fps) == (8, 10.0)
    steps = np.array([brightness(p) for p in found])
    assert steps - steps[0] == pytest.approx([5 * n for n in range(8)], abs=2.4)  # a video keeps colours roughly


def test_people_are_drawn_at_their_moments_alone(clip):
    moments = (0, 1, 2, 3, 6, 7)  # 001 is pale at 4 and 5
    found = list(overlay_frames(clip, clip.cameras, moments, STYLE))
    assert all(picture.shape == (120, 160, 3) for picture in found)
    there = [[covered(picture, number) > 0.005 for number in (0, 1)] for picture in found]
    assert there == [[moment < 7, moment >= 3] for moment in moments]


def test_who_was_not_seen_is_pale(clip):
    """Moments 4 and 5 of person 001 are interpolated."""
    only = ClipStyle(OverlayStyle(background="white"), people=("001",), backend="software")
    seen, unseen = overlay_frames(clip, clip.cameras, (6, 4), only)
    darkest = [picture.reshape(-1, 3).min(axis=0).min() for picture in (seen, unseen)]
    assert darkest[1] > darkest[0] + 20


def test_chosen_people_alone_are_drawn(clip):
    style = ClipStyle(OverlayStyle(), people=("001",), backend="software")
    alone, both = overlay_frames(clip, clip.cameras, (ALONE, 6), style)
    assert (alone.std(axis=(0, 1)) < 1).all()
    assert covered(both, 1) > 0.005 > covered(both, 0)


def test_side_by_side_has_the_original_on_the_left(clip):
    style = ClipStyle(OverlayStyle(), beside=True, backend="software")
    [picture] = overlay_frames(clip, clip.cameras, (BOTH,), style)
    left, right = picture[:, :160], picture[:, 160:]
    assert picture.shape == (120, 320, 3) and (left.std(axis=(0, 1)) < 2).all()
    assert covered(right, 0) > 0.005
    assert brightness(left) == brightness(right)


def test_a_missing_frame_shows_the_one_before_without_bodies(views_folder):
    clip = ClipFrames.of(open_results_folder(views_folder))
    before, missing = overlay_frames(clip, ("cam2",), (4, 5), STYLE)
    assert covered(before, 0) > 0.005
    assert (missing.std(axis=(0, 1)) < 1).all() and brightness(missing) == pytest.approx(brightness(before), abs=2)


def test_all_cameras_of_a_moment_are_a_grid_with_their_names(views_folder, tmp_path):
    clip = ClipFrames.of(open_results_folder(views_folder))
    assert clip.cameras == ("cam1", "cam2", "cam3")
    style = ClipStyle(OverlayStyle(), cell_px=60, backend="software")
    [sheet] = overlay_frames(clip, clip.cameras, (2,), style)
    assert sheet.shape == (60 + 4 + 60, 80 + 4 + 80, 3)
    cells = [sheet[:60, :80], sheet[:60, 84:], sheet[64:, :80]]
    assert all(covered(cell, 0) > 0.003 for cell in cells)
    assert (sheet[64:, 84:] == 255).all()  # the fourth place of three cameras
    assert all((cell[:12, :12] < 60).any() for cell in cells)  # the ground of the name
    assert RenderCommand(views_folder, tmp_path / "one.mp4", camera="cam2", backend="software").run() == 0
    assert pictures(tmp_path / "one.mp4")[0][0].shape == (120, 160, 3)


def test_a_gone_video_leaves_bodies_on_grey(clip_folder, tmp_path, monkeypatch):
    clip = ClipFrames.of(open_results_folder(clip_folder))
    monkeypatch.setattr(ClipFrames, "photo_path", lambda self, frame: None)
    [picture] = overlay_frames(clip, clip.cameras, (BOTH,), STYLE)
    assert picture.shape == (120, 160, 3) and covered(picture, 0) > 0.005


def test_pictures_of_a_folder_are_found_where_nobody_is_in_them(clip_folder, tmp_path):
    """Of a clip of pictures, clip.json names none: others of the camera show how they are called."""
    clip = ClipFrames.of(open_results_folder(clip_folder))
    for number in (0, 7):
        cv2.imwrite(str(tmp_path / f"IMG_{number:04d}.png"), np.full((120, 160, 3), 9 * number, dtype=np.uint8))
    row = dict(clip.results.people[0].row, photo=str(tmp_path / "IMG_0000.png"))
    people = [type(p)(**{**p.__dict__, "row": row}) for p in clip.results.people if p.image == "walk/000000"]
    results = type(clip.results)(clip.results.folder, tuple(people), {})
    index = type(clip.index)(10.0, (0, 7), {"walk": None}, dict(clip.index.frames))
    assert ClipFrames(results, index).photo_path("walk/000007") == tmp_path / "IMG_0007.png"
    assert ClipFrames(results, index).photo_path("walk/000005") is None


def test_the_side_view_follows_who_walks(clip_folder, open_body):
    """Seen from the side of the camera's, the walk to its right comes towards the eye: bodies keep their place."""
    track = read_track(clip_folder / "tracks" / "000.npz")
    mover = Mover(track, body_of_track(track, None), 0)
    found = list(side_view_frames([mover], range(7), 10.0, size_px=(96, 128), backend="software"))
    places = []
    for picture in found:
        mask = np.abs(picture.astype(int) - picture.max(axis=2, keepdims=True)).max(axis=2) > 60
        rows, columns = np.nonzero(mask)
        places.append((columns.mean(), np.ptp(rows)))
    places = np.array(places)
    assert picture.shape == (96, 128, 3)
    assert np.ptp(places[:, 0]) < 6 and (np.abs(places[:, 0] - 64) < 8).all()
    assert (places[:, 1] > 40).all()  # most of the height
    with pytest.raises(BodyfitError, match="there are none"):
        next(side_view_frames([], range(3), 10.0))


def test_who_stands_on_a_tilted_floor_stands_upright_in_the_side_view(clip_folder, open_body):
    """Of a camera that looks down by 40 degrees: the axis of the body is upright where the floor is known, and leans
    where it is not; feet are on the floor."""
    track = read_track(clip_folder / "tracks" / "000.npz")
    tilt = Rotation.from_euler("x", 40, degrees=True)
    turns = (tilt * Rotation.from_rotvec(track.global_orient)).as_rotvec()
    pelvis = (open_body.joint_regressor[0] @ open_body.v_template)[None]
    moved = replace(track, global_orient=turns, transl=tilt.apply(track.transl + pelvis) - pelvis)
    sole = track_points(open_body, track)[..., 1].max()
    floor = np.append(tilt.apply([0.0, -1.0, 0.0]), -sole)
    known = replace(moved, floor=floor, world=World.on_floor(floor))

    def of(track):
        stage = _Stage([Mover(track, open_body, 0)], range(7), 10.0, (96, 128), 6.0)
        [(turn, shift)] = stage.places
        points = track_points(open_body, track)[3] @ turn.T + shift
        names = point_names(open_body)
        neck, feet = points[names.index("neck")], points[[names.index(f"{s}_heel") for s in ("left", "right")]]
        return (neck - feet.mean(axis=0)) / np.linalg.norm(neck - feet.mean(axis=0)), points[:, 1].min()

    (upright, above), (leaning, lowest) = of(known), of(moved)
    assert upright[1] > 0.99 > 0.85 > leaning[1]
    assert above == pytest.approx(0.0, abs=1e-6)
    assert lowest == pytest.approx(0.0, abs=0.02)  # without a floor the feet are on it most of the time


def test_the_command_writes_into_the_folder_of_the_clip(clip_folder):
    for style in ("overlay", "side"):
        assert RenderCommand(clip_folder, style=style, start=0.2, end=0.4, size_px=64, backend="software").run() == 0
        found, fps = pictures(clip_folder / "videos" / f"{style}.mp4")
        assert (len(found), fps, found[0].shape[0]) == (3, 10.0, 64)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"people": ("007",)}, "--people 007: nobody of this number. The clip has 000, 001"),
        ({"camera": "left"}, "--camera left: the clip has walk"),
        ({"start": 5.0}, "no moment from 5.0 to None s. The clip has 0.00 to 0.70 s"),
        ({"runner_up": True}, "--runner-up is for pictures"),
        ({"background": "transparent"}, "--background transparent is for pictures"),
    ],
)
def test_what_a_clip_does_not_have_is_said(clip_folder, options, words):
    with pytest.raises(BodyfitError, match=words):
        RenderCommand(clip_folder, backend="software", **options).run()


def test_options_of_clips_are_refused_for_photos(results_folder, tmp_path):
    for options, words in (
        ({"style": "side"}, "--style side is for clips"),
        ({"output": tmp_path, "camera": "a"}, "--camera is for videos of clips"),
        ({}, "name a folder or file for the pictures"),
    ):
        with pytest.raises(BodyfitError, match=words):
            RenderCommand(results_folder, **options).run()
