"""Bodies and priors that the tests of the fitting share."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bodyfit.data.body.body_model import BodyModel, load_body_model
from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.prior.model.vposer import VPoser, VPoserConfig


def _with_face_on_the_head(arrays: dict, rng: np.random.Generator) -> dict:
    """Face landmarks and contour on triangles of head and jaw, as in real files, not anywhere on the body."""
    carrier = np.arange(len(arrays["v_template"])) % len(JOINT_NAMES)
    head = np.flatnonzero(np.isin(carrier, [JOINT_NAMES.index(name) for name in ("head", "jaw")]))
    faces = arrays["f"].copy()
    faces[:500] = np.stack([rng.choice(head, 3, replace=False) for _ in range(500)])
    places = {key: rng.integers(0, 500, arrays[key].shape) for key in ("lmk_faces_idx", "dynamic_lmk_faces_idx")}
    return {**arrays, "f": faces, **places}


@pytest.fixture(scope="session")
def corrected_path(standins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for SMPL-X with pose correctives and a face on its head."""
    arrays = _with_face_on_the_head(standins.model_arrays("smplx"), np.random.default_rng(1))
    return standins.write_npz(tmp_path_factory.mktemp("corrected") / "SMPLX_NEUTRAL.npz", arrays)


@pytest.fixture(scope="session")
def body_path(standins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without pose correctives, as the open body is; shapes vary less."""
    arrays = _with_face_on_the_head(standins.model_arrays("smplx"), np.random.default_rng(1))
    arrays |= {"posedirs": 0 * arrays["posedirs"], "shapedirs": 0.3 * arrays["shapedirs"]}
    return standins.write_npz(tmp_path_factory.mktemp("plain") / "SMPLX_NEUTRAL.npz", arrays)


@pytest.fixture(scope="session")
def corrected_body(corrected_path: Path) -> BodyModel:
    return load_body_model(corrected_path)


@pytest.fixture(scope="session")
def body(body_path: Path) -> BodyModel:
    return load_body_model(body_path)


@pytest.fixture(scope="session")
def random_prior() -> VPoser:
    """A prior with random weights and a correlated aggregate posterior: right in form, meaningless in content."""
    rng = torch.random.fork_rng()
    with rng:
        torch.manual_seed(3)
        prior = VPoser(VPoserConfig(decoder_hidden=64))
        mixed = torch.randn(32, 32) * 0.1 + torch.eye(32)
        prior.latent_covariance.copy_(mixed @ mixed.T)
        prior.latent_mean.copy_(torch.randn(32) * 0.1)
    return prior.eval()


@pytest.fixture(scope="session")
def motion(tmp_path_factory):
    """A slow arm raise, 30 frames per second."""
    poses = np.zeros((12, 66))
    poses[:, 3 + 3 * 15 + 2] = np.linspace(-1.0, -0.4, 12)  # left shoulder
    poses[:, 3 + 3 * 16 + 2] = 1.0
    poses[:, 0] = np.pi / 2  # files of AMASS have z up
    path = tmp_path_factory.mktemp("motion") / "raise.npz"
    np.savez(path, root_orient=poses[:, :3], pose_body=poses[:, 3:], mocap_frame_rate=30.0)
    return path
