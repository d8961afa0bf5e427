"""Colours of every picture and page: people, statuses, skeleton sides, text and background.

People get Okabe and Ito's palette (Color Universal Design, 2008), which stays distinguishable with any
common colour blindness; status colours come from the same palette, so that no distinction needs red against green.
"""

import colorsys

import numpy as np
from jaxtyping import Float

SKY_BLUE = "#56b4e9"
ORANGE = "#e69f00"
GREEN = "#009e73"
PURPLE = "#cc79a7"
YELLOW = "#f0e442"
BLUE = "#0072b2"
VERMILION = "#d55e00"
GREY = "#8a8f98"

PEOPLE = (SKY_BLUE, ORANGE, GREEN, PURPLE, YELLOW, BLUE, VERMILION)
STATUS = {"converged": GREEN, "max_iterations": ORANGE, "interpolated": BLUE}
STATUS |= {"implausible": PURPLE, "failed": VERMILION}
LEFT, RIGHT, MIDDLE = ORANGE, BLUE, GREY  # sides of a skeleton
INK, BACKGROUND, PANEL = "#1b1f24", "#ffffff", "#f4f5f7"


def rgb(hex_colour: str) -> Float[np.ndarray, "3"]:
    """`"#56b4e9"` as three sRGB numbers in [0, 1]."""
    return np.array([int(hex_colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def rgb8(hex_colour: str) -> tuple[int, int, int]:
    """`"#56b4e9"` as three sRGB bytes."""
    return tuple(round(255 * channel) for channel in rgb(hex_colour))


def person_hex(index: int) -> str:
    """Colour of the `index`-th person of a photo. After seven people the palette repeats, darker and then lighter."""
    turn, place = divmod(index, len(PEOPLE))
    hue, lightness, saturation = colorsys.rgb_to_hls(*rgb(PEOPLE[place]))
    lightness = np.clip(lightness + (0.0, -0.17, 0.17)[turn % 3], 0.1, 0.9)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in colorsys.hls_to_rgb(hue, lightness, saturation))


def person_colour(index: int) -> Float[np.ndarray, "3"]:
    """`person_hex` as sRGB numbers in [0, 1]."""
    return rgb(person_hex(index))


def status_hex(status: str) -> str:
    """Colour of a fit's status; grey for an unknown one."""
    return STATUS.get(status, GREY)


def side_hex(name: str) -> str:
    """Colour of a landmark by the side in its name."""
    return LEFT if name.startswith("left_") else RIGHT if name.startswith("right_") else MIDDLE
