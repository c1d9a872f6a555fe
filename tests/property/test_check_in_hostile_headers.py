"""Header values are data: whatever they hold, the server answers in words and lives on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fleet_bench import DEADLINE_S, FleetServer, parse_answer, poll_request, server_in_a_thread, sketch

from otaria.service.applications import create_application
from otaria.service.releases import Draft, publish

NAMES = [line.partition(b":")[0] for line in poll_request(version="1").split(b"\r\n")[1:-2]]

values = st.one_of(
    st.binary(max_size=80).map(lambda raw: raw.translate(None, b"\r\n")),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=400).map(
        lambda text: text.encode("latin-1")
    ),
    st.integers(-(10**400), 10**400).map(lambda number: str(number).encode()),
    st.sampled_from([b"", b" ", b"sketch", b"spiffs", b"version", b"ESP8266-http-Update", b"18:FE:34:AA:BB:CC"]),
    st.sampled_from([b"\x1b[2J", b"<script>", b"' OR 1=1 --", "٣".encode(), b"1e3", b"0x10", b"%s%n", b"{}", b"\xff"]),
)
headers = st.dictionaries(st.sampled_from([*NAMES, b"x-ESP32-STA-MAC", b"Host"]), values, max_size=6)
paths = st.sampled_from([b"/update", b"/update/door", b"/files/door.bin", b"/update/%00", b"/files/%ff%fe", b"/"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetServer]:
    folder: Path = tmp_path_factory.mktemp("fleet")
    with server_in_a_thread(folder) as running:
        fleet = running.fleet
        create_application(fleet.store, fleet.clock, "door")
        publish(fleet.store, fleet.blobs, fleet.clock, Draft("door", "1.0", "door.bin", sketch("door")))
        yield running


def answer(server: FleetServer, request: bytes) -> bytes:
    with socket.create_connection((server.address.host, server.address.port), timeout=DEADLINE_S) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def request_with(path: bytes, changed: dict[bytes, bytes]) -> bytes:
    """The request of a device, with some of its headers changed and others added."""
    lines = dict(line.split(b": ", 1) for line in poll_request().split(b"\r\n")[1:-2])
    pairs = b"".join(name + b": " + value + b"\r\n" for name, value in (lines | changed).items())
    return b"GET " + path + b" HTTP/1.0\r\n" + pairs + b"\r\n"


@settings(deadline=None, max_examples=300)
@given(path=paths, changed=headers)
def test_no_header_makes_the_server_fail(server: FleetServer, path: bytes, changed: dict[bytes, bytes]) -> None:
    got = parse_answer(answer(server, request_with(path, changed)))
    assert 200 <= got.status < 500
    assert got.status in (200, 304) or got.body.strip()


@settings(deadline=None, max_examples=100)
@given(path=paths, repeated=st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=4))
def test_no_repeated_header_does_either(server: FleetServer, path: bytes, repeated: list[tuple[bytes, bytes]]) -> None:
    extra = b"".join(name + b": " + value + b"\r\n" for name, value in repeated)
    request = poll_request().replace(b"/update/door", path).replace(b"Content-Length: 0\r\n", extra)
    assert 200 <= parse_answer(answer(server, request)).status < 500


@settings(deadline=None, max_examples=50)
@given(version=st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=100))
def test_what_a_device_calls_itself_never_reaches_the_log_unescaped(server: FleetServer, version: str) -> None:
    answer(server, request_with(b"/update/door", {b"x-ESP8266-version": version.encode("latin-1")}))
    for line in server.log.getvalue().splitlines():
        assert line.isascii()
        assert line.isprintable()
