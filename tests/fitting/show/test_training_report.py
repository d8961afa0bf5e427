"""The page about a prior's training."""

import re

import numpy as np
import pytest
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.show.training_report import read_curves
from bodyfit.scripts.report import ReportCommand

# Lightning writes training and validation in rows of their own.
CURVES = """epoch,step,train_loss,train_kl_nats,validation_loss
0,9,,,0.9
0,9,1.0,12.0,
1,19,,,0.5
1,19,0.6,nan,
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "metrics.csv").write_text(CURVES)
    return tmp_path


def test_training_and_validation_share_a_plot(run):
    curves = read_curves(run / "curves" / "metrics.csv")
    assert curves["loss"] == {"validation": ([0.0, 1.0], [0.9, 0.5]), "train": ([0.0, 1.0], [1.0, 0.6])}
    assert list(curves) == ["loss", "kl_nats"]


def test_report_of_a_training_run_has_curves_sheets_and_card(run):
    (run / "sheets").mkdir()
    for epoch in range(5):
        Image.fromarray(np.full((8, 8, 3), 40 * epoch, np.uint8)).save(run / "sheets" / f"epoch_{epoch:03d}.png")
    (run / "MODEL_CARD.md").write_text("# A <prior>")
    assert ReportCommand(run).run() == 0
    text = (run / "report.html").read_text()
    assert text.count("<polyline") == 3
    assert re.findall(r"<figcaption[^>]*>([^<]*)", text) == ["epoch 004", "epoch 003", "epoch 002"]
    assert "# A &lt;prior&gt;" in text


def test_report_before_the_first_epoch_asks_for_patience(run):
    (run / "curves" / "metrics.csv").write_text("epoch,step\n")
    with pytest.raises(BodyfitError, match="holds no curves yet"):
        ReportCommand(run).run()


def test_training_page_opens_without_errors(run, page):
    ReportCommand(run).run()
    page.open((run / "report.html").as_uri())
    assert page.run("return document.querySelectorAll('svg polyline').length") == 3
    assert page.errors() == []
