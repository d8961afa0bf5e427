"""Compact meshes for a web page: shared triangles once, the vertices of each body quantised and deflated.

A vertex is stored as its difference from a preceding neighbour, in steps of 0.1 mm. Such differences are small and
similar, so a body of 13 000 vertices takes about 50 kB of base64 instead of 700 kB of .obj.
`data/assets/pages/viewer.js` reads what is written here.
"""

import base64
import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

_STEP = 1e-4  # metres


@dataclass(frozen=True)
class Topology:
    """Triangles that many bodies share, with vertices reordered so that each follows the neighbour it is encoded
    relative to."""

    order: Int[np.ndarray, " V"]
    """The index in the mesh of each stored vertex."""
    parents: Int[np.ndarray, " V"]
    """An earlier stored vertex, -1 for the first."""
    faces: Int[np.ndarray, "F 3"]
    """Corners as indices of stored vertices."""

    @classmethod
    def of(cls, faces: Int[np.ndarray, "F 3"], num_vertices: int) -> "Topology":
        a, b = faces.ravel(), np.roll(faces, 1, axis=1).ravel()
        graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(num_vertices, num_vertices))
        # Eyes and teeth are separate components: connect the first vertex of each to vertex 0.
        _, piece = connected_components(graph, directed=False)
        _, first = np.unique(piece, return_index=True)
        ties = coo_matrix((np.ones(len(first)), (np.zeros(len(first), int), first)), shape=graph.shape)
        order, predecessor = breadth_first_order(graph + ties, 0, directed=False)
        place = np.empty(num_vertices, dtype=np.int64)
        place[order] = np.arange(num_vertices)
        parents = np.where(np.arange(num_vertices) == 0, -1, place[np.maximum(predecessor[order], 0)])
        return cls(order=order.astype(np.int64), parents=parents, faces=place[faces])

    def encoded(self) -> dict:
        """For the page: `{vertices, faces, parents}`, the latter two as text."""
        return {
            "vertices": len(self.order),
            "faces": _packed(np.diff(self.faces.ravel(), prepend=0), np.int32),
            "parents": _packed(np.arange(len(self.parents)) - self.parents, np.int32),
        }


def encode_vertices(vertices: Float[np.ndarray, "V 3"], topology: Topology) -> dict:
    """For the page: `{origin, step, data}` of one body, accurate to half a `step` (0.1 mm, coarser for a body over
    3 m)."""
    origin = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    step = max(_STEP, float(np.abs(vertices - origin).max()) / 16000)  # differences must fit 16 bits
    quantised = np.rint((vertices - origin) / step).astype(np.int64)[topology.order]
    difference = quantised.copy()
    difference[1:] -= quantised[topology.parents[1:]]
    return {
        "origin": [round(float(c), 5) for c in origin],
        "step": step,
        "data": _packed(difference.T, np.int16),
    }


def _packed(values: np.ndarray, dtype) -> str:
    """Integers, zig-zag coded (0, -1, 1, -2, ...), split into byte planes, deflated, as base64."""
    values = np.ascontiguousarray(values, dtype=dtype).ravel()
    bits = 8 * values.itemsize
    zigzag = ((values << 1) ^ (values >> (bits - 1))).astype(f"<u{values.itemsize}")
    planes = zigzag.view(np.uint8).reshape(-1, values.itemsize).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()
