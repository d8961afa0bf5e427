"""A body's volume as some 150 spheres: fitted once to any loaded body, they follow its skin, shape and pose.

At rest, each vertex touches one largest sphere inside the skin (found as in Ma et al. 2012, "3D medial axis point
approximation using nearest neighbors"). Of these, spheres are chosen one after the other, each time the one on whose
surface the most skin lies that no other sphere has. Centres are affine in betas, as mixtures of the vertices around
them, and are skinned with the mixture of these vertices' blend weights; radii are affine in betas, too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bodyfit.data.body.body_model import BodyModel

log = logging.getLogger(__name__)

COUNT = 128
"""Spheres per body."""
LARGEST_M, SMALLEST_M = 0.14, 0.004
"""Radii. Skin whose largest sphere is smaller than the second is a lip, an eyelid, the inside of a mouth: left out."""
HOLLOW_M = 0.02
"""Skin of the head with less room before it, as the radius of a sphere, is inside of it."""
SHRINKING_STEPS = 12
TOLERANCE_M, TOLERANCE_SHARE = 0.006, 0.06
"""Skin within the sum of the first and this share of the radius lies on a sphere's surface."""
CANDIDATES, SKIN_POINTS = 1200, 3000
"""Spheres to choose from, and points of the skin that they are to cover."""
DETAIL = {"wrist": 4.0, "ankle": 1.5, "foot": 3.0, "eye": 0.0} | dict.fromkeys(
    ("hand", "index", "middle", "pinky", "ring", "thumb"), 5.0
)
"""How much more a square metre of skin of some joints counts than others: hands are small, eyeballs touch nothing."""
AROUND, FEWEST = 48, 8
"""Vertices that a sphere's centre and radius follow, at most and at least."""
NEIGHBOURS_M, NEIGHBOURS_SHARE = 0.05, 0.5
"""Spheres that are no further apart than this, or than this share of their radii, may overlap."""
SOFT_M, FOLD_M, FOLD_REACH_M = 0.007, 0.015, 0.15
"""Others may overlap by the first, and by as much as the second more where they are nearer than the third."""
FEWEST_SHARE, MOST_JOINTS = 0.03, 4
"""Blend weights of a centre that are kept."""


@dataclass(frozen=True, eq=False)
class Spheres:
    """Spheres that fill a body at rest, metres, and how they follow its shape and joints."""

    centres: Float[np.ndarray, "S 3"]
    radii: Float[np.ndarray, " S"]
    centre_dirs: Float[np.ndarray, "S 3 Nb"]
    """Change of the centres per unit of each beta."""
    radius_dirs: Float[np.ndarray, "S Nb"]
    weights: Float[np.ndarray, "S J"]
    """Blend weights of the centres; rows sum to one, with at most four joints each."""
    apart: Float[np.ndarray, "S S"]
    """Way through the body at rest from one sphere to the other, metres, less both radii; negative for neighbours."""
    error_m: tuple[float, float, float]
    """How far the skin at rest is from the nearest sphere's surface, by area: the mean (positive: the body is larger),
    and of the absolute distance the median and the 95th percentile."""

    def __len__(self) -> int:
        return len(self.radii)

    def at(self, betas: Float[np.ndarray, " Nb"]) -> tuple[Float[np.ndarray, "S 3"], Float[np.ndarray, " S"]]:
        """Centres and radii of the body at rest with these betas."""
        return self.centres + self.centre_dirs @ betas, self.radii + self.radius_dirs @ betas

    def distances(
        self, points: Float[np.ndarray, "N 3"], betas: Float[np.ndarray, " Nb"] | None = None
    ) -> Float[np.ndarray, " N"]:
        """Distance of each point from the nearest sphere's surface at rest, metres; negative inside."""
        centres, radii = (self.centres, self.radii) if betas is None else self.at(betas)
        return _signed(points, centres, radii).min(1)

    def allowance(self) -> Float[np.ndarray, "S S"]:
        """How deep each pair may overlap, metres: infinite for neighbours, little for what is far apart on the body.

        Skin near a fold (armpit, groin, hollow of the knee) is pressed in where it touches, and the skin of a skinned
        mesh all the more.
        """
        near = (self.apart < NEIGHBOURS_M) | (self.apart < NEIGHBOURS_SHARE * np.add.outer(self.radii, self.radii))
        return np.where(near, np.inf, SOFT_M + FOLD_M * np.exp(-((self.apart / FOLD_REACH_M) ** 2)))


def fit_spheres(body: BodyModel, count: int = COUNT) -> Spheres:
    """Fill a body with spheres; the same for the same body."""
    vertices = body.v_template
    normals, area = vertex_normals(vertices, body.faces)
    carrier = body.weights.argmax(1)
    outer = _outer_skin(body, normals, carrier)
    skin = vertices[outer]
    weight = area[outer] * np.array([_detail(name) for name in body.joint_names])[carrier[outer]]
    drawn = min(SKIN_POINTS, np.count_nonzero(weight))
    points = np.random.default_rng(0).choice(len(outer), drawn, replace=False, p=weight / weight.sum())
    centres, radii = largest_inside(skin, normals[outer[points]], points)
    thick = radii > SMALLEST_M
    points, centres, radii = skin[points[thick]], centres[thick][:CANDIDATES], radii[thick][:CANDIDATES]
    chosen = _cover(_signed(points, centres, radii), radii, count)
    centres, radii = centres[chosen], radii[chosen]
    spheres = _attached(body, outer, area, centres, _grown(points, centres, radii))
    shown = (len(spheres), *(1000 * e for e in spheres.error_m))
    log.debug("%s: %d spheres; skin off by %.1f mm (mean), %.1f (median), %.1f (95 %%)", body.name, *shown)
    return spheres


def _outer_skin(
    body: BodyModel, normals: Float[np.ndarray, "V 3"], carrier: Int[np.ndarray, " V"]
) -> Int[np.ndarray, " N"]:
    """Vertices but for eyeballs and the hollows of the head: mouth, nostrils, eye sockets, behind the ears. Skin there
    has other skin before it."""
    names = np.array(body.joint_names)[carrier]
    head = np.flatnonzero((names == "head") | (names == "jaw"))
    hollow = head[largest_inside(body.v_template, -normals[head], head)[1] < HOLLOW_M]
    left_out = np.char.find(names, "eye") >= 0
    left_out[hollow] = True
    return np.flatnonzero(~left_out)


def largest_inside(
    skin: Float[np.ndarray, "V 3"], normals: Float[np.ndarray, "N 3"], vertices: Int[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, " N"]]:
    """Centre and radius of the largest sphere that touches each of some vertices of the skin from inside and holds
    no other vertex: it shrinks until the vertex nearest to its centre lies on it. `normals` are of these vertices."""
    from scipy.spatial import KDTree  # takes half a second to import

    points, outward, tree = skin[vertices], normals, KDTree(skin)
    radii = np.full(len(vertices), LARGEST_M)
    for _ in range(SHRINKING_STEPS):
        distance, nearest = tree.query(points - outward * radii[:, None])
        inside = distance < 0.99 * radii - 1e-4
        if not inside.any():
            break
        between = points - skin[nearest]
        smaller = (between**2).sum(1) / (2 * np.maximum((outward * between).sum(1), 1e-9))
        radii = np.where(inside, np.minimum(smaller, radii), radii)
    return points - outward * radii[:, None], radii


def vertex_normals(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> tuple[Float[np.ndarray, "V 3"], Float[np.ndarray, " V"]]:
    """Outward unit normals and the area, m^2, that belongs to each vertex."""
    corners = vertices[faces]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack([np.bincount(faces.ravel(), crossed[:, c].repeat(3), len(vertices)) for c in range(3)], axis=1)
    length = np.linalg.norm(normals, axis=1)
    return normals / np.maximum(length, 1e-12)[:, None], length / 6


def _detail(joint: str) -> float:
    return next((factor for word, factor in DETAIL.items() if word in joint), 1.0)


def _signed(
    points: Float[np.ndarray, "N 3"], centres: Float[np.ndarray, "S 3"], radii: Float[np.ndarray, " S"]
) -> Float[np.ndarray, "N S"]:
    """Distance of each point from each sphere's surface, negative inside."""
    square = (points**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * points @ centres.T
    return np.sqrt(np.maximum(square, 0)) - radii


def _cover(distances: Float[np.ndarray, "N S"], radii: Float[np.ndarray, " S"], count: int) -> Int[np.ndarray, " C"]:
    """The spheres on whose surfaces the most points lie that are on none before."""
    on = (np.abs(distances) < TOLERANCE_M + TOLERANCE_SHARE * radii).astype(np.float32)
    bare, gain, chosen = np.ones(len(on), bool), on.sum(0), []
    for _ in range(min(count, on.shape[1])):
        best = int(gain.argmax())
        chosen.append(best)
        covered = bare & (on[:, best] > 0)
        gain = gain - on[covered].sum(0)
        gain[best] = -1
        bare &= ~covered
    return np.array(chosen)


def _grown(
    points: Float[np.ndarray, "N 3"], centres: Float[np.ndarray, "S 3"], radii: Float[np.ndarray, " S"], steps: int = 3
) -> Float[np.ndarray, " S"]:
    """Radii with which the spheres are as often outside the skin as inside: each is nearest to some of the points."""
    for _ in range(steps):
        distances = _signed(points, centres, radii)
        nearest = distances.argmin(1)
        total = np.bincount(nearest, distances[np.arange(len(points)), nearest], len(radii))
        mean = total / np.maximum(np.bincount(nearest, minlength=len(radii)), 1)
        radii = radii + np.clip(mean, -0.25 * radii, 0.25 * radii)
    return radii


def _attached(
    body: BodyModel,
    outer: Int[np.ndarray, " N"],
    area: Float[np.ndarray, " V"],
    centres: Float[np.ndarray, "S 3"],
    radii: Float[np.ndarray, " S"],
) -> Spheres:
    """The spheres with what carries them: the vertices on their surfaces, in shares that mix to the centre."""
    vertices, dirs, count = body.v_template, body.shapedirs, len(radii)
    centre_dirs, radius_dirs = np.zeros((count, 3, body.num_betas)), np.zeros((count, body.num_betas))
    weights, signed = np.zeros((count, body.num_joints)), _signed(vertices[outer], centres, radii)
    off = np.abs(signed)
    for s, (centre, radius) in enumerate(zip(centres, radii, strict=True)):
        on = np.flatnonzero(off[:, s] < TOLERANCE_M + TOLERANCE_SHARE * radius)
        on = on[:: -(-len(on) // AROUND)] if len(on) >= FEWEST else np.argpartition(off[:, s], FEWEST)[:FEWEST]
        on = outer[on]
        out = vertices[on] - centre
        # Shares that sum to one and mix the vertices to the centre, as nearly equal as possible.
        system = np.vstack([out.T / radius, np.ones(len(on))])
        share = np.linalg.pinv(system)[:, 3]
        centre_dirs[s] = np.einsum("v,vcn->cn", share, dirs[on])
        unit = out / np.linalg.norm(out, axis=1, keepdims=True)
        radius_dirs[s] = np.einsum("vc,vcn->n", unit, dirs[on] - centre_dirs[s]) / len(on)
        weights[s] = _few(share @ body.weights[on])
    error = _error(signed.min(1), area[outer])
    return Spheres(centres, radii, centre_dirs, radius_dirs, weights, _way_between(centres, radii), error)


def _error(distance: Float[np.ndarray, " N"], area: Float[np.ndarray, " N"]) -> tuple[float, float, float]:
    """Mean, and median and 95th percentile of the absolute distance, by area."""
    order = np.abs(distance).argsort()
    share = np.cumsum(area[order]) / area.sum()
    middle, most = np.abs(distance)[order][np.searchsorted(share, (0.5, 0.95))]
    return float(distance @ area / area.sum()), float(middle), float(most)


def _way_between(centres: Float[np.ndarray, "S 3"], radii: Float[np.ndarray, " S"]) -> Float[np.ndarray, "S S"]:
    """Lengths of the shortest ways from sphere to sphere through those that overlap, less both radii."""
    from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path

    far = np.linalg.norm(centres[:, None] - centres, axis=-1)
    gap = far - np.add.outer(radii, radii)
    linked = gap < 0
    tree = minimum_spanning_tree(np.maximum(gap, 1e-6)).toarray() > 0  # so that nothing is cut off
    way = shortest_path(np.where(linked | tree | tree.T, far, 0), directed=False)
    return way - np.add.outer(radii, radii)


def _few(weights: Float[np.ndarray, " J"]) -> Float[np.ndarray, " J"]:
    """Blend weights without the smallest ones."""
    kept = np.where(weights < max(FEWEST_SHARE, np.sort(weights)[-MOST_JOINTS]), 0, weights)
    return kept / kept.sum()
