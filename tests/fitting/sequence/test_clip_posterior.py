"""Motions drawn from the posterior of a clip: the covariance of everything with everything is that of the problem."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.data.results import motion_posterior
from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.motion_posterior import FactorRows, KeptPosterior, drawn
from bodyfit.data.results.track_files import read_track, write_track
from bodyfit.fitting.benchmark.sequences import imagined, make_clip, track_joints
from bodyfit.fitting.sequence.arrow_factor import Elimination, Rows
from bodyfit.fitting.sequence.arrow_system import in_order
from bodyfit.fitting.sequence.certainty import counted
from bodyfit.fitting.sequence.clip_posterior import ClipPosterior
from bodyfit.fitting.sequence.config import SequenceConfig
from bodyfit.fitting.sequence.group import fit_group, observed
from bodyfit.fitting.sequence.windows import GroupSolver
from bodyfit.fitting.solve.config import FitConfig
from bodyfit.fitting.solve.fitter import Fitter
from bodyfit.fitting.uncertainty.estimate import scaled
from bodyfit.fitting.uncertainty.temperature import CLIP, OVERALL, SCALES, part_of
from tests.fitting.sequence.test_arrow_system import SHARED, SIZE, random_system
from tests.fitting.sequence.test_certainty import dense


class OneAtATime:
    """Noise that is a basis vector in each draw: the draws are then the columns of a square root of the covariance."""

    def __init__(self, _seed):
        self.given = 0

    def standard_normal(self, shape):
        size, count = shape
        rows = np.eye(count)[self.given : self.given + size]
        self.given += size
        return rows


@pytest.fixture
def covariance_of(monkeypatch):
    """The exact covariance of what is drawn: all moments one after the other, then the shape."""
    monkeypatch.setattr(motion_posterior.np.random, "default_rng", OneAtATime)

    def covariance(posterior):
        sizes = [sum(int(word.split(":")[1]) for word in blocks.split()) for blocks in blocks_of(posterior)]
        count = sizes[1] + 2 * -(-posterior.moments // 2) * sizes[0]
        found = drawn(posterior, count, 0)
        own = np.concatenate([found[name] for name in names(posterior.blocks)], 2)
        shape = np.concatenate([found[name] for name in names(posterior.shared_blocks)], 2)
        assert np.ptp(shape, axis=1).max() == 0
        columns = np.concatenate([own.reshape(count, -1), shape[:, 0]], 1)
        return columns.T @ columns

    return covariance


def blocks_of(posterior):
    return posterior.blocks, posterior.shared_blocks


def names(blocks):
    return [word.split(":")[0] for word in blocks.split()]


@dataclass
class Small:
    """A posterior of a random system."""

    system: object
    windows: list
    moments: int
    blocks: str = f"first:1 second:{SIZE - 1}"
    shared_blocks: str = f"betas:{SHARED}"

    def factor(self):
        corner = self.system.corner[0]

        def rows_of(first, last):
            some = slice(first, last)
            return Rows(self.system.band[0, :, some], self.system.edge[0, some], 0.75 * corner / len(self.windows))

        whole = Elimination(rows_of, 0.25 * corner, self.windows)
        pairs = (pairs for _, _, pairs in whole.backwards())
        rows = (
            FactorRows(*(np.stack([getattr(p, n) for p in some]) for n in ("factor", "above", "edge")))
            for some in pairs
        )
        return np.linalg.inv(whole.shared_factor.numpy()).T, rows


@pytest.mark.parametrize("moments", [1, 2, 5, 8])
@pytest.mark.parametrize("window", [2, 4, 10])
def test_draws_have_the_covariance_of_the_dense_inverse(covariance_of, moments, window):
    """Within moments, between them, and with the shape; as fits have it and, in single precision, as files keep it."""
    system, matrix, _ = random_system(1, moments)
    small = Small(system, [(a, min(a + window, moments)) for a in range(0, moments, window)], moments)
    expected = np.linalg.inv(matrix[0].numpy())
    np.testing.assert_allclose(covariance_of(small), expected, rtol=1e-6, atol=1e-9)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(covariance_of(KeptPosterior.of(small)), expected, rtol=1e-3, atol=1e-5 * largest)


def test_draws_of_a_clip_have_the_covariance_of_its_problem(motion, covariance_of):
    """Against the dense inverse, double precision, windows of four moments, a gap in the middle."""
    exact = Fitter(config=FitConfig(uncertainty="joints"), dtype=torch.float64)
    clip = make_clip(exact.body, motion, cameras=1, seed=2, moments=9, hidden=range(3, 5))
    model, views = observed(exact, clip.sightings, 0)
    views = replace(views, seen=exact.with_predicted_pose(views.seen, model))
    solver = GroupSolver(exact, model, views, 30.0, SequenceConfig(window=4, overlap=2, chunk=3), in_order)
    x = torch.zeros(9, exact.unknowns.layout.size, dtype=torch.float64)
    x[:, exact.unknowns.layout["transl"]] += torch.tensor([0.0, 0.0, 5.0])
    hessian = counted(solver, x)
    matrix = dense(hessian.whole.evaluate(x, solver.config.solver.curvature_floor))
    expected = OVERALL[CLIP] * torch.linalg.inv(matrix).numpy()
    found = covariance_of(ClipPosterior(solver, x, None))
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), atol=1e-5)


@pytest.fixture(scope="module")
def clip(fitter):
    return make_clip(fitter.body, imagined(fitter.prior, 30.0, 12, 3), cameras=1, seed=2, moments=12)


@pytest.fixture(scope="module")
def track(fitter, clip):
    return fit_group(fitter, clip.sightings, fps=30)


def joints(fitter, track, drawn, k):
    moved = {name: value[k] for name, value in drawn.items() if name != "betas"}
    return track_joints(fitter, replace(track, **moved, betas=drawn["betas"][k, 0])).double().numpy()


def test_samples_agree_with_the_covariances_of_joints(fitter, track):
    """All but the calibration of single joints: the factor of samples is one for all unknowns."""
    count = 400
    drawn = track.sample(count, seed=1)
    assert all(value.shape[:2] == (count, len(track)) for value in drawn.values())
    assert np.ptp(drawn["betas"], axis=1).max() == 0 < np.ptp(drawn["betas"], axis=0).min()
    away = np.stack([joints(fitter, track, drawn, k) for k in range(count)])
    away -= away.mean(axis=0)
    found = np.einsum("ntjk,ntjl->tjkl", away, away) / count
    scale = torch.tensor([SCALES[CLIP]["camera"][part_of(name)] for name in JOINT_NAMES[:22]])
    told = torch.as_tensor(track.joint_covariance[:, :22]) - scaled(torch.zeros(1, 22, 3, 3), scale)
    expected = (OVERALL[CLIP] * told / scale[:, 0, None, None]).numpy()
    sizes = [np.sqrt(np.einsum("tjkk->j", some)) for some in (found, expected)]
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=0.12)  # of 400, and bodies are not linear
    relative = away - away[:, :, :1]  # smooth in time: neighbouring moments move alike
    steps, spread = np.diff(relative, axis=1).std(), relative.std()
    assert steps < 0.7 * spread


def test_the_same_seed_draws_the_same(track):
    one, same, other = (track.sample(2, seed=seed) for seed in (3, 3, 4))
    for name in ("body_pose", "betas", "transl", "left_hand_pose"):
        np.testing.assert_array_equal(one[name], same[name])
        assert (one[name] != other[name]).any()


def test_files_keep_the_posterior_where_asked_for(fitter, track, tmp_path):
    drawn = track.sample(3)
    write_track(tmp_path, track, fitter.body, posterior=True)
    read = read_track(tmp_path / "000.npz")
    with pytest.raises(ResultError, match=r"prior=bodyfit\.load_prior"):
        read.sample(3)
    again = pickle.loads(pickle.dumps(read)).sample(3, prior=fitter.prior)
    for name, value in drawn.items():
        np.testing.assert_allclose(again[name], value, atol=1e-4)
    write_track(tmp_path, track, fitter.body)
    with pytest.raises(ResultError, match="bodyfit fit --posterior"):
        read_track(tmp_path / "000.npz").sample(3, prior=fitter.prior)


def test_a_file_whose_posterior_does_not_fit_is_one_clear_error(fitter, track, tmp_path):
    write_track(tmp_path, track, fitter.body, posterior=True)
    with np.load(tmp_path / "000.npz") as file:
        arrays = dict(file)
    for name, value, words in (
        ("posterior_edge", arrays["posterior_edge"][:, :-1], "posterior_edge has shape"),
        ("posterior_blocks", np.array("latent:32"), "posterior_diagonal has shape"),
        ("posterior_moments", np.array(11), "a posterior of 11 moments, but 12 are fitted"),
    ):
        np.savez(tmp_path / "bad.npz", **arrays | {name: value})
        with pytest.raises(ResultError, match=words):
            read_track(tmp_path / "bad.npz").sample(1, prior=fitter.prior)


def test_a_shape_that_is_given_is_the_same_in_all_samples(fitter, clip):
    known = replace(fitter.config, shape=replace(fitter.config.shape, betas=(0.5, -1.0)))
    drawn = fit_group(Fitter(fitter.body, config=known, like=fitter), clip.sightings[:4], fps=30).sample(2)
    assert np.ptp(drawn["betas"], axis=(0, 1)).max() == 0 and np.ptp(drawn["transl"], axis=0).max() > 0
