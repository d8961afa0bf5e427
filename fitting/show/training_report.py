"""The report of a training run as one HTML file: curves, the latest sheets of bodies, the model card."""

import io
import logging
from base64 import b64encode
from pathlib import Path

from PIL import Image

from bodyfit.data.files import write_atomically
from bodyfit.fitting.show.pages import fill_page, page_asset
from bodyfit.fitting.show.plots import lines_svg
from bodyfit.prior.training.curves import read_curves

logger = logging.getLogger(__name__)

_SHEETS = 3  # the latest ones, the last first
_LOGARITHMIC = ("loss",)
_UNITS = ("mm", "deg", "nats")


def write_training_report(run: Path | str, path: Path | str, *, title: str) -> Path:
    """Writes the report of the folder of `bodyfit prior train DATA -o RUN`, also during training.

    Raises:
        BodyfitError: If the folder has no curves, or the file cannot be written.
    """
    run = Path(run)
    curves = read_curves(run)
    card = run / "MODEL_CARD.md"
    latest = sorted((run / "sheets").glob("*.png"), key=lambda path: (len(path.stem), path.stem), reverse=True)
    sheets = {path.stem.replace("_", " "): _as_jpeg(path) for path in latest[:_SHEETS]}
    page = fill_page(
        "training.html",
        title=title,
        subtitle=run.resolve().name,
        css=page_asset("report.css"),
        plots=[
            lines_svg(series, title=_title(name), x_unit="epoch", log_y=name in _LOGARITHMIC)
            for name, series in curves.items()
        ],
        sheets={name: source for name, source in sheets.items() if source is not None},
        card=card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
    )
    return write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def _title(curve: str) -> str:
    """`joints_mm` as `joints, mm`."""
    words, _, unit = curve.rpartition("_")
    return f"{words.replace('_', ' ')}, {unit}" if unit in _UNITS and words else curve.replace("_", " ")


def _as_jpeg(path: Path) -> str | None:
    """A sheet as a data URL; None (and a line in the log) where it cannot be read."""
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        logger.warning("report: %s: not a picture that can be read (%s)", path, error)
        return None
    image.thumbnail((1600, 1600), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + b64encode(file.getvalue()).decode()
