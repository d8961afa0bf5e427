"""What a run writes: options that helper processes need, too, and so nothing here imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and of whom."""

    people: str = "all"
    """all: everybody. main: the largest person of each photo. 3: the three largest. 002 (three digits): the person of
    this number."""
    min_size_px: float = 0.0
    """Leave out people whose body keypoints span fewer pixels."""
    meshes: bool = True
    """Write one mesh per person; of a video only with --frame-meshes."""
    mesh_format: Literal["obj", "ply", "glb"] = "obj"
    """Format of the meshes."""
    frame: Literal["opencv", "opengl", "blender"] = "opencv"
    """Axes of the meshes: opencv (x right, y down, z forward), opengl (y up, z back), blender (z up)."""
    overlays: bool = True
    """Draw everybody over each photo, or frame."""
    results: Literal["folders", "shards"] = "folders"
    """Parameters as one .npz per person, or shards: hundreds of people per .safetensors file, for large runs.
    `bodyfit.open_results(OUT)` and all commands read both."""
    posterior: bool = False
    """Also write the posterior of everybody's unknowns: of photos, from which `FitResult.sample` draws, 15 kB more per
    person; of clips, from which `Track.sample` draws, 60 kB more per person and moment."""


@dataclass(frozen=True)
class ClipOptions:
    """A video, pictures that are one, or several cameras that saw the same moments."""

    clip: bool = False
    """A folder's pictures (or keypoint files) follow each other in time, by the numbers in their names. Needs --fps."""
    fps: float | None = None
    """Frames per second that are fitted: of a video with more, the nearest ones. Default: all of its frames. Of a
    folder with --clip: how many pictures per second there are."""
    video_fps: float | None = None
    """Frames per second with which the video was taken, where the file says another rate (slow motion)."""
    start: float | None = None
    """Seconds from the beginning of the video at which to start."""
    end: float | None = None
    """Seconds from the beginning of the video at which to end."""
    keypoints: Path | None = None
    """Keypoints that lie elsewhere: a folder or a file. Of photos: X_keypoints.json, ... for X.jpg, or files that name
    the photos. Of a video: clip_000000000000_keypoints.json, ..., or one file with all frames; by default what
    lies beside clip.mp4 (keypoints/, clip_json/, ../pose/clip_json/), else the detector."""
    moving_camera: bool = False
    """The video's camera moves: each frame's position and orientation of the body is free. Default: it stands still."""
    cameras: Path | None = None
    """Calibration of several cameras that saw the same moments; their views are fitted together, in the world. Pose2Sim
    or anipose (.toml), EasyMocap (folder of intri.yml and extri.yml), COLMAP (folder of cameras.txt and images.txt),
    OpenCV YAML, or JSON with K, dist, R and t. Views lie in folders, or have names, like the cameras."""
    camera_units: float | None = None
    """Metres that one unit of the calibration is: 0.001 for millimetres. Default: by the size of people."""
    frame_meshes: bool = False
    """Also write a mesh per person and frame of a video; its tracks/ hold animated bodies in any case."""
