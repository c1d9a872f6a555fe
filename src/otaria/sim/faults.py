"""What can be wrong with a virtual device's silicon."""

from __future__ import annotations

from dataclasses import dataclass, field

from otaria.device.esp32_machine import Esp32Machine
from otaria.device.flash import BadSector
from otaria.device.machine import Machine
from otaria.device.rtc import StuckRtcMemory
from otaria.errors import BadInput
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["SiliconFaults", "parse_bad_sector"]


@dataclass(frozen=True, slots=True)
class SiliconFaults:
    """What is wrong with one device; nothing by default.

    Args:
        bad_sectors: sectors of its flash that do not do their work.
        endurance: erases that a sector stands; None for a chip that does not wear out.
        stuck_rtc: RTC memory takes nothing in, so no boot command survives the restart.
    """

    bad_sectors: dict[int, BadSector] = field(default_factory=dict)
    endurance: int | None = None
    stuck_rtc: bool = False

    def afflict(self, machine: Machine | Esp32Machine) -> None:
        """Bring the faults into a machine that stands still.

        Raises:
            BadInput: its flash has no such sector, or an ESP32's RTC memory is to be stuck.
        """
        for sector, behaviour in self.bad_sectors.items():
            if sector >= machine.flash.size // SECTOR_SIZE:
                last = machine.flash.size // SECTOR_SIZE - 1
                raise BadInput(f"There is no sector {sector} in this flash; its sectors are 0 to {last}.")
            machine.flash.spoil(sector, behaviour)
        machine.flash.endurance = self.endurance
        if self.stuck_rtc and isinstance(machine, Esp32Machine):
            raise BadInput("An ESP32 keeps its boot choice in flash: stuck RTC memory changes nothing there.")
        if self.stuck_rtc and isinstance(machine, Machine):
            machine.rtc = StuckRtcMemory()


def parse_bad_sector(text: str) -> tuple[int, BadSector]:
    """Read ``SECTOR:BEHAVIOUR``, such as ``770:erase-fails``.

    Raises:
        BadInput: it is not of that form; the message lists the behaviours.
    """
    behaviours = {behaviour.name.lower().replace("_", "-"): behaviour for behaviour in BadSector}
    number, _, name = text.partition(":")
    if not (number.isascii() and number.isdigit()) or name not in behaviours:
        raise BadInput(f"{text!r} names no bad sector; write SECTOR:BEHAVIOUR, with one of {', '.join(behaviours)}.")
    return int(number), behaviours[name]
