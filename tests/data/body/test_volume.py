"""Spheres that fill a body: near its skin for every shape and layout, and told apart from their neighbours."""

from dataclasses import replace

import numpy as np
import pytest

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.known_spheres import spheres_of
from bodyfit.data.body.volume import fit_spheres
from bodyfit.data.landmarks import SMPL_JOINT_NAMES, SMPLH_JOINT_NAMES


@pytest.fixture(scope="module")
def body():
    return load_body_model()


@pytest.fixture(scope="module")
def spheres(body):
    return fit_spheres(body)


def in_layout(body, kind):
    """The open body with the joints of SMPL or SMPL-H: fingers, jaw and eyes merge into hands and head."""
    names = {"smpl": SMPL_JOINT_NAMES, "smplh": SMPLH_JOINT_NAMES}[kind]

    def joint(name):
        if name in names:
            return name
        return "head" if name.split("_")[0] not in ("left", "right") or "eye" in name else f"{name.split('_')[0]}_hand"

    into = [names.index(joint(name)) for name in body.joint_names]
    weights = np.zeros((body.num_vertices, len(names)))
    np.add.at(weights.T, into, body.weights.T)
    regressor = np.zeros((len(names), body.num_vertices))
    for old, new in enumerate(into):
        if not regressor[new].any():
            regressor[new] = body.joint_regressor[old]
    parents = np.full(len(names), -1)
    for new in range(1, len(names)):
        old = into.index(new)
        parents[new] = into[body.parents[old]]
    return replace(body, kind=kind, weights=weights, joint_regressor=regressor, parents=parents, joint_names=names)


@pytest.mark.parametrize("kind", ["smplx", "smplh", "smpl"])
def test_their_surface_is_near_the_skin(body, spheres, kind):
    found = spheres if kind == "smplx" else fit_spheres(in_layout(body, kind))
    mean, median, most = (1000 * error for error in found.error_m)
    assert 100 <= len(found) <= 200
    assert median < 4 and most < 20
    assert abs(mean) < 2  # neither fatter nor thinner than the body


def test_they_follow_the_shape(body, spheres):
    """Bodies of other shapes are filled as well as the mean one; the spheres of the mean one are not enough."""
    rng = np.random.default_rng(0)
    hands = np.char.find(np.array(body.joint_names)[body.weights.argmax(1)], "eye") < 0
    for betas in rng.normal(size=(4, 10)):
        skin = (body.v_template + body.shapedirs @ betas)[hands]
        followed, still = (np.abs(spheres.distances(skin, b)) for b in (betas, np.zeros(10)))
        assert np.median(followed) < 0.006
        assert np.median(followed) < 0.7 * np.median(still)


def test_neighbours_may_overlap_and_others_may_not(body, spheres):
    carrier = np.array(body.joint_names)[spheres.weights.argmax(1)]
    allowed, left_hand = spheres.allowance(), np.char.startswith(carrier, "left_index")
    assert left_hand.any()
    assert (allowed[np.ix_(left_hand, carrier == "right_hip")] < 0.02).all()
    assert (allowed[np.ix_(carrier == "left_elbow", carrier == "left_knee")] < 0.02).all()
    centres, radii = spheres.at(np.zeros(10))
    overlap = np.add.outer(radii, radii) - np.linalg.norm(centres[:, None] - centres, axis=-1)
    assert np.isinf(allowed[overlap > 0.001]).all()  # a body at rest does not touch itself
    assert np.allclose(allowed, allowed.T)


def test_the_same_for_the_same_body(body, spheres):
    again = fit_spheres(body)
    assert np.array_equal(again.centres, spheres.centres) and np.array_equal(again.weights, spheres.weights)


@pytest.mark.parametrize("kind", ["smplx", "smplh", "smpl"])
def test_any_body_that_loads_has_spheres(standin_folder, kind):
    """Stand-ins are clouds of points with random triangles: nothing to fill, and nothing to stumble over."""
    found = fit_spheres(load_body_model(standin_folder, kind=kind))
    assert len(found) >= 20
    for array in (found.centres, found.radii, found.centre_dirs, found.radius_dirs, found.weights, found.apart):
        assert np.isfinite(array).all()
    assert np.allclose(found.weights.sum(1), 1) and ((found.weights > 0).sum(1) <= 4).all() and (found.radii > 0).all()


def test_shipped_spheres_are_those_of_the_shipped_bodies(body, spheres, monkeypatch):
    found = spheres_of(replace(body, name="another file with the same body"))
    for name in ("centres", "radii", "centre_dirs", "radius_dirs", "weights", "error_m"):
        np.testing.assert_allclose(getattr(found, name), getattr(spheres, name), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.allowance(), spheres.allowance(), rtol=1e-6)
    monkeypatch.setattr("bodyfit.data.body.known_spheres.fit_spheres", lambda body: body.name)
    taller = replace(body, v_template=1.1 * body.v_template, name="taller")
    assert spheres_of(taller) == "taller"  # none of ours: fitted
    for gender in ("female", "male"):
        assert len(spheres_of(load_body_model(gender=gender))) == len(spheres)  # they have a file of their own
