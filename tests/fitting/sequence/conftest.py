"""What the tests of joint fits share."""

import numpy as np
import pytest

from bodyfit.fitting.solve.fitter import Fitter


@pytest.fixture(scope="module")
def fitter():
    """The shipped body and prior."""
    return Fitter()


@pytest.fixture(scope="module")
def motion(tmp_path_factory):
    """A slow arm raise, 30 frames per second."""
    poses = np.zeros((12, 66))
    poses[:, 3 + 3 * 15 + 2] = np.linspace(-1.0, -0.4, 12)  # left shoulder
    poses[:, 3 + 3 * 16 + 2] = 1.0
    poses[:, 0] = np.pi / 2  # files of AMASS have z up
    path = tmp_path_factory.mktemp("motion") / "raise.npz"
    np.savez(path, root_orient=poses[:, :3], pose_body=poses[:, 3:], mocap_frame_rate=30.0)
    return path
