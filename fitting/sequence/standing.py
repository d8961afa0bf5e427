"""People of a clip put on the ground: where their feet rest, what they rest on, and the fit lowered under that."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bodyfit.fitting.energy.floor import Feet, Floor, seen_sides
from bodyfit.fitting.energy.landmark_model import LandmarkModel
from bodyfit.fitting.energy.unknowns import Unknowns
from bodyfit.fitting.sequence.common_floor import OnFloor, Resting, on_common_floor
from bodyfit.fitting.sequence.contacts import Contacts, GroundConfig, find_contacts
from bodyfit.fitting.sequence.windows import GroupSolver

SIZE_SPREAD_M = 0.01
"""How closely joints follow a body that is made larger, m."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """What is known of a person's feet and the ground."""

    touching: Bool[np.ndarray, "T 2"]
    """Whether the left and the right foot touch the ground."""
    floor: Floor | None
    reason: str
    """Why there is no floor."""
    contacts: Contacts
    """Where they rest."""

    @classmethod
    def of(cls, solver: GroupSolver, x: Float[Tensor, "T D"], contacts: Contacts, config: GroundConfig) -> Standing:
        """Of a person at x."""
        points = solver.landmarks(x).index_select(1, contacts.feet.landmarks)
        return cls(contacts.touching(points, config).cpu().numpy(), contacts.floor, contacts.reason, contacts)


@dataclass(frozen=True)
class Walker:
    """One person, fitted over time without the ground."""

    solver: GroupSolver
    x: Float[Tensor, "T D"]
    one_camera: bool
    """Whether a single camera saw the person, so that size and distance are known by the shape alone."""


Settled: TypeAlias = tuple[Float[Tensor, "T D"], Standing, Contacts | None]


def settle(people: Sequence[Walker], config: GroundConfig) -> list[Settled]:
    """Find where feet rest and what all people stand on, and lower each person's cost under that; in turns.

    Args:
        people: of one shot: its camera stands still.
        config: when feet rest, and what is asked of a floor.

    Returns:
        of each person where he is, what is known of his feet, and what they were held by in the end; None: by nothing.
    """
    standing = [_Standing(one, config) for one in people]
    found = on_common_floor([one.resting() for one in standing], config)
    for _ in range(config.rounds):
        if not any(bool(on.contacts.links.any()) for on in found):
            break
        for one, on in zip(standing, found, strict=True):
            one.lower(on)
        found = on_common_floor([one.resting() for one in standing], config)
    return [(one.x, one.said(on), one.held) for one, on in zip(standing, found, strict=True)]


class _Standing:
    """A person while he is put on the ground."""

    def __init__(self, person: Walker, config: GroundConfig):
        self.solver, self.x, self.config, self.one_camera = person.solver, person.x, config, person.one_camera
        self.feet = Feet(self.solver.fitter.body, self.solver.model)
        self.held: Contacts | None = None
        self.seen = _feet_seen(self.solver, len(self.x), config)
        choice = self.solver.fitter.config
        self.shape_known = bool(choice.shape.betas)
        known = self.shape_known or choice.energy.height_m is not None
        sigma = config.known_size_sigma if known else config.size_sigma
        self.size_sigma = sigma if self.one_camera else 0.0

    def resting(self) -> Resting:
        """Where the feet rest now, and the floor that they say alone."""
        points = self.solver.landmarks(self.x)
        given = {"one_camera": self.one_camera, "seen": self.seen}
        contacts = find_contacts(self.feet, self.solver.model, points, self.solver.fps, self.config, **given)
        return Resting(contacts, points.index_select(1, self.feet.landmarks), self.size_sigma)

    def lower(self, on: OnFloor) -> None:
        """Lower the cost with feet that rest where they do; where that cannot be solved, the person stays as before."""
        if not bool(on.contacts.links.any()):
            return
        x = self.x
        if on.size_factor != 1 and not self.shape_known:
            x = resized(self.solver.fitter.unknowns, self.solver.model, x, on.size_factor)
        try:
            self.x, self.held = self.solver.again(x, on.contacts), on.contacts
        except ValueError as error:
            log.warning("a person of a clip is not put on the ground: %s", error)

    def said(self, on: OnFloor) -> Standing:
        """What is known in the end."""
        return Standing.of(self.solver, self.x, on.contacts, self.config)


def _feet_seen(solver: GroupSolver, moments: int, config: GroundConfig) -> Bool[Tensor, "T 2"]:
    """Whether the left and the right foot were seen by any camera shortly before, at or after each moment."""
    views = solver.views
    seen = torch.zeros(moments, 2, device=solver.model.device)
    seen.index_add_(0, views.moment, seen_sides(views.seen.weights, solver.model.names).to(seen))
    near = round(config.unseen_seconds * solver.fps)
    return torch.nn.functional.max_pool1d(seen.T, 2 * near + 1, stride=1, padding=near).T > 0


def resized(unknowns: Unknowns, model: LandmarkModel, x: Float[Tensor, "T D"], factor: float) -> Float[Tensor, "T D"]:
    """A person over time as much larger as a likely shape can be, and as much farther away: the pictures stay.

    Args:
        unknowns, model: of the body.
        x: the person, with one shape.
        factor: the size wanted, relative to the present one.
    """
    shape, place = unknowns.layout["betas"], unknowns.layout["transl"]
    tries = x[:1].repeat(1 + shape.stop - shape.start, 1)
    tries[1:, shape] += torch.eye(len(tries) - 1).to(x)
    still = torch.eye(3).to(x).expand(len(tries), len(unknowns.names), 3, 3)
    joints = model.kinematics(still, unknowns.shape(tries), derivatives=False).positions.transpose(0, 1)
    bones = joints - joints[:, :1]
    moved = (bones[1:] - bones[:1]).flatten(1).T / SIZE_SPREAD_M  # per shape number
    wanted = (factor - 1) * bones[0].flatten() / SIZE_SPREAD_M
    one = torch.eye(moved.shape[1]).to(x)
    step = torch.linalg.solve(moved.T @ moved + one, moved.T @ wanted - x[0, shape])
    reached = 1 + (factor - 1) * float((moved @ step) @ wanted / (wanted @ wanted))
    out, pelvis = x.clone(), joints[0, 0]
    out[:, shape] += step
    there = pelvis + step @ (joints[1:, 0] - joints[:1, 0])
    out[:, place] = reached * (x[:, place] + pelvis) - there
    return out
