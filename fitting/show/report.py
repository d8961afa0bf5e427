"""The report of a run as one HTML file: figures, distributions, a contact sheet, and bodies in 3D.

The file contains everything it shows (pictures, meshes, scripts) and makes no network requests, which its
Content-Security-Policy enforces. Template, style and scripts are in `data/assets/pages/`.
"""

import base64
import io
import logging
from collections import Counter
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image
from tqdm import tqdm

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import write_atomically
from bodyfit.data.photo.photo import read_photo
from bodyfit.data.results.distrust import weakest_part
from bodyfit.data.results.modes import mode_labels
from bodyfit.data.results.result import FitResult
from bodyfit.fitting.draw.colours import STATUS, person_hex
from bodyfit.fitting.show.clip_frames import ClipFrames
from bodyfit.fitting.show.clip_report import clip_tiles, curves_over_time, people_over_time
from bodyfit.fitting.show.clip_strips import strips
from bodyfit.fitting.show.mesh_code import Topology, encode_vertices
from bodyfit.fitting.show.pages import fill_page, page_asset, script_safe_json
from bodyfit.fitting.show.plots import bars_svg, histogram_svg
from bodyfit.fitting.show.portraits import mode_pictures
from bodyfit.fitting.show.results_folder import PersonEntry, ResultsFolder
from bodyfit.fitting.show.uncertainty_picture import as_data_url, uncertainty_svg

logger = logging.getLogger(__name__)

# (number of photos, up to it this many pixels along the longer side)
_PICTURE_SIDES = ((40, 1280), (100, 960), (200, 600))
_SMALLEST_SIDE = 400


def write_report(
    results: ResultsFolder,
    path: Path | str,
    *,
    title: str = "bodyfit report",
    max_people: int = 200,
    meshes: bool = True,
) -> Path:
    """Writes the report of a results folder.

    Args:
        results: The results (`open_results_folder`).
        path: The HTML file to write.
        title: Its heading.
        max_people: How many people get a card, worst first; figures and plots include everybody.
        meshes: Whether the page contains the bodies in 3D (about 50 kB each).

    Raises:
        BodyfitError: If the run has no people to show, or the file cannot be written.
    """
    if not results.people:
        raise BodyfitError(f"{results.folder / 'summary.json'}: lists no people, so there is nothing to report.")
    clip = ClipFrames.of(results)
    people = results.sorted()[:max_people] if clip is None else people_over_time(clip, max_people)
    over_time = () if clip is None else curves_over_time(clip)
    page = fill_page(
        "report.html",
        title=title,
        subtitle=_subtitle(results),
        css=page_asset("report.css"),
        tiles=_tiles(results) if clip is None else clip_tiles(clip) | _errors(results),
        plots=(*over_time, *_plots(results)),
        strips=[] if clip is None else strips(clip),
        notes=_notes(results, len(people), clip is not None),
        data=script_safe_json(_page_data(results, people, meshes, clip)),
        viewer_js=page_asset("viewer.js"),
        report_js=page_asset("report.js"),
    )
    return write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def _page_data(results: ResultsFolder, people: tuple[PersonEntry, ...], meshes: bool, clip: ClipFrames | None) -> dict:
    images, image_index = _pictures(people)
    topologies: dict[bytes, tuple[int, Topology]] = {}
    places = {id(person): place for place, person in enumerate(results.people)}
    rows = []
    for person in tqdm(people, desc="report", unit="person", disable=None):
        result = person.result()
        rows.append(
            {
                "name": person.name + ("" if clip is None else clip.when(person.image)),
                "place": places[id(person)],
                "image": image_index.get(person.overlay_path or person.photo_path),
                "status": person.status,
                "reason": person.reason,
                "ambiguous": bool(person.row.get("ambiguous", False)),
                "doubt": str(person.row.get("doubt") or ""),
                "error_px": person.error_px,
                "error_share": person.error_share,
                "box": _box(result),
                "colour": person_hex(person.number),
                "figures": person.figures(result, None if result is None else person.body_of(result)),
                "mesh": _mesh(person, topologies) if meshes else None,
                "modes": _modes(person, result),
                "weakest": "" if result is None else weakest_part(result),
                "uncertainty": _uncertainty(result),
            }
        )
    return {
        "status_colours": STATUS,
        "what": "people" if clip is None else "moments",
        "images": images,
        "topologies": [topology.encoded() for _, topology in topologies.values()],
        "people": rows,
    }


def _mesh(person: PersonEntry, topologies: dict[bytes, tuple[int, Topology]]) -> dict | None:
    """The encoded vertices of a body, and the index of its topology, which is added to the table if it is new."""
    try:
        mesh = person.mesh()
    except BodyfitError as error:
        logger.warning("report: %s", error)
        return None
    if mesh is None or len(mesh[0]) == 0 or not np.isfinite(mesh[0]).all():
        return None
    vertices, faces = mesh
    key = len(vertices).to_bytes(8, "little") + faces.tobytes()
    index, topology = topologies.setdefault(key, (len(topologies), Topology.of(faces, len(vertices))))
    return {"topology": index, **encode_vertices(vertices, topology)}


def _pictures(people: tuple[PersonEntry, ...]) -> tuple[list[dict], dict[Path, int]]:
    """The overlay of each photo (or the photo itself) once, as JPEG; smaller the more there are."""
    paths = (person.overlay_path or person.photo_path for person in people)
    counts = Counter(path for path in paths if path is not None)
    side = next((side for most, side in _PICTURE_SIDES if len(counts) <= most), _SMALLEST_SIDE)
    pictures, index = [], {}
    for path, number in counts.items():
        try:
            image = Image.fromarray(read_photo(path).image)
        except BodyfitError as error:
            logger.warning("report: %s", error)
            continue
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        index[path] = len(pictures)
        pictures.append({"src": _jpeg(image), "width": image.width, "height": image.height, "people": number})
    return pictures, index


def _uncertainty(result: FitResult | None) -> str | None:
    """A drawing of how sure the person's joints are."""
    drawing = None if result is None else uncertainty_svg(result)
    return None if drawing is None else as_data_url(drawing)


def _modes(person: PersonEntry, result: FitResult | None) -> list[dict[str, str]]:
    """A small picture of each mode of an ambiguous person, with its words and its weight."""
    if result is None or not result.ambiguous or not result.has_runner_up:  # moments of clips have no other modes
        return []
    try:
        pictures = mode_pictures(person, result)
    except BodyfitError as error:
        logger.warning("report: %s", error)
        return []
    named = zip(pictures, mode_labels(result), strict=False)
    return [{"src": _jpeg(Image.fromarray(picture)), "words": words} for picture, words in named]


def _jpeg(image: Image.Image) -> str:
    """A picture as a data URL."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _box(result: FitResult | None) -> list[float] | None:
    """The box around the person as shares of the photo's size: x, y, width, height."""
    if result is None:
        return None
    seen = result.keypoint_confidence > 0
    if seen.sum() < 2:
        return None
    points = result.keypoints_px[seen] / result.image_size
    low, high = np.clip(points.min(axis=0), 0, 1), np.clip(points.max(axis=0), 0, 1)
    return [round(float(c), 4) for c in (*low, *np.maximum(high - low, 0.01))]


def _subtitle(results: ResultsFolder) -> str:
    run = [str(results.run[key]) for key in ("body_model", "prior", "device") if results.run.get(key)]
    return " · ".join([str(results.folder.resolve().name), *run])


def _tiles(results: ResultsFolder) -> dict[str, str]:
    people = results.people
    converged = sum(person.status == "converged" for person in people)
    return {
        "people": f"{len(people)}",
        "photos": f"{len({person.image for person in people})}",
        "converged": f"{100 * converged / len(people):.0f} %",
    } | _errors(results)


def _errors(results: ResultsFolder) -> dict[str, str]:
    people, tiles = results.people, {}
    for label, values, form in (
        ("median error, of person size", [p.error_share and 100 * p.error_share for p in people], "{:.2f} %"),
        ("median error", [p.error_px for p in people], "{:.1f} px"),
        ("median time per person", [p.seconds for p in people], "{:.2g} s"),
    ):
        known = [value for value in values if value is not None]
        if known:
            tiles[label] = form.format(float(np.median(known)))
    return tiles


def _plots(results: ResultsFolder) -> tuple[Markup, ...]:
    statuses = results.statuses()

    def groups(value) -> dict[str, list[float]]:
        return {s: [value(p) for p in results.people if p.status == s and value(p) is not None] for s in statuses}

    counts = Counter(person.status for person in results.people)
    return (
        bars_svg({status: counts[status] for status in statuses}, colours=STATUS, title="Status"),
        histogram_svg(
            groups(lambda p: None if p.error_share is None else 100 * p.error_share),
            colours=STATUS,
            title="Reprojection error, share of person size",
            unit="%",
        ),
        histogram_svg(groups(lambda p: p.error_px), colours=STATUS, title="Reprojection error", unit="px"),
    )


def _notes(results: ResultsFolder, cards: int, over_time: bool) -> list[str]:
    """Problems and warnings of the run, and what this page leaves out."""
    notes = [str(note) for key in ("problems", "warnings") for note in results.run.get(key) or []]
    if over_time:
        notes.insert(0, f"{cards} of {len(results.people)} results have a card, spread evenly over people and time.")
    elif cards < len(results.people):
        notes.insert(0, f"Cards for the {cards} worst of {len(results.people)} people; figures and plots count all.")
    return notes
