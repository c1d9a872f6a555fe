from __future__ import annotations

import socket

import pytest

from otaria.errors import BadInput, PortTaken
from otaria.server.running import listen


def reaches(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        return probe.connect_ex((host, port)) == 0


def test_a_port_is_taken_on_the_address_that_was_named() -> None:
    with listen("127.0.0.1", 0) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        assert reaches("127.0.0.1", port)


def test_without_an_address_it_is_taken_on_all_of_them() -> None:
    with listen(None, 0) as listener:
        port = listener.getsockname()[1]
        assert reaches("127.0.0.1", port)
        assert reaches("127.0.0.2", port)
        assert not socket.has_dualstack_ipv6() or reaches("::1", port)


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_a_port_that_another_program_has_is_said_to_be_taken(host: str | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Another program listens on port {port}.*--port"):
            listen(host, port)


def test_an_address_of_another_machine_is_the_callers_mistake() -> None:
    with pytest.raises(BadInput, match=r"Cannot listen on port 8700 of 203\.0\.113\.1: .*--listen"):
        listen("203.0.113.1", 8700)
