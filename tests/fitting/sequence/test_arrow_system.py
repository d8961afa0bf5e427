"""Steps along time with shared unknowns, against the same matrix written out and solved densely."""

from dataclasses import fields

import pytest
import torch

from bodyfit.fitting.sequence.arrow_system import ArrowSystem

SIZE, SHARED = 4, 3


def random_system(groups: int, moments: int, seed: int = 0) -> tuple[ArrowSystem, torch.Tensor, torch.Tensor]:
    """A system made of residuals over three moments each, its dense matrix and gradient."""
    draw = torch.Generator().manual_seed(seed)
    total = moments * SIZE + SHARED
    dense = torch.zeros(groups, total, total, dtype=torch.float64)
    for t in range(moments):
        columns = [c for k in range(t, min(t + 3, moments)) for c in range(k * SIZE, (k + 1) * SIZE)]
        columns += list(range(moments * SIZE, total))
        rows = torch.zeros(groups, 20, total, dtype=torch.float64)
        rows[..., columns] = torch.randn(groups, 20, len(columns), generator=draw, dtype=torch.float64)
        dense += rows.mT @ rows
    gradient = torch.randn(groups, total, generator=draw, dtype=torch.float64)
    system = ArrowSystem.zeros(groups, moments, SIZE, SHARED, dense)
    blocks = dense[:, : moments * SIZE, : moments * SIZE].unflatten(1, (moments, SIZE)).unflatten(3, (moments, SIZE))
    for reach in range(min(3, moments)):
        for t in range(moments - reach):
            system.band[:, reach, t] = blocks[:, t, :, t + reach]
    system.edge[:] = dense[:, : moments * SIZE, moments * SIZE :].unflatten(1, (moments, SIZE))
    system.corner[:] = dense[:, moments * SIZE :, moments * SIZE :]
    system.gradient[:] = gradient[:, : moments * SIZE].unflatten(1, (moments, SIZE))
    system.shared_gradient[:] = gradient[:, moments * SIZE :]
    return system, dense, gradient


@pytest.mark.parametrize("moments", [1, 2, 3, 4, 7, 10])
def test_steps_are_those_of_the_dense_matrix(moments):
    system, dense, gradient = random_system(2, moments)
    damping = torch.tensor([0.0, 0.3], dtype=torch.float64)
    own, shared, promised, good = system.step(damping)
    damped = dense + damping[:, None, None] * torch.diag_embed(dense.diagonal(dim1=1, dim2=2))
    expected = torch.linalg.solve(damped, -gradient)
    step = torch.cat([own.flatten(1), shared], 1)
    assert good.all()
    torch.testing.assert_close(step, expected)
    decrease = -(2 * (gradient * step).sum(1) + torch.einsum("gi,gij,gj->g", step, dense, step))
    torch.testing.assert_close(promised, decrease)


def test_a_system_that_is_not_positive_definite_does_not_spoil_the_others():
    system, dense, gradient = random_system(2, 5)
    system.band[0, 1, 2] *= 1e3
    own, shared, _, good = system.step(torch.zeros(2, dtype=torch.float64))
    assert good.tolist() == [False, True]
    assert not own[0].any() and not shared[0].any()
    expected = torch.linalg.solve(dense[1], -gradient[1])
    torch.testing.assert_close(torch.cat([own[1].flatten(), shared[1]]), expected)


def test_what_is_held_does_not_move_and_the_rest_takes_its_own_step():
    system, dense, gradient = random_system(1, 6)
    held = torch.tensor([True, True, False, False, True, False])
    system.hold(held, shared=True)
    own, shared, _, good = system.step(torch.zeros(1, dtype=torch.float64))
    free = torch.cat([(~held).repeat_interleave(SIZE), torch.zeros(SHARED, dtype=torch.bool)])
    expected = torch.linalg.solve(dense[0][free][:, free], -gradient[0, free])
    assert good.all() and not own[0, held].any() and not shared.any()
    torch.testing.assert_close(own[0, ~held].flatten(), expected)


def test_single_precision_takes_the_same_step():
    exact, _, _ = random_system(2, 40)
    single = ArrowSystem(*(getattr(exact, f.name).float() for f in fields(ArrowSystem) if f.init))
    damping = torch.tensor([1e-4, 1e-2], dtype=torch.float64)
    for ours, expected in zip(single.step(damping), exact.step(damping), strict=True):
        torch.testing.assert_close(ours, expected, rtol=2e-3, atol=2e-3 * float(expected.double().abs().max()))


def test_what_single_precision_cannot_solve_is_solved_in_double():
    """A direction along which the matrix is 1e-9 of its diagonal, beyond what single precision can tell from zero."""
    size, moments = 2, 4
    system = ArrowSystem.zeros(1, moments, size, 1, torch.zeros(1))
    system.band[:, 0] = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    system.corner[:], system.gradient[:, 0] = 1.0, torch.tensor([1.0, 1.0])
    own, _, _, good = system.step(torch.tensor([1e-9], dtype=torch.float64))
    assert good.all() and system._prepared.keys() == {torch.float32, torch.float64}
    torch.testing.assert_close(own[0, 0], torch.tensor([-0.5, -0.5]).double(), rtol=1e-6, atol=0)
