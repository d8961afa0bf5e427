"""Requests to a viewer's server are answered only where they come from its own page.

A page of any site that is open in the same browser can open a WebSocket to a server on this machine, and read what it
says. Browsers state whose page it was in `Origin`, and by which name they found us in `Host`: a foreign page has
another origin, and one whose name was made to point to this machine (DNS rebinding) has another host.
"""

import contextlib
import http
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


def is_own(host_header: str | None, origin: str | None, listening_on: str) -> bool:
    """Whether a request comes from a page of the server that listens on `listening_on`.

    host_header: what the request says in `Host`; a request without is refused.
    origin: what it says in `Origin`; None for programs that are no browsers, and for a page's own address.
    """
    host = _name_of(f"//{host_header}") if host_header else None
    if host is None or not (host in _LOCAL_NAMES | {listening_on.lower()} or _is_ours(host, listening_on)):
        return False
    if origin is None:
        return True
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.lower() == host_header.lower()


def _name_of(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        return None if parts.username or parts.path or parts.query else parts.hostname
    except ValueError:
        return None


def _is_ours(host: str, listening_on: str) -> bool:
    """Where the server listens on all interfaces, any numeric address and this machine's name lead to it. A number
    cannot be made to point elsewhere, as a name can."""
    if listening_on not in ("", "0.0.0.0", "::"):
        return False
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return host in {socket.gethostname().lower(), socket.getfqdn().lower()}


@contextlib.contextmanager
def own_pages_only(listening_on: str) -> Iterator[None]:
    """While a viser server is made within, it gets the check: `websockets` asks it before anything else is answered.

    viser has no hook for this; a server that was made without going through `websockets`' `serve` is an error here, so
    that none runs unchecked.

    Raises:
        RuntimeError: as said.
    """
    import websockets.asyncio.server as server

    original, checked = server.serve, []

    def serve(handler: Any, *args: Any, process_request: Callable | None = None, **options: Any) -> Any:
        checked.append(True)
        return original(handler, *args, process_request=_checking(process_request, listening_on), **options)

    server.serve = serve
    try:
        yield
    finally:
        server.serve = original
    if not checked:
        raise RuntimeError(
            "this version of viser starts its server in another way, and its requests would go unchecked"
        )


def _checking(answer: Callable | None, listening_on: str) -> Callable:
    from websockets.datastructures import Headers, MultipleValuesError
    from websockets.http11 import Response

    def process_request(connection: Any, request: Any) -> Any:
        try:
            host, origin = request.headers.get("Host"), request.headers.get("Origin")
            own = is_own(host, origin, listening_on)
        except MultipleValuesError:
            own = False
        if own:
            return None if answer is None else answer(connection, request)
        body = b"Refused: this is not the viewer's own page. Open the address that `bodyfit view` names.\n"
        headers = Headers({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))})
        return Response(http.HTTPStatus.FORBIDDEN, "Forbidden", headers, body)

    return process_request
