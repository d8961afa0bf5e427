"""The Gaussian posterior of a person's unknowns as a result holds it: its blocks, and samples from it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.data.lazy import LazyModule
from bodyfit.data.results.checks import ResultError

if TYPE_CHECKING:
    import torch

    from bodyfit.data.body import body_model as body_models
else:  # results are read without these, which take seconds
    torch = LazyModule("torch")
    body_models = LazyModule("bodyfit.data.body.body_model")


class Decodes(Protocol):
    """A pose prior, as `load_prior` reads it."""

    name: str

    def decode_axis_angle(self, latent: torch.Tensor) -> torch.Tensor:
        """Body poses (n, 63) of latents (n, Z)."""


class PosteriorError(BodyfitError):
    """A posterior that is not there, or that another prior or body would give other samples of."""


@lru_cache(maxsize=16)
def sizes_of(blocks: str) -> dict[str, int]:
    """Names and sizes of blocks from their text, "global_orient:3 transl:3 latent:32 ...". Raises PosteriorError."""
    try:
        pairs = [block.split(":") for block in blocks.split()]
        sizes = {name: int(size) for name, size in pairs}
    except ValueError as cause:
        raise PosteriorError(f"posterior_blocks is {blocks!r:.60}, expected 'name:size name:size ...'.") from cause
    if len(sizes) != len(pairs) or not all(0 < size <= 1000 for size in sizes.values()):
        raise PosteriorError(f"posterior_blocks is {blocks!r:.60}, expected each name once, sizes of 1 to 1000.")
    return sizes


def check(factor: Float[np.ndarray, " N"], blocks: str) -> None:
    """Raises PosteriorError for a factor that does not have the numbers of its blocks."""
    count = sum(sizes_of(blocks).values())
    if factor.shape != (count * (count + 1) // 2,):
        raise PosteriorError(f"posterior_factor has {factor.size} numbers, expected {count * (count + 1) // 2}.")


def unpacked(factor: Float[np.ndarray, " N"], blocks: str) -> dict[str, Float[np.ndarray, "k D"]]:
    """The rows of each block in the square root A of the covariance: A A^T is the covariance.

    Raises:
        PosteriorError: where the two do not fit each other.
    """
    check(factor, blocks)
    sizes = sizes_of(blocks)
    count = sum(sizes.values())
    root = np.zeros((count, count))
    root[np.triu_indices(count)] = factor
    return dict(zip(sizes, np.split(root, np.cumsum(list(sizes.values()))[:-1]), strict=True))


def sample(
    given: dict[str, Float[np.ndarray, "1 n"]],
    latent: Float[np.ndarray, " Z"],
    focal_px: float,
    rows: dict[str, Float[np.ndarray, "k D"]],
    count: int,
    *,
    prior: Decodes,
    body: body_models.BodyModel,
    seed: int,
) -> dict[str, Float[np.ndarray, "N n"]]:
    """Draws from the posterior, as parameters.

    Args:
        given: the solution's parameters, by name, in batches of one.
        latent, focal_px: of the solution.
        rows: as `unpacked` gives them.
        count: how many.
        prior, body: those that the person was fitted with.
        seed: the same seed draws the same.

    Raises:
        PosteriorError: for a count below 1.
    """
    if count < 1:
        raise PosteriorError(f"the count is {count}. Expected how many to draw, at least 1.")
    dimension = next(iter(rows.values())).shape[1]
    normal = np.random.default_rng(seed).standard_normal((count, dimension))
    given = {name: np.repeat(value, count, axis=0) for name, value in given.items()}
    moved = {name: normal @ root.T for name, root in rows.items()}
    drawn = moved_parameters(given, np.repeat(latent[None], count, axis=0), moved, prior=prior, body=body)
    if "log_focal" in moved:
        drawn["focal_px"] = focal_px * np.exp(moved["log_focal"])
    return drawn


def moved_parameters(
    given: dict[str, Float[np.ndarray, "N n"]],
    latent: Float[np.ndarray, "N Z"],
    moved: dict[str, Float[np.ndarray, "N k"]],
    *,
    prior: Decodes,
    body: body_models.BodyModel,
) -> dict[str, Float[np.ndarray, "N n"]]:
    """Parameters of bodies whose unknowns move from a solution.

    Args:
        given, latent: parameters, by name, and latents of the solution.
        moved: how far each block of unknowns moves.
        prior, body: as in `sample`.
    """
    drawn: dict[str, Any] = dict(given)
    for name in drawn.keys() & moved.keys():
        drawn[name] = drawn[name] + moved[name]
    for side in ("left", "right"):
        if f"{side}_hand" in moved:
            some = moved[f"{side}_hand"]
            basis = np.asarray(getattr(body, f"hand_components_{side}"))[: some.shape[1]]
            drawn[f"{side}_hand_pose"] = drawn[f"{side}_hand_pose"] + some @ basis
    if "latent" in moved:
        parameter = next(iter(prior.parameters()), torch.zeros(1)) if hasattr(prior, "parameters") else torch.zeros(1)
        with torch.no_grad():
            latents = torch.as_tensor(latent + moved["latent"]).to(parameter)
            drawn["body_pose"] = prior.decode_axis_angle(latents).double().cpu().numpy().reshape(len(latent), -1)
    return drawn


def own_prior(person: str, name: str, given: Decodes | None, known: Decodes | None) -> Decodes:
    """The prior that a person was fitted with: the one given, or the one that is known from the fit.

    Args:
        person: their name in messages.
        name: of the prior.
        given, known: None where there is none.

    Raises:
        ResultError: where there is neither, or it is another one.
    """
    prior = given if given is not None else known
    if prior is None:
        raise ResultError(
            f"sample() needs the pose prior that person {person} was fitted with ('{name}'): "
            "sample(n, prior=bodyfit.load_prior()) for the shipped one."
        )
    if prior.name != name:
        raise ResultError(f"person {person} was fitted with the prior '{name}', not '{prior.name}'.")
    return prior
