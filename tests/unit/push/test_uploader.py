from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from otaria.aio.driver import Surroundings
from otaria.errors import BadInput, OutcomeUnknown, PortTaken, Unreachable
from otaria.protocols.exchange import Progress
from otaria.push.uploader import Door, Target, push_image

HERE = "127.0.0.1"
QUIET = Surroundings()


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("porch.local", Target("porch.local", 8266)),
        ("10.0.0.9", Target("10.0.0.9", 8266)),
        ("10.0.0.9:3232", Target("10.0.0.9", 3232)),
    ],
)
def test_a_device_is_named_by_host_and_perhaps_port(text: str, target: Target) -> None:
    assert Target.parse(text) == target


@pytest.mark.parametrize("text", ["", ":8266", "porch:", "porch:http", "porch:0", "porch:65536", "porch:-1"])
def test_what_names_no_device_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="names no device"):
        Target.parse(text)


class Puppet(asyncio.DatagramProtocol):
    """A device that accepts every invitation and leaves the rest to the test."""

    def __init__(self) -> None:
        self.invitations: asyncio.Queue[tuple[str, int, int]] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        _, port, size, _ = data.split()
        self.transport.sendto(b"OK", addr)  # type: ignore[attr-defined]  # asyncio's base class has no sendto
        self.invitations.put_nowait((addr[0], int(port), int(size)))


@contextlib.asynccontextmanager
async def puppet() -> AsyncIterator[tuple[Puppet, Target]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Puppet, local_addr=(HERE, 0))
    try:
        yield protocol, Target(HERE, transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


async def serve_push(device: Puppet, *, verdict: bytes) -> bytes:
    """Take the whole image as a device does; returns what came."""
    host, port, size = await device.invitations.get()
    reader, writer = await asyncio.open_connection(host, port)
    received = b""
    while len(received) < size:
        piece = await reader.read(2048)
        received += piece
        writer.write(str(len(piece)).encode())
    writer.write(verdict)
    writer.close()
    await writer.wait_closed()
    return received


async def test_a_verdict_glued_to_the_last_count_before_an_immediate_close_is_success() -> None:
    image = bytes(range(256)) * 20
    seen: list[object] = []
    async with puppet() as (device, target), asyncio.TaskGroup() as group:
        taken = group.create_task(serve_push(device, verdict=b"OK"))
        await push_image(image, target, around=Surroundings(report=seen.append))
    assert taken.result() == image
    assert seen[-1] == Progress(len(image), len(image))


async def test_a_close_without_a_verdict_is_an_unknown_outcome_and_no_endless_loop() -> None:
    async with puppet() as (device, target), asyncio.TaskGroup() as group:
        group.create_task(serve_push(device, verdict=b""))
        with pytest.raises(OutcomeUnknown):
            await push_image(bytes(5000), target, around=QUIET)


async def test_only_the_devices_address_is_let_in() -> None:
    async with puppet() as (device, target):
        pushing = asyncio.create_task(push_image(bytes(5000), target, door=Door(HERE), around=QUIET))
        host, port, _ = await device.invitations.get()
        reader, writer = await asyncio.open_connection(host, port, local_addr=("127.0.0.66", 0))
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()
        assert not pushing.done()
        reader, writer = await asyncio.open_connection(host, port)
        assert await reader.readexactly(1460) == bytes(1460)
        writer.write(b"1460ERROR[1]: Flash Write Failed\n")
        writer.close()
        await writer.wait_closed()
        with pytest.raises(Exception, match=r"ERROR\[1\]"):
            await pushing


async def test_the_door_is_shut_once_the_device_is_in() -> None:
    async with puppet() as (device, target):
        pushing = asyncio.create_task(push_image(bytes(5000), target, around=QUIET))
        host, port, _ = await device.invitations.get()
        reader, writer = await asyncio.open_connection(host, port)
        await reader.readexactly(1460)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()
        with pytest.raises(Exception, match="closed the connection"):
            await pushing


async def test_a_host_that_does_not_exist_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"no host named 'porch\.invalid'"):
        await push_image(b"x", Target("porch.invalid"), around=QUIET)


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".local"])
async def test_a_name_that_no_host_can_have_is_unreachable_too(name: str) -> None:
    with pytest.raises(Unreachable, match="There is no host named"):
        await push_image(b"x", Target(name), around=QUIET)


@pytest.mark.parametrize("text", ["::1", "[::1]:8266", "fe80::1%eth0"])
def test_an_ipv6_address_is_told_as_one(text: str) -> None:
    with pytest.raises(BadInput, match="is an IPv6 address"):
        Target.parse(text)


async def test_an_address_of_no_machine_is_told_in_the_systems_words() -> None:
    with pytest.raises(PortTaken, match=r"Cannot listen on UDP nonsense\.invalid:0: Name or service not known"):
        await push_image(b"x", Target(HERE, 9), door=Door("nonsense.invalid"), around=QUIET)


async def test_a_taken_door_is_said() -> None:
    async with await asyncio.start_server(lambda *_: None, HERE, 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(PortTaken, match=f"Cannot listen on {HERE}:{port}"):
            await push_image(b"x", Target(HERE, 9), door=Door(HERE, port), around=QUIET)


async def test_a_cancelled_push_leaves_no_listener() -> None:
    async with puppet() as (device, target):
        pushing = asyncio.create_task(push_image(bytes(5000), target, around=QUIET))
        host, port, _ = await device.invitations.get()
        pushing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pushing
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
