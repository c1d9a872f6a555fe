"""RTC user memory: 512 bytes that survive every reset and no loss of power (protocols §5.1, §5.3)."""

from __future__ import annotations

from typing import Final

from otaria.device.flash import WORD_SIZE
from otaria.wire.eboot import COMMAND_SIZE, BootCommand, cleared

__all__ = ["RTC_SIZE", "RtcMemory", "StuckRtcMemory"]

RTC_SIZE: Final = 512
"""At address 0x60001200; its first 128 bytes are the boot command's."""


class RtcMemory:
    """One chip's RTC user memory, all zero when it is made."""

    __slots__ = ("_content",)

    def __init__(self) -> None:
        self._content = bytearray(RTC_SIZE)

    def power_on(self, noise: bytes) -> None:
        """Overwrite everything, as power coming on does.

        Args:
            noise: what the cells come up with; repeated where it is too short, zero where it is empty.
        """
        repeats = -(-RTC_SIZE // max(1, len(noise)))
        self._content[:] = (noise * repeats)[:RTC_SIZE].ljust(RTC_SIZE, b"\0")

    def read(self, offset: int, length: int) -> bytes | None:
        """What a sketch reads with ``ESP.rtcUserMemoryRead``; None where the call would return false."""
        if not _is_inside(offset, length):
            return None
        return bytes(self._content[offset : offset + length])

    def write(self, offset: int, content: bytes) -> bool:
        """What a sketch does with ``ESP.rtcUserMemoryWrite``; below offset 128 the next update overwrites it."""
        if not _is_inside(offset, len(content)):
            return False
        self._content[offset : offset + len(content)] = content
        return True

    def boot_command(self) -> BootCommand | None:
        """The boot command, where a valid one stands there."""
        return BootCommand.decode(bytes(self._content[:COMMAND_SIZE]))

    def leave_boot_command(self, command: BootCommand) -> None:
        """Write a boot command for eboot to find at the next reset."""
        self._content[:COMMAND_SIZE] = command.encode()

    def clear_boot_command(self) -> None:
        """Make the command invalid; only its first and its last word change."""
        self._content[:COMMAND_SIZE] = cleared(bytes(self._content[:COMMAND_SIZE]))

    def clone(self) -> RtcMemory:
        """A second memory with the same content."""
        twin = RtcMemory()
        twin._content[:] = self._content
        return twin


class StuckRtcMemory(RtcMemory):
    """A memory that comes up with noise and then takes nothing in, though it says it does."""

    __slots__ = ()

    def write(self, offset: int, content: bytes) -> bool:
        """Nothing is kept."""
        return _is_inside(offset, len(content))

    def leave_boot_command(self, command: BootCommand) -> None:
        """The command is lost, so the next boot runs the old sketch."""


def _is_inside(offset: int, length: int) -> bool:
    aligned = offset % WORD_SIZE == 0 and length % WORD_SIZE == 0
    return aligned and offset >= 0 and offset + length <= RTC_SIZE
