"""What counts as delivered: only what the device took to the last byte, however the connection ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.fleet_bench import (
    DEADLINE_S,
    FILE_SYSTEM,
    FleetServer,
    fleet_in,
    fleet_server,
    parse_answer,
    poll_request,
    sketch,
)

from otaria.cli.serve import Address, ServeSettings, running_server
from otaria.fleet.deployment import State
from otaria.fleet.device import Device
from otaria.server import connection
from otaria.units import KIB

SMALL = sketch("small")
LARGE = sketch("large", size=600 * KIB)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FleetServer]:
    async with fleet_server(tmp_path) as running:
        yield running


class Peer:
    """A client that takes no byte from its network stack before it wants it, as a device does."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected

    async def read(self, length: int) -> bytes:
        raw = b""
        while len(raw) < length:
            piece = await asyncio.get_running_loop().sock_recv(self.socket, length - len(raw))
            assert piece, "the server closed early"
            raw += piece
        return raw

    async def read_all(self, piece_size: int = 64 * KIB) -> bytes:
        raw = b""
        while piece := await asyncio.get_running_loop().sock_recv(self.socket, piece_size):
            raw += piece
        return raw

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@contextlib.asynccontextmanager
async def connected(address: Address, request: bytes | None = None) -> AsyncIterator[Peer]:
    """A connection on which a poll was sent, with a small receive window; closed at the end."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
        client.settimeout(0)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DEADLINE_S):
            await loop.sock_connect(client, (address.host, address.port))
            await loop.sock_sendall(client, request or poll_request())
            yield Peer(client)


def state(devices: tuple[Device, ...]) -> tuple[State, int]:
    (deployment,) = devices[0].deployments
    return deployment.state, deployment.deliveries


async def test_a_download_that_was_read_to_the_end_is_delivered(server: FleetServer) -> None:
    await server.release(LARGE)
    assert (await server.poll()).body == LARGE
    await server.until(lambda devices: state(devices) == (State.DELIVERED, 1))
    assert " delivered device=18:FE:34:AA:BB:CC application=door release=1.0 file=door.bin\n" in server.log.getvalue()


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("taken", [1, 300, 4 * KIB])
async def test_a_broken_off_download_is_not_delivered(server: FleetServer, content: bytes, taken: int) -> None:
    await server.release(content)
    for _ in range(4):
        async with connected(server.address) as peer:
            await peer.read(taken)
        await server.until(lambda devices: state(devices) == (State.BROKEN_OFF, 0))
    assert " broken off device=18:FE:34:AA:BB:CC" in server.log.getvalue()
    assert (await server.poll()).status == 200


async def test_a_connection_that_is_reset_is_no_delivery(server: FleetServer) -> None:
    await server.release(LARGE)
    async with connected(server.address) as peer:
        await peer.read(100)
        peer.reset()
    await server.until(lambda devices: state(devices) == (State.BROKEN_OFF, 0))


async def test_a_client_that_goes_before_the_answer_comes_is_no_delivery(server: FleetServer) -> None:
    await server.release(LARGE)
    async with connected(server.address):
        pass
    await server.until(lambda devices: bool(devices) and state(devices) == (State.BROKEN_OFF, 0))


async def test_a_file_system_that_was_broken_off_is_sent_again(server: FleetServer) -> None:
    await server.release(FILE_SYSTEM, name="fs.bin")
    async with connected(server.address, poll_request(mode="spiffs")) as peer:
        await peer.read(1000)
    assert (await server.poll(mode="spiffs")).status == 200
    assert (await server.poll(mode="spiffs")).status == 304


async def test_a_slow_device_takes_its_time(server: FleetServer) -> None:
    await server.release(LARGE)
    async with connected(server.address) as peer:
        assert parse_answer(await peer.read_all(piece_size=1460)).body == LARGE
    await server.until(lambda devices: state(devices) == (State.DELIVERED, 1))


async def test_a_device_that_polls_again_is_known_to_be_done_though_its_old_connection_is_open(
    server: FleetServer,
) -> None:
    await server.release(FILE_SYSTEM, name="fs.bin")
    async with connected(server.address, poll_request(mode="spiffs")) as peer:
        assert (await peer.read_all()).endswith(FILE_SYSTEM)
        assert (await server.poll(mode="spiffs")).status == 304


async def test_a_device_that_never_closes_has_taken_what_it_acknowledged(
    server: FleetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.1)
    await server.release(SMALL)
    async with connected(server.address) as peer:
        assert (await peer.read_all()).endswith(SMALL)
        await server.until(lambda devices: state(devices) == (State.DELIVERED, 1))


async def test_a_device_that_stops_reading_has_not_taken_it(
    server: FleetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.1)
    monkeypatch.setattr(connection, "SETTLE_S", 0.1)
    await server.release(sketch("larger than its window", size=50 * KIB))
    async with connected(server.address) as peer:
        await peer.read(100)
        await server.until(lambda devices: state(devices) == (State.BROKEN_OFF, 0))


async def test_a_client_that_keeps_connections_open_is_served_on_each(server: FleetServer) -> None:
    await server.release(SMALL)
    lines = [line.partition(": ") for line in poll_request().decode().split("\r\n")[1:-2]]
    headers = {name: value for name, _, value in lines if name.lower() not in {"connection", "host"}}
    async with httpx.AsyncClient(base_url=server.address.url) as client:
        statuses = [(await client.get("/update/door", headers=headers)).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 304, 304]


async def test_two_requests_in_one_write_are_answered_one_after_the_other(server: FleetServer) -> None:
    await server.release(SMALL)
    kept_alive = poll_request(version="1.0").replace(b"HTTP/1.0", b"HTTP/1.1").replace(b"Connection: close\r\n", b"")
    async with connected(server.address, kept_alive + poll_request()) as peer:
        raw = await peer.read_all()
    assert raw.startswith(b"HTTP/1.1 304")
    assert raw.endswith(SMALL)


async def test_a_browser_that_gives_up_disturbs_nobody(server: FleetServer) -> None:
    await server.release(LARGE)
    async with connected(server.address, b"GET /files/door.bin HTTP/1.0\r\n\r\n") as peer:
        await peer.read(100)
    assert (await server.poll()).body == LARGE
    assert "failed" not in server.log.getvalue()


# --------------------------------------------------------------------------- stopping


async def test_a_download_that_is_under_way_ends_before_the_server_does(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(fleet_server(tmp_path))
        await server.release(LARGE)
        async with connected(server.address) as peer:
            begin = await peer.read(1000)
            stopping = asyncio.create_task(stack.pop_all().aclose())
            assert parse_answer(begin + await peer.read_all()).body == LARGE
        await stopping
    assert await asyncio.to_thread(state_in, tmp_path) == (State.DELIVERED, 1)


async def test_a_server_that_is_cancelled_cuts_downloads_off(tmp_path: Path) -> None:
    async with fleet_server(tmp_path) as server:
        await server.release(LARGE)
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with running_server(ServeSettings(tmp_path, "127.0.0.1", 0)) as address:
            listening.set_result(address)
            await stop.wait()

    serving = asyncio.create_task(serve())
    async with connected(await listening) as peer:
        await peer.read(1000)
        stop.set()
        done, _ = await asyncio.wait([serving], timeout=0.5)
        assert not done  # it waits for the download
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert await asyncio.to_thread(state_in, tmp_path) == (State.BROKEN_OFF, 0)


def state_in(folder: Path) -> tuple[State, int]:
    with fleet_in(folder) as fleet, fleet.store.reading() as view:
        return state(view.devices())
