"""What a run writes: options that helper processes need, too, and so nothing here imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OutputOptions:
    """What is written beside the parameters, and of whom."""

    meshes: bool = True
    """Write one mesh per person."""
    mesh_format: Literal["obj", "ply", "glb"] = "obj"
    """File format of the meshes."""
    frame: Literal["opencv", "opengl", "blender"] = "opencv"
    """Axes of the meshes: opencv (x right, y down, z forward), opengl (y up, z back) or blender (z up)."""
    overlays: bool = True
    """Write one picture per photo, everybody drawn over it."""
    people: str = "all"
    """all; main, the largest person of a photo; 3, the three largest; 002 (three digits), the person of this number."""
    min_size_px: float = 0.0
    """Leave out people whose body keypoints span fewer pixels."""
    results: Literal["folders", "shards"] = "folders"
    """Parameters as one .npz per person, or hundreds of people per .safetensors file (for large runs)."""
