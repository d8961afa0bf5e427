"""Results of runs, and the bodies that they were fitted with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.errors import BodyfitError
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import StoredResult, open_results


def results_in(path: Path) -> list[StoredResult]:
    """Each result of an output folder in either layout, or of a single file.

    Links that lead out of the folder are left out.

    Raises:
        BodyfitError: where there is none.
    """
    if path.is_file():
        return [StoredResult("", path.stem, path.parent, path.name)]
    return list(open_results(path).stored)


class ResultBodies:
    """Poses the bodies of results; each body model is read once.

    Args:
        path: body model file or folder; None: the open bodies.
    """

    def __init__(self, path: Path | None):
        self.path, self.read = path, {}

    def of(self, result: FitResult, file: Path) -> BodyModel:
        """The body model of a result.

        Raises:
            BodyfitError: if the result was fitted with another body.
        """
        gender, count, kid = result.body_gender, max(10, len(result.betas) - result.kid_axis), result.kid_axis
        if (gender, count, kid) not in self.read:
            self.read[gender, count, kid] = load_body_model(self.path, gender=gender, num_betas=count, kid=kid)
        body = self.read[gender, count, kid]
        if body.name != result.body_model:
            raise BodyfitError(
                f"{file}: fitted with the body '{result.body_model}', but the body given is '{body.name}'. "
                "Shape numbers are specific to a body: give the right one with --body."
            )
        return body

    def vertices(self, result: FitResult, file: Path) -> Float[np.ndarray, "V 3"]:
        """Vertices of a result in its camera frame, metres."""
        parameters = {name: torch.from_numpy(value) for name, value in result.parameters().items()}
        return pose_body(self.of(result, file), **parameters).vertices[0].numpy()
