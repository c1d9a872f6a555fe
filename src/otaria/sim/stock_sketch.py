"""The sketch that virtual devices run: all three ways of the documentation at once, as people combine them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from otaria.protocols.arduino_push import OtaError
from otaria.protocols.http_pull import HttpUpdateResult
from otaria.protocols.web_upload import Login
from otaria.sketch.arduino_ota import ArduinoOTA
from otaria.sketch.board import Board, Sketch
from otaria.sketch.http_update import ESPhttpUpdate
from otaria.sketch.mdns import MDNS
from otaria.sketch.web_server import HTTPUpdateServer, WebServer

__all__ = ["Poll", "StockSettings", "StockSketch"]


@dataclass(frozen=True, slots=True)
class Poll:
    """Where to ask for updates, and how often.

    Args:
        url: the server's address.
        every_s: real seconds between two polls; the first one comes at once.
    """

    url: str
    every_s: float


@dataclass(frozen=True, slots=True)
class StockSettings:
    """What the sketch was written with.

    Args:
        ota_password: demanded from who pushes; None for nobody.
        login: demanded from who opens the page; None for nobody.
        poll: the server to ask; None for no polls.
        mdns: announce the board on its network.
    """

    ota_password: str | None = None
    login: Login | None = None
    poll: Poll | None = None
    mdns: bool = False


class StockSketch(Sketch):
    """ArduinoOTA, HTTPUpdateServer and ESPhttpUpdate in one ``loop``.

    Args:
        board: what it runs on.
        settings: what it was written with.
    """

    def __init__(self, board: Board, settings: StockSettings) -> None:
        super().__init__(board)
        self._settings = settings
        self._ota = ArduinoOTA(board)
        self._web = WebServer(board)
        self._pull = ESPhttpUpdate(board)
        self._next_poll = 0.0
        self._percent_shown = -1

    async def setup(self) -> None:
        """Announce the version and open all doors."""
        self.board.print(f"{self.board.name} runs {self.board.version}\n")
        if self._settings.mdns:
            mdns = MDNS(self.board)
            await mdns.begin(self.board.name)
            await mdns.enable_arduino(self.board.network.ports.ota, auth=self._settings.ota_password is not None)
        self._ota.on_start(lambda: self.board.print("OTA: start\n"))
        self._ota.on_end(lambda: self.board.print("OTA: end\n"))
        self._ota.on_progress(self._show_progress)
        self._ota.on_error(self._show_error)
        if self._settings.ota_password is not None:
            self._ota.set_password(self._settings.ota_password)
        await self._ota.begin()
        login = self._settings.login or Login("", "")
        page = HTTPUpdateServer(running=lambda: self.board.version)
        page.setup(self._web, user=login.user, password=login.password)
        await self._web.begin()
        self.board.print("ready\n")

    async def loop(self) -> None:
        """Look at each door in turn."""
        await self._ota.handle()
        await self._web.handle_client()
        if self._settings.poll is not None:
            await self._poll(self._settings.poll)

    async def _poll(self, poll: Poll) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._next_poll:
            return
        self._next_poll = now + poll.every_s
        self.board.wake_after(poll.every_s)
        result = await self._pull.update(poll.url, self.board.version)
        if result is HttpUpdateResult.FAILED:
            error, text = self._pull.get_last_error(), self._pull.get_last_error_string()
            self.board.print(f"HTTP update failed: error ({error}): {text}\n")

    def _show_progress(self, done: int, total: int) -> None:
        """A line per quarter, so that a long transfer does not flood the monitor."""
        percent = done * 100 // total // 25 * 25 if total else 100
        if percent != self._percent_shown:
            self._percent_shown = percent
            self.board.print(f"OTA: {percent} %\n")

    def _show_error(self, error: OtaError) -> None:
        self.board.print(f"OTA: error {int(error)} ({error.name.lower()})\n")
