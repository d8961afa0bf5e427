"""The solver on problems with known answers and no bodies."""

import pytest
import torch

from bodyfit.fitting.energy.levenberg_marquardt import (
    CONVERGED,
    FAILED,
    MAX_ITERATIONS,
    Linearization,
    SolverOptions,
    geman_mcclure,
    minimise,
    total_cost,
)

PRECISE = SolverOptions(max_iterations=200, tolerance=1e-10)


def _add(x, step):
    return x + step


def _plain(residuals, jacobian, *, scale=torch.inf, prior=None):
    """A Linearization of unit weights; `prior` is (values, slopes) of the diagonal residuals."""
    batch, _, unknowns = jacobian.shape
    diagonal, slope = prior or (residuals.new_zeros(batch, unknowns),) * 2
    scales = residuals.new_full((1, residuals.shape[1]), scale)
    return Linearization(residuals, jacobian, torch.ones_like(residuals), scales, diagonal, slope)


def _rosenbrock(x, _items):
    a, b = x.unbind(1)
    zero = torch.zeros_like(a)
    jacobian = torch.stack([torch.stack([-20 * a, zero + 10], 1), torch.stack([zero - 1, zero], 1)], 1)
    return _plain(torch.stack([10 * (b - a * a), 1 - a], 1), jacobian)


def _lines(batch=8, points=40, outliers=8, dtype=torch.float64):
    """Noisy points on lines y = a x + b, a fifth of them far off on one side."""
    rng = torch.Generator().manual_seed(0)
    truth = torch.randn(batch, 2, generator=rng, dtype=dtype)
    at = torch.linspace(-1, 1, points, dtype=dtype).expand(batch, -1)
    heights = truth[:, :1] * at + truth[:, 1:] + 0.01 * torch.randn(batch, points, generator=rng, dtype=dtype)
    heights[:, :outliers] += 5
    return truth, at, heights


def _line_problem(at, heights, scale):
    def evaluate(x, items):
        here = at[items]
        residuals = x[:, :1] * here + x[:, 1:] - heights[items]
        return _plain(residuals, torch.stack([here, torch.ones_like(here)], dim=2), scale=scale)

    return evaluate


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rosenbrock_from_many_starts(dtype):
    start = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype) * 2
    solution = minimise(_rosenbrock, _add, start, PRECISE)
    assert (solution.status == CONVERGED).all()
    tolerance = 1e-3 if dtype == torch.float32 else 1e-6
    torch.testing.assert_close(solution.x, torch.ones_like(start), rtol=0, atol=tolerance)


def test_linear_least_squares_is_solved_exactly():
    rng = torch.Generator().manual_seed(0)
    matrix = torch.randn(4, 9, 5, generator=rng, dtype=torch.float64)
    right = torch.randn(4, 9, generator=rng, dtype=torch.float64)

    def evaluate(x, items):
        return _plain((matrix[items] @ x[..., None])[..., 0] - right[items], matrix[items])

    found = minimise(evaluate, _add, torch.zeros(4, 5, dtype=torch.float64), PRECISE).x
    torch.testing.assert_close(found, torch.linalg.lstsq(matrix, right[..., None]).solution[..., 0])


def test_outliers_do_not_pull_where_the_loss_is_robust():
    truth, at, heights = _lines()
    start = torch.zeros_like(truth)
    robust = minimise(_line_problem(at, heights, 0.3), _add, start, PRECISE).x
    squares = minimise(_line_problem(at, heights, torch.inf), _add, start, PRECISE).x
    assert (robust - truth).abs().max() < 0.03
    assert (squares - truth).abs().max() > 0.5


def test_priors_of_single_unknowns_count():
    """One residual x - 1 and a prior x / 0.5: the minimum of (x - 1)^2 + 4 x^2 is 0.2."""

    def evaluate(x, _items):
        return _plain(x - 1, torch.ones_like(x)[..., None], prior=(x / 0.5, torch.full_like(x, 2.0)))

    solution = minimise(evaluate, _add, torch.full((3, 1), 5.0, dtype=torch.float64), PRECISE)
    torch.testing.assert_close(solution.x, torch.full((3, 1), 0.2, dtype=torch.float64))
    torch.testing.assert_close(solution.cost, torch.full((3,), 0.8, dtype=torch.float64))


def test_an_item_that_is_not_a_number_fails_alone():
    start = torch.tensor([[0.5, 0.5], [torch.nan, 0.0], [-1.0, 2.0]], dtype=torch.float64)
    solution = minimise(_rosenbrock, _add, start, PRECISE)
    assert solution.status.tolist() == [CONVERGED, FAILED, CONVERGED]
    torch.testing.assert_close(solution.x[[0, 2]], torch.ones(2, 2, dtype=torch.float64), rtol=0, atol=1e-6)
    assert solution.iterations[1] == 0


def test_a_step_into_nonsense_is_rejected():
    """log x has no value below zero: steps there are refused and shortened."""

    def evaluate(x, _items):
        return _plain(torch.log(x) - 1, 1 / x[..., None])

    solution = minimise(evaluate, _add, torch.tensor([[100.0], [1e-3]], dtype=torch.float64), PRECISE)
    torch.testing.assert_close(solution.x, torch.full((2, 1), torch.e, dtype=torch.float64))


def test_an_unknown_that_nothing_touches_stays():
    def evaluate(x, _items):
        jacobian = torch.zeros(len(x), 1, 2, dtype=x.dtype)
        jacobian[:, 0, 0] = 1
        return _plain(x[:, :1] - 3, jacobian)

    solution = minimise(evaluate, _add, torch.tensor([[0.0, 7.0]], dtype=torch.float64), PRECISE)
    torch.testing.assert_close(solution.x, torch.tensor([[3.0, 7.0]], dtype=torch.float64))


def test_masked_unknowns_do_not_move():
    start = torch.tensor([[-1.0, 2.0], [0.3, 0.1]], dtype=torch.float64)
    solution = minimise(_rosenbrock, _add, start, PRECISE, free=torch.tensor([False, True]))
    assert torch.equal(solution.x[:, 0], start[:, 0])
    torch.testing.assert_close(solution.x[:, 1], start[:, 0] ** 2)


def test_costs_never_rise_and_end_at_the_reported_one():
    truth, at, heights = _lines()
    evaluate = _line_problem(at, heights, 0.3)
    solution = minimise(evaluate, _add, truth + 3, PRECISE, trace=True)
    trace = torch.stack(solution.trace)
    assert (trace.diff(dim=0) <= 0).all()
    assert torch.equal(trace[-1], solution.cost)
    torch.testing.assert_close(total_cost(evaluate(solution.x, torch.arange(len(truth)))), solution.cost)


def test_converged_items_leave_the_batch():
    seen = []

    def evaluate(x, items):
        seen.append(items.tolist())
        return _rosenbrock(x, items)

    start = torch.tensor([[1.0, 1.0], [-1.2, 1.0]], dtype=torch.float64)
    solution = minimise(evaluate, _add, start, PRECISE)
    assert seen[0] == [0, 1]
    assert seen[-1] == [1]
    assert solution.iterations[0] < solution.iterations[1]


def test_an_item_alone_is_as_in_a_batch_and_in_any_chunk():
    truth, at, heights = _lines()
    evaluate = _line_problem(at, heights, 0.3)
    together = minimise(evaluate, _add, truth + 3, PRECISE)
    chunked = minimise(evaluate, _add, truth + 3, SolverOptions(max_iterations=200, tolerance=1e-10, chunk=3))
    torch.testing.assert_close(chunked.x, together.x)

    def alone(x, items):
        return evaluate(x, items + 5)

    torch.testing.assert_close(minimise(alone, _add, truth[5:6] + 3, PRECISE).x[0], together.x[5])


def test_the_limit_on_iterations_is_reported():
    solution = minimise(_rosenbrock, _add, torch.tensor([[-1.2, 1.0]]), SolverOptions(max_iterations=2))
    assert solution.status.tolist() == [MAX_ITERATIONS]
    assert solution.iterations.tolist() == [2]


def test_no_people_no_trouble():
    solution = minimise(_rosenbrock, _add, torch.zeros(0, 2), PRECISE)
    assert solution.x.shape == (0, 2)


def test_geman_mcclure_and_its_derivatives():
    residuals = torch.linspace(-4, 4, 41, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(1.7, dtype=torch.float64)
    loss, weight, curvature = geman_mcclure(residuals, scale)
    torch.testing.assert_close(loss, scale**2 * residuals**2 / (scale**2 + residuals**2))
    (slope,) = torch.autograd.grad(loss.sum(), residuals, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), residuals)
    torch.testing.assert_close(slope, 2 * residuals * weight)
    torch.testing.assert_close(second, 2 * curvature)


def test_infinite_scale_is_plain_squares():
    loss, weight, curvature = geman_mcclure(torch.tensor([3.0]), torch.tensor([torch.inf]))
    assert (loss.item(), weight.item(), curvature.item()) == (9.0, 1.0, 1.0)


def _arctangent(x, _items):
    """Full Gauss-Newton steps for one residual atan(x) overshoot from beyond 1.39, farther and farther."""
    return _plain(torch.atan(x), 1 / (1 + x * x)[..., None])


def test_a_step_that_overshoots_is_shortened_before_damping_is_raised():
    start, barely_damped = torch.full((1, 1), 2.0, dtype=torch.float64), {"max_iterations": 1, "damping": 1e-6}
    shortened = minimise(_arctangent, _add, start, SolverOptions(shortened=0.3, **barely_damped))
    rejected = minimise(_arctangent, _add, start, SolverOptions(shortened=1.0, **barely_damped))
    assert shortened.x.abs() < 0.5 and shortened.cost < 0.2 * rejected.cost
    assert torch.equal(rejected.x, start)


def test_a_solution_is_known_by_one_step_that_promises_and_brings_nothing():
    at, heights = _lines()[1:]
    found = minimise(_line_problem(at, heights, torch.inf), _add, torch.zeros(8, 2, dtype=torch.float64), PRECISE)
    again = minimise(_line_problem(at, heights, torch.inf), _add, found.x, PRECISE)
    assert (again.status == CONVERGED).all() and (again.iterations == 1).all()


def test_nothing_is_linearised_after_the_last_step():
    points = []

    def evaluate(x, items):
        points.append(x.clone())
        return _rosenbrock(x, items)

    start = torch.tensor([[-1.2, 1.0]], dtype=torch.float64)
    found = minimise(
        evaluate, _add, start, SolverOptions(max_iterations=1), cost=lambda x, items: total_cost(_rosenbrock(x, items))
    )
    assert len(points) == 1 and not torch.equal(found.x, start)


@pytest.mark.parametrize("free", [[True, False, True], [False, True, True]], ids=["scattered", "neighbours"])
def test_unknowns_that_are_held_stay_and_the_others_find_their_minimum(free):
    """Three unknowns drawn to 1, 2 and 3 and to each other."""
    target, free = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64), torch.tensor(free)
    matrix = torch.eye(3, dtype=torch.float64) + 0.5

    def evaluate(x, _items):
        return _plain((x - target) @ matrix.T, matrix[None])

    found = minimise(evaluate, _add, torch.zeros(1, 3, dtype=torch.float64), PRECISE, free=free).x
    assert (found[0, ~free] == 0).all()
    expected = torch.linalg.lstsq(matrix[:, free], matrix @ target[0]).solution
    torch.testing.assert_close(found[0, free], expected)
