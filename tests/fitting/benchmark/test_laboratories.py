"""People as other laboratories would have measured them."""

import math

import numpy as np
import torch

from bodyfit.fitting.benchmark import clip_table
from bodyfit.fitting.benchmark.calibration import make_people
from bodyfit.fitting.benchmark.laboratories import BODY, DEGREES, measured_elsewhere, offsets
from bodyfit.fitting.solve.fitter import Fitter


def test_offsets_are_as_large_as_they_say_and_mirrored():
    found = offsets(4000, 0)
    for name, sigma in DEGREES.items():
        mine = found[:, BODY.index(name if name in BODY else f"left_{name}")]
        np.testing.assert_allclose(mine.std(0) * 180 / math.pi, sigma, rtol=0.06)
    left, right = (found[:, BODY.index(f"{side}_wrist")] for side in ("left", "right"))
    assert torch.equal(right, left * torch.tensor([1.0, -1.0, -1.0]))
    assert torch.equal(offsets(10, 0), offsets(10, 0)) and not torch.equal(offsets(10, 0), offsets(10, 1))


def test_an_offset_turns_the_joint_itself():
    by = offsets(5, 3)
    assert torch.allclose(measured_elsewhere(torch.zeros(5, 21, 3), by), by, atol=1e-6)


def test_a_share_of_people_and_clips_is_of_other_laboratories():
    """The others are the same as without; a clip's offsets last."""
    fitter = Fitter()
    same, some, all_ = (make_people(fitter, None, None, 40, 5, 0.004, elsewhere=share) for share in (0, 0.5, 1))
    turned = ~torch.isclose(some.body_pose, same.body_pose).all(1)
    assert 10 < int(turned.sum()) < 30
    assert torch.equal(some.body_pose[turned], all_.body_pose[turned])
    given = {"count": 1, "cameras": 1, "fps": 30.0, "moments": 6, "seed": 1}
    (before,), (after,) = (list(clip_table.some_clips(fitter, [], **given, elsewhere=share)) for share in (0.0, 1.0))
    apart = (after.joints - after.joints[:, :1]) - (before.joints - before.joints[:, :1])
    assert 0.01 < float(apart.norm(dim=2).mean()) < 0.3
