"""Fits spheres to the shipped bodies and writes them beside them: `python -m bodyfit.scripts.open_body.spheres`."""

from __future__ import annotations

import logging

from bodyfit.data.body.body_model import load_body_model, with_kid_axis
from bodyfit.data.body.known_spheres import KID, save_spheres
from bodyfit.data.body.model_files import GENDERS

log = logging.getLogger(__name__)


def main() -> None:
    """Write smplx_open_<gender>.spheres.npz beside each shipped body, and those with the kid axis."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for gender in GENDERS:
        body = load_body_model(gender=gender)
        for one, kind in ((body, ""), (with_kid_axis(body), KID)):
            file = body.path.with_name(f"{body.path.stem}{kind}.spheres.npz")
            save_spheres(one, file)
            log.info("%s", file)


if __name__ == "__main__":
    main()
