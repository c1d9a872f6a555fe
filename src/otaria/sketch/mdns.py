"""``MDNS``: how a board tells its network what it is called and what it offers (protocols §1.7)."""

from __future__ import annotations

import ipaddress
from typing import Final

from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from otaria.sketch.board import Board

__all__ = ["MDNS"]

BOARD_ID: Final = "OTARIA_VIRTUAL"
"""What the ``board`` key says; a real one says ``nodemcuv2`` and the like."""


class MDNS:
    """Call :meth:`begin` in ``setup``, then announce services; nothing is heard of the board without it."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._zeroconf: AsyncZeroconf | None = None
        self._hostname = board.name

    async def begin(self, hostname: str) -> bool:
        """Claim a name on the board's own network interface."""
        self._hostname = hostname.lower()
        self._zeroconf = AsyncZeroconf(interfaces=[self._board.network.address])
        self._board.keep(self._zeroconf.async_close)
        return True

    async def add_service(self, service: str, protocol: str, port: int, texts: dict[str, str] | None = None) -> bool:
        """Announce a service, such as ``http`` over ``tcp``; False before :meth:`begin`."""
        if self._zeroconf is None:
            return False
        kind = f"_{service}._{protocol}.local."
        await self._zeroconf.async_register_service(self._service(kind, port, texts or {}), strict=False)
        return True

    async def enable_arduino(self, port: int, *, auth: bool = False) -> bool:
        """Announce ArduinoOTA on a UDP port, as the IDE looks for it; False before :meth:`begin`."""
        texts = {
            "tcp_check": "no",
            "ssh_upload": "no",
            "board": BOARD_ID,
            "auth_upload": "yes" if auth else "no",
        }
        return await self.add_service("arduino", "tcp", port, texts)

    def _service(self, kind: str, port: int, texts: dict[str, str]) -> ServiceInfo:
        return ServiceInfo(
            kind,
            f"{self._hostname}.{kind}",
            port=port,
            properties=texts,
            server=f"{self._hostname}.local.",
            addresses=[ipaddress.IPv4Address(self._board.network.address).packed],
        )
