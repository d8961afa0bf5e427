"""The page about a training, made of what `train_prior` writes: two parts, as a resumed run leaves them."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bodyfit.data.errors import BodyfitError
from bodyfit.prior.training.curves import read_curves
from bodyfit.prior.training.prepare import PrepareConfig, prepare_motion
from bodyfit.prior.training.recipes import OURS
from bodyfit.prior.training.train import train_prior
from bodyfit.scripts.report import ReportCommand

EPOCHS = 4


class CutOff(Exception):
    pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """RUN of a training that was cut off in its third epoch and then resumed to its end."""
    folder = tmp_path_factory.mktemp("training")
    for collection, seed in (("CMU", 0), ("SFU", 1)):
        poses = np.random.default_rng(seed).normal(0, 0.3, (600, 156))
        (folder / "motion" / collection / "1").mkdir(parents=True)
        np.savez(folder / "motion" / collection / "1" / "walk_poses.npz", poses=poses, mocap_framerate=120.0)
    prepare_motion([folder / "motion"], folder / "poses", PrepareConfig(duplicate_degrees=0, frame_rate=60))
    tiny = dict(batch=16, steps_per_epoch=3, mixture_components=2, measured_poses=300, accelerator="cpu", sheet_every=1)
    config, run = replace(OURS, epochs=EPOCHS, **tiny), folder / "run"

    def draw(path, rows):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (80, 40), (40, 90, 160)).save(path)

    def draw_or_stop(path, rows):
        if path.stem == "epoch_002":
            raise CutOff
        draw(path, rows)

    with pytest.raises(CutOff):
        train_prior(folder / "poses", run, config, on_sheet=draw_or_stop)
    train_prior(folder / "poses", run, config, on_sheet=draw)
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_curves_of_a_resumed_run_are_one(run):
    assert [part.name for part in sorted((run / "curves").iterdir())] == ["part_0", "part_1"]
    curves = read_curves(run)
    assert {"loss", "joints_mm", "angle_deg", "kl_nats"} <= set(curves)
    for split in ("train", "validation"):
        epochs, values = curves["joints_mm"][split]
        assert epochs == list(range(EPOCHS)) and np.isfinite(values).all()
    recorded = json.loads((run / "metrics.json").read_text())["validation"]["validation_joints_mm"]
    assert curves["joints_mm"]["validation"][1][-1] == pytest.approx(recorded, rel=1e-5)


def test_an_epoch_trained_twice_counts_as_in_the_later_part_and_parts_go_by_number(run):
    for part, value in ((10, 10.0), (9, 9.0)):
        (run / "curves" / f"part_{part}").mkdir()
        (run / "curves" / f"part_{part}" / "metrics.csv").write_text(f"epoch,step,train_loss\n3,9,{value}\n")
    (run / "curves" / "part_11").mkdir()  # cut off before its first epoch ended
    assert read_curves(run)["loss"]["train"][1][3] == 10.0


def test_report_of_a_training_run_has_curves_sheets_and_card(run):
    assert ReportCommand(run).run() == 0
    text = (run / "report.html").read_text()
    assert text.count("<polyline") == sum(map(len, read_curves(run).values())) >= 7
    assert re.findall(r"<figcaption[^>]*>([^<]*)", text) == ["epoch 003", "epoch 002", "epoch 001"]
    assert "# Pose prior open-2" in text


def test_names_and_the_card_are_text_not_html(run):
    (run / "MODEL_CARD.md").write_text("# A <script>alert(1)</script> prior")
    ReportCommand(run, title="Run & <b>").run()
    text = (run / "report.html").read_text()
    assert "<script>" not in text and "<b>" not in text
    assert "A &lt;script&gt;alert(1)&lt;/script&gt; prior" in text and "Run &amp; &lt;b&gt;" in text


def test_report_before_the_first_epoch_asks_for_patience(run):
    shutil.rmtree(run / "curves")
    with pytest.raises(BodyfitError, match=r"holds no curves yet\. Wait for the first epoch to end"):
        ReportCommand(run).run()
    (run / "curves" / "part_0").mkdir(parents=True)
    (run / "curves" / "part_0" / "metrics.csv").write_text("epoch,step\n")
    with pytest.raises(BodyfitError, match="holds no curves yet"):
        ReportCommand(run).run()


def test_broken_curves_are_named_and_a_broken_sheet_is_left_out(run, caplog):
    (run / "sheets" / "epoch_002.png").write_bytes(b"no picture")
    ReportCommand(run).run()
    assert "epoch_002.png" in caplog.text and "epoch 003" in (run / "report.html").read_text()
    (run / "curves" / "part_1" / "metrics.csv").write_text("epoch,step,train_loss\n3,9,much\n")
    with pytest.raises(BodyfitError, match=r"part_1.metrics\.csv: not the curves"):
        ReportCommand(run).run()


def test_training_page_opens_without_errors(run, page):
    ReportCommand(run).run()
    page.open((run / "report.html").as_uri())
    assert page.run("return document.querySelectorAll('svg polyline').length") >= 7
    assert page.run("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.errors() == []
