"""How deep a posed mesh is inside itself, measured on the mesh by winding numbers, not on the spheres that fits use.

A vertex is inside where the generalised winding number (Jacobson et al. 2013; fast version of Barill et al. 2018, from
libigl) just outside of its skin is above one half. What is inside at rest, such as eyeballs and the mouth, does not
count. Its depth is the distance to the skin that it is behind, which faces it and is far away over the body: what is
near is a fold, as an elbow or the groin has. Folds are counted by themselves.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.volume import fit_spheres, vertex_normals
from bodyfit.data.errors import BodyfitError

OUTSIDE_M = 0.002
"""How far outside of its vertex the winding number is taken."""
INSIDE = 0.5
FOLD_M = 0.10
"""Skin that is no further away on the body at rest, on the way through the spheres of `data.body.volume`, is a fold."""
NEIGHBOURS = 96
"""Vertices around one that is inside, among which the skin is looked for that it is behind."""
SEEN_M = 0.01
"""A person counts as self-penetrating from this depth on."""


@dataclass(frozen=True)
class Penetration:
    """One mesh in itself."""

    volume_cm3: float
    """Of what lies in two parts of the body at once, without folds: the mean of both skins' area times depth."""
    deepest_mm: float
    """Of any vertex, without folds."""
    share: float
    """Share of the skin that is inside, without folds."""
    folded_share: float
    """Share of the skin that is inside in folds."""


class PenetrationMeter:
    """Measures posed meshes of one body.

    Args:
        body: the body model.

    Raises:
        BodyfitError: where libigl is not installed.
    """

    def __init__(self, body: BodyModel):
        self.body, self.igl = body, _igl()
        spheres = fit_spheres(body)
        distance = np.linalg.norm(body.v_template[:, None] - spheres.centres, axis=-1) - spheres.radii
        self._sphere = distance.argmin(1)
        self._way = spheres.apart + spheres.radii[:, None] + spheres.radii  # between centres
        self._up = np.maximum(distance[np.arange(len(distance)), self._sphere] + spheres.radii[self._sphere], 0)
        self._inside_at_rest = self._inside(body.v_template)

    def measure(self, vertices: Float[np.ndarray, "V 3"]) -> Penetration:
        """The penetration of a posed mesh, metres."""
        depth, folded = self.depths(vertices)
        area = vertex_normals(vertices, self.body.faces)[1]
        whole = area.sum()
        return Penetration(
            volume_cm3=float(0.5e6 * area @ depth),
            deepest_mm=float(1000 * depth.max()),
            share=float(area[depth > 0].sum() / whole),
            folded_share=float(area[folded].sum() / whole),
        )

    def between(self, first: Float[np.ndarray, "V 3"], second: Float[np.ndarray, "V 3"]) -> Penetration:
        """What two posed meshes take up together; shares are of both skins."""
        area = np.concatenate([vertex_normals(vertices, self.body.faces)[1] for vertices in (first, second)])
        depth = np.concatenate([self._depths_in(first, second), self._depths_in(second, first)])
        return Penetration(
            volume_cm3=float(0.5e6 * area @ depth),
            deepest_mm=float(1000 * depth.max()),
            share=float(area[depth > 0].sum() / area.sum()),
            folded_share=0.0,
        )

    def _depths_in(
        self, vertices: Float[np.ndarray, "V 3"], other: Float[np.ndarray, "V 3"]
    ) -> Float[np.ndarray, " V"]:
        """How deep each vertex is inside another mesh, metres: the distance to its nearest vertex; 0 outside."""
        inside = self.igl.fast_winding_number(other, self.body.faces.astype(np.int64), vertices) > INSIDE
        depth = np.zeros(len(vertices))
        if inside.any():
            depth[inside] = KDTree(other).query(vertices[inside])[0]
        return depth

    def depths(self, vertices: Float[np.ndarray, "V 3"]) -> tuple[Float[np.ndarray, " V"], Bool[np.ndarray, " V"]]:
        """How deep each vertex is inside another part of the body, metres, 0 outside; and which are inside of folds."""
        inside = np.flatnonzero(self._inside(vertices) & ~self._inside_at_rest)
        depth, folded = np.zeros(len(vertices)), np.zeros(len(vertices), bool)
        if not len(inside):
            return depth, folded
        normals = vertex_normals(vertices, self.body.faces)[0]
        near = KDTree(vertices).query(vertices[inside], NEIGHBOURS)[1]
        below = ((vertices[near] - vertices[inside][:, None]) * normals[near]).sum(-1)  # how far behind each skin
        far = self._far(inside, near) & ~self._inside_at_rest[near]
        behind = far & (below > 0)
        depth[inside] = np.where(behind, below, np.inf).min(1)
        folded[inside] = ~behind.any(1)
        depth[~np.isfinite(depth)] = 0
        return depth, folded

    def _far(self, inside: Int[np.ndarray, " N"], near: Int[np.ndarray, "N K"]) -> Bool[np.ndarray, "N K"]:
        way = self._way[self._sphere[inside][:, None], self._sphere[near]]
        return way - self._up[inside][:, None] - self._up[near] > FOLD_M

    def _inside(self, vertices: Float[np.ndarray, "V 3"]) -> Bool[np.ndarray, " V"]:
        points = vertices + OUTSIDE_M * vertex_normals(vertices, self.body.faces)[0]
        return self.igl.fast_winding_number(vertices, self.body.faces.astype(np.int64), points) > INSIDE


def _igl() -> Any:
    try:
        return importlib.import_module("igl")
    except ImportError as cause:
        raise BodyfitError("winding numbers of meshes need libigl: pip install 'bodyfit[bench]'") from cause
