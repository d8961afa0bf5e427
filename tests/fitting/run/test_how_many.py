"""How many processes solve by default."""

import logging

import pytest

from bodyfit.fitting.run import how_many
from bodyfit.fitting.run.how_many import chosen_processes, may_have_gpu, solving_processes

GB = 10**9


@pytest.mark.parametrize(
    ("inputs", "cores", "free", "expected"),
    [
        (0, 2, None, 1),
        (256, 2, None, 1),
        (512, 2, None, 2),
        (10_000, 1, None, 1),
        (10_000, 16, None, 16),
        (1000, 16, None, 4),
        (10_000, 16, 0, 1),
        (10_000, 16, GB, 2),
        (10_000, 16, 100 * GB, 16),
    ],
)
def test_one_per_core_where_each_has_a_batch_and_there_is_memory(inputs, cores, free, expected):
    assert solving_processes(inputs, 256, cores, free) == expected


def test_too_little_memory_is_said(monkeypatch, caplog):
    monkeypatch.setattr(how_many, "free_bytes_of_machine", lambda: GB // 2)
    with caplog.at_level(logging.INFO, "bodyfit"):
        assert chosen_processes(10_000, 256, 8) == 1
    assert "1 solving process: for 8" in caplog.text and "0.5 GB free" in caplog.text


def test_what_may_have_a_gpu(monkeypatch, tmp_path):
    assert may_have_gpu("cuda") and not may_have_gpu("cpu")
    monkeypatch.setattr(how_many, "_GPU_DEVICES", (str(tmp_path),))
    monkeypatch.setattr(how_many.importlib.metadata, "version", lambda name: "2.13.0")
    assert may_have_gpu("auto")
    monkeypatch.setattr(how_many.importlib.metadata, "version", lambda name: "2.13.0+cpu")
    assert not may_have_gpu("auto")
