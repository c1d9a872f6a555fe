"""Images on their way to devices: sent in pieces, and kept as delivered only when they were."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from litestar.types import Receive, Scope, Send

from otaria.server.connection import DeviceConnection
from otaria.units import KIB, ByteCount, MacAddress

__all__ = ["Download", "Downloads", "ImageBody"]

PIECE: Final = 64 * KIB
"""Bytes read and sent at a time: what uvicorn buffers of a connection before it waits for the device."""

PATIENCE_S: Final = 5.0
"""How long a new poll waits for the last download of its device to be written down. A device's patience is 8 s."""

Ended = Callable[[bool], Awaitable[None]]
"""Is told at the end whether the device took everything."""


@dataclass(eq=False, slots=True)
class Download:
    """One image on its way."""

    connection: DeviceConnection
    wholly_sent: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Downloads:
    """The downloads under way, by device.

    A device asks for one thing at a time. When one polls whose download was just sent to the last byte, that download
    is over, and its end must be known before the poll is decided: else a fast device would get a file system twice.
    """

    def __init__(self) -> None:
        self._by_device: dict[MacAddress, set[Download]] = {}

    async def settled(self, mac: MacAddress) -> None:
        """Wait until what was wholly sent to this device is written down."""
        over = [download for download in self._by_device.get(mac, ()) if download.wholly_sent]
        for download in over:
            download.connection.hurry()
        try:
            async with asyncio.timeout(PATIENCE_S):
                for download in over:
                    await download.ended.wait()
        except TimeoutError:
            pass  # then the poll is decided by what is known

    def begin(self, mac: MacAddress, connection: DeviceConnection) -> Download:
        """A download begins."""
        download = Download(connection)
        self._by_device.setdefault(mac, set()).add(download)
        return download

    def end(self, mac: MacAddress, download: Download) -> None:
        """A download is over and written down."""
        download.ended.set()
        of_device = self._by_device[mac]
        of_device.discard(download)
        if not of_device:
            del self._by_device[mac]


@dataclass(frozen=True, slots=True)
class ImageBody:
    """The 200 that brings an image; an ASGI application.

    Args:
        headers: of the answer, ``Content-Length`` among them.
        file: the body; closed at the end.
        size: of the body.
        downloads: where to keep track of it.
        mac: the device that gets it; None where it is a person, of whom nothing is kept.
        ended: what to do at the end.
    """

    headers: list[tuple[str, str]]
    file: BinaryIO
    size: ByteCount
    downloads: Downloads
    mac: MacAddress | None
    ended: Ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it."""
        connection: DeviceConnection = scope["state"]["connection"]
        with self.file:
            await send({"type": "http.response.start", "status": 200, "headers": _encoded(self.headers)})
            if self.mac is None:
                await self._send_pieces(Download(connection), send)
            else:
                await self._deliver(self.mac, connection, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _deliver(self, mac: MacAddress, connection: DeviceConnection, send: Send) -> None:
        download = self.downloads.begin(mac, connection)
        try:
            await self._send_pieces(download, send)
            taken = download.wholly_sent and await connection.finish()
            await self.ended(taken)
        finally:
            self.downloads.end(mac, download)

    async def _send_pieces(self, download: Download, send: Send) -> None:
        """Send the body, piece after piece, until the end or until nobody is there any more."""
        left = self.size
        while left and not download.connection.is_lost:
            piece = await asyncio.to_thread(self.file.read, PIECE)
            left = ByteCount(left - len(piece))
            # Before the last piece leaves: whoever has it may be back before this task runs again.
            download.wholly_sent = left == 0
            await send({"type": "http.response.body", "body": piece, "more_body": True})


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Header lines for ASGI. The connection is closed after an image, which tells how it ended."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in [*headers, ("Connection", "close")]]
