"""Turns TensorFlow Lite files of MediaPipe into the .safetensors files that `bodyfit.data.detect.network` runs.

    pip download --no-deps --python-version 3.12 --only-binary=:all: mediapipe==0.10.21
    python -m bodyfit.scripts.detector.convert mediapipe-0.10.21-*.whl -o data/assets/detector

Needs the extra `assets`. Each network is run by both runtimes on the same random pictures, and the largest difference
of their outputs, relative to the spread of an output, is printed.
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from bodyfit.data.detect.network import Network, Step

SOURCES = {
    "pose_landmark": "pose_landmark/pose_landmark_full.tflite",
    "hand_landmark": "hand_landmark/hand_landmark_full.tflite",
    "face_landmark": "face_landmark/face_landmark.tflite",
}
"""Name of each asset, and where its source lies below mediapipe/modules/ in the wheel."""

OUTPUTS = {
    "pose_landmark": ("landmarks", "presence", None, "heatmaps", None),
    "hand_landmark": ("landmarks", "presence", None, None),
    "face_landmark": ("landmarks", "presence"),
}
"""Names of the outputs in the file's order; None: not used, and what only it needs is left out."""


class Converter:
    """Turns one TensorFlow Lite model into steps and weights."""

    def __init__(self, content: bytes, outputs: tuple[str | None, ...]):
        from ai_edge_litert import schema_py_generated as schema

        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        self.graph = self.model.subgraphs[0]
        self.names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        self.types = {schema.TensorType.FLOAT16: np.float16, schema.TensorType.FLOAT32: np.float32}
        self.types[schema.TensorType.INT32] = np.int32
        self.constants: dict[int, np.ndarray] = {}
        self.weights: dict[str, torch.Tensor] = {}
        self.steps: list[Step] = []
        self.outputs = {
            name: f"t{tensor}" for name, tensor in zip(outputs, self.graph.outputs, strict=True) if name is not None
        }

    def run(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Weights by name, and the graph for the metadata."""
        for index, tensor in enumerate(self.graph.tensors):
            data = self.model.buffers[tensor.buffer].data
            if data is not None and len(data):
                self.constants[index] = np.frombuffer(bytes(data), self.types[tensor.type]).reshape(tensor.shape)
        for operator in self.graph.operators:
            self._convert(operator)
        self._drop_unused()
        size = int(self.graph.tensors[self.graph.inputs[0]].shape[1])
        graph = {"input": f"t{self.graph.inputs[0]}", "input_size": size, "outputs": self.outputs, "steps": self.steps}
        return self.weights, graph

    def _convert(self, operator: Any) -> None:
        code = self.model.operatorCodes[operator.opcodeIndex]
        name = self.names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name in ("DEQUANTIZE", "DENSIFY"):
            self.constants[operator.outputs[0]] = self.constants[operator.inputs[0]]
            return
        step = getattr(self, f"_{name.lower()}")(operator, operator.builtinOptions)
        activation = getattr(operator.builtinOptions, "fusedActivationFunction", 0)
        if activation:
            step["activation"] = {1: "relu", 3: "relu6"}[activation]
        step.setdefault("inputs", [f"t{i}" for i in operator.inputs if i not in self.constants])
        self.steps.append({**step, "output": f"t{operator.outputs[0]}"})

    def _weight(self, index: int, value: np.ndarray) -> str:
        """Stores half precision as the sources do; those that came in single precision lose nothing that matters."""
        self.weights[f"w{index}"] = torch.from_numpy(np.ascontiguousarray(value.astype(np.float16)))
        return f"w{index}"

    def _shape(self, index: int) -> list[int]:
        return [int(n) for n in self.graph.tensors[index].shape]

    def _bias(self, operator: Any) -> str | None:
        has = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        return self._weight(operator.inputs[2], self.constants[operator.inputs[2]]) if has else None

    def _conv_2d(self, operator: Any, options: Any) -> Step:
        kernel = self.constants[operator.inputs[1]].transpose(0, 3, 1, 2)
        return self._convolution(operator, options, kernel, groups=1)

    def _depthwise_conv_2d(self, operator: Any, options: Any) -> Step:
        kernel = self.constants[operator.inputs[1]].transpose(3, 0, 1, 2)
        return self._convolution(operator, options, kernel, groups=self._shape(operator.inputs[0])[3])

    def _convolution(self, operator: Any, options: Any, kernel: np.ndarray, groups: int) -> Step:
        assert options.dilationHFactor == options.dilationWFactor == 1
        return {
            "op": "convolution",
            "inputs": [f"t{operator.inputs[0]}"],
            "weight": self._weight(operator.inputs[1], kernel),
            "bias": self._bias(operator),
            "stride": [options.strideH, options.strideW],
            "same": options.padding == 0,
            "groups": groups,
        }

    def _fully_connected(self, operator: Any, _: Any) -> Step:
        weight = self._weight(operator.inputs[1], self.constants[operator.inputs[1]])
        return {"op": "linear", "inputs": [f"t{operator.inputs[0]}"], "weight": weight, "bias": self._bias(operator)}

    def _add(self, operator: Any, _: Any) -> Step:
        assert all(i not in self.constants for i in operator.inputs)
        return {"op": "add"}

    def _prelu(self, operator: Any, _: Any) -> Step:
        slope = self.constants[operator.inputs[1]]
        assert slope.shape[:2] == (1, 1)
        return {"op": "prelu", "slope": self._weight(operator.inputs[1], slope.reshape(-1))}

    def _max_pool_2d(self, _: Any, options: Any) -> Step:
        kernel, stride = [options.filterHeight, options.filterWidth], [options.strideH, options.strideW]
        return {"op": "max_pool", "kernel": kernel, "stride": stride, "same": options.padding == 0}

    def _pad(self, operator: Any, _: Any) -> Step:
        """Padding of (batch, height, width, channels) as PyTorch wants it: last dimension of B C H W first."""
        pads = self.constants[operator.inputs[1]].tolist()
        _batch, height, width, channels = pads
        return {"op": "pad", "pad": [*width, *height, *channels]}

    def _resize_bilinear(self, operator: Any, options: Any) -> Step:
        before, after = self._shape(operator.inputs[0])[1:3], self._shape(operator.outputs[0])[1:3]
        assert options.alignCorners or options.halfPixelCenters
        factor = [a / b for a, b in zip(after, before, strict=True)]
        return {"op": "resize", "factor": factor, "align_corners": bool(options.alignCorners)}

    def _reshape(self, operator: Any, _: Any) -> Step:
        assert len(self._shape(operator.outputs[0])) == 2
        return {"op": "flatten"}

    def _logistic(self, *_: Any) -> Step:
        return {"op": "sigmoid"}

    def _mean(self, *_: Any) -> Step:
        return {"op": "mean"}

    def _drop_unused(self) -> None:
        needed, steps = set(self.outputs.values()), []
        for step in reversed(self.steps):
            if step["output"] in needed:
                steps.append(step)
                needed |= set(step["inputs"])
        self.steps = steps[::-1]
        used = {step.get(key) for step in self.steps for key in ("weight", "bias", "slope")}
        self.weights = {name: value for name, value in self.weights.items() if name in used}


def compare(content: bytes, network: Network, outputs: tuple[str | None, ...]) -> float:
    """Largest difference to TensorFlow Lite's own runtime over random pictures, as a share of an output's spread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    worst, random = 0.0, np.random.default_rng(0)
    for _ in range(3):
        picture = random.random((1, network.input_size, network.input_size, 3), dtype=np.float32)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
        interpreter.invoke()
        ours = network(torch.from_numpy(picture).permute(0, 3, 1, 2))
        for name, detail in zip(outputs, interpreter.get_output_details(), strict=True):
            if name is not None:
                theirs = interpreter.get_tensor(detail["index"])
                spread = max(float(theirs.std()), 1e-3) if theirs.size > 1 else 1.0
                worst = max(worst, float(np.abs(ours[name].numpy().reshape(theirs.shape) - theirs).max()) / spread)
    return worst


def main(wheel: Path, out: Path) -> None:
    """Convert every network of SOURCES; prints a line for each."""
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name, source in SOURCES.items():
            content = archive.read(f"mediapipe/modules/{source}")
            digest = hashlib.sha256(content).hexdigest()
            weights, graph = Converter(content, OUTPUTS[name]).run()
            metadata = {"graph": json.dumps(graph, separators=(",", ":")), "source": source, "source_sha256": digest}
            path = out / f"{name}.safetensors"
            save_file(weights, path, metadata={**metadata, "license": "Apache-2.0"})
            error = compare(content, Network(path), OUTPUTS[name])
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, sha256 of source {digest[:12]}, difference {error:.1e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[sys.argv.index("-o") + 1]))
