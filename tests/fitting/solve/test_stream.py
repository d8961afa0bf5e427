"""fit_many: what fit finds, in order, without asking for more frames than it needs."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import bodyfit
from bodyfit.fitting.energy.levenberg_marquardt import SolverOptions
from bodyfit.fitting.solve.hypotheses import StartConfig
from bodyfit.fitting.solve.stages import StageConfig

KEYPOINTS = Path(__file__).parents[3] / "data" / "assets" / "samples" / "keypoints"
QUICK = bodyfit.FitConfig(
    start=StartConfig(followed=1, iterations=2, finished=1),
    solver=SolverOptions(max_iterations=3),
    stages=StageConfig(wide_iterations=2, soft_iterations=2, sharp_iterations=2),
)


def frame() -> bodyfit.Frame:
    return bodyfit.Frame.from_files(None, KEYPOINTS / "two_people_keypoints.json")


def test_an_endless_generator_gives_results_at_once():
    """Two people per frame and batches of four: the first results need no more than three batches of frames."""
    asked = []

    def endless():
        for n in itertools.count():
            asked.append(n)
            yield frame()

    results = bodyfit.fit_many(endless(), batch=4, config=QUICK)
    first = [next(results) for _ in range(4)]
    results.close()
    assert [r.person_id for r in first] == ["000", "001", "000", "001"] and len(asked) <= 6


def test_it_finds_what_fit_finds_in_the_same_order():
    frames = [frame() for _ in range(3)]
    found = list(bodyfit.fit_many(iter(frames), batch=2, config=QUICK))
    for a, b in zip(found, bodyfit.fit(frames, config=QUICK), strict=True):
        assert a.person_id == b.person_id
        np.testing.assert_allclose(a.body_pose, b.body_pose, atol=1e-4)


def test_no_frames_give_no_results_and_a_wrong_batch_is_said_at_the_call():
    assert list(bodyfit.fit_many([], config=QUICK)) == []
    with pytest.raises(bodyfit.BodyfitError, match="batch"):
        bodyfit.fit_many([], batch=0)
