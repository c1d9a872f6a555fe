"""TCP connections as exchanges see them: bytes, an end, or silence."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final, assert_never

from otaria.aio.link import StreamFault, StreamTrouble
from otaria.aio.reasons import os_reason
from otaria.errors import PortTaken, Unreachable
from otaria.protocols.exchange import Address

__all__ = ["ByteStream", "Listener", "connect", "listen"]

LARGEST_READ: Final = 64 * 1024
"""Bytes given to an exchange at once."""

CLOSE_TIMEOUT_S: Final = 2.0
"""How long a peer may take to acknowledge the last bytes; the ESP8266 web server waits as long."""


class ByteStream:
    """One connection.

    Args:
        reader: asyncio's half to read.
        writer: asyncio's half to write.
        fault: what goes wrong with it, if anything.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: StreamFault | None = None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._fault = fault
        self._received = 0
        raw = writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def abandon(self) -> None:
        """Close at once, without a word and without waiting."""
        self._writer.transport.abort()

    @property
    def peer(self) -> Address:
        """The other end's address."""
        name = self._writer.get_extra_info("peername")
        return (str(name[0]), int(name[1])) if name else ("?", 0)

    async def send(self, content: bytes) -> None:
        """Send bytes. A peer that is gone shows at the next :meth:`receive`, as the end of the stream."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(content)
            await self._writer.drain()

    async def receive(self, timeout_s: float | None) -> bytes | None:
        """The next bytes; ``b""`` once the peer has closed or is gone, None at the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._receive()
        except TimeoutError:
            return None
        except ConnectionError:
            return b""

    async def _receive(self) -> bytes:
        if self._fault is None:
            return await self._reader.read(LARGEST_READ)
        before = self._fault.after - self._received
        if before <= 0:
            return await self._receive_in_trouble(self._fault.trouble)
        content = await self._reader.read(min(before, LARGEST_READ))
        self._received += len(content)
        return content

    async def _receive_in_trouble(self, trouble: StreamTrouble) -> bytes:
        match trouble:
            case StreamTrouble.STALL:
                await asyncio.get_running_loop().create_future()
                return b""
            case StreamTrouble.CLOSE:
                return b""
            case StreamTrouble.SURPLUS:
                return 2 * await self._reader.read(LARGEST_READ)
            case _:
                assert_never(trouble)

    async def close(self) -> None:
        """Say goodbye, and give the peer a moment to take the last bytes."""
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()


async def connect(address: Address, timeout_s: float, fault: StreamFault | None = None) -> ByteStream:
    """Open a connection.

    Raises:
        Unreachable: nobody accepts there, or not in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return ByteStream(*await asyncio.open_connection(*address), fault)
    except (OSError, TimeoutError) as error:
        raise Unreachable(
            f"Cannot connect to {address[0]}:{address[1]}: {os_reason(error)}. Is the device switched on, on this "
            "network, and is that its address and port?"
        ) from error


class Listener:
    """A listening TCP socket and where it listens."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    @property
    def address(self) -> Address:
        """The address and port that it got."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    def close(self) -> None:
        """Accept nobody any more; connections that are open stay so."""
        self._server.close()


@contextlib.asynccontextmanager
async def listen(
    address: Address, arrived: Callable[[ByteStream], None], fault: StreamFault | None = None
) -> AsyncIterator[Listener]:
    """Listen while the context lasts; ``arrived`` is called with each connection and owns it from then on.

    Raises:
        PortTaken: another program has the port, or the address is not this machine's.
    """

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived(ByteStream(reader, writer, fault))

    try:
        server = await asyncio.start_server(accepted, *address)
    except OSError as error:
        raise PortTaken(
            f"Cannot listen on {address[0]}:{address[1]}: {os_reason(error)}. Choose another address or port."
        ) from error
    try:
        yield Listener(server)
    finally:
        server.close()
