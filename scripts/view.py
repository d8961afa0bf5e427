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
    """Look at a run's results in the browser, or with --prior at the pose prior: its latent space under sliders."""

    out: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")] = None
    """Results folder that `bodyfit fit PHOTOS -o OUT` wrote."""
    prior: bool = False
    """Show the pose prior instead of results."""
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """With --prior: our weights, VPoser V02_05 or vposer_v1_0. Default: the ones that come along."""
    body: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """SMPL, SMPL-H or SMPL-X file or a folder of models: of the results (where they were fitted with one), or to show
    with --prior. Default: the open body that comes along."""
    gender: Literal["neutral", "female", "male"] = "neutral"
    """With --prior: which body of a folder, or of the open ones."""
    host: str = "127.0.0.1"
    """Address to listen on; the default lets nobody but this computer in."""
    port: int = 8080
    """Port to listen on; the next free one is taken where it is in use."""
    open: bool = False
    """Open the page in the browser."""

    def run(self) -> int:
        if self.prior == (self.out is not None):
            raise BodyfitError("say what to look at: a results folder, or --prior (and not both).")
        viewer = self._prior_viewer() if self.prior else self._results_viewer()
        print(viewer.url, flush=True)
        logger.info("open the address in a browser; Ctrl-C ends it")
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
        from bodyfit.fitting.show.results_folder import open_results_folder
        from bodyfit.fitting.show.viewer import ResultsViewer

        return ResultsViewer(open_results_folder(self.out, body=self.body), host=self.host, port=self.port)

    def _prior_viewer(self):
        import torch

        from bodyfit.data.body.body_model import load_body_model
        from bodyfit.fitting.show.prior_viewer import PriorViewer
        from bodyfit.prior.model.checkpoint import load_prior

        torch.set_num_threads(1)  # one small body at a time: more threads only wait for one another
        prior = load_prior(self.weights)
        return PriorViewer(prior, load_body_model(self.body, gender=self.gender), host=self.host, port=self.port)
