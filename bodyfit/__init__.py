"""3D human bodies (SMPL-X) from photos and 2D keypoints. The public names, each imported when it is first used."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # what type checkers and editors see of the table below; a test holds the two together
    from bodyfit.data.body.body_model import BodyModel as BodyModel
    from bodyfit.data.body.body_model import load_body_model as load_body_model
    from bodyfit.data.body.measures import Measures as Measures
    from bodyfit.data.body.measures import measure_body as measure_body
    from bodyfit.data.body.posing import pose_body as pose_body
    from bodyfit.data.errors import BodyfitError as BodyfitError
    from bodyfit.data.keypoints.detections import Detections as Detections
    from bodyfit.data.keypoints.detections import read_keypoints as read_keypoints
    from bodyfit.data.photo.rig import Rig as Rig
    from bodyfit.data.photo.rig import read_rig as read_rig
    from bodyfit.data.results.result import FitResult as FitResult
    from bodyfit.data.results.store import open_results as open_results
    from bodyfit.data.results.track import Track as Track
    from bodyfit.data.results.track_exports import export_track as export_track
    from bodyfit.data.results.track_files import read_track as read_track
    from bodyfit.data.results.track_files import write_track as write_track
    from bodyfit.fitting.clips.arrays import fit_video as fit_video
    from bodyfit.fitting.clips.view_arrays import fit_views as fit_views
    from bodyfit.fitting.draw.render import render_overlay as render_overlay
    from bodyfit.fitting.solve.config import FitConfig as FitConfig
    from bodyfit.fitting.solve.fit import fit as fit
    from bodyfit.fitting.solve.fitter import Fitter as Fitter
    from bodyfit.fitting.solve.frames import Frame as Frame
    from bodyfit.fitting.solve.inverse_kinematics import inverse_kinematics as inverse_kinematics
    from bodyfit.fitting.solve.stream import fit_many as fit_many
    from bodyfit.prior.model.checkpoint import load_prior as load_prior
    from bodyfit.prior.model.checkpoint import save_prior as save_prior
    from bodyfit.prior.model.vposer import VPoser as VPoser
    from bodyfit.prior.training.train import train_prior as train_prior

_HOME = {
    "BodyModel": "data.body.body_model",
    "BodyfitError": "data.errors",
    "Detections": "data.keypoints.detections",
    "FitConfig": "fitting.solve.config",
    "FitResult": "data.results.result",
    "Fitter": "fitting.solve.fitter",
    "Frame": "fitting.solve.frames",
    "Measures": "data.body.measures",
    "Track": "data.results.track",
    "Rig": "data.photo.rig",
    "VPoser": "prior.model.vposer",
    "export_track": "data.results.track_exports",
    "fit": "fitting.solve.fit",
    "fit_many": "fitting.solve.stream",
    "fit_video": "fitting.clips.arrays",
    "fit_views": "fitting.clips.view_arrays",
    "inverse_kinematics": "fitting.solve.inverse_kinematics",
    "load_body_model": "data.body.body_model",
    "load_prior": "prior.model.checkpoint",
    "measure_body": "data.body.measures",
    "open_results": "data.results.store",
    "pose_body": "data.body.posing",
    "read_keypoints": "data.keypoints.detections",
    "read_rig": "data.photo.rig",
    "read_track": "data.results.track_files",
    "render_overlay": "fitting.draw.render",
    "save_prior": "prior.model.checkpoint",
    "train_prior": "prior.training.train",
    "write_track": "data.results.track_files",
}

__all__ = [*_HOME, "__version__"]


if not TYPE_CHECKING:  # type checkers would take any misspelt name for Any

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'bodyfit' has no attribute '{name}'")
        value = getattr(importlib.import_module(f"bodyfit.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
