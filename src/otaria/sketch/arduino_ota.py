"""ArduinoOTA: the library that waits for pushes, with the calls of the original in Python spelling."""

from __future__ import annotations

from collections.abc import Callable

from otaria.aio.datagrams import DatagramSocket
from otaria.aio.driver import run_datagrams, run_stream
from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.errors import Unreachable
from otaria.protocols.arduino_push import Invited, OtaError
from otaria.protocols.esp32_push import Protection
from otaria.protocols.exchange import Progress
from otaria.sketch.board import Board
from otaria.sketch.push_dialects import Esp32Push, Esp8266Push, PushDialect
from otaria.wire.arduino_ota import Command, stored_password

__all__ = ["ArduinoOTA"]

CONNECT_TIMEOUT_S = 5.0
"""The WiFiClient's default."""


def _nothing(*_arguments: object) -> None:
    """The call-back of a sketch that set none."""


class ArduinoOTA:
    """Call :meth:`begin` in ``setup`` and :meth:`handle` in ``loop``."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._port = board.network.ports.ota
        self._hostname = board.name
        self._stored_password: str | None = None
        self._reboot_on_success = True
        self._socket: DatagramSocket | None = None
        self._password: str | None = None
        self._dialect: PushDialect | None = None
        self._command = Command.FLASH
        self._start: Callable[[], None] = _nothing
        self._end: Callable[[], None] = _nothing
        self._progress: Callable[[int, int], None] = _nothing
        self._error: Callable[[OtaError], None] = _nothing

    def set_port(self, port: int) -> None:
        """Listen on this UDP port instead of the board's own."""
        if self._socket is None:
            self._port = port

    def set_hostname(self, name: str) -> None:
        """Be called this."""
        if self._socket is None:
            self._hostname = name

    def set_password(self, password: str) -> None:
        """Demand a password. Ignored after :meth:`begin`, or where one is set already."""
        if self._socket is None and self._stored_password is None:
            self._password = password
        self.set_password_hash(stored_password(password))

    def set_password_hash(self, digest: str) -> None:
        """Demand the password whose MD5 this is, in lower-case hexadecimal."""
        if self._socket is None and self._stored_password is None:
            self._stored_password = digest

    def set_reboot_on_success(self, *, reboot: bool) -> None:
        """Whether to restart by itself after an update."""
        self._reboot_on_success = reboot

    def on_start(self, call_back: Callable[[], None]) -> None:
        """Called when an update begins: bring the device into a safe state here."""
        self._start = call_back

    def on_end(self, call_back: Callable[[], None]) -> None:
        """Called when an update is installed, before the restart."""
        self._end = call_back

    def on_progress(self, call_back: Callable[[int, int], None]) -> None:
        """Called with bytes received and bytes announced."""
        self._progress = call_back

    def on_error(self, call_back: Callable[[OtaError], None]) -> None:
        """Called when an update fails."""
        self._error = call_back

    def get_hostname(self) -> str:
        """The name that was set, or the board's."""
        return self._hostname

    def get_command(self) -> Command:
        """What the last invitation offered: a sketch or a file system."""
        return self._command

    async def begin(self) -> None:
        """Start to listen.

        Raises:
            PortTaken: another program has the port.
        """
        self._socket = await self._board.open_datagrams(self._port)
        self._dialect = self._dialect_of(self._board.machine, self._socket)

    def _dialect_of(self, machine: Machine | Esp32Machine, socket: DatagramSocket) -> PushDialect:
        if isinstance(machine, Machine):
            return Esp8266Push(self._board, machine, socket, self._stored_password, self._report)
        return Esp32Push(self._board, machine, socket, self._protection(machine), self._report)

    def _protection(self, machine: Esp32Machine) -> Protection | None:
        scheme = machine.core.behaviour.password_scheme
        if self._password is not None:
            return Protection.by_password(self._password, scheme)
        return None if self._stored_password is None else Protection.by_hash(self._stored_password, scheme)

    async def handle(self) -> None:
        """Follow an invitation if one has come; the whole update happens in here."""
        if self._dialect is None or self._socket is None:
            return
        invited = await self._dialect.next_invitation()
        if invited is None:
            return
        around = self._board.surroundings(self._report)
        if await run_datagrams(self._dialect.begin(invited), self._socket, around):
            self._command = Command(invited.invitation.command)
            await self._update(invited, self._dialect)
        self._dialect.rest()

    async def _update(self, invited: Invited, dialect: PushDialect) -> None:
        size = invited.invitation.size
        self._start()
        self._progress(0, size)
        if not await self._receive(invited, dialect):
            return
        self._end()
        if self._reboot_on_success:
            await self._board.delay(0.1)
            self._board.esp.restart()

    async def _receive(self, invited: Invited, dialect: PushDialect) -> bool:
        """Fetch the image; after a failed connection the library goes on to ``end()``, which then fails too."""
        host = (invited.host[0], invited.invitation.port)
        try:
            stream = await self._board.connect(host, CONNECT_TIMEOUT_S)
        except Unreachable:
            self._error(OtaError.CONNECT)
            self._board.machine.updater.end()
            self._error(OtaError.END)
            return False
        try:
            exchange = dialect.receive(invited.invitation.size)
            installed = await run_stream(exchange, stream, self._board.surroundings(self._report))
        finally:
            await stream.close()
        await self._board.delay(dialect.pause_after_close_s)
        if not installed and dialect.failure is not None:
            self._error(dialect.failure)
        return installed

    def _report(self, event: object) -> None:
        match event:
            case Progress(done, total):
                self._progress(done, total)
            case OtaError():
                self._error(event)
            case _:
                pass
