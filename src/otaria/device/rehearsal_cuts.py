"""Break an act off at any of its flash operations, without running it anew for each (docs/adr/0008).

The act runs once. Before each of its flash operations the machine can be cloned, and the clone be stopped in that very
operation: all that the program knew besides was in RAM, and that is lost by the stop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, TypeAlias

from otaria.device.flash import Interruption
from otaria.device.machine import BootOutcome, Machine, ResetReason
from otaria.device.rehearsal_timing import FlashOperation
from otaria.wire.esp_image import APP_OFFSET
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["DONE", "SHARES", "TORN", "Accident", "Apps", "Left", "Moment", "Tally", "start_again", "watch"]

Act: TypeAlias = Callable[[Machine], object]

TORN: Final = 0.5
"""Stopped in the middle of an operation."""

DONE: Final = 1.0
"""Stopped right after it, which is right before the next."""

SHARES: Final = (TORN, DONE)
"""How much of an operation is done when it is broken off. An act that has not begun has left nothing to look at."""

POWER_ON_NOISE: Final = bytes(range(256))
"""What RTC memory comes up with: no boot command."""


class Accident(Enum):
    """What breaks an act off."""

    POWER_LOST = "power lost"
    """RTC memory forgets the boot command."""
    RESET = "reset"
    """Reset pin or watchdog; RTC memory keeps it."""


class Left(StrEnum):
    """What an accident left of the device."""

    OLD = "old"
    """It runs what it ran before."""
    NEW = "new"
    """It runs the new image."""
    BRICKED = "bricked"
    """It runs neither, for ever, or it runs into a mixture of both."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often an accident left what.

    Args:
        old: the old sketch runs.
        new: the new one does.
        bricked: neither does.
    """

    old: int = 0
    new: int = 0
    bricked: int = 0

    @property
    def total(self) -> int:
        """All accidents."""
        return self.old + self.new + self.bricked


class Moment:
    """One flash operation, right before it happens. Of use only while :func:`watch` visits it.

    Attributes:
        number: which of the act's operations, from 0.
        operation: what is about to happen.
    """

    __slots__ = ("_content", "_machine", "number", "operation")

    def __init__(self, machine: Machine, number: int, offset: int, content: bytes | None) -> None:
        self.number = number
        self.operation = FlashOperation(offset, None if content is None else len(content))
        self._machine = machine
        self._content = content

    def broken_off(self, accident: Accident, share: float) -> Machine:
        """A machine that met the accident here and has not started again.

        Args:
            accident: which.
            share: how much of the operation is done by then, 0.0 to 1.0.
        """
        machine = self._machine.clone()
        flash = machine.flash
        arm = flash.lose_power_at if accident is Accident.POWER_LOST else flash.reset_at
        arm(0, share)
        with contextlib.suppress(Interruption):
            if self._content is None:
                flash.erase(self.operation.offset // SECTOR_SIZE)
            else:
                flash.write(self.operation.offset, self._content)
        return machine


def watch(machine: Machine, act: Act, visit: Callable[[Moment], object]) -> None:
    """Let a machine act, and visit every flash operation right before it happens."""
    number = 0

    def before_operation(offset: int, content: bytes | None) -> None:
        nonlocal number
        visit(Moment(machine, number, offset, content))
        number += 1

    machine.flash.before_operation = before_operation
    try:
        act(machine)
    finally:
        machine.flash.before_operation = None


def start_again(machine: Machine, accident: Accident) -> None:
    """What the owner does after an accident, until nothing changes any more.

    After a power cut that is to switch it on. After a reset it starts by itself, and if that wrote anything, a later
    power cycle shows whether it lasts. A start that writes nothing leads to the same the next time.
    """
    if accident is Accident.POWER_LOST:
        machine.power_on(POWER_ON_NOISE)
        return
    before = machine.flash.operations
    boot = machine.reset(ResetReason.EXTERNAL)
    if machine.flash.operations != before or boot.outcome is BootOutcome.HANGS:
        machine.power_on(POWER_ON_NOISE)


@dataclass(frozen=True, slots=True)
class Apps:
    """The app parts by which to tell what runs; they are what a device runs, whatever its boot part.

    Args:
        old: the image that ran before. Where both are the same, it is this one that is found.
        new: the image that was installed, unpacked.
    """

    old: bytes
    new: bytes

    def left(self, machine: Machine) -> Left:
        """What runs on a machine that was started."""
        if not machine.running:
            return Left.BRICKED
        if _has_app(machine, self.old):
            return Left.OLD
        return Left.NEW if _has_app(machine, self.new) else Left.BRICKED


def _has_app(machine: Machine, image: bytes) -> bool:
    app = image[APP_OFFSET:]
    return bool(app) and APP_OFFSET + len(app) <= machine.flash.size and machine.flash.read(APP_OFFSET, len(app)) == app
