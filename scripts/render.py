"""`bodyfit render`: pictures, turntables and videos of the results of a run."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined
from bodyfit.data.lazy import LazyModule
from bodyfit.data.results.clip_index import ClipIndex

if TYPE_CHECKING:
    from bodyfit.fitting.show import portraits, results_folder
else:
    portraits = LazyModule("bodyfit.fitting.show.portraits")
    results_folder = LazyModule("bodyfit.fitting.show.results_folder")

logger = logging.getLogger(__name__)

_ENDINGS = {"overlay": ".png", "side-by-side": ".png", "views": ".png", "turntable": ".gif"}
_VIDEOS = (".mp4", ".webm", ".gif")


@dataclass(frozen=True)
class RenderCommand:
    """Draw pictures of a run: overlays, views of a body from several directions, turntables; videos of clips.

    Styles: `overlay` (all people drawn over their photo), `side-by-side` (the photo and its overlay), `views` (one
    person from the front, the side, behind and above), `turntable` (a full turn around one person; .gif, .webm or
    .mp4).

    Of a clip, `overlay` and `side-by-side` are videos at its frame rate, of all cameras as a grid, and `side` is one of
    its people from the side. Of people whom no camera saw at a moment, the interpolated body is drawn pale.
    """

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Results folder that `bodyfit fit PHOTOS -o OUT` wrote."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File to write (.png, .jpg; .gif, .webm or .mp4 for turntables and clips), or a folder for one file per photo or
    person. Default, of a clip: OUT/videos/<style>.mp4."""
    style: Literal["overlay", "side-by-side", "views", "turntable", "side"] = "overlay"
    """What to draw."""
    image: str | None = None
    """Only this photo, by its name in the results folder."""
    people: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--person"], metavar="NNN ...")] = ()
    """Only people of these numbers, such as 000 002."""
    camera: str | None = None
    """Of a clip of several cameras: only this one, not a grid of all."""
    start: float | None = None
    """Of a clip: seconds at which the video starts."""
    end: float | None = None
    """Of a clip: seconds at which the video ends."""
    opacity: float = 1.0
    """Opacity of the bodies in overlays, 0 to 1."""
    shadow: bool = False
    """Draw a soft shadow under people in overlays, on a floor at their lowest point."""
    skeleton: bool = False
    """Show the fitted skeleton."""
    keypoints: bool = False
    """Show the detected keypoints in overlays, each with a line to the fitted one."""
    background: Literal["photo", "white", "transparent"] = "photo"
    """What is behind the bodies of overlays: white or transparent (.png) leaves only them."""
    wireframe: bool = False
    """Draw bodies in overlays as the edges of their triangles."""
    runner_up: bool = False
    """Draw the alternative hypothesis (the second-best mode) in place of the best one, for those who have one."""
    body: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Body model that the results were fitted with, if it was not the open one; for --runner-up."""
    size_px: int | None = None
    """Height of views, turntables (512 by default), side views (540) and each picture of a clip's video (as the clip,
    360 in a grid), px."""
    seconds: float = 4.0
    """Length of a turntable."""
    fps: float = 25.0
    """Frames per second of a turntable; a clip's video has the clip's."""
    backend: Literal["auto", "egl", "software"] = "auto"
    """`egl`: OpenGL without a display; `software`: no OpenGL; `auto`: EGL if it works, else software."""

    def run(self) -> int:
        if self.runner_up and (self.skeleton or self.keypoints):
            raise BodyfitError(
                "--skeleton and --keypoints belong to the best hypothesis; leave them out with --runner-up."
            )
        if not 0 <= self.opacity <= 1:
            raise BodyfitError(f"--opacity {self.opacity:g}: expected 0 to 1.")
        results = results_folder.open_results_folder(self.out, body=self.body)
        if self._is_video():
            from bodyfit.scripts.render_clip import render_clip

            logger.info("wrote %s", render_clip(self, results))
            return 0
        for name, value in (("--camera", self.camera), ("--start", self.start), ("--end", self.end)):
            if value is not None:
                raise BodyfitError(f"{name} is for videos of clips.")
        if self.output is None:
            raise BodyfitError("name a folder or file for the pictures: -o PICTURES.")
        return self._pictures(results, self.output)

    def _is_video(self) -> bool:
        """Whether this is a video of a clip. Raises BodyfitError where it should be, and cannot."""
        clip = ClipIndex.exists(self.out)
        if self.style == "side" and not clip:
            raise BodyfitError(f"{self.out}: --style side is for clips, and this is none. Try --style views.")
        if not clip or self.style in ("views", "turntable"):
            return False
        return self.style == "side" or self.output is None or self.output.suffix.lower() in _VIDEOS

    def _pictures(self, results: "results_folder.ResultsFolder", output: Path) -> int:
        if self.background == "transparent" and (self.style != "overlay" or output.suffix not in ("", ".png")):
            raise BodyfitError("--background transparent is for overlays written as .png.")
        chosen = [p for number in self.people or (None,) for p in results.find(self.image, number)]
        if len(self.people) > 1:  # in the order of the run
            wanted = {id(person) for person in chosen}
            chosen = [person for person in results.people if id(person) in wanted]
        jobs = list(self._jobs(tuple(chosen)))
        one_file = output.suffix != "" and not output.is_dir()
        if one_file and len(jobs) > 1:
            names = ", ".join(name for name, _ in jobs[:4])
            raise BodyfitError(
                f"{output}: one file cannot hold {len(jobs)} pictures ({names}, ...). "
                "Choose with --image and --people, or give a folder."
            )
        made = missing = 0
        for name, people in jobs:
            try:
                path = output if one_file else confined(output, name + _ENDINGS[self.style])
                self._draw(people, path)
            except BodyfitError as error:
                if one_file:
                    raise
                missing += any(person.status != "failed" for person in people)  # those who failed have no body
                logger.warning("%s", error)
            else:
                made += 1
                logger.info("wrote %s", path)
        if missing:
            logger.warning("%d of %d pictures could not be made", missing, len(jobs))
        return 1 if missing or not made else 0

    def _jobs(
        self, chosen: "tuple[results_folder.PersonEntry, ...]"
    ) -> "Iterator[tuple[str, tuple[results_folder.PersonEntry, ...]]]":
        """A name and the people of each picture."""
        if self.style in ("views", "turntable"):
            for person in chosen:
                yield f"{person.image}_{person.person}", (person,)
        else:
            for image in dict.fromkeys(person.image for person in chosen):
                yield image, tuple(person for person in chosen if person.image == image)

    def overlay_style(self) -> "portraits.OverlayStyle":
        """How people are drawn over photos."""
        return portraits.OverlayStyle(
            *(self.opacity, self.shadow, self.skeleton, self.keypoints, self.runner_up, self.background),
            wireframe=self.wireframe,
        )

    def _draw(self, people: "tuple[results_folder.PersonEntry, ...]", path: Path) -> None:
        from bodyfit.fitting.draw.animation import save_animation

        shared = {"skeleton": self.skeleton, "runner_up": self.runner_up, "backend": self.backend}
        if self.style == "turntable":
            frames = max(2, round(self.seconds * self.fps))
            size = self.size_px or 512
            pictures = portraits.turntable(people[0], frames=frames, size_px=(size, size), **shared)
            save_animation(pictures, path, self.fps)
        elif self.style == "views":
            portraits.save_picture(portraits.views_picture(people[0], height_px=self.size_px or 512, **shared), path)
        else:
            picture, photo = portraits.overlay_picture(people, self.overlay_style(), backend=self.backend)
            if self.style == "side-by-side":
                picture = portraits.side_by_side(photo, picture)
            portraits.save_picture(picture, path)
