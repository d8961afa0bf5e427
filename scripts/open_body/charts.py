"""Growth charts and the loss of stature in old age: a few published medians, with their sources.

Stature (length under two years): WHO Child Growth Standards 2006 to three years, WHO reference 2007 above
(`lenanthro.txt` and `hfawho2007.txt` of WHO's R packages anthro and anthroplus). Sitting height as a share of stature
(crown-rump length as a share of length under two years): Fredriks et al. 2005, Arch Dis Child 90:807. Head girth: WHO
Child Growth Standards to three years (`hcanthro.txt`); above, Fredriks et al. 2000, Pediatr Res 47:316, whose children
have heads 0.8 to 1.1 cm larger than WHO's at three years. Mass: WHO to ten years (`weianthro.txt`, `wfawho2007.txt`),
Fredriks et al. 2000 above. Dutch figures are those of the R package nlreferences. Loss of stature: Sorkin et al. 1999,
Am J Epidemiol 150:969, abstract.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np


@dataclass(frozen=True)
class Chart:
    """What growth charts say of an age."""

    stature: float
    """Metres."""
    sitting: float
    """Sitting height as a share of stature."""
    head: float
    """Head girth, metres."""
    mass: float
    """Kilograms."""


BOYS = {
    0.0: Chart(0.4988, 0.6920, 0.3446, 3.35),
    0.5: Chart(0.6762, 0.6711, 0.4334, 7.93),
    1.0: Chart(0.7575, 0.6481, 0.4606, 9.65),
    2.0: Chart(0.8712, 0.6036, 0.4825, 12.15),
    3.0: Chart(0.9608, 0.5719, 0.4946, 14.34),
    6.0: Chart(1.1595, 0.5406, 0.5172, 20.51),
    10.0: Chart(1.3778, 0.5204, 0.5326, 31.16),
    14.0: Chart(1.6318, 0.5077, 0.5525, 52.87),
    18.0: Chart(1.7614, 0.5149, 0.5712, 70.06),
}
GIRLS = {
    0.0: Chart(0.4915, 0.6926, 0.3388, 3.23),
    0.5: Chart(0.6573, 0.6716, 0.4221, 7.30),
    1.0: Chart(0.7402, 0.6484, 0.4489, 8.95),
    2.0: Chart(0.8572, 0.6013, 0.4718, 11.48),
    3.0: Chart(0.9505, 0.5679, 0.4851, 13.85),
    6.0: Chart(1.1512, 0.5413, 0.5089, 20.16),
    10.0: Chart(1.3864, 0.5224, 0.5273, 31.86),
    14.0: Chart(1.5979, 0.5184, 0.5466, 52.70),
    18.0: Chart(1.6306, 0.5244, 0.5525, 61.27),
}
CHARTS: dict[str, dict[float, Chart]] = {
    "male": BOYS,
    "female": GIRLS,
    "neutral": {age: Chart(*np.mean([astuple(BOYS[age]), astuple(GIRLS[age])], axis=0).tolist()) for age in BOYS},
}
"""Medians by gender (neutral: the mean of boys and girls) and years."""
SPANS = {0.0: 0.965, 0.5: 0.965, 1.0: 0.965, 2.0: 0.970, 3.0: 0.975, 6.0: 0.985, 10.0: 1.0, 14.0: 1.01}
"""Arm span as a share of stature, by years. An assumption: of no chart."""

_LOST = {"male": (-0.00025, 0.000025), "female": (-0.00015, 0.000035)}
"""Metres per year after 30, and per year squared, through the cumulative losses at 70 and 80 years of age: 3 and 5 cm
of men, 5 and 8 cm of women."""


def stature_lost(gender: str, years: float) -> float:
    """Metres of stature lost since the age of 30, in the mean; of both sexes for "neutral"."""
    if gender == "neutral":
        return (stature_lost("male", years) + stature_lost("female", years)) / 2
    linear, square = _LOST[gender]
    since = max(years - 30.0, 0.0)
    return max(linear * since + square * since**2, 0.0)
