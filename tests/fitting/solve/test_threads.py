"""Work shared among threads comes back in order, and leaves PyTorch's settings as they were."""

import pytest
import torch

from bodyfit.fitting.solve.threads import map_in_threads


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
