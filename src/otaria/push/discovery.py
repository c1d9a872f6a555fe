"""Which devices announce themselves on this network: mDNS, ``_arduino._tcp`` (protocols §1.7).

A device says four things about itself, each in a record of its own: that it is there, its port, its texts, its
address. They arrive together or one by one, and what a device that lost its power once said stays in the cache for
more than an hour. So every device is looked up until all of it is known, and again at intervals; one that no longer
answers is gone, goodbye or not.

Whatever is announced comes from strangers: it is data, bounded in number, and whoever shows it writes it out.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import zeroconf
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from otaria.aio.reasons import os_reason
from otaria.errors import BadInput, Unreachable

__all__ = ["AnnouncedDevice", "Gone", "Neighbourhood", "Seen", "Sighting", "find_devices", "open_neighbourhood"]

SERVICE: Final = "_arduino._tcp.local."

MOST_DEVICES: Final = 1000
"""Names that are followed at once. More than a flat network has; a flood of invented ones ends here."""

LOOK_UP_TIMEOUT_S: Final = 3.0
"""For one device to say all about itself. An ESP8266 answers within a second unless its loop() is busy."""

STILL_THERE_EVERY_S: Final = 30.0
"""Between two looks at an announced device. It is asked only once its address has expired, after two minutes."""


@dataclass(frozen=True, slots=True)
class AnnouncedDevice:
    """What a device says about itself.

    Args:
        name: its own, unique on this network, such as ``esp8266-aabbcc``.
        hostname: the name that resolves to its address, with the dot at its end: ``esp8266-aabbcc.local.``.
        address: its IPv4 address.
        port: the UDP port of its ArduinoOTA.
        texts: its TXT record, such as ``board``; what has no value is not in it.
    """

    name: str
    hostname: str
    address: str
    port: int
    texts: Mapping[str, str]

    @property
    def board(self) -> str:
        """The board that it was built for, empty if it does not say."""
        return self.texts.get("board", "")

    @property
    def asks_password(self) -> bool:
        """Whether it says that an upload needs a password."""
        return self.texts.get("auth_upload") == "yes"


@dataclass(frozen=True, slots=True)
class Seen:
    """A device is there, or says something new about itself."""

    device: AnnouncedDevice


@dataclass(frozen=True, slots=True)
class Gone:
    """A device said goodbye or answers no longer."""

    device: AnnouncedDevice


Sighting: TypeAlias = Seen | Gone


class Neighbourhood:
    """The network as mDNS shows it; made by :func:`open_neighbourhood`."""

    def __init__(self, responder: AsyncZeroconf) -> None:
        self._responder = responder

    async def watch(self, report: Callable[[Sighting], None], *, check_every_s: float = STILL_THERE_EVERY_S) -> None:
        """Report every device that comes, changes or goes, until this is cancelled.

        Args:
            report: called in the event loop.
            check_every_s: seconds between two looks at each announced device.
        """
        async with asyncio.TaskGroup() as group:
            watch = _Watch(self._responder.zeroconf, group, report)
            async with AsyncServiceBrowser(self._responder.zeroconf, SERVICE, handlers=[watch.changed]):
                while True:
                    await asyncio.sleep(check_every_s)
                    watch.check_all()


@contextlib.asynccontextmanager
async def open_neighbourhood(interface: str | None = None) -> AsyncIterator[Neighbourhood]:
    """Listen to mDNS on this machine.

    Args:
        interface: the IPv4 address of the one network interface to use; None for all of them.

    Raises:
        BadInput: that is no IPv4 address.
        Unreachable: this machine has no such interface, or none that can do multicast.
    """
    async with _responder(interface) as responder:
        yield Neighbourhood(responder)


async def find_devices(seconds: float, *, interface: str | None = None) -> list[AnnouncedDevice]:
    """The devices that are heard within so many seconds, by name.

    Raises:
        BadInput: the interface is no IPv4 address.
        Unreachable: this machine has no such interface, or none that can do multicast.
    """
    found: dict[str, AnnouncedDevice] = {}

    def note(sighting: Sighting) -> None:
        match sighting:
            case Seen(device):
                found[device.name] = device
            case Gone(device):
                found.pop(device.name, None)

    async with open_neighbourhood(interface) as neighbourhood:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await neighbourhood.watch(note)
    return sorted(found.values(), key=lambda device: device.name)


def _responder(interface: str | None) -> AsyncZeroconf:
    try:
        if interface is None:
            return AsyncZeroconf(ip_version=IPVersion.V4Only)
        _check_interface(interface)
        return AsyncZeroconf(interfaces=[interface], ip_version=IPVersion.V4Only)
    except (OSError, RuntimeError) as error:
        where = "any network interface" if interface is None else f"the interface {interface}"
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise Unreachable(f"Cannot listen for devices on {where} ({reason}). Is this machine online there?") from error


def _check_interface(interface: str) -> None:
    """Find out whether this machine has the address; the library would leave a socket open where it has not."""
    try:
        ipaddress.IPv4Address(interface)
    except ValueError:
        raise BadInput(
            f"{interface!r} is no IPv4 address; give the one that this machine has on the devices' network."
        ) from None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((interface, 0))


class _Watch:
    """Follows each announced name until it is known and then until it is gone.

    Args:
        responder: answers from its cache or asks the network.
        group: the tasks of the questions under way.
        report: told what came of them.
    """

    def __init__(self, responder: Zeroconf, group: asyncio.TaskGroup, report: Callable[[Sighting], None]) -> None:
        self._responder = responder
        self._group = group
        self._report = report
        self._names: set[str] = set()
        self._known: dict[str, AnnouncedDevice] = {}
        self._questions: dict[str, asyncio.Task[None]] = {}

    def changed(self, *, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """What the browser calls; its argument names are the library's."""
        del zeroconf, service_type
        self._drop_question(name)
        if state_change is ServiceStateChange.Removed:
            self._names.discard(name)
            self._lose(name)
        elif name in self._names or len(self._names) < MOST_DEVICES:
            self._names.add(name)
            self._ask(name)

    def check_all(self) -> None:
        """Ask again for every name that is announced, also for those that are gone: one may be switched on again."""
        for name in self._names - self._questions.keys():
            self._ask(name)

    def _ask(self, name: str) -> None:
        self._questions[name] = self._group.create_task(self._look_up(name))

    def _drop_question(self, name: str) -> None:
        question = self._questions.pop(name, None)
        if question is not None:
            question.cancel()

    async def _look_up(self, name: str) -> None:
        device = await _announced(self._responder, name)
        del self._questions[name]
        if device is None:
            self._lose(name)
        elif self._known.get(name) != device:
            self._known[name] = device
            self._report(Seen(device))

    def _lose(self, name: str) -> None:
        device = self._known.pop(name, None)
        if device is not None:
            self._report(Gone(device))


async def _announced(responder: Zeroconf, name: str) -> AnnouncedDevice | None:
    """All that a device says about itself; None if it does not say all of it in time, or not as IPv4."""
    try:
        records = AsyncServiceInfo(SERVICE, name)
        complete = await records.async_request(responder, LOOK_UP_TIMEOUT_S * 1000)
    except zeroconf.Error:  # a name that nobody could ask for
        return None
    addresses = records.parsed_addresses(IPVersion.V4Only)
    if not complete or not addresses or not records.port:
        return None
    texts = {_text(key): _text(value) for key, value in records.properties.items() if value is not None}
    return AnnouncedDevice(name.removesuffix(f".{SERVICE}"), records.server or "", addresses[0], records.port, texts)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")
