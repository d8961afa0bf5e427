"""`bodyfit render`: pictures and turntables of the results of a run."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import confined
from bodyfit.data.lazy import LazyModule

if TYPE_CHECKING:
    from bodyfit.fitting.show import results_folder
else:
    results_folder = LazyModule("bodyfit.fitting.show.results_folder")

logger = logging.getLogger(__name__)

_ENDINGS = {"overlay": ".png", "side-by-side": ".png", "views": ".png", "turntable": ".gif"}


@dataclass(frozen=True)
class RenderCommand:
    """Draw pictures of a run: overlays, views of a body from several directions, turntables.

    Styles: `overlay` (all people drawn over their photo), `side-by-side` (the photo and its overlay), `views` (one
    person from the front, the side, behind and above), `turntable` (a full turn around one person; .gif, .webm or
    .mp4).
    """

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Results folder that `bodyfit fit PHOTOS -o OUT` wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """File to write (.png, .jpg; .gif, .webm or .mp4 for turntables), or a folder for one file per photo or person."""
    style: Literal["overlay", "side-by-side", "views", "turntable"] = "overlay"
    """What to draw."""
    image: str | None = None
    """Only this photo, by its name in the results folder."""
    person: str | None = None
    """Only people of this number, such as 000."""
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
    size_px: int = 512
    """Height of views and turntables in pixels."""
    seconds: float = 4.0
    """Length of a turntable."""
    fps: float = 25.0
    """Frames per second of a turntable."""
    backend: Literal["auto", "egl", "software"] = "auto"
    """`egl`: OpenGL without a display; `software`: no OpenGL; `auto`: EGL if it works, else software."""

    def run(self) -> int:
        if self.runner_up and (self.skeleton or self.keypoints):
            raise BodyfitError(
                "--skeleton and --keypoints belong to the best hypothesis; leave them out with --runner-up."
            )
        if self.background == "transparent" and (self.style != "overlay" or self.output.suffix not in ("", ".png")):
            raise BodyfitError("--background transparent is for overlays written as .png.")
        chosen = results_folder.open_results_folder(self.out, body=self.body).find(self.image, self.person)
        jobs = list(self._jobs(chosen))
        one_file = self.output.suffix != "" and not self.output.is_dir()
        if one_file and len(jobs) > 1:
            names = ", ".join(name for name, _ in jobs[:4])
            raise BodyfitError(
                f"{self.output}: one file cannot hold {len(jobs)} pictures ({names}, ...). "
                "Choose with --image and --person, or give a folder."
            )
        made = missing = 0
        for name, people in jobs:
            try:
                path = self.output if one_file else confined(self.output, name + _ENDINGS[self.style])
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

    def _draw(self, people: "tuple[results_folder.PersonEntry, ...]", path: Path) -> None:
        from bodyfit.fitting.draw.animation import save_animation
        from bodyfit.fitting.show import portraits

        shared = {"skeleton": self.skeleton, "runner_up": self.runner_up, "backend": self.backend}
        if self.style == "turntable":
            frames = max(2, round(self.seconds * self.fps))
            pictures = portraits.turntable(people[0], frames=frames, size_px=(self.size_px, self.size_px), **shared)
            save_animation(pictures, path, self.fps)
        elif self.style == "views":
            portraits.save_picture(portraits.views_picture(people[0], height_px=self.size_px, **shared), path)
        else:
            style = portraits.OverlayStyle(
                *(self.opacity, self.shadow, self.skeleton, self.keypoints, self.runner_up, self.background),
                wireframe=self.wireframe,
            )
            picture, photo = portraits.overlay_picture(people, style, backend=self.backend)
            if self.style == "side-by-side":
                picture = portraits.side_by_side(photo, picture)
            portraits.save_picture(picture, path)
