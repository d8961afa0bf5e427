"""A results folder as `bodyfit fit` writes it; files are read when they are needed.

OUT/summary.json                    one row per person: image, person, status, reason, cost, errors, seconds, file paths
OUT/results/<image>/<nnn>.npz       parameters, camera, landmarks
OUT/meshes/<image>/<nnn>.obj        the body in the camera frame
OUT/images/<image>.jpg              the photo with its people drawn over it
"""

import functools
import logging
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import PHOTO_SUFFIXES, confined, read_json
from bodyfit.data.lazy import LazyModule
from bodyfit.data.photo.video import split_frame
from bodyfit.data.results.distrust import centimetres, weaknesses
from bodyfit.data.results.meshes import COORDINATE_FRAMES, MESH_SUFFIXES, load_mesh
from bodyfit.data.results.modes import doubt
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import JOURNAL, load_result, read_journal, split_row, what_is_expected
from bodyfit.data.results.track import Track
from bodyfit.fitting.draw.layers import Mesh

if TYPE_CHECKING:
    from bodyfit.data.body import body_model
else:  # imports torch, which takes a second
    body_model = LazyModule("bodyfit.data.body.body_model")

logger = logging.getLogger(__name__)

_WORST_FIRST = {"failed": 0, "implausible": 1, "max_iterations": 2, "interpolated": 3, "converged": 4}
_LARGEST_OBJ = 64 * 1024**2

_MOST_PIXELS = 200_000_000  # of a photo; Pillow refuses larger ones

LEAST_SURE = 2  # parts that the figures name

ORDERS = ("failures first", "error, high to low", "error, low to high", "photo")


@dataclass(frozen=True)
class PersonEntry:
    """One row of summary.json. Numbers that the row lacks, or that are not finite, are None."""

    folder: Path
    image: str
    person: str
    status: str
    reason: str
    error_px: float | None
    error_share: float | None
    """Reprojection error as a share of the person's size in the photo."""
    cost: float | None
    seconds: float | None
    row: dict = field(repr=False)
    body: Path | None = None
    """Body model file or folder that the run was fitted with; None for the open body."""

    @property
    def name(self) -> str:
        return f"{self.image} · {self.person}"

    @property
    def number(self) -> int:
        """The number of the person in the photo, which determines the colour."""
        return int(self.person) if re.fullmatch(r"[0-9]{1,9}", self.person) else 0

    @property
    def result_path(self) -> Path | None:
        return self._inside("result", f"results/{self.image}/{self.person}.npz", (".npz", ".json", ".safetensors"))

    @property
    def mesh_path(self) -> Path | None:
        return self._inside("mesh", f"meshes/{self.image}/{self.person}.obj", MESH_SUFFIXES)

    @property
    def overlay_path(self) -> Path | None:
        return self._inside("overlay", f"images/{self.image}.jpg", PHOTO_SUFFIXES)

    @property
    def photo_path(self) -> Path | None:
        """The photo, which may be anywhere, or the frame of a video; `read_photo` opens only such formats."""
        written = self.row.get("photo")
        try:
            # A path is absolute, or starts in the results folder, or where `bodyfit fit` was called.
            paths = (self.folder / written, Path(written)) if isinstance(written, str) and written else ()
            return next((path for path in paths if _is_photo(path)), None)
        except (OSError, ValueError):  # a name that no file system can hold
            return None

    def result(self) -> FitResult | None:
        """Parameters and landmarks; None (and a line in the log) where there is no result file or it cannot be read."""
        if self.result_path is None:
            return None
        try:
            result = load_result(self.result_path)
        except BodyfitError as error:
            logger.warning("results: %s", error)
            return None
        (width, height), focal = result.image_size, result.focal_px
        if not (width > 0 and height > 0 and width * height <= _MOST_PIXELS and 0 < focal < math.inf):
            logger.warning(
                "results: %s: no camera takes %d x %d pixels at a focal length of %g px; left out",
                *(self.result_path, width, height, focal),
            )
            return None
        return result

    def mesh(self, result: FitResult | None = None) -> Mesh | None:
        """Vertices (metres, camera frame) and faces: from the mesh file, else posed anew; None if neither can be.

        `result` spares reading the file again.
        """
        if self.mesh_path is not None:
            vertices, faces = _read_plain_obj(self.mesh_path) or load_mesh(self.mesh_path)
            return vertices @ COORDINATE_FRAMES[_mesh_frame(self.folder)], faces
        result = self.result() if result is None else result
        return None if result is None else _posed(self.body_of(result), result.parameters())

    def runner_up_mesh(self, result: FitResult | None = None) -> Mesh | None:
        """The body of the alternative, as `mesh`; None where there is none, or its body model is not at hand.

        `result` spares reading the file again.
        """
        result = self.result() if result is None else result
        if result is None or not result.has_runner_up:
            return None
        return _posed(self.body_of(result), result.runner_up_parameters())

    def other_meshes(self, result: FitResult | None = None) -> list[Mesh]:
        """The bodies of all alternatives that were kept, the most probable first; as `runner_up_mesh`."""
        result = self.result() if result is None else result
        if result is None or not result.has_runner_up:
            return []
        posed = [_posed(self.body_of(result), mode.parameters) for mode in result.modes[1:]]
        return [mesh for mesh in posed if mesh is not None]

    def body_of(self, result: FitResult) -> "body_model.BodyModel | None":
        """The body model that a result's numbers belong to; None where another one is at hand."""
        count = len(result.betas) - 1 if result.kid_axis else 300  # as many as results can have
        body = _body_model(self.body, result.body_gender, count, result.kid_axis)
        return body if body is not None and body.name == result.body_model else None

    def figures(self, result: FitResult | None, body: "body_model.BodyModel | None" = None) -> dict[str, str]:
        """Figures of this person for a page, label and text; `body` (`body_of`) adds the stature."""
        error = [] if self.error_px is None else [f"{self.error_px:.2f} px"]
        error += [] if self.error_share is None else [f"{100 * self.error_share:.2f} % of size"]
        cost = [] if self.cost is None else [f"{self.cost:.4g}"]
        cost += [] if self.seconds is None else [f"{self.seconds:.3g} s"]
        figures = {"photo": self.image, "person": self.person, "reason": self.reason, "error": ", ".join(error)}
        figures |= {} if result is None else _errors_of_parts(result)
        figures |= {"cost, time" if self.cost is not None else "time": ", ".join(cost)}
        figures |= {} if result is None else _result_figures(result, body)
        return {label: words for label, words in figures.items() if words}

    def _inside(self, key: str, usual: str, suffixes: tuple[str, ...]) -> Path | None:
        """A file of the results folder, by the row's own path or its usual one; None where there is none.

        A summary may come from anybody: neither its paths nor symbolic links may lead out of the folder.
        """
        written = self.row.get(key) or usual
        try:
            path = confined(self.folder, str(written))
            file = split_row(path)[0]  # of a shard
            inside = file.resolve().is_relative_to(self.folder.resolve()) and file.suffix.lower() in suffixes
            return path if inside and file.is_file() else None
        except (BodyfitError, OSError, ValueError):  # a name that no file system can hold
            return None


@dataclass(frozen=True)
class ResultsFolder:
    """All people of a results folder, in the order of summary.json, and the rest of the summary."""

    folder: Path
    people: tuple[PersonEntry, ...]
    run: dict
    """summary.json without its rows."""
    body: Path | None = None
    """Body model file or folder that the run was fitted with; None for the open body."""

    def sorted(self, order: str = ORDERS[0]) -> tuple[PersonEntry, ...]:
        """People by one of `ORDERS`; those without an error come first where errors run high to low."""
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
        if order == "photo":
            return self.people

        def error(person: PersonEntry) -> float:
            value = person.error_share if person.error_share is not None else person.error_px
            return math.inf if value is None else value

        if order == "error, low to high":
            return tuple(sorted(self.people, key=error))
        if order == "error, high to low":
            return tuple(sorted(self.people, key=lambda p: -error(p)))
        return tuple(sorted(self.people, key=lambda p: (_WORST_FIRST.get(p.status, 0), -error(p))))

    def by_photo(self) -> dict[str, tuple[PersonEntry, ...]]:
        """People grouped by photo, both in the order of summary.json."""
        groups: dict[str, list[PersonEntry]] = {}
        for person in self.people:
            groups.setdefault(person.image, []).append(person)
        return {image: tuple(people) for image, people in groups.items()}

    def find(self, image: str | None = None, person: str | None = None) -> tuple[PersonEntry, ...]:
        """People by photo and number; None matches all.

        Raises:
            BodyfitError: If nobody matches; the message names some people that there are.
        """
        found = tuple(p for p in self.people if image in (None, p.image) and person in (None, p.person))
        if not found:
            wanted = " · ".join(word for word in (image, person) if word is not None) or "anybody"
            known = ", ".join(p.name for p in self.people[:5]) or "nobody"
            more = ", ..." if len(self.people) > 5 else ""
            raise BodyfitError(f"{self.folder}: no {wanted} here. It holds {known}{more}.")
        return found

    def statuses(self) -> tuple[str, ...]:
        return tuple(sorted({p.status for p in self.people}, key=lambda s: (_WORST_FIRST.get(s, 5), s)))


def open_results_folder(folder: Path | str, *, body: Path | str | None = None) -> ResultsFolder:
    """Reads OUT/summary.json and nothing else.

    Args:
        folder: OUT.
        body: Body model file or folder that the run was fitted with (`bodyfit fit --body`). Statures, alternatives
            and bodies without a mesh file are made from it; the open body does for runs without --body.

    Raises:
        BodyfitError: If the folder or its summary is missing or is not what `bodyfit fit` writes, or there is no
            such body.
    """
    folder, body = Path(folder), None if body is None else Path(body)
    if body is not None and not body.exists():
        raise BodyfitError(f"{body}: no such file or folder. --body names the one that `bodyfit fit` was given.")
    path = folder / "summary.json"
    if not path.is_file() and (folder / JOURNAL).is_file():  # a run is at work, or was stopped
        rows = [row for record in read_journal(folder / JOURNAL).values() for row in record["rows"]]
        return ResultsFolder(folder, tuple(_person(folder, row, body) for row in rows), {}, body)
    if not path.is_file():
        what = "no summary.json in it" if folder.is_dir() else "is no folder"
        raise BodyfitError(f"{folder}: {what}. {what_is_expected(folder)}")
    summary = read_json(path)
    rows = summary.get("people") if isinstance(summary, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "image" in row for row in rows):
        raise BodyfitError(f"{path}: expected an object with a list `people` of rows that name their `image`.")
    run = {key: value for key, value in summary.items() if key != "people"}
    return ResultsFolder(folder, tuple(_person(folder, row, body) for row in rows), run, body)


def _person(folder: Path, row: dict, body: Path | None) -> PersonEntry:
    return PersonEntry(
        folder=folder,
        image=str(row["image"]),
        person=str(row.get("person") if row.get("person") is not None else "?"),
        status=str(row.get("status") or "unknown"),
        reason=str(row.get("reason") or ""),
        error_px=_number(row.get("error_px")),
        error_share=_number(row.get("error_share")),
        cost=_number(row.get("cost")),
        seconds=_number(row.get("seconds")),
        row=row,
        body=body,
    )


def _mesh_frame(folder: Path) -> str:
    """The axes of the meshes of the run, from OUT/config.json; the camera frame by default."""
    try:
        frame = read_json(folder / "config.json")["output"]["frame"]
    except (BodyfitError, KeyError, TypeError):
        return "opencv"
    return frame if isinstance(frame, str) and frame in COORDINATE_FRAMES else "opencv"


def body_of_track(track: Track, body: Path | None) -> "body_model.BodyModel":
    """The body model of a track: of the file or folder `body`, or the open one. Raises BodyfitError for another."""
    count = len(track.betas) - 1 if track.kid_axis else 300
    found = _body_model(body, track.body_gender, count, track.kid_axis)
    if found is None or found.name != track.body_model:
        raise BodyfitError(
            f"person {track.person} was fitted with the body '{track.body_model}', which is not at hand. Name it with "
            "--body."
        )
    return found


@functools.lru_cache(maxsize=3)
def _body_model(
    path: Path | None, gender: str, num_betas: int = 300, kid: bool = False
) -> "body_model.BodyModel | None":
    try:
        return body_model.load_body_model(path, gender=gender, num_betas=num_betas, kid=kid)
    except BodyfitError as error:
        logger.warning("results: %s", error)
        return None


def _posed(body: "body_model.BodyModel | None", parameters: dict[str, np.ndarray]) -> Mesh | None:
    if body is None:
        return None
    import torch

    from bodyfit.data.body.posing import pose_body

    tensors = {name: torch.as_tensor(value) for name, value in parameters.items()}
    return pose_body(body, **tensors).vertices[0].numpy(), body.faces


def _read_plain_obj(path: Path) -> Mesh | None:
    """An .obj with only vertices and triangles, as `bodyfit fit` writes it; six times as fast as trimesh."""
    if path.suffix.lower() != ".obj" or path.stat().st_size > _LARGEST_OBJ:
        return None
    # All vertices, then all triangles; anything else fails to parse.
    _, _, text = path.read_text(encoding="utf-8", errors="replace").partition("\nv ")
    first, _, second = text.partition("\nf ")
    try:
        vertices = np.array(first.replace("v", "").split(), dtype=np.float64).reshape(first.count("v") + 1, 3)
        faces = np.array(second.replace("f", "").split(), dtype=np.int64).reshape(second.count("f") + 1, 3) - 1
    except (ValueError, OverflowError):  # colours, normals or polygons: left to trimesh
        return None
    plain = len(faces) > 0 and faces.min() >= 0 and faces.max() < len(vertices) and np.isfinite(vertices).all()
    return (vertices, faces) if plain else None


def _is_photo(path: Path) -> bool:
    frame = split_frame(path)
    return frame[0].is_file() if frame else path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()


def _number(value) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _errors_of_parts(result: FitResult) -> dict[str, str]:
    shares = {part: getattr(result, f"error_share_{part}") for part in ("body", "hands", "face")}
    known = {part: 100 * share for part, share in shares.items() if math.isfinite(share)}
    return {"parts": ", ".join(f"{part} {share:.2f} %" for part, share in known.items())}


def _result_figures(result: FitResult, body: "body_model.BodyModel | None") -> dict[str, str]:
    figures = {
        "height": "" if body is None else f"{_height(result, body):.2f} m",
        "age": _age(result),
        "distance": f"{result.landmarks[0, 2]:.2f} m" + _in_depth(result),
        "least sure": "; ".join(map(str, weaknesses(result)[:LEAST_SURE])),
        "touches the ground": _feet(result),
        "focal length": f"{result.focal_px:.0f} px ({result.focal_source})",
        "betas": " ".join(f"{beta:+.1f}" for beta in result.betas[:4]) + " …",
        "body, prior": f"{result.body_model}, {result.prior}",
    }
    if math.isfinite(result.runner_up_cost):
        ratio = result.runner_up_cost / result.cost if result.cost > 0 else math.nan
        dearer = f" ({100 * (ratio - 1):+.0f} %)" if ratio < 10 else f" ({ratio:.3g} times)" if ratio >= 10 else ""
        words = f"{doubt(result)}, " if result.has_runner_up else ""
        figures["alternative hypothesis"] = f"{words}cost {result.runner_up_cost:.4g}{dearer}"
        figures["alternative hypothesis"] += ": ambiguous" if result.ambiguous else ""
    if len(result.further_weight):
        figures["further hypotheses"] = "; ".join(
            f"{mode.words}, weight {mode.weight:.2f}" for mode in result.modes[2:]
        )
    return figures


def _feet(result: FitResult) -> str:
    """Which feet touch the ground, and what that is known by."""
    if not result.touching:
        return ""
    return result.touching + (f" (floor: {result.floor_source})" if result.floor_source else "")


def _age(result: FitResult) -> str:
    """Who is a child, how that is known, and about how old; nothing of adults, who are the rule."""
    if not result.age.startswith("child"):
        return ""
    return result.age + (f"; about {result.age_years:.0f} years" if math.isfinite(result.age_years) else "")


def _in_depth(result: FitResult) -> str:
    """How sure the person's distance is."""
    if not result.joint_covariance.size or not np.isfinite(result.joint_covariance[0]).all():
        return ""
    return f" +- {centimetres(math.sqrt(max(float(result.joint_covariance[0, 2, 2]), 0.0)))}"


def _height(result: FitResult, body: "body_model.BodyModel") -> float:
    """Stature in metres of the unposed body with these betas."""
    betas = result.betas[: body.num_betas]
    stature = body.v_template[:, 1] + body.shapedirs[:, 1, : len(betas)] @ betas
    return float(np.ptp(stature))
