"""A page of another site cannot talk to a viewer's server, by a real WebSocket client and by HTTP."""

import http.client
import socket
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from bodyfit.fitting.show.same_origin import is_own, own_pages_only

viser = pytest.importorskip("viser", reason="the viewer is an extra: pip install 'bodyfit[view]'")


@pytest.fixture(scope="module")
def port():
    from bodyfit.fitting.show.page_server import start_server, stop_server

    server = start_server("127.0.0.1", 18_120)
    server.scene.add_image("/photo", np.zeros((4, 4, 3), np.uint8), 1.0, 1.0)
    yield server.get_port()
    stop_server(server)


def _first_message(port: int, **headers: str) -> bytes:
    """What a WebSocket client that sends these headers is told first; raises InvalidStatus where it is refused."""
    from websockets.sync.client import connect

    host = headers.pop("host", f"127.0.0.1:{port}")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        subprotocols = [f"viser-v{viser.__version__}"]
        with connect(f"ws://{host}/", sock=connection, subprotocols=subprotocols, **headers) as client:
            return client.recv(timeout=10)


def test_the_own_page_is_told_what_there_is(port):
    assert _first_message(port, origin=f"http://127.0.0.1:{port}")
    assert _first_message(port, host=f"localhost:{port}", origin=f"http://localhost:{port}")
    assert _first_message(port)  # no browser


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "https://evil.example:443"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "file://"},
        {"host": "evil.example", "origin": "http://evil.example"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
    ],
)
def test_other_pages_are_refused(port, headers):
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus, match="403"):
        _first_message(port, **headers)


@pytest.mark.parametrize(("host", "status"), [(None, 200), ("evil.example", 403), ("evil.example:80", 403)])
def test_the_page_itself_goes_to_its_own_name_alone(port, host, status):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/", headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    assert answer.status == status
    assert (b"viewer's own page" in answer.read()) == (status == 403)


@pytest.mark.parametrize(
    ("host", "origin", "listening_on", "expected"),
    [
        ("localhost:8080", "http://localhost:8080", "127.0.0.1", True),
        ("LOCALHOST:8080", "http://localhost:8080", "127.0.0.1", True),
        ("[::1]:8080", "http://[::1]:8080", "127.0.0.1", True),
        ("localhost:9000", "http://localhost:9000", "127.0.0.1", True),  # through a tunnel
        ("192.168.1.5:8080", "http://192.168.1.5:8080", "0.0.0.0", True),
        ("192.168.1.5:8080", "http://192.168.1.5:8080", "127.0.0.1", False),
        ("box.lan:8080", "http://box.lan:8080", "box.lan", True),
        ("box.lan:8080", "http://box.lan:8080", "0.0.0.0", False),
        ("localhost:8080", "http://localhost:80", "127.0.0.1", False),
        ("localhost:8080", "", "127.0.0.1", False),
        ("a@localhost:8080", None, "127.0.0.1", False),
        ("localhost/evil", None, "127.0.0.1", False),
        ("[::1", None, "127.0.0.1", False),
        ("", None, "127.0.0.1", False),
        (None, None, "127.0.0.1", False),
    ],
)
def test_whose_request_it_is(host, origin, listening_on, expected):
    assert is_own(host, origin, listening_on) == expected


def test_a_machine_that_listens_everywhere_answers_to_its_own_name():
    name = socket.gethostname()
    assert is_own(f"{name}:8080", f"http://{name}:8080", "0.0.0.0")


def test_a_server_that_goes_another_way_is_an_error():
    with pytest.raises(RuntimeError, match="unchecked"), own_pages_only("127.0.0.1"):
        pass


def test_a_server_that_is_slow_to_end_leaves_standard_output_alone(capsys):
    from bodyfit.fitting.show.page_server import stop_server

    def end() -> None:
        time.sleep(0.2)
        print("(viser) Server stopped")

    thread = threading.Thread(target=end)
    server = SimpleNamespace(stop=thread.start, _websock_server=SimpleNamespace(_server_thread=thread))
    stop_server(server)
    thread.join()
    assert capsys.readouterr().out == ""


def test_nothing_of_a_stopped_server_goes_on():
    from bodyfit.fitting.show.page_server import start_server, stop_server

    server = start_server("127.0.0.1", 18_140)
    thread = server._websock_server._server_thread  # the name that stop_server relies on
    assert thread.is_alive()
    stop_server(server)
    assert not thread.is_alive()
