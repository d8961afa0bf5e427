"""Addresses that nobody can listen on are one error at once, not a server that never starts."""

import pytest

from bodyfit.data.errors import BodyfitError
from bodyfit.fitting.show.page_server import start_server

pytest.importorskip("viser")


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 99_999, "port 99999: expected 0 to 65535"),
        ("203.0.113.7", 8080, "203.0.113.7: cannot be listened on"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_said(host, port, said):
    with pytest.raises(BodyfitError, match=said):
        start_server(host, port)
