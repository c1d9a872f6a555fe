"""The connection of one device, and whether it took everything that was sent.

A server that hands bytes to its operating system knows nothing yet: there they lie until the network has taken them,
or for ever. A device shows by how it ends the connection what became of them. One that has read the whole body
closes in good order, and one that gave up resets the connection, because it leaves bytes unread. So our own side is
ended first, which is also what HTTP/1.0 wants, and then the device's end is awaited.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["DeviceConnection"]

LINGER_S: Final = 10.0
"""How long a device may take to close after the last byte. Verifying a signature takes it about a second."""

SETTLE_S: Final = 1.0
"""How long the last bytes may be under way once the device is known to be done: a few retransmissions."""

_LOOK_AGAIN_S: Final = 0.02
_INT: Final = struct.Struct("i")


class DeviceConnection(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which besides learns how a connection ends.

    Requests find it in their scope, as ``scope["state"]["connection"]``.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        """A device connected."""
        super().connection_made(transport)
        self._done = asyncio.Event()
        self._gone = asyncio.Event()

    def on_message_begin(self) -> None:
        """A request begins; it learns whose it is."""
        super().on_message_begin()
        self.scope["state"]["connection"] = self

    def eof_received(self) -> bool:  # type: ignore[override] # the base class always lets the transport close
        """The device closed its side. It may still be reading, so what is being answered is answered."""
        self._done.set()
        begun = self.cycle is not None  # the base class's type leaves out that it is None before the first request
        return begun and not self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, reset by the device or closed from here."""
        self._gone.set()
        self._done.set()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends; what is not yet sent still may be, but nobody waits for a polite end."""
        super().shutdown()
        self.hurry()

    @property
    def is_lost(self) -> bool:
        """Whether there is nobody left to send to."""
        return self._gone.is_set()

    def hurry(self) -> None:
        """Do not wait for the device to close: it is known to be done."""
        self._done.set()

    async def finish(self) -> bool:
        """End the connection after the last byte; True once the device has taken everything, False if it gave up."""
        if self.transport.is_closing():
            return False
        # Where the time is over, the device lost its power after the last byte, perhaps: it counts what arrived.
        with suppress(OSError, TimeoutError):
            self.transport.write_eof()
            async with asyncio.timeout(LINGER_S):
                await self._done.wait()
        arrived = await self._everything_arrived()
        self.transport.close()
        # uvicorn takes a connection that is gone for the end of the response, and what ends it for superfluous.
        await self._gone.wait()
        return arrived

    async def _everything_arrived(self) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_S
        while not self.is_lost and self._unacknowledged() and loop.time() < deadline:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_LOOK_AGAIN_S)
        # In this order: a reset that comes in between empties the queue, and then shows as an error.
        return not self.is_lost and not self._unacknowledged() and not self._reset()

    def _unacknowledged(self) -> int:
        """Bytes that the device's network stack has not acknowledged, as far as the system tells."""
        buffered = self.transport.get_write_buffer_size()
        return buffered + _kernel_queue(self.transport.get_extra_info("socket"))

    def _reset(self) -> bool:
        error: int = self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return error != 0


def _kernel_queue(connection: socket.socket) -> int:
    """Bytes of a connection that the kernel holds: sent but not acknowledged, or not even sent."""
    if sys.platform != "linux":
        return 0  # elsewhere the device's orderly close has to do
    import fcntl  # noqa: PLC0415 - there is none on Windows
    import termios  # noqa: PLC0415 - nor this

    queue: int = _INT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(_INT.size)))[0]
    return queue
