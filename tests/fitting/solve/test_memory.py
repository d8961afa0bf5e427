"""The batch is cut to fit what memory there is."""

import gc
import os
import weakref

import numpy as np
import pytest
import torch

from bodyfit.fitting.solve import solver as pipeline
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.solve.frames import Frame
from bodyfit.fitting.solve.memory import _container_bytes, free_bytes, people_at_once


def test_little_memory_makes_small_groups_and_much_memory_the_largest():
    groups = [people_at_once(free, workers=2, most=128) for free in (0, 10**8, 10**9, 10**11, None)]
    assert groups[0] == 1 and groups[-1] == groups[-2] == 128
    assert groups == sorted(groups) and 1 < groups[1] < 128
    assert people_at_once(10**8, workers=1, most=128) >= 2 * people_at_once(10**8, workers=2, most=128)


def test_a_containers_limit_counts(tmp_path):
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert _container_bytes(tmp_path) == 700
    (tmp_path / "memory.max").write_text("max\n")
    assert _container_bytes(tmp_path) is None
    assert _container_bytes(tmp_path / "none") is None


def test_a_container_of_version_1_counts_and_its_cache_does_not(tmp_path):
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.usage_in_bytes").write_text("300\n")
    (folder / "memory.limit_in_bytes").write_text("1000\n")
    assert _container_bytes(tmp_path) == 700
    (folder / "memory.stat").write_text("cache 200\ntotal_inactive_file 100\n")
    assert _container_bytes(tmp_path) == 800


def test_this_machine_says_something_sensible():
    """Not more than the machine has, and enough to hold what this process has just been given."""
    free = free_bytes(torch.device("cpu"))
    if free is None:
        pytest.skip("this system does not say how much memory is free")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0.001 * total < free <= total


def test_a_fit_takes_people_in_groups_that_fit(monkeypatch):
    fitter, sizes = Fitter(), []
    monkeypatch.setattr(pipeline, "free_bytes", lambda device: 12 * 10**6 * torch.get_num_threads())
    fitter.in_groups(lambda rows: sizes.append(len(rows)), 20)
    assert sum(sizes) == 20 and max(sizes) == 2


def test_a_fitter_goes_when_nobody_has_it():
    """Its 100 MB are free at once: Python looks for cycles too seldom for a program that makes fitters in a loop."""
    frame = Frame.from_keypoints(np.ones((17, 3)), "coco17", image_size=(100, 100))
    fitter = Fitter()
    fitter.fit([frame])
    gone = weakref.ref(fitter)
    gc.collect()
    gc.disable()
    try:
        del fitter
        assert gone() is None
    finally:
        gc.enable()
