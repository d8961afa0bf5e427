"""Fit a folder of photos and keypoint files in one batch; write a table of joints that a spreadsheet opens."""

import csv
from importlib.resources import files
from pathlib import Path

import tyro

import bodyfit

SAMPLES = Path(str(files("bodyfit.data"))) / "assets" / "samples"


def main(folder: Path = SAMPLES, out: Path = Path("out/examples/folder")) -> None:
    """Fit FOLDER/images with FOLDER/keypoints; results go to OUT.

    `bodyfit fit FOLDER -o OUT` does the same with more care: it resumes, and finds other layouts.
    """
    frames = []
    for photo in sorted((folder / "images").iterdir()):
        keypoints = folder / "keypoints" / f"{photo.stem}_keypoints.json"
        try:
            frames.append(bodyfit.Frame.from_files(photo, keypoints))
        except bodyfit.BodyfitError as error:  # a broken photo or file stops nothing
            print(f"left out: {error}")
    results = bodyfit.fit(frames)  # in the order of the frames and of the people in each
    names = [frame.name for frame in frames for _ in frame.detections.person_ids]

    out.mkdir(parents=True, exist_ok=True)
    with (out / "joints.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["photo", "person", "joint", "x_m", "y_m", "z_m", "x_px", "y_px"])
        for name, person in zip(names, results, strict=True):
            person.save(out / name / f"{person.person_id}.npz")
            if person.status == "failed":
                print(f"{name}, person {person.person_id}: {person.reason}")
                continue
            for joint, xyz, px in zip(*person.joints(), strict=True):
                table.writerow([name, person.person_id, joint, *xyz.round(4), *px.round(1)])
    print(f"{len(results)} people in {len(frames)} photos: {out / 'joints.csv'}")


if __name__ == "__main__":
    tyro.cli(main)
