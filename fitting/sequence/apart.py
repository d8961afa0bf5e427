"""People of a shot who do not pass through each other: who overlaps with somebody is lowered once more beside him.

Everybody is fitted alone first. People whom one camera saw start from where they are out of each other by their sizes
alone (`apart_in_depth`). Then, in turns, each person's joint problem is lowered with the spheres of the others as
obstacles that stay, moment by moment. Whose turn comes first gives way by half of the overlap only: the other gives way
by the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from bodyfit.fitting.energy.shared_space import Obstacles
from bodyfit.fitting.sequence.apart_in_depth import of_size, size_factors
from bodyfit.fitting.sequence.neighbours import Neighbour
from bodyfit.fitting.solve.stages import GIVEN_UP

ROUNDS = 2
"""How often everybody who overlaps with somebody is lowered."""
TOUCH_M = 0.002
"""Overlap beyond what skin may from which on people are in each other."""

log = logging.getLogger(__name__)


def move_apart(people: Sequence[Neighbour]) -> None:
    """Move people of one shot out of each other; whom nobody touches stays as he is.

    Args:
        people: in one frame: that of their camera, or the world. They are changed.
    """
    order = sorted(people, key=lambda one: float(one.solver.views.seen.weights.sum()))  # who is seen worst first
    crowded = {one: _in_others(one, order) for one in order}
    crowded = {one: rows for one, rows in crowded.items() if bool(rows.any())}
    sizes = size_factors(list(crowded))
    for one, factor in zip(crowded, sizes, strict=True):
        one.place(of_size(one, factor))
    for turn in range(ROUNDS):
        waiting = set(crowded) if turn == 0 else set[Neighbour]()
        for one, rows in crowded.items():
            waiting.discard(one)
            if turn == 0 or bool(_in_others(one, order).any()):
                _give_way(one, rows, [other for other in order if other is not one], waiting)


def _in_others(one: Neighbour, people: Sequence[Neighbour]) -> Bool[Tensor, " T"]:
    """At which moments a person is in any of the others."""
    found = torch.zeros(len(one.x), dtype=torch.bool, device=one.x.device)
    for other in people:
        if other is not one:
            found[one.shared_with(other)[0]] |= one.depth_in(other) > TOUCH_M
    return found


def _give_way(
    one: Neighbour, crowded: Bool[Tensor, " T"], others: Sequence[Neighbour], waiting: Collection[Neighbour]
) -> None:
    """Lower a person's cost beside the others, from where he is. Who would lose keypoints for it is where he was alone.

    Args:
        one: the person.
        crowded: at which moments he was in others, when he was alone.
        others: everybody else.
        waiting: who of them will give way as well: half of the overlap with them is theirs.
    """
    solver, obstacles = one.solver, _obstacles(one, others, waiting)
    try:
        x = solver.again(one.x, one.contacts, obstacles)
    except ValueError as error:
        log.warning("a person of a clip is not moved out of others: %s", error)
        one.give_up()
        return
    views = crowded[solver.views.moment]
    before, after = (solver.given_up(some)[views] for some in (one.alone, x))
    if len(before) and float(after.mean()) > float(before.mean()) + GIVEN_UP:
        one.give_up()
        return
    one.place(x)


def _obstacles(one: Neighbour, others: Sequence[Neighbour], waiting: Collection[Neighbour]) -> Obstacles:
    """The spheres of the others at all of a person's moments."""
    centres, radii = [], []
    for other in others:
        mine, theirs = one.shared_with(other)
        there, sizes = other.spheres(theirs)
        if not len(sizes):
            continue
        if other in waiting:
            sizes = sizes - one.depth_in(other).clamp_min(0)[:, None] / 2
        nobody = sizes.new_full((len(one.x), sizes.shape[1]), -torch.inf)
        nobody[mine] = sizes
        nowhere = there.new_zeros(len(one.x), *there.shape[1:])
        nowhere[mine] = there
        centres.append(nowhere)
        radii.append(nobody)
    return Obstacles(torch.cat(centres, 1), torch.cat(radii, 1))
