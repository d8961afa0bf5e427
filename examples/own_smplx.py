"""Fit with an SMPL-X file of your own, and pose the result with the smplx library."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import numpy as np
import smplx
import tyro

import bodyfit

SAMPLES = Path(str(files("bodyfit.data"))) / "assets" / "samples"


def main(
    model: Annotated[Path, tyro.conf.Positional],
    photo: Path = SAMPLES / "images" / "portrait.jpg",
    keypoints: Path = SAMPLES / "keypoints" / "portrait_keypoints.json",
) -> None:
    """Fit PHOTO with the body model MODEL (SMPLX_NEUTRAL.npz, ...)."""
    body = bodyfit.load_body_model(model, num_betas=10, num_expression=10)
    person = bodyfit.fit([bodyfit.Frame.from_files(photo, keypoints)], body=body)[0]
    print(f"{person.status}, fitted with {person.body_model}: {person.error_px:.1f} px off")

    # The result in smplx's own words. Hands are whole axis-angle poses here: use_pca=False, flat_hand_mean=True.
    sizes = {"num_betas": body.num_betas, "num_expression_coeffs": body.num_expression}
    official = smplx.create(str(model), model_type="smplx", use_pca=False, flat_hand_mean=True, **sizes)
    vertices = official(**person.smplx_parameters()).vertices[0].detach().numpy()

    mesh = person.mesh(body)  # the same without smplx
    difference = np.abs(np.asarray(mesh.vertices) - vertices).max()
    print(f"bodyfit's mesh and smplx's differ by at most {1000 * difference:.3f} mm")


if __name__ == "__main__":
    tyro.cli(main)
