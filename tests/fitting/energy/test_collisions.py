"""Spheres posed by a fit's joints, and the term that keeps a body out of itself."""

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.posing import pose_body
from bodyfit.data.body.volume import fit_spheres
from bodyfit.fitting.energy.collisions import SelfCollision
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.problem import Problem
from bodyfit.fitting.energy.sphere_model import SphereModel
from bodyfit.fitting.energy.terms import Evaluation
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.prior.model.checkpoint import load_prior


@pytest.fixture(scope="module")
def setting():
    body = load_body_model()
    model = LandmarkModel(body, dtype=torch.float64)
    spheres = fit_spheres(body)
    prior = load_prior().double()
    return body, model, spheres, SphereModel(body, spheres, model), Unknowns(body, prior, model)


def posed(setting, rotvecs=None, betas=None):
    """One person with these body joints turned, named; the evaluation that a term takes."""
    body, model, _, _, unknowns = setting
    x = torch.zeros(1, unknowns.layout.size, dtype=torch.float64)
    if betas is not None:
        x[0, unknowns.layout["betas"]] = betas
    pose = torch.zeros(body.num_joints, 3, dtype=torch.float64)
    for name, rotvec in (rotvecs or {}).items():
        pose[body.joint_names.index(name)] = torch.tensor(rotvec, dtype=torch.float64)
    rotations = roma.rotvec_to_rotmat(pose)[None]
    state = model(rotations, unknowns.shape(x), x[:, :3])
    at = Evaluation(x, torch.zeros(1, dtype=torch.long), rotations[:, 1:22], state.points)
    at.kinematics = state.kinematics
    return at, pose


def term(setting, **given):
    return SelfCollision(setting[4], setting[3], sigma_m=0.01, **given)


ARM_THROUGH_TRUNK = {"left_shoulder": (0.0, 0.0, -1.3), "left_elbow": (0.0, 0.0, -1.2)}


def test_centres_are_skinned_like_vertices(setting):
    """A body that has the centres among its vertices carries them to the same places."""
    body, _, spheres, model, unknowns = setting
    betas = torch.linspace(-1, 1, 10, dtype=torch.float64)
    at, pose = posed(
        setting, {"left_knee": (1.2, 0, 0), "spine2": (0.3, 0.2, 0.1), "right_wrist": (0, 0.5, 0.4)}, betas
    )
    mixed = replace(
        body,
        v_template=np.concatenate([body.v_template, spheres.centres]),
        shapedirs=np.concatenate([body.shapedirs, spheres.centre_dirs]),
        exprdirs=np.zeros((body.num_vertices + len(spheres), 3, 0)),
        posedirs=np.zeros((body.num_vertices + len(spheres), 3, 9 * (body.num_joints - 1))),
        weights=np.concatenate([body.weights, spheres.weights]),
        joint_regressor=np.pad(body.joint_regressor, ((0, 0), (0, len(spheres)))),
    )
    there = pose_body(mixed, betas=betas[None], global_orient=pose[None, 0], body_pose=pose[1:22].view(1, -1))
    centres = model.centres(at.kinematics, unknowns.shape(at.x))
    torch.testing.assert_close(centres[:, 0], there.vertices[0, body.num_vertices :], atol=1e-9, rtol=0)
    expected = spheres.radii + spheres.radius_dirs @ betas.numpy()
    np.testing.assert_allclose(model.radii(unknowns.shape(at.x))[0].numpy(), expected)


def test_a_body_at_rest_does_not_collide(setting):
    for betas in (None, torch.full((10,), 1.0).double(), torch.full((10,), -1.0).double()):
        assert term(setting).residuals(posed(setting, betas=betas)[0]).abs().max() < 1.0


def test_an_arm_in_the_trunk_collides_and_one_beside_it_does_not(setting):
    inside, _ = posed(setting, ARM_THROUGH_TRUNK)
    beside, _ = posed(setting, {"left_shoulder": (0.0, 0.0, -0.9), "right_shoulder": (0.0, 0.0, 0.9)})
    assert term(setting).residuals(inside).square().sum() > 10
    assert term(setting).residuals(beside).square().sum() < 1


def test_the_deepest_pairs_count(setting):
    at, _ = posed(setting, ARM_THROUGH_TRUNK)
    many, few = (term(setting, rows=rows).residuals(posed(setting, ARM_THROUGH_TRUNK)[0])[0] for rows in (16, 3))
    assert (many.diff() <= 0).all() and many[3] > 0
    torch.testing.assert_close(many[:3], few)
    names = np.array(setting[0].joint_names)[setting[2].weights.argmax(1)]
    found = term(setting).overlaps(at)
    pairs = {frozenset((names[a][:5], names[b][:5])) for a, b in zip(found.first, found.second, strict=True)}
    assert frozenset(("left_", "spine")) in pairs or frozenset(("left_", "pelvi")) in pairs


def test_all_pairs_are_found(setting):
    """The search by one product against all distances, person by person."""
    _, model, _, spheres, unknowns = setting
    x = 0.8 * torch.randn(20, unknowns.layout.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = term(setting, rows=200)
    at = Problem(unknowns, model, [one]).at(x, torch.arange(20))
    found = one.overlaps(at)
    centres, radii = spheres.centres(at.kinematics, unknowns.shape(x)).transpose(0, 1), spheres.radii(unknowns.shape(x))
    depth = radii[:, :, None] + radii[:, None] - torch.cdist(centres, centres) - spheres.allowance
    expected = (depth.tril(-1) > 0) & torch.isfinite(depth)
    assert len(found.item) == expected.sum() > 20
    assert expected[found.item, found.first, found.second].all()
    torch.testing.assert_close(depth[found.item, found.first, found.second], found.depth, atol=1e-7, rtol=0)
