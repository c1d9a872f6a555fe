"""The vocabulary in which every protocol is written.

An exchange is a generator. It yields what it wants done and is resumed with what came of it:

=====================  ===============================================================================
it yields              it is resumed with
=====================  ===============================================================================
``Send(...)``          None
``Receive(timeout)``   on a stream: bytes, ``b""`` at the end of the stream, None at the timeout;
                       on datagrams: a :class:`Datagram`, a :class:`Connected`, None at the timeout
``Sleep(seconds)``     None
``Report(event)``      None; for whoever watches
``AskPassword(...)``   the password, None where there is none to be had
=====================  ===============================================================================

It returns its result or raises from the error tree. It knows no socket and no clock, so it runs on asyncio
(``otaria.aio``), on a virtual clock with a lossy network, or by hand in a test.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

__all__ = [
    "Address",
    "AskPassword",
    "Connected",
    "Datagram",
    "DatagramExchange",
    "Effect",
    "Progress",
    "Receive",
    "Report",
    "Send",
    "Sleep",
    "StreamExchange",
]

Address: TypeAlias = tuple[str, int]
"""An IP address as text, and a port."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes: on a stream to its peer, as a datagram to ``to``."""

    content: bytes
    to: Address | None = None


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for what comes next; for ever where the timeout is None."""

    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Tell whoever watches; the exchange goes on the same whether anybody does."""

    event: object


@dataclass(frozen=True, slots=True)
class AskPassword:
    """The peer wants a password."""

    device: str


@dataclass(frozen=True, slots=True)
class Progress:
    """An event: so many bytes of so many are through."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram and whence it came."""

    content: bytes
    source: Address


@dataclass(frozen=True, slots=True)
class Connected:
    """A TCP connection that arrived while datagrams were awaited, and whence it came."""

    source: Address


Effect: TypeAlias = Send | Receive | Sleep | Report | AskPassword

Result = TypeVar("Result")
StreamExchange: TypeAlias = Generator[Effect, "bytes | str | None", Result]
DatagramExchange: TypeAlias = Generator[Effect, "Datagram | Connected | str | None", Result]
