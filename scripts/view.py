"""`bodyfit view`: results, or the pose prior, in the browser."""

import logging
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from bodyfit.data.errors import BodyfitError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ViewCommand:
    """Show the results of a run in the browser or, with --prior, the pose prior with sliders for its latent space.

    A clip plays at its frame rate, with a time slider, everybody in it, and all cameras with their pictures.
    """

    out: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")] = None
    """Results folder that `bodyfit fit PHOTOS -o OUT` wrote."""
    frames: bool = False
    """Of a clip: show its frames one by one as photos, with keypoints and residuals, instead of playing it."""
    prior: bool = False
    """Show the pose prior instead of results."""
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """With --prior: our weights, VPoser V02_05 or vposer_v1_0. Default: the shipped ones."""
    body: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """SMPL, SMPL-H or SMPL-X file or a folder of models: that the results were fitted with, or to show with
    --prior. Default: the shipped open body."""
    gender: Literal["neutral", "female", "male"] = "neutral"
    """With --prior: gender of the body."""
    host: str = "127.0.0.1"
    """Address to listen on; the default accepts connections from this computer only."""
    port: int = 8080
    """Port to listen on; if it is in use, the next free one is taken."""
    open: bool = False
    """Open the page in the browser."""

    def run(self) -> int:
        if self.prior == (self.out is not None):
            raise BodyfitError("give a results folder or --prior (and not both).")
        viewer = self._prior_viewer() if self.prior else self._results_viewer()
        print(viewer.url, flush=True)
        logger.info("open the address in a browser; Ctrl-C stops the server")
        if self.open:
            webbrowser.open(viewer.url)
        try:
            viewer.wait()
        except KeyboardInterrupt:
            logger.info("closed")
        finally:
            viewer.close()
        return 0

    def _results_viewer(self):
        from bodyfit.data.results.clip_index import ClipIndex
        from bodyfit.fitting.show.results_folder import open_results_folder
        from bodyfit.fitting.show.viewer import ResultsViewer

        results = open_results_folder(self.out, body=self.body)
        if self.frames or not ClipIndex.exists(self.out):
            return ResultsViewer(results, host=self.host, port=self.port)
        from bodyfit.fitting.show.clip_frames import ClipFrames
        from bodyfit.fitting.show.clip_viewer import ClipViewer

        return ClipViewer(ClipFrames(results, ClipIndex.read(self.out)), host=self.host, port=self.port)

    def _prior_viewer(self):
        import torch

        from bodyfit.data.body.body_model import load_body_model
        from bodyfit.fitting.show.prior_viewer import PriorViewer
        from bodyfit.prior.model.checkpoint import load_prior

        torch.set_num_threads(1)  # one body at a time is too small for several threads
        prior = load_prior(self.weights)
        return PriorViewer(prior, load_body_model(self.body, gender=self.gender), host=self.host, port=self.port)
