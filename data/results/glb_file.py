"""The container of binary glTF (.glb): arrays in one binary buffer, and the JSON that says what they are.

Khronos Group, "glTF 2.0 Specification", sections 3.6 and 4.
"""

import json
import struct

import numpy as np

FLOAT, BYTE, UINT = 5126, 5121, 5125
"""Component types."""
VERTICES, INDICES = 34962, 34963
"""Targets of buffer views."""


class GlbFile:
    """Collects arrays into the one binary buffer of a .glb."""

    _TYPES = {FLOAT: np.float32, BYTE: np.uint8, UINT: np.uint32}  # noqa: RUF012

    def __init__(self) -> None:
        self._views: list[dict] = []
        self._accessors: list[dict] = []
        self._data = bytearray()

    def add(self, array: np.ndarray, shape: str, component: int, *, target: int | None = None, bounds=False) -> int:
        """Number of the accessor that an array of `shape` ("VEC3", ...) gets."""
        array = np.ascontiguousarray(array, dtype=self._TYPES[component])
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": array.nbytes}
        self._views.append(view | ({} if target is None else {"target": target}))
        self._data += array.tobytes() + bytes(-array.nbytes % 4)
        accessor = {"bufferView": len(self._views) - 1, "componentType": component, "count": len(array), "type": shape}
        if bounds:
            rows = array.reshape(len(array), -1)
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def packed(self, content: dict) -> bytes:
        """The whole file: header, JSON chunk, binary chunk."""
        content = content | {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._data)}],
        }
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(self._data))
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(self._data), b"BIN\0")
        return head + chunks + bytes(self._data)
