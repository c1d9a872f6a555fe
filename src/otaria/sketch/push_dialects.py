"""How the two cores' ArduinoOTA libraries wait for a push and take it (protocols §1.3, §1.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from otaria.aio.datagrams import DatagramSocket
from otaria.aio.driver import run_datagrams
from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.protocols import arduino_push, esp32_push
from otaria.protocols.arduino_push import Invited, OtaError
from otaria.protocols.esp32_push import Invitations, Protection
from otaria.protocols.exchange import DatagramExchange, StreamExchange
from otaria.sketch.board import Board

__all__ = ["Esp32Push", "Esp8266Push", "PushDialect"]


class PushDialect(Protocol):
    """What ArduinoOTA leaves to the core it was built with."""

    async def next_invitation(self) -> Invited | None:
        """An invitation to follow now, if there is one; called by each ``handle()``."""
        ...

    def begin(self, invited: Invited) -> DatagramExchange[bool]:
        """Begin the update, and answer as far as this core does."""
        ...

    def receive(self, size: int) -> StreamExchange[bool]:
        """Take the image from the host."""
        ...

    @property
    def failure(self) -> OtaError | None:
        """What the library has still to report where the image was not installed."""
        ...

    @property
    def pause_after_close_s(self) -> float:
        """What the library waits once it has closed the connection."""
        ...

    def rest(self) -> None:
        """Wait for the next invitation."""
        ...


class Esp8266Push:
    """Invitations are read as they arrive, even while ``loop()`` is busy; ``handle()`` follows them."""

    failure = OtaError.END
    pause_after_close_s = 0.0

    def __init__(
        self,
        board: Board,
        machine: Machine,
        socket: DatagramSocket,
        stored_password: str | None,
        report: Callable[[object], None],
    ) -> None:
        self._board = board
        self._machine = machine
        self._socket = socket
        self._stored_password = stored_password
        self._report = report
        self._invited: Invited | None = None
        self.rest()

    async def next_invitation(self) -> Invited | None:
        """The one that the receive call-back has let in."""
        invited, self._invited = self._invited, None
        return invited

    def begin(self, invited: Invited) -> DatagramExchange[bool]:
        """Begin, then answer; cores up to 2.3 the other way round."""
        after = self._machine.core.behaviour.answers_after_begin
        return arduino_push.begin_update(invited, self._machine.updater, answers_after_begin=after)

    def receive(self, size: int) -> StreamExchange[bool]:
        """Take the image, with the pauses of this core."""
        behaviour = self._machine.core.behaviour
        return arduino_push.receive_image(
            size,
            self._machine.updater,
            pause_before_ok_s=behaviour.pause_before_ok_ms / 1000,
            pause_after_ok_s=behaviour.pause_after_ok_ms / 1000,
        )

    def rest(self) -> None:
        """Whatever came during an update is thrown away."""
        self._socket.discard()
        self._board.in_background(self._listen())

    async def _listen(self) -> None:
        exchange = arduino_push.await_invitation(self._stored_password, self._board.micros)
        self._invited = await run_datagrams(exchange, self._socket, self._board.surroundings(self._report))
        self._board.activity.set()


class Esp32Push:
    """Each ``handle()`` reads one datagram; an update that was agreed upon runs in the next."""

    failure = None  # the exchange reports END itself
    pause_after_close_s = esp32_push.CLOSE_DELAY_S

    def __init__(
        self,
        board: Board,
        machine: Esp32Machine,
        socket: DatagramSocket,
        protection: Protection | None,
        report: Callable[[object], None],
    ) -> None:
        self._board = board
        self._machine = machine
        self._socket = socket
        self._report = report
        self._agreed: Invited | None = None
        self._invitations = Invitations(protection, board.micros, machine.core.behaviour.push_commands)
        socket.on_arrival = board.activity.set

    async def next_invitation(self) -> Invited | None:
        """The one agreed upon in the last call; else one datagram is read and answered."""
        agreed, self._agreed = self._agreed, None
        if agreed is None:
            around = self._board.surroundings(self._report)
            self._agreed = await run_datagrams(self._invitations.handle(), self._socket, around)
            self._socket.discard()
            if self._agreed is not None:
                self._board.activity.set()
        return agreed

    def begin(self, invited: Invited) -> DatagramExchange[bool]:
        """Begin, and say nothing."""
        return esp32_push.begin_update(invited, self._machine.updater)

    def receive(self, size: int) -> StreamExchange[bool]:
        """Take the image in passes of one segment."""
        return esp32_push.receive_image(size, self._machine.updater)

    def rest(self) -> None:
        """Whatever came during an update is thrown away."""
        self._socket.discard()
