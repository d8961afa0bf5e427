"""Adults drawn from MakeHuman's shape targets, their principal components, and the joint regressor fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Float

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.scripts.open_body_makehuman import RACES, MakeHuman
from bodyfit.scripts.open_body_rig import JOINT_INDEX, Surface, TPosed, bring_to_t_pose, mirrored_joints

STATURE_METRES = {"male": (1.78, 0.08), "female": (1.62, 0.08)}  # mean and standard deviation

# Local targets (both sides alike) as (negative, positive) pairs, and the standard deviation of their strength.
LOCAL_TARGETS = {
    0.30: [
        ("arms/measure-upperarm-length-decr", "arms/measure-upperarm-length-incr"),
        ("arms/measure-lowerarm-length-decr", "arms/measure-lowerarm-length-incr"),
        ("legs/measure-upperleg-height-decr", "legs/measure-upperleg-height-incr"),
        ("legs/measure-lowerleg-height-decr", "legs/measure-lowerleg-height-incr"),
        ("torso/torso-scale-vert-decr", "torso/torso-scale-vert-incr"),
        ("neck/neck-scale-vert-decr", "neck/neck-scale-vert-incr"),
    ],
    0.35: [
        ("torso/measure-shoulder-dist-decr", "torso/measure-shoulder-dist-incr"),
        ("torso/torso-scale-depth-decr", "torso/torso-scale-depth-incr"),
        ("torso/torso-scale-horiz-decr", "torso/torso-scale-horiz-incr"),
        ("torso/torso-vshape-decr", "torso/torso-vshape-incr"),
        ("torso/measure-bust-circ-decr", "torso/measure-bust-circ-incr"),
        ("torso/measure-waist-circ-decr", "torso/measure-waist-circ-incr"),
        ("torso/measure-hips-circ-decr", "torso/measure-hips-circ-incr"),
        ("torso/torso-muscle-pectoral-decr", "torso/torso-muscle-pectoral-incr"),
        ("torso/torso-muscle-dorsi-decr", "torso/torso-muscle-dorsi-incr"),
        ("hip/hip-scale-horiz-decr", "hip/hip-scale-horiz-incr"),
        ("hip/hip-scale-depth-decr", "hip/hip-scale-depth-incr"),
        ("buttocks/buttocks-volume-decr", "buttocks/buttocks-volume-incr"),
        ("stomach/stomach-tone-decr", "stomach/stomach-tone-incr"),
        ("stomach/stomach-pregnant-decr", "stomach/stomach-pregnant-incr"),
        ("neck/neck-scale-horiz-decr", "neck/neck-scale-horiz-incr"),
        ("neck/neck-double-decr", "neck/neck-double-incr"),
        ("head/head-fat-decr", "head/head-fat-incr"),
        ("head/head-scale-horiz-decr", "head/head-scale-horiz-incr"),
        ("head/head-scale-vert-decr", "head/head-scale-vert-incr"),
        ("head/head-scale-depth-decr", "head/head-scale-depth-incr"),
        ("chin/chin-width-decr", "chin/chin-width-incr"),
        ("chin/chin-height-decr", "chin/chin-height-incr"),
        ("nose/nose-scale-vert-decr", "nose/nose-scale-vert-incr"),
        ("nose/nose-scale-depth-decr", "nose/nose-scale-depth-incr"),
        *(
            (f"{folder}/{{side}}-{part}-decr", f"{folder}/{{side}}-{part}-incr")
            for folder, parts in {
                "arms": (
                    "upperarm-fat",
                    "upperarm-muscle",
                    "upperarm-shoulder-muscle",
                    "lowerarm-fat",
                    "lowerarm-muscle",
                ),
                "legs": ("upperleg-fat", "upperleg-muscle", "lowerleg-fat", "lowerleg-muscle"),
                "hands": ("hand-scale", "hand-fingers-length"),
                "feet": ("foot-scale",),
            }.items()
            for part in parts
        ),
    ],
}


@dataclass(frozen=True)
class Population:
    """Sampled adults in the T-pose, with what they were drawn from."""

    bodies: TPosed
    male: Bool[np.ndarray, " S"]


def sample_population(source: MakeHuman, surface: Surface, count: int, seed: int) -> Population:
    """Draw half men, half women of 18 to about 75 years; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    male = np.arange(count) % 2 == 0
    shapes = sample_makehuman_shapes(source, male, rng)
    return Population(bring_to_t_pose(source, surface, shapes), male)


def sample_makehuman_shapes(
    source: MakeHuman, male: Bool[np.ndarray, " S"], rng: np.random.Generator
) -> Float[np.ndarray, "S N 3"]:
    """Bodies in MakeHuman's pose, left-right symmetric, with statures drawn as `STATURE_METRES` says."""
    traits = _sample_traits(male, rng)
    _, macro = source.macro_targets
    pairs = [(strength, *pair) for strength, group in LOCAL_TARGETS.items() for pair in group]
    local = np.stack([_both_sides(source, name) for _, *pair in pairs for name in pair]).astype(np.float32)
    strength = rng.normal(size=(len(male), len(pairs))) * np.array([entry[0] for entry in pairs])
    strength = np.clip(strength, -1, 1)
    local_weights = np.stack([np.maximum(-strength, 0), np.maximum(strength, 0)], axis=2).reshape(len(male), -1)
    rest = source.vertices + np.tensordot(local_weights, local, 1)

    # Stature is linear in the height trait: two evaluations give the value that meets the drawn stature.
    mean, deviation = np.where(male[:, None], STATURE_METRES["male"], STATURE_METRES["female"]).T
    wanted = mean + deviation * np.clip(rng.normal(size=len(male)), -2.7, 2.7)
    skin = np.unique([vertex for face in source.groups["body"] for vertex in face])
    ends = [
        rest + np.tensordot(source.macro_weights({**traits, "height": np.full(len(male), h)}), macro, 1)
        for h in (0.0, 1.0)
    ]
    short, tall = (np.ptp(end[:, skin, 1], axis=1) for end in ends)
    height = ((wanted - short) / (tall - short))[:, None, None]
    shapes = (1 - height) * ends[0] + height * ends[1]
    return (shapes + shapes[:, source.mirror] * np.array([-1, 1, 1])) / 2


def _sample_traits(male: Bool[np.ndarray, " S"], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """MakeHuman's traits. Fat people have high weight and low muscle tone there; both follow one `fat` number."""
    count = len(male)
    fat = np.clip(rng.normal(0.15, 0.5, count), -0.8, 1.25)
    traits = {
        "male": np.where(male, rng.uniform(0.85, 1, count), rng.uniform(0, 0.15, count)),
        "age": rng.beta(1.2, 2.5, count) * 0.9,
        "weight": 0.5 + 0.5 * np.clip(fat + rng.normal(0, 0.1, count), -0.9, 1.2),
        "muscle": np.clip(0.5 - 0.3 * fat + rng.normal(0, 0.15, count), 0.05, 0.95),
        "proportions": rng.uniform(0.2, 0.9, count),
        "cup": np.clip(rng.normal(0.5, 0.2, count), 0.05, 0.95),
        "firmness": rng.uniform(0.25, 0.85, count),
        "height": np.zeros(count),
    }
    mixture = rng.dirichlet(np.full(len(RACES), 0.7), count)
    return traits | dict(zip(RACES, mixture.T, strict=True))


def _both_sides(source: MakeHuman, name: str) -> Float[np.ndarray, "N 3"]:
    return sum(source.target(one) for one in sorted({name.format(side="l"), name.format(side="r")}))


@dataclass(frozen=True)
class ShapeSpace:
    """Mean body and its principal components, one standard deviation each."""

    template: Float[np.ndarray, "V 3"]
    components: Float[np.ndarray, "V 3 K"]
    explained: Float[np.ndarray, " K"]  # share of variance, cumulative


def fit_shape_space(vertices: Float[np.ndarray, "S V 3"], surface: Surface, count: int = 10) -> ShapeSpace:
    """Principal components over skin area (a dense face counts no more than a back); the first is made to grow taller."""
    template = vertices.mean(0)
    area = np.sqrt(vertex_areas(template, surface.faces) + 1e-12)[:, None]
    centred = (vertices - template) * area
    samples = centred.reshape(len(vertices), -1)
    eigenvalues, scores = np.linalg.eigh(samples @ samples.T)
    order = np.argsort(eigenvalues)[::-1][:count]
    deviations = np.sqrt(eigenvalues[order] / (len(vertices) - 1))
    basis = (samples.T @ scores[:, order] / np.sqrt(eigenvalues[order])).reshape(*template.shape, count)
    components = basis * deviations / area[:, :, None]
    top, sole = template[:, 1].argmax(), template[:, 1].argmin()
    growth = components[top, 1] - components[sole, 1]
    sign = np.where(growth >= 0, 1.0, -1.0)
    sign[1:] *= np.sign(_volume_change(template, components, surface.faces) * sign)[1:]  # the others grow heavier
    return ShapeSpace(template, components * sign, np.cumsum(eigenvalues[order]) / eigenvalues.sum())


def _volume_change(template: np.ndarray, components: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, " K"]:
    a, b, c = (template[faces[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    return np.einsum("fa,fak->k", normal, components[faces].mean(1))


def vertex_areas(vertices: Float[np.ndarray, "V 3"], faces: np.ndarray) -> Float[np.ndarray, " V"]:
    """A third of the area of the triangles around each vertex, square metres."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(faces.ravel(), weights=np.repeat(area, 3), minlength=len(vertices))


def fit_joint_regressor(population: TPosed, surface: Surface) -> Float[np.ndarray, "55 V"]:
    """Sparse, non-negative, mirror-symmetric weights that give the joints as means of skin vertices.

    Each joint takes vertices that its own or its parent's weights move, near it, and solves a non-negative least squares over all
    sampled bodies; the solution keeps few of them, and the sum of the weights is held at 1.
    """
    regressor = np.zeros((len(JOINT_NAMES), len(surface.vertex_ids)))
    mirrored = mirrored_joints()
    for joint, name in enumerate(JOINT_NAMES):
        if name.startswith("right_"):
            continue
        candidates = _candidates(population, surface, joint)
        points, targets = population.vertices[:, candidates], population.joints[:, joint]
        midline = mirrored[joint] == joint
        if midline:  # a pair of mirrored vertices acts as one point on the midplane
            points = (points + population.vertices[:, surface.mirror[candidates]] * np.array([-1, 1, 1])) / 2
            points[..., 0] = 0
        weights = _sparse_mean(points, targets)
        if midline:
            regressor[joint, candidates] += weights / 2
            np.add.at(regressor[joint], surface.mirror[candidates], weights / 2)
        else:
            regressor[joint, candidates] = weights
            regressor[mirrored[joint], surface.mirror[candidates]] = weights
    return regressor


def _candidates(population: TPosed, surface: Surface, joint: int, count: int = 260) -> np.ndarray:
    mean, place = population.vertices[:60].mean(0), population.joints[:60, joint].mean(0)
    if "eye" in JOINT_NAMES[joint]:
        return np.flatnonzero(surface.weights[:, joint] > 0.5)
    skin = surface.weights[:, [JOINT_INDEX["left_eye_smplhf"], JOINT_INDEX["right_eye_smplhf"]]].sum(1) == 0
    distance = np.linalg.norm(mean - place, axis=1)
    near = np.flatnonzero(skin & (distance < 3.0 * distance[skin].min() + 0.01))
    moved = near[surface.weights[near, joint] > 0.02]
    chosen = moved if len(moved) >= 20 else near
    return chosen[:: max(1, len(chosen) // count)]


def _sparse_mean(
    points: Float[np.ndarray, "S K 3"], targets: Float[np.ndarray, "S 3"], smallest: float = 0.004
) -> Float[np.ndarray, " K"]:
    rows = np.moveaxis(points, 2, 1).reshape(-1, points.shape[1])
    wanted = targets.reshape(-1)
    held = 100.0 * np.sqrt(len(rows))  # a heavy row: the weights sum to one
    keep = np.arange(points.shape[1])
    for _ in range(2):
        system = np.vstack([rows[:, keep], np.full((1, len(keep)), held)])
        triangle, rotated = np.linalg.qr(np.column_stack([system, np.append(wanted, held)]), mode="r"), None
        rotated = triangle[:, -1]
        solution, _ = scipy.optimize.nnls(triangle[:, :-1], rotated, maxiter=20 * len(keep))
        weights = np.zeros(points.shape[1])
        weights[keep] = solution / solution.sum()
        keep = np.flatnonzero(weights > smallest)
    weights[weights <= smallest] = 0
    return weights / weights.sum()
