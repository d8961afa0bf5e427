"""The start network: a small network that proposes orientation, pose and shape from a person's 2D landmarks.

Its input does not depend on the person's place in the image or on the focal length: landmarks become rays, the rays are
rotated so that the person's centre lies on the optical axis, and are measured in units of the person's angular size.
That size stays an input, since perspective separates front from back only at short distances. The proposals are
orientations relative to the ray towards the person, rotated back into the camera frame, and rotations of the 21 body
joints. It proposes rotations, not latents, so one network serves any pose prior; depth and place are a linear solve
afterwards.

The pose given 2D landmarks often has several modes, so there are several hypotheses (heads), each with a score.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bodyfit.data.errors import BodyfitError
from bodyfit.data.files import check_file, parse_json, write_atomically
from bodyfit.prior.model.checkpoint import START_NETWORK
from bodyfit.prior.model.rotations import matrices_from_6d
from bodyfit.prior.model.vposer import VPoser

INPUT_NAMES: tuple[str, ...] = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_mouth_1", "right_mouth_1",
    *(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "index1", "pinky1") for side in ("left", "right")),
    *(f"{side}_{part}" for part in ("hip", "knee", "ankle") for side in ("left", "right")),
    *(f"{side}_{part}" for part in ("heel", "big_toe", "small_toe") for side in ("left", "right")),
)  # fmt: skip
"""Landmarks that the network takes: those of every body detector, the feet, knuckles and corners of the mouth."""

FILE_NAME = START_NETWORK
FULL_WEIGHT = 0.05  # weight from which a landmark counts fully: the confidences of detectors differ widely
NUM_ROTATIONS = 22
NUM_BETAS = 10
PREDICTED = 6 * (NUM_ROTATIONS - 1)  # outputs for the predicted pose, after those of all heads


class StartNetworkError(BodyfitError):
    """A file that is not a start network."""


@dataclass(frozen=True)
class StartProposals:
    """H hypotheses for each of B people, the most probable first."""

    global_orient: Float[Tensor, "B H 3 3"]
    """In the camera frame."""
    body_pose: Float[Tensor, "B H 21 3 3"]
    betas: Float[Tensor, "B H 10"]
    """Shape numbers of the body that the network was trained on."""
    score: Float[Tensor, "B H"]
    """Estimated probability that this hypothesis is the nearest to the truth; sums to one over H."""
    predicted_pose: Float[Tensor, "B 21 3 3"]
    """The predicted pose: the mean of the poses that agree with the landmarks."""
    body: str
    """Name of the body model that the shape numbers belong to."""


@dataclass(frozen=True)
class NetworkOutput:
    """Raw output: heads in fixed order, orientations relative to the ray."""

    rotations: Float[Tensor, "B H 22 3 3"]
    """Root, then the 21 body joints."""
    betas: Float[Tensor, "B H 10"]
    logit: Float[Tensor, "B H"]
    predicted_pose: Float[Tensor, "B 21 3 3"]


@dataclass(frozen=True)
class NormalisedLandmarks:
    """Normalised landmarks, the input of the network."""

    features: Float[Tensor, "B F"]
    camera_from_ray: Float[Tensor, "B 3 3"]
    """Rotates the optical axis to the ray towards the person, without roll."""
    size: Float[Tensor, " B"]
    """Tangent of the angle that the person's mean spread subtends."""


def ray_rotation(direction: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """The smallest rotation that takes the optical axis (0, 0, 1) to a direction in front of the camera."""
    x, y, z = nn.functional.normalize(direction, dim=-1).unbind(-1)
    # Rodrigues with axis (-y, x, 0): R = I + [a]_x + [a]_x^2 / (1 + cos)
    share = 1 / (1 + z)
    rows = [1 - x * x * share, -x * y * share, x, -x * y * share, 1 - y * y * share, y, -x, -y, z]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def normalise(
    targets_px: Float[Tensor, "B K 2"],
    weights: Float[Tensor, "B K"],
    focal_px: Float[Tensor, " B"],
    center_px: Float[Tensor, "B 2"],
) -> NormalisedLandmarks:
    """Rays towards the landmarks, relative to the ray towards their mean, in units of their mean distance from it."""
    seen = (weights / FULL_WEIGHT).clamp(0, 1)
    share = (seen / seen.sum(1, keepdim=True).clamp_min(1e-6))[..., None]
    flat = (targets_px - center_px[:, None]) / focal_px[:, None, None]
    one = torch.ones_like(flat[..., :1])
    middle = (share * flat).sum(1)
    turn = ray_rotation(torch.cat([middle, one[:, 0]], dim=1))
    rays = torch.cat([flat, one], dim=2) @ turn  # rows times R: R^T applied to each ray
    flat = rays[..., :2] / rays[..., 2:].clamp_min(0.1)
    flat = flat - (share * flat).sum(1, keepdim=True)
    size = (share[..., 0] * flat.norm(dim=-1)).sum(1).clamp_min(1e-4)
    place = (flat / size[:, None, None]).clamp(-6, 6) * (seen > 0)[..., None]
    features = torch.cat([place.flatten(1), seen, size.log()[:, None] + 2.5], dim=1)
    return NormalisedLandmarks(features, turn, size)


@dataclass(frozen=True)
class StartNetworkConfig:
    """Architecture of the network, needed before its weights can be read."""

    width: int = 1024
    """Units per layer."""
    blocks: int = 3
    """Residual blocks of two layers."""
    heads: int = 4
    """Poses that it proposes for each person."""
    body: str = "untrained"
    """Name of the body model whose proportions and shape numbers it was trained on."""


class _Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(nn.functional.silu(self.inner(self.norm(x))))


class StartNetwork(nn.Module):
    """Proposes starts for people seen as 2D landmarks. Get the trained one from `load_start_network`.

    `examples` (2, N, 63) are true and predicted poses of training people, axis-angle. They give the accuracy of the
    prediction (`predicted_pose.PosePredictor`).
    """

    def __init__(self, config: StartNetworkConfig | None = None):
        super().__init__()
        self.config = config = config or StartNetworkConfig()
        self.outputs = 6 * NUM_ROTATIONS + NUM_BETAS + 1  # of a head
        self.first = nn.Linear(3 * len(INPUT_NAMES) + 1, config.width)
        self.blocks = nn.Sequential(*(_Block(config.width) for _ in range(config.blocks)))
        self.last = nn.Sequential(
            nn.LayerNorm(config.width), nn.Linear(config.width, config.heads * self.outputs + PREDICTED)
        )
        self.register_buffer("examples", torch.zeros(2, 0, 63))

    def predict(self, features: Float[Tensor, "B F"]) -> NetworkOutput:
        """Raw output for normalised landmarks."""
        out = self.last(self.blocks(self.first(features))).to(features.dtype)
        heads, expected = out.split([self.config.heads * self.outputs, PREDICTED], dim=1)
        heads = heads.unflatten(1, (self.config.heads, self.outputs))
        six, betas, logit = heads.split([6 * NUM_ROTATIONS, NUM_BETAS, 1], dim=-1)
        rotations = matrices_from_6d(six.unflatten(-1, (NUM_ROTATIONS, 3, 2)))
        return NetworkOutput(rotations, betas, logit[..., 0], matrices_from_6d(expected.unflatten(-1, (-1, 3, 2))))

    @torch.no_grad()
    def forward(
        self,
        targets_px: Float[Tensor, "B K 2"],
        weights: Float[Tensor, "B K"],
        focal_px: Float[Tensor, " B"],
        center_px: Float[Tensor, "B 2"],
        names: tuple[str, ...],
    ) -> StartProposals:
        """NetworkOutput of B people, sorted by score.

        Args:
            targets_px: landmarks in the order of `names`; any value where unseen.
            weights: confidence of each, 0 where unseen; from 0.05 a landmark counts fully.
            focal_px, center_px: the camera.
            names: landmark names; those unknown to the network are ignored, missing ones count as unseen.
        """
        to = {"dtype": self.first.weight.dtype, "device": self.first.weight.device}
        place = {name: k for k, name in enumerate(names)}
        known = torch.tensor([name in place for name in INPUT_NAMES], device=targets_px.device)
        columns = torch.tensor([place.get(name, 0) for name in INPUT_NAMES], device=targets_px.device)
        seen = weights[:, columns] * known
        pixels = torch.where((seen > 0)[..., None], targets_px[:, columns], center_px[:, None])
        view = normalise(pixels.to(**to), seen.to(**to), focal_px.to(**to), center_px.to(**to))
        read = self.predict(view.features)
        score, order = read.logit.softmax(dim=1).sort(dim=1, descending=True, stable=True)
        rows = torch.arange(len(order), device=order.device)[:, None]
        rotations, betas = read.rotations[rows, order], read.betas[rows, order]
        orient = view.camera_from_ray[:, None] @ rotations[:, :, 0]
        proposals = (orient, rotations[:, :, 1:], betas, score, read.predicted_pose)
        return StartProposals(*(part.to(targets_px.dtype) for part in proposals), body=self.config.body)


def save_start_network(network: StartNetwork, path: Path | str) -> Path:
    """Write the weights (half precision is enough for a start) with the configuration in the file's header."""
    tensors = {name: value.detach().half().contiguous().cpu() for name, value in network.state_dict().items()}
    header = {"bodyfit_start_network": json.dumps(asdict(network.config))}
    return write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=header))


def load_start_network(path: Path | str | None = None) -> StartNetwork | None:
    """The network in a file or in the folder of a prior; None where the folder has none.

    Args:
        path: a .safetensors file, or a folder that may hold `start.safetensors`. None: the shipped one.

    Raises:
        StartNetworkError: for a file that is not a start network.
    """
    if path is None:
        asset = resources.files("bodyfit.data") / "assets" / "prior" / FILE_NAME
        with resources.as_file(asset) as file:
            return _load(file) if file.exists() else None
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / FILE_NAME
        if not path.exists():
            return None
    return _load(path)


def start_network_of(prior: VPoser) -> StartNetwork | None:
    """The start network of fits with this prior: `start.safetensors` beside its weights, else the shipped one.

    Where the weights lie in `snapshots/` or `weights/`, "beside" is also the folder above, which is the one that users
    name. The network proposes rotations, so the shipped one serves every prior. Raises StartNetworkError as
    `load_start_network` does.
    """
    if prior.path is not None:
        folder = prior.path.parent
        for place in (folder, folder.parent) if folder.name in ("snapshots", "weights") else (folder,):
            if (network := load_start_network(place)) is not None:
                return network
    return load_start_network()


def _load(path: Path) -> StartNetwork:
    check_file(path, StartNetworkError)
    try:
        with safe_open(path, framework="pt") as file:
            config = _config((file.metadata() or {})["bodyfit_start_network"], path)
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        _check_shapes(config, shapes)
        with torch.device("meta"):  # the file's weights take the place of random ones that nobody has drawn
            network = StartNetwork(config)
        tensors = {name: value.float() for name, value in load_file(path).items()}
        network.examples = tensors.setdefault("examples", torch.zeros(2, 0, 63))
        network.load_state_dict(tensors, assign=True)
        extremes = [torch.stack(torch.aminmax(tensor)) for tensor in tensors.values() if tensor.numel()]
        if not torch.isfinite(torch.stack(extremes)).all():
            raise ValueError("it holds numbers that are not finite")
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as cause:
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise StartNetworkError(
            f"{path}: not a start network ({reason:.200}). Expected a file that `bodyfit prior train-start` wrote."
        ) from None
    return network.eval().requires_grad_(False)


_LARGEST = {"width": 8192, "blocks": 64, "heads": 64}


def _config(text: str, path: Path) -> StartNetworkConfig:
    config = StartNetworkConfig(**parse_json(text.encode(), str(path), StartNetworkError))
    for name, largest in _LARGEST.items():
        value = getattr(config, name)
        if not isinstance(value, int) or not 1 <= value <= largest:
            raise ValueError(f"{name} is {value!r:.40}, expected 1 to {largest}")
    if not isinstance(config.body, str):
        raise ValueError("body is no text")
    return config


def _check_shapes(config: StartNetworkConfig, found: dict[str, tuple[int, ...]]) -> None:
    """Compare what a file holds with what its configuration needs, before either takes memory."""
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in StartNetwork(config).state_dict().items()}
    for name in sorted(expected.keys() | found.keys()):
        shape = found.get(name, (2, 0, 63))
        is_examples = name == "examples" and len(shape) == 3 and (shape[0], shape[2]) == (2, 63)
        if not is_examples and expected.get(name) != found.get(name):
            raise ValueError(f"{name} is {found.get(name, 'missing')}, expected {expected.get(name, 'none')}")
