"""What helpers read while PyTorch is loading is what the run would have read, and is used once."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bodyfit.data.keypoints.inputs import find_inputs
from bodyfit.fitting.run.options import OutputOptions
from bodyfit.fitting.run.parts import READ_AT_ONCE, ReadOptions, input_key, read_inputs, split
from bodyfit.fitting.run.read_ahead import ReadAhead
from bodyfit.fitting.solve.frames import CameraOptions


@pytest.fixture
def inputs(tmp_path):
    for n in range(3 * READ_AT_ONCE):
        (tmp_path / f"p{n:03d}_keypoints.json").write_text(json.dumps({"people": []}))
    return find_inputs(tmp_path)


@pytest.fixture
def options(tmp_path):
    return ReadOptions(CameraOptions(image_size=(640, 480)), OutputOptions(), tmp_path / "out")


def test_whole_slices_of_the_first_batch_are_read_once(inputs, options):
    with ThreadPoolExecutor(1) as helpers:
        ahead = ReadAhead(helpers, inputs, options, 2 * READ_AT_ONCE + 5)
        slices = list(split(inputs, READ_AT_ONCE))
        begun = [ahead.take(some, options) for some in slices]
        assert [future is not None for future in begun] == [True, True, False]
        read, _ = begun[0].result()
        assert [one.item for one in read] == list(slices[0])
        assert [one.stamps for one in read] == [one.stamps for one in read_inputs(slices[0], options)]
        assert ahead.take(slices[0], options) is None


def test_other_settings_and_a_run_that_goes_on_are_read_anew(inputs, options):
    with ThreadPoolExecutor(1) as helpers:
        first = next(split(inputs, READ_AT_ONCE))
        other = replace(options, camera=CameraOptions(focal="900"))
        assert ReadAhead(helpers, inputs, options, 99).take(first, other) is None
        options.out.mkdir()
        (options.out / "journal.jsonl").write_text("")
        assert ReadAhead(helpers, inputs, options, 99).take(first, options) is None


def test_an_input_that_changes_after_it_was_read_has_another_key(inputs, options):
    """So that the next run fits it again."""
    with ThreadPoolExecutor(1) as helpers:
        first = next(split(inputs, READ_AT_ONCE))
        read, _ = ReadAhead(helpers, inputs, options, 99).take(first, options).result()
        item = first[0]
        os.utime(item.keypoints, ns=(1, 1))
        assert input_key(item, "settings", read[0].stamps) != input_key(item, "settings")
        assert input_key(first[1], "settings", read[1].stamps) == input_key(first[1], "settings")
