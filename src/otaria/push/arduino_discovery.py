"""The Arduino pluggable discovery protocol, version 1: how an IDE asks a program which boards there are.

The IDE writes a command a line, this side answers each with one JSON value (field §3)::

    silent --HELLO--> idle --START-----> listing   LIST is answered with all ports
                       ^ ^ --START_SYNC-> telling   "add" and "remove" are sent as ports come and go
                       |_|_____STOP_______|         QUIT ends it from anywhere

:class:`Discovery` decides what is answered and touches nothing; :func:`converse` is its asyncio shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Self, TypeAlias

from otaria.errors import OtariaError
from otaria.push.discovery import AnnouncedDevice, Gone, Seen, Sighting, open_neighbourhood

__all__ = ["Act", "Answer", "Discovery", "Json", "converse"]

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | bool"

PROTOCOL_VERSION: Final = 1
"""The only one there is."""

LONGEST_ECHO: Final = 64
"""Characters of an unknown command that the error repeats."""

_GREETING: Final = re.compile(r'HELLO\s+(\d+)\s+"[^"]*"', re.IGNORECASE)


class Phase(Enum):
    """What the IDE has asked for so far."""

    SILENT = "not greeted yet"
    IDLE = "stopped"
    LISTING = "started with START"
    TELLING = "started with START_SYNC"


class Act(Enum):
    """What the shell is to do once it has sent an answer's values."""

    NOTHING = auto()
    LISTEN = auto()
    """Listen to the network, then call ``listening()`` or ``cannot_listen()``."""
    HUSH = auto()
    """Listen no longer."""
    END = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """What follows from a line."""

    values: Sequence[Json] = ()
    act: Act = Act.NOTHING


_STARTS: Final = {"START": Phase.LISTING, "START_SYNC": Phase.TELLING}

_ALLOWED: Final = {
    ("HELLO", Phase.SILENT),
    ("START", Phase.IDLE),
    ("START_SYNC", Phase.IDLE),
    ("LIST", Phase.LISTING),
    ("STOP", Phase.LISTING),
    ("STOP", Phase.TELLING),
    *(("QUIT", phase) for phase in Phase),
}
_COMMANDS: Final = {command for command, _ in _ALLOWED}


class Discovery:
    """One conversation with an IDE."""

    def __init__(self) -> None:
        self._phase = Phase.SILENT
        self._start = "START"
        self._devices: dict[str, AnnouncedDevice] = {}

    def take_line(self, line: str) -> Answer:
        """Answer a line of the IDE."""
        command = (line.split(maxsplit=1) or [""])[0].upper()
        if command not in _COMMANDS:
            return Answer([_failure("command_error", f"Unknown command {line.strip()[:LONGEST_ECHO]}")])
        if (command, self._phase) not in _ALLOWED:
            return Answer([_failure(_event(command), self._objection(command))])
        return self._obey(command, line)

    def listening(self) -> Sequence[Json]:
        """The network is listened to: the answer to the command that asked for it."""
        self._phase = _STARTS[self._start]
        return [_success(self._start)]

    def cannot_listen(self, reason: str) -> Sequence[Json]:
        """The network cannot be listened to: the answer to the command that asked for it."""
        return [_failure(_event(self._start), reason)]

    def take(self, sighting: Sighting) -> Sequence[Json]:
        """Note what happened on the network; the events to send, if the IDE wants any."""
        match sighting:
            case Seen(device):
                self._devices.pop(device.name, None)  # so that the newest stands last
                self._devices[device.name] = device
            case Gone(device):
                self._devices.pop(device.name, None)
        return [self._event_at(sighting.device.address)] if self._phase is Phase.TELLING else []

    def _obey(self, command: str, line: str) -> Answer:
        match command:
            case "HELLO":
                return self._greet(line)
            case "START" | "START_SYNC":
                self._start = command
                return Answer(act=Act.LISTEN)
            case "LIST":
                return Answer([{"eventType": "list", "ports": list(self._ports().values())}])
            case "STOP":
                self._phase = Phase.IDLE
                self._devices.clear()
                return Answer([_success(command)], Act.HUSH)
            case _:
                return Answer([_success(command)], Act.END)

    def _greet(self, line: str) -> Answer:
        if _GREETING.match(line.strip()) is None:
            return Answer([_failure("hello", 'Say HELLO, the protocol version and your name: HELLO 1 "arduino-cli"')])
        self._phase = Phase.IDLE
        return Answer([{"eventType": "hello", "message": "OK", "protocolVersion": PROTOCOL_VERSION}])

    def _objection(self, command: str) -> str:
        if self._phase is Phase.SILENT:
            return f"Say HELLO before {command}"
        return f"{command} is not possible now: the discovery is {self._phase.value}"

    def _ports(self) -> dict[str, Json]:
        """One port an address, as the protocol knows no more; the device that was seen last stands for its address."""
        return {device.address: _port(device) for device in self._devices.values()}

    def _event_at(self, address: str) -> Json:
        """What is at an address now. Another device there takes the place of one that is gone."""
        port = self._ports().get(address)
        if port is None:
            return {"eventType": "remove", "port": {"address": address, "protocol": "network"}}
        return {"eventType": "add", "port": port}


def _port(device: AnnouncedDevice) -> Json:
    """A device as the IDE's own network discovery shows it, so that ``upload_port.N.board`` and recipes match."""
    properties: dict[str, Json] = dict(device.texts)
    if device.board:
        properties["."] = device.board
    # Last, so that no text record of a stranger takes their place.
    properties |= {"hostname": device.hostname, "port": str(device.port)}
    return {
        "address": device.address,
        "label": f"{device.name} at {device.address}",
        "protocol": "network",
        "protocolLabel": "Network Port",
        "properties": properties,
    }


def _event(command: str) -> str:
    return command.lower()


def _success(command: str) -> Json:
    return {"eventType": _event(command), "message": "OK"}


def _failure(event: str, reason: str) -> Json:
    return {"eventType": event, "error": True, "message": reason}


async def converse(lines: AsyncIterator[str], say: Callable[[Json], None], *, interface: str | None = None) -> None:
    """Answer an IDE until it says QUIT or is gone.

    Args:
        lines: what it writes.
        say: sends it a value.
        interface: the IPv4 address of the one network interface to use; None for all of them.
    """
    discovery = Discovery()
    async with _Listener(discovery, say, interface) as listener:
        async for line in lines:
            answer = discovery.take_line(line)
            if answer.act is Act.HUSH:
                await listener.hush()
            _say_all(answer.values, say)
            if answer.act is Act.LISTEN:
                await listener.listen()
            if answer.act is Act.END:
                break


def _say_all(values: Sequence[Json], say: Callable[[Json], None]) -> None:
    for value in values:
        say(value)


class _Listener:
    """Listens to the network while the IDE wants it."""

    def __init__(self, discovery: Discovery, say: Callable[[Json], None], interface: str | None) -> None:
        self._discovery = discovery
        self._say = say
        self._interface = interface
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.hush()

    async def listen(self) -> None:
        """Begin, and answer the command that asked for it before anything that is seen."""
        try:
            neighbourhood = await self._open.enter_async_context(open_neighbourhood(self._interface))
        except OtariaError as error:
            _say_all(self._discovery.cannot_listen(str(error)), self._say)
            return
        _say_all(self._discovery.listening(), self._say)
        group = await self._open.enter_async_context(asyncio.TaskGroup())
        watching = group.create_task(neighbourhood.watch(self._report))
        self._open.callback(watching.cancel)

    async def hush(self) -> None:
        """End; nothing is reported any more."""
        await self._open.aclose()

    def _report(self, sighting: Sighting) -> None:
        _say_all(self._discovery.take(sighting), self._say)
