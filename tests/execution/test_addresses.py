"""A cluster that nobody answers for is given up at once."""

import socket

import pytest

from fvis.errors import RequestError
from fvis.execution.ray import refuse_silent


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_port_where_nobody_listens_is_refused(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
        refuse_silent(address)
    with pytest.raises(RequestError, match=f"{address} gives no Ray: .*refused"):
        refuse_silent(address)


@pytest.mark.parametrize("address", ["local", "auto", "ray://head", "host:name"])
def test_what_names_no_port_is_left_to_ray(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *given: asked.append(given))
    refuse_silent(address)
    assert asked == []
