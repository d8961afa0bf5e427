"""A viser server with our theme and lights, which requests nothing from the internet."""

import contextlib
import io
import logging
import socket
import threading

import numpy as np
from jaxtyping import Float

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.show.same_origin import own_pages_only


def import_viser():
    """The module viser, or an error that names what to install."""
    try:
        import viser
    except ImportError as error:
        raise BodyfitError("the viewer needs viser. Install it with: pip install 'bodyfit[view]'") from error
    return viser


def start_server(host: str, port: int):
    """A viser server that listens on `host` and answers its own pages alone; where `port` is in use, the next free.

    Raises BodyfitError for an address that nobody can listen on: viser itself would wait for its server for ever.
    """
    viser = import_viser()
    _check_address(host, port)
    logging.getLogger("websockets").setLevel(logging.WARNING)  # it logs every connection
    with _without_viser_words(), own_pages_only(host):
        server = viser.ViserServer(host=host, port=port, label="bodyfit", verbose=False)
    server.gui.configure_theme(show_logo=False, show_share_button=False)  # sharing would use an external service
    server.gui.main_panel.dock_right()
    server.scene.configure_environment_map(None)  # the standard ones are fetched from the internet
    server.scene.configure_default_lights(False)
    return server


def _check_address(host: str, port: int) -> None:
    if not 0 <= port <= 65535:
        raise BodyfitError(f"port {port}: expected 0 to 65535.")
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.bind(address)
    except OSError as error:
        reason = error.strerror or error
        raise BodyfitError(
            f"host {host}: cannot be listened on ({reason}). Expected an address of this computer: 127.0.0.1 for "
            "itself, 0.0.0.0 for its network."
        ) from error


class Page:
    """What all viewers are: a page with a server of its own. `url` says where; `close` ends it."""

    def __init__(self, host: str, port: int):
        self._lock, self._open = threading.RLock(), True  # events of the browser arrive on other threads
        self._server = start_server(host, port)

    @property
    def url(self) -> str:
        return f"http://{self._server.get_host()}:{self._server.get_port()}"

    def wait(self) -> None:
        """Serves until interrupted."""
        self._server.sleep_forever()

    def close(self) -> None:
        with self._lock:
            self._open = False
        stop_server(self._server)


def stop_server(server) -> None:
    """Stops a server of `start_server`."""
    with _without_viser_words():
        server.stop()
        # viser waits a second for its thread, which says on standard output that it ends.
        thread = getattr(getattr(server, "_websock_server", None), "_server_thread", None)
        if thread is not None:
            thread.join(timeout=10.0)


def _without_viser_words() -> contextlib.AbstractContextManager:
    """viser prints messages on standard output, which is reserved for the output of the command."""
    return contextlib.redirect_stdout(io.StringIO())


def add_lights(server, up: Float[np.ndarray, "3"], forward: Float[np.ndarray, "3"]) -> None:
    """A key light from the upper left in front, a fill light from the right, ambient light: as in our pictures."""
    left = np.cross(up, forward)
    key, fill = 0.45 * left + 0.75 * up - 0.65 * forward, -0.75 * left + 0.05 * up - 0.55 * forward
    for name, towards, intensity in (("key", key, 2.4), ("fill", fill, 0.7), ("back", -key, 0.6)):
        # A directional light points from its position to the origin.
        server.scene.add_light_directional(f"/lights/{name}", intensity=intensity, position=tuple(100 * towards))
    server.scene.add_light_ambient("/lights/sky", intensity=0.7)


def field_of_view(image_size: tuple[int, int], focal_px: float, aspect: float) -> float:
    """Vertical field of view, radians, at which a window (width / height = `aspect`) shows the whole photo."""
    width, height = image_size
    return 2 * np.arctan(max(height, width / max(aspect, 1e-3)) / 2 / focal_px)
