"""Helper processes are ready to draw before the first picture, and stay small."""

import sys
from types import SimpleNamespace

import pytest
import torch

from bodyfit.fitting.run import executors
from bodyfit.fitting.run.config_files import RunConfig
from bodyfit.fitting.run.helpers import HelperPool
from bodyfit.fitting.run.identity import run_identity
from bodyfit.fitting.run.options import OutputOptions
from bodyfit.fitting.run.writing import prepare_overlays

LOADED = "[n in __import__('sys').modules for n in ('bodyfit.fitting.draw.render', 'pyrender', 'torch')]"
"""As text, since helpers cannot import this file."""


def test_helpers_that_draw_have_imported_what_draws_and_no_pytorch():
    pool = HelperPool(1, prepare_overlays)
    try:
        draws, gl, torch = pool.executor.submit(eval, LOADED).result(timeout=120)
    finally:
        pool.close()
    assert draws
    assert gl == sys.platform.startswith("linux")
    assert not torch


@pytest.mark.parametrize("overlays", [True, False])
def test_helpers_of_workers_are_prepared_to_draw_too(tmp_path, monkeypatch, overlays):
    """`--device cuda:all` starts them; only where something is to be drawn."""
    made = []
    monkeypatch.setattr(
        executors, "HelperPool", lambda *arguments: made.append(arguments) or SimpleNamespace(executor=None)
    )
    fitter = SimpleNamespace(body=SimpleNamespace(faces=[[0, 1, 2]]), identity={}, device=torch.device("cpu"))
    monkeypatch.setattr(executors, "load_fitter", lambda config, device: fitter)
    config = RunConfig(output=OutputOptions(overlays=overlays))
    executors.WorkerSpec(tmp_path, config, run_identity(fitter, config), "cpu", helpers=3).load()
    assert made == [(3, prepare_overlays if overlays else None)]


def test_a_broken_pyrender_does_not_keep_helpers_from_starting(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrender", None)  # its import raises
    prepare_overlays()
