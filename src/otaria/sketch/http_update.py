"""ESPhttpUpdate: the library that polls a server, with the calls of the original in Python spelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otaria.aio.driver import run_stream
from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.errors import Unreachable
from otaria.protocols.exchange import Progress
from otaria.protocols.http_pull import (
    TIMEOUT_S,
    FollowRedirects,
    HttpUpdateResult,
    ImageOffered,
    PullOutcome,
    PullSettings,
    Room,
    Url,
    fetch_update,
    not_connected,
)
from otaria.sketch.board import Board
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode

__all__ = ["ESPhttpUpdate"]

SDK_VERSION: Final = "2.2.2-dev(38a443e)"
"""What an ESP8266 with core 3.1 reports."""

ESP32_SDK_VERSION: Final = "v5.5.1"
"""What an ESP32 with core 3.3 reports."""


def _nothing(*_arguments: object) -> None:
    """The call-back of a sketch that set none."""


class ESPhttpUpdate:
    """Call :meth:`update` whenever it is time to ask."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._reboot = True
        self._outcome = PullOutcome(HttpUpdateResult.NO_UPDATES)
        self._login = ("", "")
        self._follow = FollowRedirects.DISABLED
        self._start: Callable[[], None] = _nothing
        self._end: Callable[[], None] = _nothing
        self._progress: Callable[[int, int], None] = _nothing
        self._error: Callable[[int], None] = _nothing

    def reboot_on_update(self, *, reboot: bool) -> None:
        """Whether to restart by itself after a sketch was installed."""
        self._reboot = reboot

    def set_authorization(self, user: str, password: str) -> None:
        """Send this login with each request; without effect where one of the two is empty."""
        self._login = (user, password)

    def set_follow_redirects(self, follow: FollowRedirects) -> None:
        """Whether to go where a server sends the board; off by default, as in the original."""
        self._follow = follow

    def on_start(self, call_back: Callable[[], None]) -> None:
        """Called when an image is on its way, before anything is written."""
        self._start = call_back

    def on_end(self, call_back: Callable[[], None]) -> None:
        """Called when an image is installed, before the restart."""
        self._end = call_back

    def on_error(self, call_back: Callable[[int], None]) -> None:
        """Called with :meth:`get_last_error` when a poll or an update fails."""
        self._error = call_back

    def on_progress(self, call_back: Callable[[int, int], None]) -> None:
        """Called with bytes received and bytes announced."""
        self._progress = call_back

    def get_last_error(self) -> int:
        """0, a negative number of this library, or a positive one of the Updater."""
        return self._outcome.error

    def get_last_error_string(self) -> str:
        """The same in words."""
        return self._outcome.message

    async def update(self, url: str, current_version: str = "") -> HttpUpdateResult:
        """Ask for a newer sketch and install it; by default the board restarts then and nothing returns."""
        result = await self._poll(url, Mode.SKETCH, current_version)
        if result is HttpUpdateResult.OK and self._reboot:
            self._board.esp.restart()
        return result

    async def update_fs(self, url: str, current_version: str = "") -> HttpUpdateResult:
        """Ask for a newer file system and write it in place."""
        return await self._poll(url, Mode.FILESYSTEM, current_version)

    async def get_available_version(self, url: str, current_version: str = "") -> str | None:
        """Ask which version is offered; None where there is nothing new or nobody says."""
        await self._poll(url, Mode.VERSION, current_version)
        return self._outcome.version

    async def _poll(self, text: str, mode: Mode, current_version: str) -> HttpUpdateResult:
        url: Url | None = Url.parse(text).authorized(*self._login)
        followed = 0
        check_in = self._check_in(mode, current_version)
        while url is not None:
            self._outcome = await self._ask(url, check_in, followed)
            url, followed = self._outcome.redirect, followed + 1
        return self._conclude()

    async def _ask(self, url: Url, check_in: CheckIn, followed: int) -> PullOutcome:
        try:
            stream = await self._board.connect(url.address, TIMEOUT_S)
        except Unreachable:
            return not_connected(check_in.family)
        updater = self._board.machine.updater
        exchange = fetch_update(url, check_in, self._room(), updater, self._settings(), followed)
        try:
            return await run_stream(exchange, stream, self._board.surroundings(self._report))
        finally:
            await stream.close()

    def _settings(self) -> PullSettings:
        """What the sketch has set, and what its core can."""
        machine = self._board.machine
        if not isinstance(machine, Machine):
            return PullSettings(follow=self._follow)
        behaviour = machine.core.behaviour
        return PullSettings(
            follow=self._follow,
            flash_map=machine.flash_map,
            takes_gzip=behaviour.takes_gzip,
            sends_chip_id=behaviour.sends_chip_id,
            sends_sketch_md5=behaviour.sends_sketch_md5,
        )

    def _check_in(self, mode: Mode, current_version: str) -> CheckIn:
        machine = self._board.machine
        esp32 = machine if isinstance(machine, Esp32Machine) else None
        sha256 = None if esp32 is None else esp32.sketch_sha256
        return CheckIn(
            family=ChipFamily.ESP8266 if esp32 is None else ChipFamily.ESP32,
            mac=machine.mac,
            ap_mac=None if esp32 is None else esp32.ap_mac,
            mode=mode,
            free_space=machine.free_sketch_space,
            sketch_size=machine.sketch_size,
            sketch_md5=machine.sketch_md5,
            sketch_sha256=None if sha256 is None else sha256.upper(),
            chip_size=machine.real_size,
            sdk_version=SDK_VERSION if esp32 is None else ESP32_SDK_VERSION,
            version=current_version or None,
        )

    def _room(self) -> Room:
        machine = self._board.machine
        return Room(machine.free_sketch_space, self._board.file_system_size, machine.real_size)

    def _report(self, event: object) -> None:
        match event:
            case ImageOffered():
                self._start()
            case Progress(done, total):
                self._progress(done, total)
            case _:
                pass

    def _conclude(self) -> HttpUpdateResult:
        """Call back for what came of it."""
        match self._outcome.result:
            case HttpUpdateResult.OK:
                self._end()
            case HttpUpdateResult.FAILED:
                self._error(self._outcome.error)
            case HttpUpdateResult.NO_UPDATES:
                pass
        return self._outcome.result
