"""Work shared among threads comes back in order, and leaves PyTorch's settings as they were."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from bodyfit.fitting.solve.threads import in_turn, map_in_threads, shared_threads, threads_at_work


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items_and_without_gradients(two_threads):
    weight = torch.ones(3, requires_grad=True)
    results = map_in_threads(lambda item: (item, (weight * item).requires_grad), range(7))
    assert results == [(item, False) for item in range(7)]
    assert torch.get_num_threads() == 2


def test_an_exception_comes_out_and_the_threads_are_given_back(two_threads):
    def fail(item):
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        map_in_threads(fail, range(4))
    assert torch.get_num_threads() == 2


def test_callers_share_the_threads_and_nobody_waits_for_himself(two_threads):
    names = set()

    def work(item):
        names.add(threading.current_thread().name)
        return sum(map_in_threads(lambda n: n, [item, 1]))  # from within: on this very thread

    with shared_threads(), ThreadPoolExecutor(3) as callers:
        assert threads_at_work() == 2 and torch.get_num_threads() == 1
        assert list(callers.map(lambda k: map_in_threads(work, [k, 10 * k]), range(3))) == [[1, 1], [2, 11], [3, 21]]
    assert names <= {"solve_0", "solve_1"} and not any(thread.name in names for thread in threading.enumerate())
    assert torch.get_num_threads() == 2


def test_whose_turn_came_first_is_served_first():
    """Or batches in work at the same time get in step, and leave the cores idle together."""
    torch_threads, done = torch.get_num_threads(), []
    torch.set_num_threads(1)
    gate, first, second = threading.Event(), threading.Event(), threading.Event()

    def early():
        with in_turn():
            map_in_threads(lambda _: (first.set(), gate.wait(10)), [0])
            map_in_threads(done.append, ["early"])

    def late():
        with in_turn():
            second.set()
            map_in_threads(lambda item: (time.sleep(0.02), done.append(item)), ["late 1", "late 2", "late 3"])

    try:
        with shared_threads(), ThreadPoolExecutor(2) as callers:
            both = [callers.submit(early)]
            first.wait(10)
            both.append(callers.submit(late))
            second.wait(10)
            gate.set()
            for one in both:
                one.result()
    finally:
        torch.set_num_threads(torch_threads)
    assert done[-1] == "late 3" and done.index("early") <= 1


def test_shared_threads_go_on_after_an_exception(two_threads):
    def fail(item):
        raise ValueError(f"item {item}")

    with shared_threads():
        with pytest.raises(ValueError, match="item 0"):
            map_in_threads(fail, range(4))
        assert map_in_threads(str, [1, 2]) == ["1", "2"]
