"""Helper processes are ready to draw before the first picture, and stay small."""

import sys

from bodyfit.fitting.run.helpers import HelperPool
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


def test_a_broken_pyrender_does_not_keep_helpers_from_starting(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrender", None)  # its import raises
    prepare_overlays()
