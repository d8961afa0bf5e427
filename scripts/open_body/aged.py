"""The old: which values of the ten betas an average person of 60, 70 or 80 years has.

The ten betas know bodies of all ages from 18 on. MakeHuman's old targets say how a body changes (a shorter trunk, a
flatter chest, other flesh), longitudinal studies how much stature is lost. Legs, arm span and mass stay those of the
mean adult.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize
from jaxtyping import Float

from bodyfit.data.body.body_model import BodyModel
from bodyfit.scripts.open_body.charts import stature_lost
from bodyfit.scripts.open_body.children import ShapeSpan, proportions, scaled
from bodyfit.scripts.open_body.makehuman import GENDERS, RACES, MakeHuman
from bodyfit.scripts.open_body.rig import Surface, bring_to_t_pose
from bodyfit.scripts.open_body.shape import smooth_nipples

MEAN_ADULT_YEARS = 44.0
"""Mean age of the adults that the ten betas were drawn from: of them, betas of zero are the average."""
OLD_YEARS = (60.0, 70.0, 80.0)
_YOUNG, _OLD = 25.0, 90.0
"""Years of MakeHuman's young and old targets."""
_HOLD = 0.3


def makehuman_adults(source: MakeHuman, surface: Surface, gender: str) -> dict[str, Float[np.ndarray, "V 3"]]:
    """MakeHuman's average adult at 25 and at 90 years, T-posed; for "neutral" the mean of woman and man."""
    genders, smooth = GENDERS if gender == "neutral" else (gender,), smooth_nipples(source)
    average = dict.fromkeys(("muscle", "weight", "height", "proportions", "cup", "firmness"), np.array([0.5]))
    average |= dict.fromkeys(RACES, np.array([1 / len(RACES)]))
    _, targets = source.macro_targets
    found = {}
    for name, age in (("young", 0.0), ("old", 1.0)):
        body = np.zeros_like(source.vertices)
        for one in genders:
            traits = average | {"male": np.array([float(one == "male")]), "age": np.array([age])}
            body += (source.vertices + np.tensordot(source.macro_weights(traits)[0], targets, 1)) / len(genders)
        body = smooth @ body
        body = (body + body[source.mirror] * np.array([-1, 1, 1])) / 2
        found[name] = bring_to_t_pose(source, surface, body[None]).vertices[0]
    return found


def old_body(body: BodyModel, adults: dict[str, np.ndarray], years: float) -> Float[np.ndarray, "V 3"]:
    """The mean adult, changed as MakeHuman's bodies change with age, with the published loss of stature since the mean
    adult's age. It is the trunk that grows shorter: legs, arm span and mass stay."""
    share = (years - MEAN_ADULT_YEARS) / (_OLD - _YOUNG)
    changed = body.v_template + share * (adults["old"] - adults["young"])
    stature, sitting, _, span, mass = proportions(body, body.v_template)
    lost = stature_lost(body.gender, years) - stature_lost(body.gender, MEAN_ADULT_YEARS)
    wanted = np.array([stature - lost, stature * (1 - sitting), stature * span, mass])

    def grown(scales: np.ndarray) -> np.ndarray:
        return scaled(body, changed, np.concatenate([[1.0], scales]))  # of legs, trunk, arms, and across

    def missing(scales: np.ndarray) -> np.ndarray:
        stature, sitting, _, span, mass = proportions(body, grown(scales))
        return np.array([stature, stature * (1 - sitting), stature * span, mass]) / wanted - 1

    return grown(scipy.optimize.least_squares(missing, np.ones(4), diff_step=1e-2, max_nfev=12).x)


def old_betas(source: MakeHuman, surface: Surface, body: BodyModel) -> dict[float, Float[np.ndarray, " 10"]]:
    """The ten betas of average people by years: zero at the mean adult's age, those of `OLD_YEARS` behind it."""
    adults = makehuman_adults(source, surface, body.gender)
    found = {MEAN_ADULT_YEARS: np.zeros(10)}
    for years in OLD_YEARS:
        old = old_body(body, adults, years)
        span = ShapeSpan(body, [old])
        found[years] = span.betas_for(span.metric(old), span.coordinates(old), _HOLD)
    return found
