"""Import of OpenCV where it is used, so that nothing else depends on the system libraries that it needs."""

from types import ModuleType

from bodyfit.data.errors import BodyfitError


def import_cv2() -> ModuleType:
    """The module cv2.

    Raises:
        BodyfitError: If it cannot be imported, which on slim containers means that a system library is missing.
    """
    try:
        import cv2
    except ImportError as error:
        raise BodyfitError(
            "videos are read, and keypoints, skeletons and videos drawn, with OpenCV, which cannot be imported here "
            f"({error}). Install its system libraries (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0), or "
            "replace it: pip uninstall opencv-python && pip install opencv-python-headless"
        ) from error
    return cv2
