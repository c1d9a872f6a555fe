"""otadata: two entries, of which the better one says what the ESP32 starts (protocols §6.5).

Each entry lies at the beginning of a sector of its own, so that one survives while the other is rewritten. An entry
counts while its CRC holds and its state does not speak against it; of two that count the one with the higher
sequence number is *active*, and its number says which slot: ``(sequence - 1) mod slots``.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self, TypeAlias

__all__ = [
    "ENTRY_SIZE",
    "Entries",
    "OtaState",
    "SelectEntry",
    "active_entry",
    "is_initial",
    "slot_of",
    "switched_to",
]

NO_SEQUENCE: Final = 0xFFFFFFFF
_ENTRY: Final = struct.Struct("<I20sII")
ENTRY_SIZE: Final = _ENTRY.size
_LABEL: Final = b"\xff" * 20
_WORD_RANGE: Final = 1 << 32


class OtaState(IntEnum):
    """What is known of the app that an entry stands for."""

    NEW = 0
    """Installed, and not yet started; written by builds that can go back."""
    PENDING_VERIFY = 1
    """Started once, and must now say that it is well."""
    VALID = 2
    """It said so."""
    INVALID = 3
    """It said that it is not."""
    ABORTED = 4
    """It was started, and said nothing before the next start."""
    UNDEFINED = 0xFFFFFFFF
    """Nothing; written by builds that never go back."""


@dataclass(frozen=True, slots=True)
class SelectEntry:
    """One entry.

    Args:
        sequence: counts up; all ones where nothing was ever written.
        state: an :class:`OtaState`, or what damage has made of it.
        crc: as it stands there, over the sequence number alone.
        label: unused.
    """

    sequence: int
    state: int
    crc: int
    label: bytes = _LABEL

    @classmethod
    def made(cls, sequence: int, state: OtaState, label: bytes = _LABEL) -> Self:
        """An entry whose CRC is right; the number has 32 bits."""
        sequence %= _WORD_RANGE
        return cls(sequence, state, _crc(sequence), label)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read the first bytes of a sector."""
        sequence, label, state, crc = _ENTRY.unpack(raw[:ENTRY_SIZE])
        return cls(sequence, state, crc, label)

    def encode(self) -> bytes:
        """The 32 bytes."""
        return _ENTRY.pack(self.sequence, self.label, self.state, self.crc)

    @property
    def is_written(self) -> bool:
        """Whether a sequence number with its CRC stands there."""
        return self.sequence != NO_SEQUENCE and self.crc == _crc(self.sequence)

    @property
    def is_out_of_use(self) -> bool:
        """Blank, or its app has failed; the CRC is not looked at."""
        return self.sequence == NO_SEQUENCE or self.state in (OtaState.INVALID, OtaState.ABORTED)

    @property
    def is_valid(self) -> bool:
        """Whether it counts."""
        return not self.is_out_of_use and self.is_written


Entries: TypeAlias = tuple[SelectEntry, SelectEntry]


def active_entry(entries: Entries) -> int | None:
    """Which of the two decides; None where none counts. Of equal ones it is the first."""
    valid = [index for index in (0, 1) if entries[index].is_valid]
    return max(valid, key=lambda index: entries[index].sequence, default=None)


def slot_of(entry: SelectEntry, slots: int) -> int:
    """The slot that a valid entry stands for."""
    return (entry.sequence - 1) % _WORD_RANGE % slots


def is_initial(entries: Entries) -> bool:
    """Whether neither was ever written whole."""
    return not any(entry.is_written for entry in entries)


def switched_to(entries: Entries, slot: int, slots: int, state: OtaState) -> tuple[int, SelectEntry]:
    """What to write, and where, so that a slot is started next.

    Where the active entry stands for that slot already, it is written anew with another state; else the other one
    gets the next number that stands for it, and the active one stays as it is until the new one is whole.
    """
    active = active_entry(entries)
    if active is None:
        return 0, SelectEntry.made(slot + 1, state, entries[0].label)
    sequence = entries[active].sequence
    if slot_of(entries[active], slots) == slot:
        return active, SelectEntry.made(sequence, state, entries[active].label)
    following = sequence + 1
    while (following - 1) % slots != slot:
        following += 1
    other = 1 - active
    return other, SelectEntry.made(following, state, entries[other].label)


def _crc(sequence: int) -> int:
    return zlib.crc32(struct.pack("<I", sequence), 0xFFFFFFFF)
