"""OpenGL without a display: pyrender on an EGL context, created once per process."""

import contextlib
import functools
import logging
import os
import sys
import threading

import numpy as np

from bodyfit.fitting.draw.rasteriser import Camera, Layer, Surface

logger = logging.getLogger(__name__)


class GlRenderer:
    """Draws surfaces with one offscreen renderer, which is resized as needed.

    Raises whatever pyrender, PyOpenGL or the driver raise where there is no EGL: callers fall back.
    """

    def __init__(self) -> None:
        _import_pyrender()
        import pyrender
        from OpenGL.GL import GL_RENDERER, glGetString

        self._offscreen = pyrender.OffscreenRenderer(64, 64)
        self.device = glGetString(GL_RENDERER).decode(errors="replace")
        self._lock = threading.Lock()
        self._release()

    def render(self, surface: Surface, camera: Camera, near: float, far: float) -> Layer:
        """Draws with four samples per pixel; only what lies between `near` and `far` metres."""
        import pyrender

        scene = pyrender.Scene(bg_color=np.zeros(4))
        scene.add(pyrender.Mesh([_primitive(surface)]))
        # In pyrender (0, 0) is the corner of the image, here it is the centre of the first pixel: half a pixel apart.
        lens = pyrender.IntrinsicsCamera(
            camera.focal_px,
            camera.focal_px,
            camera.center_px[0] + 0.5,
            camera.center_px[1] + 0.5,
            znear=near,
            zfar=far,
        )
        scene.add(lens, pose=np.eye(4))
        flags = pyrender.RenderFlags.RGBA | pyrender.RenderFlags.FLAT | pyrender.RenderFlags.SKIP_CULL_FACES
        with self._lock:
            try:
                self._offscreen.viewport_height, self._offscreen.viewport_width = camera.image_size
                rgba, depth = self._offscreen.render(scene, flags=flags)
            finally:
                self._release()
        return Layer(rgba=rgba, depth=depth)

    def _release(self) -> None:
        """Releases the context, which pyrender keeps current, so that other threads can draw."""
        from OpenGL import EGL

        display = self._offscreen._platform._egl_display
        EGL.eglMakeCurrent(display, EGL.EGL_NO_SURFACE, EGL.EGL_NO_SURFACE, EGL.EGL_NO_CONTEXT)


def preload() -> None:
    """Import what drawing needs (0.7 s), in a process that has nothing else to do yet. Never raises."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(Exception):  # the first picture meets the same error, and says it
            _import_pyrender()


def _import_pyrender() -> None:
    logging.getLogger("OpenGL.acceleratesupport").setLevel(logging.WARNING)  # it warns about an optional package
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")  # PyOpenGL reads it when it is first imported
    import pyrender  # noqa: F401


def _primitive(surface: Surface):
    import pyrender

    opengl_from_opencv = np.array([1.0, -1.0, -1.0])
    colours = np.concatenate([surface.colours, np.ones((len(surface.colours), 1))], axis=1)
    return pyrender.Primitive(
        positions=(surface.vertices * opengl_from_opencv).astype(np.float32),
        color_0=colours.astype(np.float32),
        indices=surface.faces.astype(np.uint32),
        material=pyrender.MetallicRoughnessMaterial(baseColorFactor=np.ones(4), doubleSided=True),
    )


@functools.cache
def gl_renderer() -> GlRenderer | None:
    """The process's OpenGL renderer, or None (and one line in the log that says why) where there is none."""
    if not sys.platform.startswith("linux"):
        logger.info("pictures: EGL exists on Linux only; drawing with the software rasteriser")
        return None
    try:
        renderer = GlRenderer()
    except Exception as error:  # drivers raise many kinds of errors; each means that there is no OpenGL
        logger.warning("pictures: no EGL context (%s: %s); drawing with the software rasteriser", _name(error), error)
        return None
    logger.info("pictures: drawing with pyrender on EGL (%s)", renderer.device)
    return renderer


def _name(error: BaseException) -> str:
    return type(error).__name__
