"""Results as tables for spreadsheets and statistics: a row per person and joint, a row per person."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from bodyfit.data.results.result import FitResult

_JOINT_COLUMNS = (
    *("image", "person", "joint", "x_m", "y_m", "z_m", "x_px", "y_px", "keypoint_x_px", "keypoint_y_px", "confidence"),
)
MEASURE_COLUMNS = {
    "stature_m": "stature",
    "inseam_m": "inseam",
    "arm_span_m": "arm_span",
    "head_circumference_m": "head_circumference",
    "chest_circumference_m": "chest_circumference",
    "waist_circumference_m": "waist_circumference",
    "hip_circumference_m": "hip_circumference",
    "volume_m3": "volume",
    "mass_kg": "mass",
}
"""Names with units, as tables and JSON have them, of the fields of `data.body.measures.Measures`."""
_SCALARS = ("status", "reason", "cost", "error_px", "error_share", "ambiguous", "focal_px", "focal_source")
_SCALARS += ("age", "age_margin", "age_years", "stature_m", "size_source", "touching", "floor_source")
_VECTORS = ("transl", "global_orient", "betas", "expression", "body_pose", "jaw_pose", "leye_pose", "reye_pose")
_VECTORS += ("left_hand_pose", "right_hand_pose")


def joint_table(results: Iterable[tuple[str, FitResult]]) -> str:
    """A row for each landmark of each (image, result): fitted in 3D (camera frame, metres) and in the photo, and the
    detected keypoint, empty where there was none.
    """
    return written(_JOINT_COLUMNS, (row for image, result in results for row in _joint_rows(image, result)))


def parameter_table(results: Iterable[tuple[str, FitResult]]) -> str:
    """A row for each (image, result): status, errors, and every parameter in a column of its own."""
    results = list(results)
    sizes = {name: max((len(getattr(r, name)) for _, r in results), default=0) for name in _VECTORS}
    vectors = [f"{name}_{i}" for name in _VECTORS for i in range(sizes[name])]

    def rows() -> Iterator[list]:
        for image, result in results:
            row = [image, result.person_id, *(getattr(result, name) for name in _SCALARS)]
            for name in _VECTORS:
                values = getattr(result, name)
                row += [*values.tolist(), *[""] * (sizes[name] - len(values))]
            yield row

    return written(("image", "person", *_SCALARS, *vectors), rows())


def measure_table(people: Iterable[Mapping[str, Any]]) -> str:
    """A row for each person of `bodyfit measure`: units are in the columns' names; empty where nothing was measured."""
    columns = ("image", "person", "status", "focal_source", "size_source", "reason", *MEASURE_COLUMNS)
    return written(columns, ([person.get(name, "") for name in columns] for person in people))


def _joint_rows(image: str, result: FitResult) -> Iterator[list]:
    for i, name in enumerate(result.landmark_names):
        seen = result.keypoint_confidence[i] > 0
        if not np.isfinite(result.landmarks[i]).all():
            continue  # the body model has no such point
        detected = result.keypoints_px[i].tolist() if seen else ["", ""]
        fitted = [*result.landmarks[i].tolist(), *result.landmarks_px[i].tolist()]
        yield [image, result.person_id, name, *fitted, *detected, float(result.keypoint_confidence[i])]


def written(columns: Iterable[str] | None, rows: Iterable[list]) -> str:
    """Lines of a .csv; without `columns`, no line of names."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if columns is not None:
        writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return stream.getvalue()


def _cell(value: object) -> object:
    """Numbers in 7 digits, NaN as nothing, an apostrophe before texts that a spreadsheet would run as formulas."""
    if isinstance(value, float):
        return f"{value:.7g}" if np.isfinite(value) else ""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return value
