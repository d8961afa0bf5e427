"""A track as an animated body in binary glTF (.glb), which Blender, three.js and game engines play.

Such programs pose by linear blend skinning with four joints per vertex, without the body model's pose correctives and
expressions. What that leaves out is at most some centimetres, different in every frame, but it lies in few
directions: its principal components are morph targets of the file, animated with the joints. Their weights lie between
0 and 1: Blender cuts off whatever lies beyond the range that it takes from the first key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from roma import rotvec_to_rotmat, rotvec_to_unitquat
from torch import Tensor

from bodyfit.data.body.body_model import BodyModel
from bodyfit.data.body.posing import forward_kinematics, full_pose, pose_body
from bodyfit.data.body.reduced import reduced_body
from bodyfit.data.files import write_atomically
from bodyfit.data.results.glb_file import FLOAT, VERTICES, GlbFile
from bodyfit.data.results.levelling import world_of
from bodyfit.data.results.meshes import MeshError
from bodyfit.data.results.rigged import rig, strongest_weights
from bodyfit.data.results.track import Track
from bodyfit.data.results.worlds import UpAxis

_POSES = ("global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")
_TOLERANCE_M = 0.0004
_MOST_TARGETS, _STEP = 96, 8
_SAMPLE = 256  # moments from which the morph targets are made
_BATCH = 16  # moments that are posed together
_MOST_MOVED, _BATCH_OF_PART = 1000, 64  # vertices that give the weights of other moments, and such moments together
_EXPRESSION = 0.1  # what an expression number counts beside an element of a rotation matrix
_DAMPING = 1e-3  # where a joint is turned by 180 degrees, blended rotations cannot be inverted


def save_animated_glb(
    path: Path | str,
    body: BodyModel,
    track: Track,
    *,
    up: UpAxis | None = None,
    colour: tuple[int, int, int] = (200, 200, 205),
) -> Path:
    """Write the motion of one person as .glb: skeleton, skin, and a key per moment. y is up, metres.

    Args:
        body: The body model that the track was fitted with.
        track: Failed moments have no keys. Times are those of the clip: moment / fps.
        up: The axis of the track's frame that is up, and no floor; None: the track's world, or what it alone says.
        colour: sRGB of the body, 0 to 255.

    Raises:
        MeshError: for another suffix than .glb, another body than the track's, or a track without a fitted moment.
    """
    path = Path(path)
    if path.suffix.lower() != ".glb":
        raise MeshError(f"{path}: an animated body is a .glb, not '{path.suffix}'.")
    if body.name != track.body_model:
        raise MeshError(f"{path}: fitted with the body '{track.body_model}', but the one given is '{body.name}'.")
    rows = np.flatnonzero([status != "failed" for status in track.status])
    if not len(rows):
        raise MeshError(f"{path}: person {track.person} has no fitted moment ({track.reason or 'no reason given'}).")
    motion = _Motion(body, track, rows)
    base, targets, weights = _between_0_and_1(*motion.morphs())
    file = GlbFile()
    turns = _continuous(rotvec_to_unitquat(motion.pose).double().numpy())
    places = motion.joints[0].double().numpy() + track.transl[rows]
    joints = motion.joints.double().numpy()
    content = rig(
        file, body, base, joints, turns[0], track.transl[rows[0]], place=world_of(track, up).y_up, colour=colour
    )
    mesh = content["meshes"][0]
    if len(targets):
        at = [file.add(target, "VEC3", FLOAT, target=VERTICES, bounds=True) for target in targets]
        mesh["primitives"][0]["targets"] = [{"POSITION": number} for number in at]
        mesh |= {"weights": weights[0].tolist()}
    content["animations"] = [_animation(file, track.moments[rows] / track.fps, turns, places, weights)]
    content["asset"]["extras"] = {"person": track.person, "fps": track.fps, "body": track.body_model}
    return write_atomically(path, lambda temporary: temporary.write_bytes(file.packed(content)))


def _animation(
    file: GlbFile,
    times: Float[np.ndarray, " T"],
    turns: Float[np.ndarray, "T J 4"],
    places: Float[np.ndarray, "T 3"],
    weights: Float[np.ndarray, "T K"],
) -> dict:
    """Channels of the root's translation, the joints that turn, and the morph targets."""
    at = file.add(times, "SCALAR", FLOAT, bounds=True)
    count = turns.shape[1]
    keys = [(0, "translation", file.add(places, "VEC3", FLOAT))]
    moving = [joint for joint in range(count) if np.ptp(turns[:, joint], axis=0).max() > 0]
    keys += [(joint, "rotation", file.add(turns[:, joint], "VEC4", FLOAT)) for joint in moving]
    if weights.shape[1]:
        keys.append((count + 1, "weights", file.add(weights.ravel(), "SCALAR", FLOAT)))
    return {
        "name": "motion",
        "samplers": [{"input": at, "output": output, "interpolation": "LINEAR"} for _, _, output in keys],
        "channels": [
            {"sampler": number, "target": {"node": node, "path": what}} for number, (node, what, _) in enumerate(keys)
        ],
    }


def _between_0_and_1(
    base: Float[np.ndarray, "V 3"], targets: Float[np.ndarray, "K V 3"], weights: Float[np.ndarray, "T K"]
) -> tuple[Float[np.ndarray, "V 3"], Float[np.ndarray, "K V 3"], Float[np.ndarray, "T K"]]:
    """The same shapes, from a base that has the lowest weight of every target."""
    low, span = weights.min(axis=0), np.ptp(weights, axis=0)
    span = np.where(span > 0, span, 1.0)  # of a single moment
    return base + np.tensordot(low, targets, axes=1), targets * span[:, None, None], (weights - low) / span


def _continuous(turns: Float[np.ndarray, "T J 4"]) -> Float[np.ndarray, "T J 4"]:
    """The same rotations, each quaternion with the sign that is nearer to the one before."""
    same = (turns[1:] * turns[:-1]).sum(-1, keepdims=True) >= 0
    signs = np.cumprod(np.where(same, 1.0, -1.0), axis=0)
    return np.concatenate([turns[:1], turns[1:] * signs])


@dataclass(frozen=True)
class _Skin:
    """A body's vertices, or some of them, and how other programs move them."""

    body: BodyModel
    """With these vertices last."""
    vertices: Float[Tensor, "V 3"]
    """At rest."""
    weights: Float[Tensor, "V J"]
    """Of four joints at most."""

    def part(self, chosen: Int[Tensor, " N"]) -> _Skin:
        """Of some vertices."""
        return _Skin(reduced_body(self.body, chosen.tolist()), self.vertices[chosen], self.weights[chosen])


class _Motion:
    """Poses a track's moments, and finds the unposed vertices that skinning with four weights takes there."""

    def __init__(self, body: BodyModel, track: Track, rows: np.ndarray):
        self.body = body
        self.given = {name: torch.from_numpy(value[rows]).float() for name, value in track.parameters().items()}
        self.pose = full_pose(body, self.given["betas"], *(self.given[name] for name in _POSES))
        betas = self.given["betas"][:1]
        straight = {name: torch.zeros_like(self.given[name][:1]) for name in ("global_orient", "body_pose")}
        rest = pose_body(body, betas=betas, **straight)
        self.joints = rest.joints[0]
        joint, share = strongest_weights(body.weights)
        weights = torch.zeros(body.weights.shape)
        weights.scatter_add_(1, torch.from_numpy(joint).long(), torch.from_numpy(share).float())
        self.skin = _Skin(body, rest.vertices[0], weights)

    def morphs(self) -> tuple[Float[np.ndarray, "V 3"], Float[np.ndarray, "K V 3"], Float[np.ndarray, "T K"]]:
        """The mesh to be skinned: mean, principal components of its changes, and their weights at every moment."""
        sample = self._unlike_each_other(_SAMPLE)
        shapes = torch.cat([self.unposed(rows) for rows in sample.split(_BATCH)])
        mean = shapes.mean(dim=0)
        shapes -= mean
        components, scale = _principal(shapes)
        if len(sample) == len(self.pose):
            weights = (shapes / scale).flatten(1) @ components.T
        else:
            del shapes
            weights = self._weights_of(components, mean, scale)
        targets = components.unflatten(1, (-1, 3)) * scale
        return mean.numpy(), targets.numpy(), weights.numpy()

    def _weights_of(
        self, components: Float[Tensor, "K D"], mean: Float[Tensor, "V 3"], scale: Float[Tensor, "V 1"]
    ) -> Float[Tensor, "T K"]:
        """Weights of the components at all moments, by least squares on the vertices that they move most."""
        moved = components.unflatten(1, (-1, 3))
        chosen = moved.square().sum((0, 2)).topk(min(_MOST_MOVED, len(mean))).indices
        part, mean, scale = self.skin.part(chosen), mean[chosen], scale[chosen]
        inverse = torch.linalg.pinv(moved[:, chosen].flatten(1).double()).float()
        # Filled in place: small results kept between the large temporaries would tear the heap, by 2 GB in 18 000
        # moments.
        weights = torch.empty(len(self.pose), len(components))
        for rows in torch.arange(len(self.pose)).split(_BATCH_OF_PART):
            weights[rows] = ((self.unposed(rows, part) - mean) / scale).flatten(1) @ inverse
        return weights

    def _unlike_each_other(self, most: int) -> Int[Tensor, " N"]:
        """All moments, or of many those whose rotations and expressions are farthest from those chosen before."""
        if len(self.pose) <= most:
            return torch.arange(len(self.pose))
        turns = rotvec_to_rotmat(self.pose[:, 1:]).flatten(1)
        features = torch.cat([turns, _EXPRESSION * self.given["expression"]], dim=1)
        chosen, distance = [0], torch.full((len(features),), torch.inf)
        while len(chosen) < most:
            distance = torch.minimum(distance, (features - features[chosen[-1]]).norm(dim=1))
            chosen.append(int(distance.argmax()))
        return torch.tensor(chosen)

    def unposed(self, rows: Tensor, skin: _Skin | None = None) -> Float[Tensor, "B V 3"]:
        """Unposed vertices that end where the body model's do: all, or some of them."""
        skin = skin or self.skin
        true = pose_body(skin.body, **{name: value[rows] for name, value in self.given.items()}).vertices
        true = true[:, -len(skin.vertices) :] - self.given["transl"][rows, None]
        turns, places = forward_kinematics(
            rotvec_to_rotmat(self.pose[rows]), self.joints.expand(len(rows), -1, -1), self.body.tensor("parents", true)
        )
        shifts = places - torch.einsum("bjxy,jy->bjx", turns, self.joints)
        matrix = turns.permute(2, 3, 0, 1) @ skin.weights.T  # (3, 3, B, V)
        moved = shifts.permute(2, 0, 1) @ skin.weights.T + _times(matrix, skin.vertices.T[:, None])
        return skin.vertices + _pulled_back(matrix, true.permute(2, 0, 1) - moved).permute(1, 2, 0)


# Small matrices and vectors come first, and what there are many of last: several times faster than the other way round.


def _times(matrix: Float[Tensor, "3 3 B V"], vector: Float[Tensor, "3 B V"]) -> Float[Tensor, "3 B V"]:
    return torch.stack([sum(row[k] * vector[k] for k in range(3)) for row in matrix])


def _pulled_back(matrix: Float[Tensor, "3 3 B V"], away: Float[Tensor, "3 B V"]) -> Float[Tensor, "3 B V"]:
    """x with M x = away, damped: (M^T M + damping) x = M^T away."""
    columns = matrix.transpose(0, 1)
    gram = torch.stack([torch.stack([(a * b).sum(0) for b in columns]) for a in columns])
    gram.diagonal().add_(_DAMPING)
    return _solved(gram, _times(columns, away))


def _solved(matrix: Float[Tensor, "3 3 B V"], right: Float[Tensor, "3 B V"]) -> Float[Tensor, "3 B V"]:
    """Solutions of many symmetric 3 x 3 systems, by cross products: `torch.linalg.solve` takes ten times as long."""
    a, b, c = matrix
    rows = torch.stack([b.cross(c, dim=0), c.cross(a, dim=0), a.cross(b, dim=0)])
    return _times(rows, right) / (a * rows[0]).sum(0)


def _principal(shapes: Float[Tensor, "N V 3"]) -> tuple[Float[Tensor, "K D"], Float[Tensor, "V 1"]]:
    """Orthonormal components of shapes / scale: as many as leave no vertex farther than the tolerance.

    The scale of a vertex makes components care for those that a first round leaves far off.
    """
    scale, rounds = torch.ones(shapes.shape[1], 1), 2
    for number in range(rounds):
        scaled = (shapes / scale).flatten(1)
        values, vectors = torch.linalg.eigh((scaled @ scaled.T).double())
        values, vectors = values.flip(0), vectors.flip(1)
        most = min(_MOST_TARGETS, int((values > 1e-9 * values[0].clamp(min=1e-9)).sum()))
        lengths = values[:most].sqrt()
        components = (vectors[:, :most] / lengths).float().T @ scaled
        kept, off = _enough(components, (vectors[:, :most] * lengths).float(), shapes, scale)
        if number < rounds - 1:
            scale = 1 / (off.amax(dim=0)[:, None] + _TOLERANCE_M / 10).sqrt()
            scale *= 1 / scale.mean()
    return components[:kept], scale


def _enough(components, weights, shapes, scale) -> tuple[int, Float[Tensor, "N V"]]:
    """How many of the components are needed, and how far they leave each vertex of each shape."""
    kept = 0
    while True:
        near = (weights[:, :kept] @ components[:kept]).unflatten(1, (-1, 3)) * scale
        off = (shapes - near).norm(dim=-1)
        if kept == len(components) or off.max() <= _TOLERANCE_M:
            return kept, off
        kept = min(kept + _STEP, len(components))
