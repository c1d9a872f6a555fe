from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import AsyncIterator

import pytest
from zeroconf import ServiceInfo
from zeroconf._dns import DNSPointer
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from otaria.errors import BadInput, Unreachable
from otaria.push import discovery
from otaria.push.discovery import SERVICE, AnnouncedDevice, Gone, Seen, Sighting, find_devices, open_neighbourhood

HERE = "127.0.0.1"
DEADLINE_S = 90.0
ARDUINO_TEXTS: dict[str, str | bytes | None] = {"board": "nodemcuv2", "auth_upload": "yes"}
RESPONSE = 0x8400
"""The flags of an mDNS answer."""


def unique_name() -> str:
    """Others on this machine may be announcing devices too."""
    return f"porch-{secrets.token_hex(4)}"


def announcement(
    name: str,
    texts: dict[str, str | bytes | None] | None = None,
    *,
    address: str = HERE,
    port: int = 8266,
    ttl: int = 120,
) -> ServiceInfo:
    return ServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        port=port,
        properties=ARDUINO_TEXTS if texts is None else texts,
        server=f"{name}.local.",
        addresses=[ipaddress.ip_address(address).packed],
        host_ttl=ttl,
        other_ttl=ttl,
    )


@contextlib.asynccontextmanager
async def announced(device: ServiceInfo) -> AsyncIterator[AsyncZeroconf]:
    async with AsyncZeroconf(interfaces=[HERE]) as responder:
        await responder.async_register_service(device, strict=False)
        yield responder


def say_once(out: DNSOutgoing) -> None:
    """Send a packet to everybody on loopback, from nobody who would answer a question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as voice:
        voice.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HERE))
        voice.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        voice.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        voice.bind((HERE, 5353))
        for packet in out.packets():
            voice.sendto(packet, ("224.0.0.251", 5353))


def all_at_once(device: ServiceInfo) -> DNSOutgoing:
    """All that a device says of itself, in one packet."""
    out = DNSOutgoing(RESPONSE)
    for record in (device.dns_pointer(), device.dns_service(), device.dns_text(), *device.dns_addresses()):
        out.add_answer_at_time(record, 0)
    return out


class Watch:
    """What has been sighted, of one device only."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._sightings: asyncio.Queue[Sighting] = asyncio.Queue()

    def report(self, sighting: Sighting) -> None:
        if sighting.device.name == self._name:
            self._sightings.put_nowait(sighting)

    async def next(self) -> Sighting:
        async with asyncio.timeout(DEADLINE_S):
            return await self._sightings.get()

    @property
    def quiet(self) -> bool:
        return self._sightings.empty()


@contextlib.asynccontextmanager
async def watching(name: str, *, check_every_s: float = 30.0) -> AsyncIterator[Watch]:
    watch = Watch(name)
    async with open_neighbourhood(HERE) as neighbourhood:
        task = asyncio.create_task(neighbourhood.watch(watch.report, check_every_s=check_every_s))
        try:
            yield watch
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_device_is_seen_with_all_that_it_says() -> None:
    name = unique_name()
    async with watching(name) as watch, announced(announcement(name)):
        assert await watch.next() == Seen(
            AnnouncedDevice(name, f"{name}.local.", HERE, 8266, {"board": "nodemcuv2", "auth_upload": "yes"})
        )


async def test_a_device_that_was_there_before_is_seen_too() -> None:
    name = unique_name()
    async with announced(announcement(name)), watching(name) as watch:
        assert isinstance(await watch.next(), Seen)


async def test_a_device_that_says_goodbye_is_gone() -> None:
    name = unique_name()
    async with watching(name) as watch:
        async with announced(announcement(name)):
            seen = await watch.next()
        assert await watch.next() == Gone(seen.device)


async def test_a_device_that_says_something_new_is_seen_again() -> None:
    name = unique_name()
    async with watching(name) as watch, announced(announcement(name)) as responder:
        assert (await watch.next()).device.asks_password
        await responder.async_update_service(announcement(name, {"board": "d1_mini", "auth_upload": "no"}))
        again = await watch.next()
        assert isinstance(again, Seen)
        assert (again.device.board, again.device.asks_password) == ("d1_mini", False)


@pytest.mark.slow  # it waits for records to expire, which the resolver does in its own good time
async def test_a_device_that_lost_its_power_is_gone_without_a_goodbye() -> None:
    name = unique_name()
    # So short that the test need not wait two minutes; the record that it is there lives much longer, as a real one's.
    device = announcement(name, ttl=1)
    device.other_ttl = 4500
    async with watching(name, check_every_s=0.2) as watch:
        say_once(all_at_once(device))
        assert isinstance(await watch.next(), Seen)
        assert isinstance(await watch.next(), Gone)
        say_once(all_at_once(device))  # and here it is switched on again
        assert isinstance(await watch.next(), Seen)


async def test_hostile_texts_are_kept_as_they_are_and_bytes_that_are_no_text_are_written_out() -> None:
    name = unique_name()
    texts: dict[str, str | bytes | None] = {"board": b"[bold]\x1b[2J\xff", "flag": None, "equation": "a=b=c"}
    async with watching(name) as watch, announced(announcement(name, texts)):
        device = (await watch.next()).device
        assert device.texts == {"board": "[bold]\x1b[2J\\xff", "equation": "a=b=c"}


async def test_a_device_without_texts_says_neither_board_nor_password() -> None:
    name = unique_name()
    async with watching(name) as watch, announced(announcement(name, {})):
        device = (await watch.next()).device
        assert (device.board, device.asks_password) == ("", False)


async def test_names_that_nobody_could_ask_for_are_passed_over() -> None:
    name = unique_name()
    out = DNSOutgoing(RESPONSE)
    for bad in ("elsewhere._http._tcp.local.", "nothing.", f".{SERVICE}", SERVICE):
        out.add_answer_at_time(DNSPointer(SERVICE, 12, 1, 4500, bad), 0)
    async with watching(name) as watch:
        say_once(out)
        async with announced(announcement(name)):
            assert isinstance(await watch.next(), Seen)


async def test_no_more_devices_are_followed_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MOST_DEVICES", 0)
    name = unique_name()
    async with watching(name) as watch, announced(announcement(name)):
        async with asyncio.timeout(DEADLINE_S), AsyncZeroconf(interfaces=[HERE]) as stranger:
            heard = AsyncServiceInfo(SERVICE, f"{name}.{SERVICE}")
            while not await heard.async_request(stranger.zeroconf, 500):
                pass
        assert watch.quiet


async def test_what_is_there_is_found_in_the_given_time_by_name() -> None:
    names = sorted((unique_name(), unique_name()))
    async with announced(announcement(names[1])), announced(announcement(names[0], port=3232)):
        found = await find_devices(3, interface=HERE)
    assert [(device.name, device.port) for device in found if device.name in names] == [
        (names[0], 3232),
        (names[1], 8266),
    ]


@pytest.mark.parametrize("interface", ["", "porch", "::1", "127.0.0.1/8", "256.0.0.1"])
async def test_an_interface_is_named_by_its_ipv4_address(interface: str) -> None:
    with pytest.raises(BadInput, match="is no IPv4 address"):
        await find_devices(1, interface=interface)


async def test_an_interface_that_is_not_there_is_said() -> None:
    with pytest.raises(Unreachable, match=r"Cannot listen for devices on the interface 192\.0\.2\.1"):
        await find_devices(1, interface="192.0.2.1")
