"""468 points of each face (MediaPipe's mesh), in squares laid around eyes and mouth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from bodyfit.data.detect.crops import Picture, Regions
from bodyfit.data.detect.network import Network

POINTS = 468
TOP, CHIN, NOSE_TIP = 10, 152, 4


@dataclass(frozen=True)
class FaceOptions:
    """How faces are looked at and which are kept."""

    min_presence: float = 0.5
    """Squares whose network output says less hold no face."""
    first_scale: float = 4.2
    """Side of the first square over the distance from eyes to mouth."""
    scale: float = 1.5
    """Side of the next square over the longer side of the box around the points."""
    looks: int = 2
    """How often; each time the square is laid anew around the points found before."""
    min_side: float = 16.0
    """Smaller squares, in pixels, show too little."""
    batch: int = 32
    """Faces at a time."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Points of N faces."""

    xyz: Float[np.ndarray, "N 468 3"]
    """Pixels; z is away from the camera, as long as x and y, zero at the centre of the head."""
    presence: Float[np.ndarray, " N"]
    """How sure the network is of a face there, in [0, 1]; 0 where the face is dropped."""


def read_faces(
    network: Network,
    picture: Picture,
    eyes: Float[np.ndarray, "N 2"],
    mouth: Float[np.ndarray, "N 2"],
    options: FaceOptions,
    device: torch.device,
) -> Faces:
    """Meshes of faces, given the midpoint of the eyes and the centre of the mouth."""
    arrow = Regions.around((eyes + mouth) / 2, eyes, 2 * options.first_scale)
    regions = arrow
    for look in range(options.looks):
        xyz, presence = _look(network, picture, regions, options, device)
        if look < options.looks - 1:
            regions = _around(xyz[..., :2], options.scale)
    return Faces(xyz, presence * (presence >= options.min_presence) * (regions.side >= options.min_side))


def _around(xy: Float[np.ndarray, "N 468 2"], scale: float) -> Regions:
    """Squares around all points, with the chin below."""
    up = xy[:, TOP] - xy[:, CHIN]
    up = up / np.maximum(np.linalg.norm(up, axis=1), 1e-6)[:, None]
    frame = np.stack([np.stack([-up[:, 1], up[:, 0]], axis=1), -up], axis=1)
    inside = np.einsum("nki,nji->nkj", xy, frame)
    low, high = inside.min(axis=1), inside.max(axis=1)
    center = np.einsum("nj,nji->ni", (low + high) / 2, frame)
    return Regions(center, np.maximum(scale * (high - low).max(axis=1), 1.0), up)


def _look(
    network: Network, picture: Picture, regions: Regions, options: FaceOptions, device: torch.device
) -> tuple[Float[np.ndarray, "N 468 3"], Float[np.ndarray, " N"]]:
    values, presence = np.zeros((len(regions), POINTS, 3)), np.zeros(len(regions))
    for i in range(0, len(regions), options.batch):
        out = network(picture.crops(regions[i : i + options.batch], network.input_size).to(device))
        points = out["landmarks"].reshape(-1, POINTS, 3) / network.input_size
        values[i : i + options.batch] = points.double().cpu().numpy()
        presence[i : i + options.batch] = torch.sigmoid(out["presence"].reshape(-1)).double().cpu().numpy()
    depth = values[..., 2:] * regions.side[:, None, None]
    return np.concatenate([regions.to_picture(values[..., :2]), depth], axis=-1), presence
