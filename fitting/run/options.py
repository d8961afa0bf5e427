"""What a run writes: options that helper processes need, too, and so nothing here imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
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
    posterior: bool = False
    """Also write the posterior of all unknowns, from which `FitResult.sample` draws: 15 kB more per person."""


@dataclass(frozen=True)
class ClipOptions:
    """What is said about a video, or about pictures that are one."""

    clip: bool = False
    """Whether a folder of pictures or keypoint files is a clip: pictures in the order of their numbers."""
    fps: float | None = None
    """Frames per second that are fitted: a video with more is thinned out to the nearest frames. Of a folder, how many
    pictures per second there are. None: all frames of the video."""
    video_fps: float | None = None
    """Frames per second at which the video, or the folder's pictures, were taken; None: as the video says."""
    start: float | None = None
    """Seconds from the beginning at which to start."""
    end: float | None = None
    """Seconds from the beginning at which to end."""
    keypoints: Path | None = None
    """Folder or file with the keypoints of a video's frames; None: what lies beside the video, else the detector."""
    moving_camera: bool = False
    """Whether the camera moves: positions of one frame then say nothing of those of the next."""
    cameras: Path | None = None
    """Calibration of several cameras, whose views are fitted together; None: one camera."""
    camera_units: float | None = None
    """Metres that one unit of the calibration is; None: by the size of people."""
