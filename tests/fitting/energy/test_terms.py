"""Each term of the energy by itself: at values known by hand, and its Jacobian against automatic differentiation."""

from dataclasses import replace

import pytest
import torch

from bodyfit.data.body.volume import fit_spheres
from bodyfit.data.landmarks import LANDMARK_NAMES
from bodyfit.fitting.energy import terms
from bodyfit.fitting.energy.age_curve import AgeCurve
from bodyfit.fitting.energy.age_prior import ShapeOfAge
from bodyfit.fitting.energy.collisions import SelfCollision
from bodyfit.fitting.energy.config import EnergyConfig, energy_terms
from bodyfit.fitting.energy.floor import Feet
from bodyfit.fitting.energy.jacobian import RotationJacobian
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.observations import Observations, PredictedPose
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.shared_space import FloorContact, FloorOf, Obstacles, OtherPeople
from bodyfit.fitting.energy.sphere_model import SphereModel
from bodyfit.fitting.energy.terms import BENDING_AXES, BENDING_JOINTS, Evaluation
from bodyfit.fitting.energy.unknowns import Unknowns

NAMES = LANDMARK_NAMES[:127]
CURVE = AgeCurve(torch.tensor([-1.0, 0.0, 0.2, 1.0]).double(), torch.linspace(-1, 2, 36).view(4, 9).square().double())
"""Of a body whose tenth beta is the kid axis."""


@pytest.fixture(scope="module")
def setting(body, random_prior):
    """Landmarks, unknowns and two people at random unknowns before their cameras, some of their points unseen."""
    generator = torch.Generator().manual_seed(0)
    model = LandmarkModel(body, names=NAMES, dtype=torch.float64)
    unknowns = Unknowns(body, random_prior, model)
    x = 0.3 * torch.randn(2, unknowns.layout.size, generator=generator, dtype=torch.float64)
    x[:, unknowns.layout["global_orient"]] += torch.tensor([3.0, 0, 0])
    x[:, unknowns.layout["transl"]] += torch.tensor([0, 0, 5.0])
    targets = 300 + 100 * torch.randn(2, len(NAMES), 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(2, len(NAMES), generator=generator, dtype=torch.float64)
    weights[:, ::11] = 0
    focal, size = torch.tensor([900.0, 1200.0]).double(), torch.tensor([300.0, 500.0]).double()
    mean = torch.randn(2, 32, generator=generator, dtype=torch.float64)
    whitener = torch.randn(32, 32, generator=generator, dtype=torch.float64)
    center = torch.full((2, 2), 300.0, dtype=torch.float64)
    seen = Observations(targets, weights, size, focal, center, PredictedPose(mean, whitener))
    return model, unknowns, seen, x, SphereModel(body, fit_spheres(body), model), Feet(body, model)


def every_term(setting, prior):
    """All kinds of terms, by their names and kinds: those of fits under several settings, and 3D points."""
    model, unknowns, seen, _, spheres, _ = setting
    found = {}
    everything = EnergyConfig(relative_hands=0.5, relative_face=0.5, bending_sigma=2.0, depth_sigma_m=0.3, height_m=1.8)
    for config in (everything, replace(everything, pose_prior="mahalanobis"), replace(everything, pose_prior="unit")):
        listed = energy_terms(unknowns, model, prior, seen, config, depth_m=torch.tensor([4.0, 6.0]).double())
        found |= {f"{term.name}, {config.pose_prior}": (listed[:n], term) for n, term in enumerate(listed)}
    by_rotation = RotationJacobian(unknowns, model, each=3)
    points = torch.randn(2, len(NAMES), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found["self_collision"] = [], SelfCollision(unknowns, spheres, sigma_m=0.01)
    found |= of_shared_space(setting)
    found["shape_of_age"] = [], ShapeOfAge(unknowns.layout["betas"], CURVE, sigma=0.6)
    found["points"] = [], terms.PointDistance(unknowns, by_rotation, points, seen.weights, sigma_m=0.02)
    return found


def of_shared_space(setting):
    """A floor through the feet, some points below it, and obstacles at the first person's arm and the second's knee."""
    model, unknowns, seen, x, spheres, feet = setting
    at = Problem(unknowns, model, [], seen).at(x, torch.arange(2))
    below = at.points[:, feet.landmarks]
    up = torch.nn.functional.normalize(torch.tensor([[0.1, -1.0, 0.2], [0.3, -1.0, 0.0]]).double(), dim=1)
    offset = (below @ up[..., None])[..., 0].median(1).values
    touches = torch.tensor([[True, False, False, True, True, False], [False] * 6])
    floor = FloorOf(up, offset, touches, torch.tensor([True, True]))
    wrist, knee = (at.points[n, model.names.index(name)] for n, name in enumerate(("left_wrist", "right_knee")))
    others = Obstacles(
        torch.stack([torch.stack([wrist + 0.02, wrist + 5]), torch.stack([knee + 0.03, knee - 0.04])]),
        torch.tensor([[0.05, -torch.inf], [0.06, 0.05]]).double(),
    )
    by_rotation = RotationJacobian(unknowns, model, each=3)
    contact = FloorContact(unknowns, by_rotation, feet, floor, sigma_m=0.02, robust_sigmas=5.0)
    return {
        "floor": ([], contact),
        "other_people": ([], OtherPeople(unknowns, spheres, others, sigma_m=0.015)),
    }


def test_jacobians_against_automatic_differentiation(setting, random_prior):
    model, unknowns, seen, x, *_ = setting
    items = torch.tensor([1, 0])
    for name, (before, term) in every_term(setting, random_prior).items():
        # The term's residuals may be made of those of the terms before it.
        problem = Problem(unknowns, model, [*before, term], seen)

        def residuals(x, problem=problem, before=before, term=term):
            at = problem.at(x, items)
            for other in before:
                at.residuals[other] = other.residuals(at)
            return term.residuals(at).sum(0)

        automatic = torch.func.jacrev(residuals)(x[items]).transpose(0, 1)
        at = problem.at(x[items], items, derivatives=True)
        for one in [*before, term]:
            at.residuals[one] = one.residuals(at)
            at.jacobians[one] = x.new_zeros(2, one.rows, unknowns.layout.size)
            one.jacobian(at, at.jacobians[one])
        size = automatic.abs().max()
        assert size > 0, f"{name} depends on nothing"
        error = (at.jacobians[term] - automatic).abs().max()
        assert error < 1e-8 * size, f"{name}: {error:.1e} of {size:.1e}"


def test_every_kind_of_term_is_among_them(setting, random_prior):
    kinds = {type(term) for _, term in every_term(setting, random_prior).values()}
    assert kinds == set(terms.Term.__subclasses__())


def seen_at(points_px, targets_px, *, weights=None, size_px=(500.0,)):
    """People whose landmarks were projected to these pixels."""
    points_px, targets_px = torch.tensor(points_px), torch.tensor(targets_px)
    count, landmarks = points_px.shape[:2]
    weights = torch.ones(count, landmarks) if weights is None else torch.tensor(weights)
    size, one = torch.tensor(size_px), torch.ones(count)
    seen = Observations(targets_px, weights, size, one, torch.zeros(count, 2))
    points = torch.ones(count, landmarks, 3)
    return Evaluation(torch.zeros(count, 1), torch.arange(count), None, points, seen, one, points_px)


def reprojection(landmarks=1, **given):
    return terms.Reprojection(None, None, torch.ones(landmarks), **({"sigma_share": 0.01} | given))


def test_reprojection_is_in_units_of_the_expected_error():
    at = seen_at([[[110.0, 220.0]], [[110.0, 220.0]]], [[[100.0, 200.0]], [[110.0, 220.0]]], size_px=(500.0, 200.0))
    assert reprojection().residuals(at).tolist() == [[2.0, 4.0], [0.0, 0.0]]


def test_a_robust_scale_in_pixels_does_not_depend_on_the_persons_size():
    at = seen_at([[[0.0, 0.0]]] * 2, [[[0.0, 0.0]]] * 2, size_px=(500.0, 200.0))
    assert reprojection(robust_px=100.0).robust_scale(at).tolist() == [[20.0, 20.0], [50.0, 50.0]]
    assert reprojection(robust_sigmas=6.0).robust_scale(at).tolist() == [[6.0, 6.0]]


def test_points_that_are_unseen_or_behind_the_camera():
    at = seen_at([[[9.0, 9.0]] * 3], [[[float("nan")] * 2, [9.0, 9.0], [9.0, 9.0]]], weights=[[0.0, 1.0, 1.0]])
    at.points[0, 1, 2] = -1
    assert reprojection(3).residuals(at).tolist() == [[0.0, 0.0, torch.inf, torch.inf, 0.0, 0.0]]


def test_relative_does_not_see_what_moves_all_points_alike():
    data = reprojection(6)
    term = terms.RelativeReprojection(data, 0, torch.tensor([1, 2, 4]), 0.5, "relative")
    at, moved = (seen_at((torch.arange(12.0).reshape(1, 6, 2) ** 2 + by).tolist(), [[[0.0, 0.0]] * 6]) for by in (0, 7))
    for one in (at, moved):
        one.residuals[data] = data.residuals(one)
    torch.testing.assert_close(term.residuals(moved), term.residuals(at))
    rows = at.residuals[data].view(6, 2)
    torch.testing.assert_close(term.residuals(at)[0, 2:4], rows[2] - rows[0])
    assert term.weights(at).tolist() == [[0.5] * 6]
    at.seen.weights[0, 0] = 0  # without the anchor there is nothing to be relative to
    assert term.weights(at).tolist() == [[0.0] * 6]


def test_gaussian_counts_standard_deviations():
    term = terms.Gaussian("shape", slice(1, 3), torch.tensor([2.0, 0.5]), torch.ones(2))
    at = Evaluation(torch.tensor([[9.0, 3.0, -1.0]]), torch.tensor([0]), None, None)
    assert term.residuals(at).tolist() == [[1.0, -4.0]]


def test_latent_gaussian_squared_is_the_distance_under_the_covariance():
    rng = torch.Generator().manual_seed(0)
    factor = torch.randn(5, 5, generator=rng, dtype=torch.float64) + 2 * torch.eye(5, dtype=torch.float64)
    covariance, mean = factor @ factor.T, torch.randn(5, generator=rng, dtype=torch.float64)
    x = torch.randn(3, 7, generator=rng, dtype=torch.float64)
    whitener = torch.linalg.inv(torch.linalg.cholesky(covariance))
    term, away = terms.LatentGaussian(slice(2, 7), mean, whitener), x[:, 2:] - mean
    expected = torch.einsum("bi,ij,bj->b", away, torch.linalg.inv(covariance), away)
    torch.testing.assert_close(term.residuals(Evaluation(x, None, None, None)).square().sum(1), expected)


@pytest.mark.parametrize(
    ("joint", "wrong_way"),
    [(0, (0, 1.0, 0)), (1, (0, -1.0, 0)), (2, (-1.0, 0, 0)), (3, (-1.0, 0, 0))],
    ids=BENDING_JOINTS,
)
def test_bending_costs_more_the_wrong_way(setting, joint, wrong_way):
    """In SMPL's axes a left elbow folds by rotating about -y, a right one about +y, and knees about +x."""
    _, unknowns, _, x, *_ = setting
    term = terms.Bending(unknowns, 1.0, x)
    costs = []
    for share in (-1, 0, 1):
        body = torch.eye(3, dtype=torch.float64).repeat(1, 21, 1, 1)
        rotvec = share * torch.tensor(wrong_way, dtype=torch.float64)
        body[0, term.joints[joint]] = torch.linalg.matrix_exp(
            torch.linalg.cross(rotvec.expand(3, 3), -torch.eye(3).double())
        )
        costs.append(float(term.residuals(Evaluation(x[:1], None, body, None))[0, joint]))
    assert costs[0] < costs[1] < costs[2]
    assert costs[2] == pytest.approx(torch.e), f"axis {BENDING_AXES[joint]}"


def test_the_average_child_of_any_age_costs_nothing():
    term = ShapeOfAge(slice(0, 10), CURVE, sigma=0.5)
    kid = torch.tensor([-0.4, 0.1, 0.9]).double()
    mean, _ = CURVE.at(kid)
    assert term.away(torch.cat([mean, kid[:, None]], 1))[0].abs().max() < 1e-12
    torch.testing.assert_close(mean[1], (CURVE.betas[1] + CURVE.betas[2]) / 2)
    away, _ = term.away(torch.cat([mean + 1, kid[:, None]], 1))
    torch.testing.assert_close(away, torch.full_like(away, 2.0))


def test_beyond_its_ends_the_curve_stays():
    for kid, end in ((-3.0, 0), (2.0, -1)):
        mean, slope = CURVE.at(torch.tensor([kid]).double())
        torch.testing.assert_close(mean[0], CURVE.betas[end])
        assert not slope.any()
