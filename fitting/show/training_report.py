"""One HTML file about the training of a prior: its curves, its latest sheets of bodies, its model card."""

import csv
import io
import re
from base64 import b64encode
from collections import defaultdict
from html import escape
from pathlib import Path
from string import Template

from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import write_atomically
from bodyfit.fitting.show.plots import lines_svg
from bodyfit.fitting.show.report import page_asset

CURVES = Path("curves") / "metrics.csv"

_SHEETS = 3  # the latest ones, the last first
_LOGARITHMIC = ("loss",)
Curve = tuple[list[float], list[float]]


def write_training_report(run: Path | str, path: Path | str, *, title: str) -> Path:
    """Writes the page of the folder that `bodyfit prior train DATA -o RUN` fills, also while it still trains.

    Raises:
        BodyfitError: If the folder has no curves, or the file cannot be written.
    """
    run = Path(run)
    curves = read_curves(run / CURVES)
    card = run / "MODEL_CARD.md"
    page = Template(page_asset("training.html")).substitute(
        title=escape(title),
        subtitle=escape(run.resolve().name),
        css=page_asset("report.css"),
        plots="".join(
            lines_svg(series, title=name.replace("_", " "), x_unit="epoch", log_y=name in _LOGARITHMIC)
            for name, series in curves.items()
        ),
        sheets="".join(_sheet(sheet) for sheet in sorted((run / "sheets").glob("*.png"), reverse=True)[:_SHEETS]),
        card=f"<pre>{escape(card.read_text(encoding='utf-8'))}</pre>" if card.is_file() else "",
    )
    return write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def read_curves(path: Path) -> dict[str, dict[str, Curve]]:
    """Curves of a Lightning CSV: `train_x` and `validation_x` become the curves `train` and `validation` of x."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except OSError as error:
        raise BodyfitError(
            f"{path}: cannot be read ({error.strerror}). Give a folder of `bodyfit prior train`."
        ) from error
    curves: dict[str, dict[str, Curve]] = defaultdict(dict)
    for row in rows:
        for column, text in row.items():
            part = re.fullmatch(r"(train|validation)_(\w+)", column or "")
            if part and text and row.get("epoch"):
                x, y = curves[part[2]].setdefault(part[1], ([], []))
                x.append(float(row["epoch"]))
                y.append(float(text))
    if not curves:
        raise BodyfitError(f"{path}: holds no curves yet. Wait for the first epoch to end.")
    return dict(curves)


def _sheet(path: Path) -> str:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image.thumbnail((1600, 1600), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    source = "data:image/jpeg;base64," + b64encode(file.getvalue()).decode()
    name = escape(path.stem.replace("_", " "))
    return f'<figure><img src="{source}" alt="bodies, {name}"><figcaption class="dim">{name}</figcaption></figure>'
