"""What a result says about its uncertainty survives both layouts of files, and nonsense is refused."""

from dataclasses import fields, replace

import numpy as np
import pytest

from bodyfit.data.results.checks import ResultError
from bodyfit.data.results.posterior import sizes_of
from bodyfit.data.results.result import FitResult
from bodyfit.data.results.store import load_shard, save_shard

BLOCKS = "global_orient:3 transl:3 latent:32"


def covariances(count: int, seed: int) -> np.ndarray:
    roots = np.random.default_rng(seed).normal(size=(count, 3, 3))
    found = (roots @ roots.swapaxes(1, 2)).astype(np.float32)
    found[-1] = np.nan  # a joint that the body lacks
    return found


def result(**changes) -> FitResult:
    sizes = {"global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3}
    sizes |= {"leye_pose": 3, "reye_pose": 3, "betas": 10, "expression": 10, "transl": 3, "latent": 32, "center_px": 2}
    given = {name: np.zeros(size) for name, size in sizes.items()}
    given |= {"landmarks": np.zeros((144, 3)), "landmarks_px": np.zeros((144, 2)), "keypoints_px": np.zeros((144, 2))}
    words = {"focal_source": "EXIF", "body_model": "open", "body_gender": "neutral", "prior": "some prior"}
    given |= words | {"keypoint_confidence": np.zeros(144), "focal_px": 1000.0, "image_size": (640, 480)}
    return FitResult(**given | {"status": "converged"} | changes)


@pytest.fixture
def sure() -> FitResult:
    return result(
        joint_covariance=covariances(55, 0),
        joint_covariance_root_relative=covariances(55, 1),
        landmark_covariance=covariances(144, 2),
        posterior_factor=np.arange(38 * 39 / 2),
        posterior_blocks=BLOCKS,
    )


def assert_equal(a: FitResult, b: FitResult) -> None:
    for one in fields(FitResult):
        np.testing.assert_array_equal(getattr(a, one.name), getattr(b, one.name), err_msg=one.name)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_nothing_is_lost_in_a_file(sure, tmp_path, suffix):
    assert_equal(FitResult.load(sure.save(tmp_path / f"x{suffix}")), sure)


def test_nothing_is_lost_in_a_shard_where_only_some_are_sure(sure, tmp_path):
    people = [sure, result(), replace(sure, landmark_covariance=np.zeros(0))]
    for before, after in zip(people, load_shard(save_shard(tmp_path / "x.safetensors", people)), strict=True):
        assert_equal(before, after)
    load_shard(save_shard(tmp_path / "y.safetensors", [result()]))


def test_children_and_adults_share_a_shard(sure, tmp_path):
    """Children have a shape number more: in the alternative mode and in the posterior, too."""
    other = {"runner_up_global_orient": np.ones(3), "runner_up_body_pose": np.ones(63), "runner_up_transl": np.ones(3)}
    adult = replace(sure, **other, runner_up_betas=np.ones(10))
    more = {"posterior_factor": np.arange(49 * 50 / 2), "posterior_blocks": BLOCKS + " betas:11"}
    child = replace(adult, betas=np.ones(11), runner_up_betas=np.ones(11), **more)
    people = [sure, child, result(), adult, replace(child, posterior_factor=np.zeros(0), posterior_blocks="")]
    for before, after in zip(people, load_shard(save_shard(tmp_path / "x.safetensors", people)), strict=True):
        assert_equal(before, after)


def test_files_of_before_still_load(tmp_path):
    """Written without these fields, as by earlier versions."""
    path, new = result().save(tmp_path / "x.npz"), {"joint_covariance", "joint_covariance_root_relative"}
    new |= {"landmark_covariance", "posterior_factor", "posterior_blocks"}
    with np.load(path) as file:
        np.savez(path, **{name: file[name] for name in file.files if name not in new})
    assert_equal(FitResult.load(path), result())


def test_nothing_but_the_posterior_is_left_out(sure):
    without = sure.without_posterior()
    assert_equal(without, replace(sure, posterior_factor=np.zeros(0), posterior_blocks=""))
    with pytest.raises(ResultError, match="bodyfit fit --posterior"):
        without.sample(2)


def test_covariance_of_a_block_is_that_of_its_rows(sure):
    root = np.zeros((38, 38))
    root[np.triu_indices(38)] = sure.posterior_factor
    np.testing.assert_allclose(sure.block_covariance("transl"), (root @ root.T)[3:6, 3:6])
    with pytest.raises(ResultError, match=r"no block 'pose' in the posterior. It has global_orient, transl, latent"):
        sure.block_covariance("pose")


def test_samples_need_the_prior_of_the_fit(sure):
    with pytest.raises(ResultError, match="load_prior"):
        sure.sample(2)

    class Other:
        name = "other prior"

    with pytest.raises(ResultError, match="'some prior', not 'other prior'"):
        sure.sample(2, prior=Other())


BAD = [
    ({"joint_covariance": np.zeros((22, 3, 3))}, "joint_covariance has shape"),
    ({"joint_covariance": -np.ones((55, 3, 3))}, "no covariances"),
    ({"joint_covariance": np.arange(495.0).reshape(55, 3, 3)}, "no covariances"),
    ({"landmark_covariance": np.full((144, 3, 3), np.nan)}, "no finite matrix"),
    ({"posterior_factor": np.zeros(5), "posterior_blocks": "transl:3"}, "5 numbers, expected 6"),
    ({"posterior_factor": np.zeros(6)}, "0 numbers|expected 0|6 numbers"),
    ({"posterior_blocks": "transl"}, "expected 'name:size"),
    ({"posterior_blocks": "transl:3 transl:3"}, "each name once"),
    ({"posterior_blocks": "transl:100000000"}, "sizes of 1 to 1000"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_nonsense_is_refused(changes, message):
    with pytest.raises(ResultError, match=message):
        result(**changes)


def test_sizes_of_blocks():
    assert sizes_of(BLOCKS) == {"global_orient": 3, "transl": 3, "latent": 32}
