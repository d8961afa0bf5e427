"""Fit people whose keypoints are arrays, as a detector in the same program gives them; save meshes and a picture."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

import bodyfit

SAMPLES = Path(str(files("bodyfit.data"))) / "assets" / "samples"


def main(out: Path = Path("out/examples/arrays")) -> None:
    """Fit the sample photo of two people; results go to OUT."""
    out.mkdir(parents=True, exist_ok=True)
    # Stands for your detector: the photo as (H, W, 3) uint8 RGB and its P people as (P, K, 3): x, y, confidence.
    photo = np.asarray(Image.open(SAMPLES / "images" / "two_people.jpg").convert("RGB"))
    people = json.loads((SAMPLES / "keypoints" / "two_people_keypoints.json").read_text())["people"]
    keypoints = np.array([person["pose_keypoints_2d"] for person in people]).reshape(len(people), 25, 3)

    frame = bodyfit.Frame.from_keypoints(keypoints, "body25", image=photo, name="two_people")
    results = bodyfit.fit([frame])  # one result per person; many frames at once form one batch

    fitted = [person for person in results if person.status != "failed"]
    meshes = [person.mesh() for person in fitted]  # trimesh.Trimesh, metres, in the camera frame
    for person, mesh in zip(fitted, meshes, strict=True):
        mesh.export(out / f"{person.person_id}.ply")
        joints = person.joints()
        wrist = joints.xyz[joints.names.index("left_wrist")].round(2)
        print(f"person {person.person_id}: {person.error_px:.1f} px off, left wrist at {wrist} m")
    overlay = bodyfit.render_overlay(
        photo,
        [(np.asarray(mesh.vertices), np.asarray(mesh.faces)) for mesh in meshes],
        focal_px=frame.focal_px,
        center_px=frame.center_px,
    )
    Image.fromarray(overlay).save(out / "overlay.png")


if __name__ == "__main__":
    tyro.cli(main)
