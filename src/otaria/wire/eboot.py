"""The boot command: what the Updater leaves in RTC memory for eboot to find (protocols §5.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from otaria.wire.checksums import crc32_mpeg2

__all__ = ["COMMAND_SIZE", "Action", "BootCommand", "cleared"]

MAGIC: Final = 0xEB001000
MAGIC_MASK: Final = 0xFFFFF000
ARGUMENTS: Final = 29

_BODY: Final = struct.Struct(f"<II{ARGUMENTS}I")
_CRC: Final = struct.Struct("<I")
COMMAND_SIZE: Final = _BODY.size + _CRC.size
"""128 bytes at the start of user RTC memory, address 0x60001200."""


class Action(IntEnum):
    """What eboot is asked to do."""

    COPY_RAW = 1
    LOAD_APP = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class BootCommand:
    """One command block.

    Args:
        action: COPY_RAW, LOAD_APP, or a number that eboot does not know.
        arguments: up to 29 words; zeros at the end may be left out, so that equal blocks are equal commands. A real
            Updater leaves stack garbage behind the third.
    """

    action: int
    arguments: tuple[int, ...]

    def __post_init__(self) -> None:
        given = next((count for count in range(len(self.arguments), 0, -1) if self.arguments[count - 1]), 0)
        object.__setattr__(self, "arguments", self.arguments[:given])

    @classmethod
    def copy_raw(cls, source: int, destination: int, size: int) -> Self:
        """Copy ``size`` bytes from flash offset ``source`` to ``destination``, then load what is there."""
        return cls(Action.COPY_RAW, (source, destination, size))

    def argument(self, index: int) -> int:
        """The argument word, zero where none was given."""
        return self.arguments[index] if index < len(self.arguments) else 0

    def encode(self) -> bytes:
        """The 128 bytes, CRC included."""
        padding = (0,) * (ARGUMENTS - len(self.arguments))
        body = _BODY.pack(MAGIC, self.action, *self.arguments, *padding)
        return body + _CRC.pack(crc32_mpeg2(body))

    @classmethod
    def decode(cls, block: bytes) -> Self | None:
        """Read a block as eboot does: None where size, magic or CRC say that there is no command."""
        if len(block) < COMMAND_SIZE:
            return None
        body = block[: _BODY.size]
        magic, action, *arguments = _BODY.unpack(body)
        (crc,) = _CRC.unpack_from(block, _BODY.size)
        if magic & MAGIC_MASK != MAGIC or crc != crc32_mpeg2(body):
            return None
        return cls(action, tuple(arguments))


def cleared(block: bytes) -> bytes:
    """The block as eboot leaves it: only the words magic and CRC become zero."""
    zero = bytes(_CRC.size)
    return zero + block[_CRC.size : _BODY.size] + zero
