"""Runs a small convolutional network from a file of weights, as a list of steps, in PyTorch.

The detectors were published for TensorFlow Lite and TensorFlow.js; `scripts/detector/` turns each into .safetensors:
the weights, and in the metadata the steps as JSON. Nothing but PyTorch is needed to run them, on any device and for
batches of any size; networks without a flattening end take pictures of any size, too.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bodyfit.data.errors import BodyfitError

Step = dict[str, Any]
"""One step: `op`, names of `inputs` and `output`, and the attributes of the operation."""


class Network:
    """A network of the shipped assets, ready to run."""

    def __init__(self, path: Path | str, device: torch.device | str = "cpu"):
        """Read weights and steps. Raises BodyfitError for a file that is no such network."""
        try:
            metadata, weights = _read(Path(path))
            graph = json.loads(metadata["graph"])
            if "second_file" in metadata:
                weights |= _read(Path(path).with_name(metadata["second_file"]))[1]
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as cause:
            raise BodyfitError(
                f"{path}: not a network of the detector ({cause}). Is the installation complete?"
            ) from cause
        self.steps: list[Step] = graph["steps"]
        self.input: str = graph["input"]
        self.input_size: int = graph["input_size"]
        """Width and height of the pictures that the network was trained on, pixels."""
        self.outputs: dict[str, str] = graph["outputs"]
        self.weights = {name: value.to(device, torch.float32) for name, value in weights.items()}
        for name, value in self.weights.items():
            if value.ndim == 4:
                self.weights[name] = value.contiguous(memory_format=torch.channels_last)
        self._last_use = {name: i for i, step in enumerate(self.steps) for name in step["inputs"]}

    @torch.inference_mode()
    def __call__(self, pictures: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        """All outputs by name; channels last, as the published model cards list them."""
        values = {self.input: pictures.contiguous(memory_format=torch.channels_last)}
        kept = set(self.outputs.values())
        for i, step in enumerate(self.steps):
            inputs = [values[name] for name in step["inputs"]]
            values[step["output"]] = _ACTIVATIONS[step.get("activation")](
                OPERATIONS[step["op"]](step, self.weights, *inputs)
            )
            for name in step["inputs"]:
                if self._last_use[name] == i and name not in kept:
                    values.pop(name, None)
        return {name: _channels_last(values[source]) for name, source in self.outputs.items()}


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and weights of one file."""
    with safe_open(str(path), "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _channels_last(value: Tensor) -> Tensor:
    return value.permute(0, 2, 3, 1) if value.ndim == 4 else value


_ACTIVATIONS: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda x: x,
    "relu": F.relu_,
    "relu6": lambda x: x.clamp_(0, 6),
}


def _same(x: Tensor, kernel: list[int], stride: list[int], fill: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """TensorFlow's SAME padding: as little as gives ceil(size / stride) outputs, the odd pixel right and below.

    Gives the picture and the padding that the convolution itself can do, which is cheaper where it is even.
    """
    needed = [
        max((-(-size // s) - 1) * s + k - size, 0) for size, k, s in zip(x.shape[2:], kernel, stride, strict=True)
    ]
    if all(n % 2 == 0 for n in needed) and fill == 0.0:
        return x, (needed[0] // 2, needed[1] // 2)
    (top, left) = (n // 2 for n in needed)
    return F.pad(x, (left, needed[1] - left, top, needed[0] - top), value=fill), (0, 0)


def _convolution(step: Step, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    weight = weights[step["weight"]]
    padding = (0, 0)
    if step["same"]:
        x, padding = _same(x, list(weight.shape[2:]), step["stride"])
    bias = weights[step["bias"]] if step["bias"] else None
    return F.conv2d(x, weight, bias, step["stride"], padding, groups=step["groups"])


def _max_pool(step: Step, _: dict[str, Tensor], x: Tensor) -> Tensor:
    if step["same"]:
        x, _padding = _same(x, step["kernel"], step["stride"], fill=-torch.inf)
    return F.max_pool2d(x, step["kernel"], step["stride"])


def _resize(step: Step, _: dict[str, Tensor], x: Tensor) -> Tensor:
    size = [int(side * factor) for side, factor in zip(x.shape[2:], step["factor"], strict=True)]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=step["align_corners"])


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "convolution": _convolution,
    "linear": lambda step, w, x: F.linear(x.flatten(1), w[step["weight"]], w[step["bias"]]),
    "add": lambda step, w, x, y: x + y,
    "prelu": lambda step, w, x: F.prelu(x, w[step["slope"]]),
    "sigmoid": lambda step, w, x: torch.sigmoid(x),
    "max_pool": _max_pool,
    "pad": lambda step, w, x: F.pad(x, step["pad"]),
    "resize": _resize,
    "flatten": lambda step, w, x: _channels_last(x).flatten(1),
    "mean": lambda step, w, x: x.mean(dim=(2, 3)),
}
"""What each step does, on (B, C, H, W) maps."""
