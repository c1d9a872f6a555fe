"""Pushes one image to one device over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

from otaria.aio.datagrams import DatagramSocket
from otaria.aio.driver import Surroundings, run_datagrams, run_stream
from otaria.aio.reasons import os_reason
from otaria.aio.streams import ByteStream, listen
from otaria.errors import BadInput, Unreachable
from otaria.protocols.arduino_push import invite, send_image
from otaria.protocols.exchange import Address, Connected
from otaria.wire.arduino_ota import ESP8266_PORT, Command, Invitation, Scheme

__all__ = ["Door", "Target", "push_image"]

ACCEPT_TIMEOUT_S: Final = 15.0
"""From the device's ``OK`` to its connection. A real one needs a tenth of a second when nothing is in the way."""


@dataclass(frozen=True, slots=True)
class Target:
    """A device as the user names it.

    Args:
        host: a name or an IP address.
        port: the UDP port on which its ArduinoOTA listens.
    """

    host: str
    port: int = ESP8266_PORT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST`` or ``HOST:PORT``.

        Raises:
            BadInput: there is no host, or the port is none.
        """
        if text.count(":") > 1:
            raise BadInput(
                f"{text!r} is an IPv6 address, and ArduinoOTA listens on IPv4 only; name the device by that."
            )
        host, colon, port = text.rpartition(":") if ":" in text else (text, "", "")
        if not host or (colon and not (port.isdigit() and 0 < int(port) < 65536)):
            raise BadInput(f"{text!r} names no device; write HOST or HOST:PORT, such as porch.local:8266.")
        return cls(host, int(port)) if colon else cls(host)

    def __str__(self) -> str:
        return self.host if self.port == ESP8266_PORT else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Door:
    """Where this machine waits for the device's connection.

    Args:
        host: the address to listen on; None for the one from which the device is reached.
        port: the TCP port; 0 for any that is free.
    """

    host: str | None = None
    port: int = 0


async def push_image(
    image: bytes, target: Target, *, command: Command = Command.FLASH, door: Door | None = None, around: Surroundings
) -> None:
    """Push an image and return once the device says that it is installed; it restarts then.

    Args:
        image: the file as it is sent.
        target: the device.
        command: what the image is.
        door: where to wait for the device's connection.
        around: who watches the progress, and who is asked for a password.

    Raises:
        Unreachable: no such host, no answer, no connection, or silence in mid-transfer.
        PortTaken: the door's port is not free.
        Denied: the password is missing or wrong.
        Refused: the device said why it will not.
        ProtocolViolation: it broke the protocol, or the connection broke.
        OutcomeUnknown: everything was sent and no verdict came.
    """
    device = await _resolve(target)
    async with _accepted(image, target, device, command, door or Door(), around) as stream:
        await run_stream(send_image(image, name=str(target)), stream, around)


@contextlib.asynccontextmanager
async def _accepted(
    image: bytes, target: Target, device: Address, command: Command, door: Door, around: Surroundings
) -> AsyncIterator[ByteStream]:
    """Invite the device and yield its connection; the listener is closed by then, so that nobody else gets in."""
    here = door.host or _local_address_towards(device)
    connections: asyncio.Queue[ByteStream] = asyncio.Queue(1)
    datagrams = await DatagramSocket.open((here, 0))

    def arrived(stream: ByteStream) -> None:
        """Let in the device, once; anybody else is sent away."""
        if stream.peer[0] != device[0] or connections.full():
            stream.abandon()
            return
        connections.put_nowait(stream)
        datagrams.announce(Connected(stream.peer))

    stream = None
    try:
        async with listen((here, door.port), arrived) as listener:
            invitation = _invitation(image, command, listener.address[1])
            exchange = invite(invitation, device, name=str(target), new_cnonce=_new_cnonce)
            await run_datagrams(exchange, datagrams, around)
            stream = await _first(connections, target, listener.address)
        yield stream
    finally:
        await datagrams.close()
        if stream is None and not connections.empty():
            stream = connections.get_nowait()
        if stream is not None:
            await stream.close()


def _invitation(image: bytes, command: Command, port: int) -> Invitation:
    digest = hashlib.md5(image).hexdigest()  # noqa: S324 - the device's protocol
    return Invitation(command, port, len(image), digest)


async def _first(connections: asyncio.Queue[ByteStream], target: Target, door: Address) -> ByteStream:
    try:
        async with asyncio.timeout(ACCEPT_TIMEOUT_S):
            return await connections.get()
    except TimeoutError:
        raise Unreachable(
            f"{target} accepted the invitation, but its connection to {door[0]}:{door[1]} did not arrive within "
            f"{ACCEPT_TIMEOUT_S:.0f} s. A firewall on this machine or between the two is the usual cause: allow "
            "incoming TCP, or choose an open port with --host-port."
        ) from None


def _new_cnonce(scheme: Scheme) -> str:
    return secrets.token_hex(16 if scheme is Scheme.MD5 else 32)


async def _resolve(target: Target) -> Address:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            target.host, target.port, family=socket.AF_INET, type=socket.SOCK_DGRAM
        )
    except (OSError, UnicodeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else "no name can be written so"
        raise Unreachable(
            f"There is no host named {target.host!r} ({reason}). Is the device on this network? Its IP address "
            "works where its name does not."
        ) from error
    host, port = found[0][4][:2]
    return str(host), int(port)


def _local_address_towards(device: Address) -> str:
    """The address of this machine from which packets to the device leave; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0)  # it would not wait anyway: no packet is exchanged
        try:
            probe.connect(device)
        except OSError as error:
            raise Unreachable(
                f"There is no route to {device[0]} ({error.strerror}). Is this machine online?"
            ) from error
        return str(probe.getsockname()[0])
