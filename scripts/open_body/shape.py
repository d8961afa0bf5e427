"""Adults drawn from MakeHuman's shape targets, their principal components, and the joint regressor fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.sparse
from jaxtyping import Bool, Float

from bodyfit.data.landmarks import JOINT_NAMES
from bodyfit.scripts.open_body.makehuman import RACES, MakeHuman
from bodyfit.scripts.open_body.rig import JOINT_INDEX, Surface, TPosed, bring_to_t_pose, mirrored_joints

DEEP_JOINTS = ("pelvis", "spine1", "spine2", "spine3", "neck", "head", "collar", "hip", "knee", "shoulder")
WIDE_REACH = 0.2  # metres

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

    def of(self, gender: str) -> Population:
        """The men, the women, or all ("neutral")."""
        kept = {"neutral": self.male | True, "male": self.male, "female": ~self.male}[gender]
        return Population(TPosed(self.bodies.vertices[kept], self.bodies.joints[kept]), self.male[kept])


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
    strength = np.clip(rng.normal(size=(len(male), len(pairs))) * np.array([entry[0] for entry in pairs]), -1, 1)
    local_weights = np.stack([np.maximum(-strength, 0), np.maximum(strength, 0)], axis=2).reshape(len(male), -1)
    mean, deviation = np.where(male[:, None], STATURE_METRES["male"], STATURE_METRES["female"]).T
    stature = mean + deviation * np.clip(rng.normal(size=len(male)), -2.7, 2.7)

    # Stature is linear in the height trait: the bodies of height 0 and 1 give the value that meets the drawn stature.
    macro_weights = [source.macro_weights({**traits, "height": np.full(len(male), h)}) for h in (0.0, 1.0)]
    skin = np.unique([vertex for face in source.groups["body"] for vertex in face])
    smooth = smooth_nipples(source)
    shapes = np.empty((len(male), *source.vertices.shape), np.float32)
    for start in range(0, len(male), 50):
        some = slice(start, start + 50)
        rest = source.vertices.astype(np.float32) + np.tensordot(local_weights[some].astype(np.float32), local, 1)
        short, tall = (rest + np.tensordot(w[some].astype(np.float32), macro, 1) for w in macro_weights)
        low, high = np.ptp(short[:, skin, 1], axis=1), np.ptp(tall[:, skin, 1], axis=1)
        height = ((stature[some] - low) / (high - low))[:, None, None]
        bodies = short + height * (tall - short)
        bodies = (bodies + bodies[:, source.mirror] * np.array([-1, 1, 1])) / 2
        shapes[some] = np.stack([smooth @ body for body in bodies])
    return shapes


def smooth_nipples(source: MakeHuman) -> scipy.sparse.csr_matrix:
    """Matrix (N, N) that puts the smoothest skin (Laplace's equation) in place of the nipples."""
    moved = [np.abs(source.target(f"breast/nipple-{what}-incr")).sum(1) for what in ("size", "point")]
    inner = np.flatnonzero(np.any(np.array(moved) > 1e-4, axis=0))
    quads = [face for face in source.groups["body"] if np.isin(face, inner).any()]
    edges = np.unique(
        [pair for face in quads for i in range(4) for pair in ((face[i], face[i - 1]), (face[i - 1], face[i]))], axis=0
    )
    edges = edges[np.isin(edges[:, 0], inner)]
    count = len(source.vertices)
    adjacency = scipy.sparse.csr_matrix((np.ones(len(edges)), edges.T), shape=(count, count))[inner]
    average = scipy.sparse.diags(1 / adjacency.sum(1).A1) @ adjacency
    system = np.eye(len(inner)) - average[:, inner].toarray()
    outer = average.toarray()
    outer[:, inner] = 0
    result = scipy.sparse.identity(count, format="lil")
    result[inner] = np.linalg.solve(system, outer)
    return result.tocsr()


def _sample_traits(male: Bool[np.ndarray, " S"], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """MakeHuman's traits. There, body fat raises weight and lowers muscle tone; both follow one `fat` number."""
    count = len(male)
    fat = np.clip(rng.normal(0.25, 0.6, count), -0.85, 1.4)
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
    """Principal components over skin area (a dense face counts no more than a back); the first grows taller."""
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


def reconstruction_error(shape: ShapeSpace, vertices: Float[np.ndarray, "S V 3"], surface: Surface) -> float:
    """Mean distance in metres between bodies' vertices and their best reconstruction by the components."""
    area = np.sqrt(vertex_areas(shape.template, surface.faces) + 1e-12)[:, None]
    basis = (shape.components * area[:, :, None]).reshape(-1, shape.components.shape[2])
    offsets = vertices - shape.template
    betas = np.linalg.lstsq(basis, (offsets * area).reshape(len(vertices), -1).T, rcond=None)[0]
    rest = offsets - np.einsum("vck,ks->svc", shape.components, betas)
    return float(np.linalg.norm(rest, axis=2).mean())


def vertex_areas(vertices: Float[np.ndarray, "V 3"], faces: np.ndarray) -> Float[np.ndarray, " V"]:
    """A third of the area of the triangles around each vertex, square metres."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(faces.ravel(), weights=np.repeat(area, 3), minlength=len(vertices))


def fit_joint_regressor(population: TPosed, surface: Surface) -> Float[np.ndarray, "55 V"]:
    """Sparse, non-negative, mirror-symmetric weights that give the joints as means of skin vertices.

    Each joint takes the skin around it and solves a non-negative least squares over all sampled bodies; the solution
    keeps few vertices, and the sum of the weights is held at 1.
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


def _candidates(population: TPosed, surface: Surface, joint: int, count: int = 500) -> np.ndarray:
    """Skin that may place a joint: around it, and for joints deep in the trunk all that surrounds them."""
    name = JOINT_NAMES[joint]
    if "eye" in name:
        return np.flatnonzero(surface.weights[:, joint] > 0.5)
    mean, place = population.vertices[:60].mean(0), population.joints[:60, joint].mean(0)
    eyeballs = surface.weights[:, [JOINT_INDEX["left_eye_smplhf"], JOINT_INDEX["right_eye_smplhf"]]].sum(1) > 0
    distance = np.where(eyeballs, np.inf, np.linalg.norm(mean - place, axis=1))
    reach = WIDE_REACH if name.removeprefix("left_") in DEEP_JOINTS else 3.0 * distance.min() + 0.01
    near = np.flatnonzero(distance < reach)
    return near[:: max(1, len(near) // count)]


def _sparse_mean(
    points: Float[np.ndarray, "S K 3"], targets: Float[np.ndarray, "S 3"], smallest: float = 0.004
) -> Float[np.ndarray, " K"]:
    rows = np.moveaxis(points, 2, 1).reshape(-1, points.shape[1])
    wanted = targets.reshape(-1)
    held = 100.0 * np.sqrt(len(rows))  # a heavy row: the weights sum to one
    keep = np.arange(points.shape[1])
    for _ in range(2):
        system = np.vstack([rows[:, keep], np.full((1, len(keep)), held)])
        triangle = np.linalg.qr(np.column_stack([system, np.append(wanted, held)]), mode="r")
        solution, _ = scipy.optimize.nnls(triangle[:, :-1], triangle[:, -1], maxiter=20 * len(keep))
        weights = np.zeros(points.shape[1])
        weights[keep] = solution / solution.sum()
        keep = np.flatnonzero(weights > smallest)
    weights[weights <= smallest] = 0
    return weights / weights.sum()
