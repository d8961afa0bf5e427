"""Networks from files: each step against plain PyTorch, and broken files."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from bodyfit.data.detect.network import Network
from bodyfit.data.errors import BodyfitError


def written(path, steps, weights, outputs, size=8):
    graph = {"input": "x", "input_size": size, "outputs": outputs, "steps": steps}
    save_file(weights or {"unused": torch.zeros(1)}, path, metadata={"graph": json.dumps(graph)})
    return Network(path)


@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_convolution_with_same_padding_is_tensorflows(tmp_path, size):
    """Stride 2, kernel 3: on even sides all padding is right and below, on odd sides it is all around."""
    random = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(4, 3, 3, 3, generator=random), torch.randn(4, generator=random)
    step = {"op": "convolution", "inputs": ["x"], "output": "y", "weight": "w", "bias": "b", "stride": [2, 2]}
    step |= {"same": True, "groups": 1, "activation": "relu6"}
    network = written(tmp_path / "net.safetensors", [step], {"w": weight, "b": bias}, {"y": "y"})
    x = torch.randn(2, 3, *size, generator=random)
    after = [1 if side % 2 else 0 for side in size]
    expected = F.conv2d(F.pad(x, (after[1], 1, after[0], 1)), weight, bias, stride=2).clamp(0, 6)
    found = network(x)["y"]
    assert found.shape[1:3] == tuple(-(-side // 2) for side in size)
    torch.testing.assert_close(found, expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


def test_flatten_counts_channels_fastest(tmp_path):
    steps = [{"op": "flatten", "inputs": ["x"], "output": "y"}]
    network = written(tmp_path / "net.safetensors", steps, {}, {"y": "y"})
    x = torch.arange(24.0).reshape(1, 3, 2, 4)
    torch.testing.assert_close(network(x)["y"], x.permute(0, 2, 3, 1).reshape(1, 24))


def test_a_value_that_is_used_twice_is_kept(tmp_path):
    steps = [
        {"op": "sigmoid", "inputs": ["x"], "output": "a"},
        {"op": "add", "inputs": ["a", "x"], "output": "b"},
        {"op": "add", "inputs": ["a", "b"], "output": "c"},
    ]
    network = written(tmp_path / "net.safetensors", steps, {}, {"c": "c", "a": "a"})
    x = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(network(x)["c"], (2 * torch.sigmoid(x) + x).permute(0, 2, 3, 1))


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_broken_files_name_themselves(tmp_path, content):
    path = tmp_path / "net.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BodyfitError, match=r"net\.safetensors: not a network"):
        Network(path)
