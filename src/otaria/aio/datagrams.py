"""A UDP socket whose arrivals wait in a queue."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final, Self

from otaria.aio.link import GOOD_LINK, Link
from otaria.aio.reasons import os_reason
from otaria.errors import PortTaken
from otaria.protocols.exchange import Address, Connected, Datagram

__all__ = ["DatagramSocket"]

LONGEST_QUEUE: Final = 64
"""Datagrams kept while nobody reads. A device holds one; more than a few in a row are a flood or a mistake."""


class DatagramSocket(asyncio.DatagramProtocol):
    """Send and receive datagrams; :meth:`open` makes one.

    Args:
        link: how bad the network is, both ways.
        chance: decides what happens to which datagram.

    Attributes:
        on_arrival: called whenever something has arrived.
    """

    def __init__(self, link: Link = GOOD_LINK, chance: random.Random | None = None) -> None:
        self._link = link
        self._chance = chance or random.Random(0)  # noqa: S311 - a bad link must be repeatable, not secret
        self._arrived: asyncio.Queue[Datagram | Connected] = asyncio.Queue(LONGEST_QUEUE)
        self.transport: asyncio.DatagramTransport | None = None
        self._closed = asyncio.Event()
        self.on_arrival: Callable[[], None] | None = None

    @classmethod
    async def open(cls, address: Address, *, link: Link = GOOD_LINK, chance: random.Random | None = None) -> Self:
        """Bind to an address; port 0 takes any that is free.

        Raises:
            PortTaken: another program has it, or the address is not this machine's.
        """
        try:
            transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: cls(link, chance), local_addr=address
            )
        except OSError as error:
            raise PortTaken(
                f"Cannot listen on UDP {address[0]}:{address[1]}: {os_reason(error)}. Choose another address or port."
            ) from error
        protocol.transport = transport
        return protocol

    @property
    def address(self) -> Address:
        """Where it is bound."""
        host, port = self._open_transport().get_extra_info("sockname")[:2]
        return str(host), int(port)

    def send(self, content: bytes, to: Address) -> None:
        """Hand a datagram to the network, which may lose it."""
        self._travel(lambda: self._open_transport().sendto(content, to))

    async def receive(self, timeout_s: float | None) -> Datagram | Connected | None:
        """The next arrival, or None where none comes in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._arrived.get()
        except TimeoutError:
            return None

    def announce(self, connected: Connected) -> None:
        """Put a connection that arrived elsewhere among the datagrams."""
        self._put(connected)

    def discard(self) -> None:
        """Throw away what has arrived and was not read."""
        while not self._arrived.empty():
            self._arrived.get_nowait()

    async def close(self) -> None:
        """Free the port, and return once it is free."""
        self._open_transport().close()
        await self._closed.wait()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002, D102 - asyncio's own contract
        self._closed.set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: D102 - asyncio's own contract
        self._travel(lambda: self._put(Datagram(data, (addr[0], addr[1]))))

    def error_received(self, exc: Exception) -> None:
        """An ICMP answer, such as "nobody listens there": the same to an exchange as silence."""

    def _travel(self, arrive: Callable[[], None]) -> None:
        """Let it arrive at once on a good link; never, twice or later on a bad one."""
        if self._link is GOOD_LINK:
            arrive()
            return
        for seconds in self._link.travel_times(self._chance):
            asyncio.get_running_loop().call_later(seconds, self._unless_closed, arrive)

    def _unless_closed(self, arrive: Callable[[], None]) -> None:
        if not self._open_transport().is_closing():
            arrive()

    def _put(self, arrival: Datagram | Connected) -> None:
        if not self._arrived.full():
            self._arrived.put_nowait(arrival)
        if self.on_arrival is not None:
            self.on_arrival()

    def _open_transport(self) -> asyncio.DatagramTransport:
        if self.transport is None:
            raise RuntimeError("The datagram socket was never opened.")
        return self.transport
