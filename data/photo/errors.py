"""What is raised for images that cannot be used."""

from bodyfit.data.errors import BodyfitError


class PhotoError(BodyfitError):
    """An image, or a video, that cannot be used."""
