"""What a run logs: messages of helpers come home, and what repeats is counted."""

import logging

import numpy as np
import pytest

from bodyfit.fitting.run.said import SHOWN, collected, repeats_counted

log = logging.getLogger("bodyfit.test_said")


@pytest.fixture
def printed():
    """The lines that a handler of the root logger, like the command line's, prints."""
    lines, root = [], logging.getLogger()
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    root.addHandler(handler)
    ours = logging.getLogger("bodyfit")
    before = ours.level, ours.propagate
    ours.setLevel(logging.INFO)
    ours.propagate = True
    yield lines
    ours.level, ours.propagate = before
    root.removeHandler(handler)


def test_messages_of_one_kind_are_shown_a_few_times_then_counted(printed):
    with repeats_counted():
        for n in range(10):
            log.warning("%s: no photo", f"folder/{n}.json")
        log.warning("disk is slow")
    assert printed[: SHOWN + 1] == [*(f"folder/{n}.json: no photo" for n in range(SHOWN)), "disk is slow"]
    assert len(printed) == SHOWN + 2 and printed[-1].startswith("7 more like this") and "no photo" in printed[-1]


def test_what_each_process_says_of_itself_is_printed_once(printed):
    with repeats_counted():
        for _ in range(4):
            log.info("drawing with pyrender")
            log.warning("p1: no people in it")
        log.info("drawing with the software rasteriser")
    once = ["drawing with pyrender", "drawing with the software rasteriser"]
    assert [line for line in printed if "drawing" in line] == once
    assert printed.count("p1: no people in it") == SHOWN  # a warning counts each time


def test_after_the_run_messages_are_printed_as_before(printed):
    with repeats_counted():
        pass
    for n in range(SHOWN + 2):
        log.warning("person %d", n)
    assert len(printed) == SHOWN + 2


def test_what_a_helper_logs_is_said_again_where_somebody_reads_it(printed):
    class NoNumber:
        def __str__(self):
            return "an object that cannot be sent between processes"

    def work(x):
        log.warning("%d of %s", np.int64(x), NoNumber())
        return x + 1

    ours = logging.getLogger("bodyfit")
    result, said = collected(work, 1)
    assert result == 2 and printed == [] and len(said) == 1
    ours.propagate = True  # as in the process that receives it
    said[0].say()
    assert printed == ["1 of an object that cannot be sent between processes"]


def test_a_helper_that_fails_keeps_no_handler_behind(printed):
    ours = logging.getLogger("bodyfit")
    before = list(ours.handlers)

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        collected(fail)
    assert ours.handlers == before
