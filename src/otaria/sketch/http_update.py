"""ESPhttpUpdate: the library that polls a server, with the calls of the original in Python spelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otaria.aio.driver import run_stream
from otaria.errors import Unreachable
from otaria.protocols.exchange import Progress
from otaria.protocols.http_pull import (
    TIMEOUT_S,
    HttpError,
    HttpUpdateResult,
    PullOutcome,
    Room,
    Url,
    fetch_update,
)
from otaria.sketch.board import Board
from otaria.units import MacAddress
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode

__all__ = ["ESPhttpUpdate"]

SDK_VERSION: Final = "2.2.2-dev(38a443e)"
"""What core 3.1 reports."""

_ACCESS_POINT_BIT: Final = 0x02
"""The access point's MAC is the station's with the locally-administered bit set."""


def _nothing(*_arguments: object) -> None:
    """The call-back of a sketch that set none."""


class ESPhttpUpdate:
    """Call :meth:`update` whenever it is time to ask."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._reboot = True
        self._outcome = PullOutcome(HttpUpdateResult.NO_UPDATES)
        self._started = False
        self._start: Callable[[], None] = _nothing
        self._end: Callable[[], None] = _nothing
        self._progress: Callable[[int, int], None] = _nothing
        self._error: Callable[[int], None] = _nothing

    def reboot_on_update(self, *, reboot: bool) -> None:
        """Whether to restart by itself after a sketch was installed."""
        self._reboot = reboot

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
        url = Url.parse(text)
        self._started = False
        try:
            stream = await self._board.connect(url.address, TIMEOUT_S)
        except Unreachable:
            error = HttpError.CONNECTION_FAILED
            self._outcome = PullOutcome(HttpUpdateResult.FAILED, error, "HTTP error: connection failed")
            return self._conclude()
        machine = self._board.machine
        exchange = fetch_update(url, self._check_in(mode, current_version), self._room(), machine.updater)
        try:
            self._outcome = await run_stream(exchange, stream, self._board.surroundings(self._report))
        finally:
            await stream.close()
        return self._conclude()

    def _check_in(self, mode: Mode, current_version: str) -> CheckIn:
        machine = self._board.machine
        return CheckIn(
            family=ChipFamily.ESP8266,
            mac=machine.mac,
            ap_mac=_access_point(machine.mac),
            mode=mode,
            free_space=machine.free_sketch_space,
            sketch_size=machine.sketch_size,
            sketch_md5=machine.sketch_md5,
            chip_size=machine.real_size,
            sdk_version=SDK_VERSION,
            version=current_version or None,
        )

    def _room(self) -> Room:
        machine = self._board.machine
        return Room(machine.free_sketch_space, machine.layout.file_system_size, machine.real_size)

    def _report(self, event: object) -> None:
        if not isinstance(event, Progress):
            return
        if not self._started:
            self._started = True
            self._start()
        self._progress(event.done, event.total)

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


def _access_point(mac: MacAddress) -> str:
    return f"{int(mac[:2], 16) | _ACCESS_POINT_BIT:02X}{mac[2:]}"
