"""ESP8266WebServer and ESP8266HTTPUpdateServer, as far as an upload by browser needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from otaria.aio.driver import run_stream
from otaria.aio.streams import ByteStream
from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.protocols.web_upload import ESP32_PAGE, ESP8266_PAGE, Login, PageDialect, UploadRoom, WebUpdater
from otaria.sketch.board import Board
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["HTTPUpdateServer", "WebServer"]

MOST_WAITING: Final = 8
"""Connections kept while the board is busy; the core's listener has about as many."""

RESTART_DELAY_S: Final = 0.1
"""Between the last byte of the answer and the restart."""


class WebServer:
    """One request at a time, answered in :meth:`handle_client`."""

    def __init__(self, board: Board, port: int | None = None) -> None:
        self.board = board
        self._port = board.network.ports.web if port is None else port
        self._waiting: deque[ByteStream] = deque()
        self.page: WebUpdater | None = None

    async def begin(self) -> None:
        """Start to listen.

        Raises:
            PortTaken: another program has the port.
        """
        await self.board.listen(self._port, self._arrived)

    def _arrived(self, stream: ByteStream) -> None:
        if len(self._waiting) == MOST_WAITING:
            stream.abandon()
            return
        self._waiting.append(stream)
        self.board.activity.set()

    async def handle_client(self) -> None:
        """Answer one request if one waits; an upload happens in here as a whole, and so does its restart."""
        if not self._waiting or self.page is None:
            return
        stream = self._waiting.popleft()
        restart = False
        try:
            room = _upload_room(self.board)
            restart = await run_stream(self.page.serve(room), stream, self.board.surroundings(_unwatched))
            if restart:
                await self.board.delay(RESTART_DELAY_S)
        finally:
            await stream.close()
        if self._waiting:
            self.board.activity.set()
        if restart:
            self.board.esp.restart()


def _unwatched(_event: object) -> None:
    """The page reports progress to nobody."""


def _upload_room(board: Board) -> UploadRoom:
    """What the library begins an upload with, since the browser's size is not used (protocols §3.1)."""
    free_less_a_sector = (board.machine.free_sketch_space - SECTOR_SIZE) // SECTOR_SIZE * SECTOR_SIZE
    return UploadRoom(sketch=free_less_a_sector, file_system=board.file_system_size)


class HTTPUpdateServer:
    """The page with the two upload forms."""

    def __init__(self, *, running: Callable[[], str] = lambda: "a sketch") -> None:
        self._running = running

    def setup(self, server: WebServer, path: str = "/update", user: str = "", password: str = "") -> None:
        """Put the page on a server; a login is asked for only where user and password are both given."""
        server.page = WebUpdater(
            server.board.machine.updater,
            name=server.board.name,
            running=self._running(),
            path=path,
            login=Login(user, password),
            dialect=_dialect_of(server.board.machine),
        )


def _dialect_of(machine: Machine | Esp32Machine) -> PageDialect:
    if isinstance(machine, Machine):
        return ESP8266_PAGE
    return replace(ESP32_PAGE, checks_origin=machine.core.behaviour.checks_origin)
