"""`bodyfit report`: the report of a run as one HTML file."""

import logging
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from bodyfit.data.errors import BodyfitError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportCommand:
    """Write the report of a run as one self-contained HTML file: contact sheet, figures, plots, bodies in 3D.

    For a folder of `bodyfit prior train` it has the curves, the latest sheets and the model card, also during training.
    Of a clip, it has curves over time and a few moments of each person.
    The file needs no server and no network; 200 people on 200 photos take about 25 MB.
    """

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Results folder that `bodyfit fit PHOTOS -o OUT` wrote, or RUN of `bodyfit prior train`."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """HTML file to write, or a folder for report.html; OUT/report.html by default."""
    title: str = "bodyfit report"
    """Heading of the page."""
    max_people: int = 200
    """How many people get a card, worst first (of a clip, at most eight moments for each). Figures and plots include
    everybody."""
    meshes: bool = True
    """Include the bodies in 3D (about 50 kB each)."""
    body: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Body model that the results were fitted with, if it was not the open one; for statures and alternative
    hypotheses."""
    open: bool = False
    """Open the page in the browser."""

    def run(self) -> int:
        from bodyfit.fitting.show.report import write_report
        from bodyfit.fitting.show.results_folder import open_results_folder
        from bodyfit.fitting.show.training_report import write_training_report
        from bodyfit.prior.training.curves import is_training_run

        path = self.output or self.out / "report.html"
        if path.is_dir():
            path = path / "report.html"
        elif path.suffix.lower() not in (".html", ".htm"):
            raise BodyfitError(
                f"{path}: a report is an .html file. Give one, or a folder that is there for report.html."
            )
        if is_training_run(self.out):
            write_training_report(self.out, path, title=self.title)
        else:
            results = open_results_folder(self.out, body=self.body)
            write_report(results, path, title=self.title, max_people=self.max_people, meshes=self.meshes)
        logger.info("wrote %s (%.1f MB)", path, path.stat().st_size / 1e6)
        if self.open:
            webbrowser.open(path.resolve().as_uri())
        return 0
