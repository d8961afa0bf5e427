"""`bodyfit fit --posterior`: what the option writes is what `FitResult.sample` draws from."""

from pathlib import Path

import numpy as np
import pytest

import bodyfit
from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.run.options import OutputOptions
from bodyfit.scripts.fit import FitCommand

SAMPLES = Path(__file__).parents[3] / "data" / "assets" / "samples"


def fitted(out, **options):
    output = OutputOptions(people="main", meshes=False, overlays=False, **options)
    assert FitCommand(inputs=(SAMPLES,), out=out, output=output).run() == 0
    return bodyfit.open_results(out)[0]


@pytest.mark.parametrize("results", ["folders", "shards"])
def test_samples_can_be_drawn_from_files(tmp_path, results):
    result = fitted(tmp_path, results=results, posterior=True)
    drawn = result.sample(200, prior=bodyfit.load_prior(), seed=0)
    spread = np.cov(np.asarray(drawn["transl"]).T)
    assert np.diag(spread) == pytest.approx(np.diag(result.block_covariance("transl")), rel=0.4)


def test_without_the_option_files_say_how_to_get_it(tmp_path):
    with pytest.raises(BodyfitError, match="bodyfit fit --posterior"):
        fitted(tmp_path).sample(2, prior=bodyfit.load_prior())
