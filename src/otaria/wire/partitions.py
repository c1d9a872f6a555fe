"""The ESP32's partition table: what lies where in flash (protocols §6.6).

::

    AA 50, type, subtype, u32 offset, u32 size, name[16], u32 flags      one row of 32 bytes per partition
    EB EB, 14 times FF, MD5 of all rows before it                        one row, absent where a project left it out
    FF …                                                                 to the end of the table's 3072 bytes
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from otaria.errors import BadInput
from otaria.units import KIB, ByteCount, FlashOffset

__all__ = [
    "TABLES",
    "TABLE_OFFSET",
    "TABLE_SIZE",
    "AppSubtype",
    "DataSubtype",
    "Partition",
    "PartitionTable",
    "PartitionType",
    "find_table",
]

TABLE_OFFSET: Final = FlashOffset(0x8000)
"""Where the table is unless a project moves it; no Arduino core does."""

TABLE_SIZE: Final = ByteCount(0xC00)
APP_ALIGNMENT: Final = 64 * KIB
"""Flash is mapped into memory in pages of this size, so an app begins at one."""

DATA_ALIGNMENT: Final = 4 * KIB
MOST_OTA_SLOTS: Final = 16

_ROW: Final = struct.Struct("<2sBBII16sI")
_MAGIC: Final = b"\xaa\x50"
_DIGEST_MAGIC: Final = b"\xeb\xeb"
_END: Final = b"\xff" * 4
_DIGEST_OFFSET: Final = 16
_ROWS: Final = TABLE_SIZE // _ROW.size
MOST_PARTITIONS: Final = _ROWS - 2
"""One row is the MD5's, and one must stay free, to end the table."""


class PartitionType(IntEnum):
    """What a partition is for; a project may use numbers from 0x40 on for types of its own."""

    APP = 0
    DATA = 1
    BOOTLOADER = 2
    PARTITION_TABLE = 3


class AppSubtype(IntEnum):
    """Subtypes of an app; ``OTA_0`` is followed by fifteen more."""

    FACTORY = 0x00
    OTA_0 = 0x10
    TEST = 0x20


class DataSubtype(IntEnum):
    """Subtypes of data."""

    OTA = 0x00
    PHY = 0x01
    NVS = 0x02
    COREDUMP = 0x03
    NVS_KEYS = 0x04
    EFUSE = 0x05
    FAT = 0x81
    SPIFFS = 0x82
    LITTLEFS = 0x83


@dataclass(frozen=True, slots=True)
class Partition:
    """One row.

    Args:
        name: its label, at most 16 bytes.
        kind: a :class:`PartitionType`, or a number of the project's own.
        subtype: an :class:`AppSubtype`, a :class:`DataSubtype`, or a number of the project's own.
        offset: where in flash it begins.
        size: its bytes.
        flags: bit 0 encrypted, bit 1 read-only.
    """

    name: str
    kind: int
    subtype: int
    offset: FlashOffset
    size: ByteCount
    flags: int = 0

    @property
    def end(self) -> FlashOffset:
        """The first offset behind it."""
        return FlashOffset(self.offset + self.size)

    @property
    def ota_slot(self) -> int | None:
        """0 for ota_0, 1 for ota_1 and so on; None for anything else."""
        slot = self.subtype - AppSubtype.OTA_0
        return slot if self.kind == PartitionType.APP and 0 <= slot < MOST_OTA_SLOTS else None


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """All rows, in the table's order."""

    partitions: tuple[Partition, ...]

    def find(self, kind: int, subtype: int) -> Partition | None:
        """The first partition of that kind and subtype."""
        return next((each for each in self.partitions if (each.kind, each.subtype) == (kind, subtype)), None)

    @property
    def ota_slots(self) -> dict[int, Partition]:
        """The partitions ota_0, ota_1 and so on by their slot's number, from the lowest on."""
        slots = {each.ota_slot: each for each in reversed(self.partitions) if each.ota_slot is not None}
        return dict(sorted(slots.items()))

    @property
    def ota_slot_count(self) -> int:
        """How many slots there are before the first one that is missing."""
        return next(slot for slot in range(MOST_OTA_SLOTS + 1) if slot not in self.ota_slots)

    @property
    def factory(self) -> Partition | None:
        """The app that was there first and that no update touches, where there is one."""
        return self.find(PartitionType.APP, AppSubtype.FACTORY)

    @property
    def otadata(self) -> Partition | None:
        """Where the choice of the slot is kept."""
        return self.find(PartitionType.DATA, DataSubtype.OTA)

    def encode(self) -> bytes:
        """The table's 3072 bytes, MD5 row included.

        Raises:
            BadInput: there are too many partitions, one lies where it must not, or two overlap.
        """
        _require_sound(self.partitions)
        rows = b"".join(
            _ROW.pack(_MAGIC, each.kind, each.subtype, each.offset, each.size, each.name.encode("utf-8"), each.flags)
            for each in self.partitions
        )
        digest = hashlib.md5(rows).digest()  # noqa: S324 - the format's own
        whole = rows + _DIGEST_MAGIC.ljust(_DIGEST_OFFSET, b"\xff") + digest
        return whole.ljust(TABLE_SIZE, b"\xff")

    @classmethod
    def parse(cls, content: bytes, flash_size: int | None = None) -> Self:
        """Read a table as the bootloader does.

        Args:
            content: from the table's beginning on.
            flash_size: the chip's; partitions must lie inside. None where it is not known.

        Raises:
            BadInput: the bootloader would refuse it.
        """
        partitions: list[Partition] = []
        rows = b""
        has_digest = False
        for index in range(_ROWS):
            row = content[index * _ROW.size : (index + 1) * _ROW.size]
            if row[:4] == _END:
                return cls(tuple(partitions))
            if row[:2] == _DIGEST_MAGIC and not has_digest:
                has_digest = _require_right_digest(row, rows)
            elif row[:2] == _MAGIC and len(row) == _ROW.size:
                partitions.append(_partition(row, flash_size))
            else:
                raise BadInput(f"Row {index} of the partition table begins with {row[:2].hex()!r} and is none.")
            rows += row
        raise BadInput("The partition table has no end. It is damaged, or this is something else.")


def _partition(row: bytes, flash_size: int | None) -> Partition:
    _, kind, subtype, offset, size, name, flags = _ROW.unpack(row)
    text = name.partition(b"\0")[0].decode("utf-8", "replace")
    if flash_size is not None and offset + size > flash_size:
        raise BadInput(f"The partition {text!r} ends at {offset + size:#x}, and the flash ends at {flash_size:#x}.")
    return Partition(text, kind, subtype, FlashOffset(offset), ByteCount(size), flags)


def _require_right_digest(row: bytes, rows: bytes) -> bool:
    if row[_DIGEST_OFFSET:] != hashlib.md5(rows).digest():  # noqa: S324 - the format's own
        raise BadInput("The partition table's MD5 is wrong: the table is damaged.")
    return True


def _require_sound(partitions: Sequence[Partition]) -> None:
    if len(partitions) > MOST_PARTITIONS:
        raise BadInput(f"There are {len(partitions)} partitions; a table has room for {MOST_PARTITIONS}.")
    for each in partitions:
        alignment = APP_ALIGNMENT if each.kind == PartitionType.APP else DATA_ALIGNMENT
        if each.offset % alignment or each.offset < TABLE_OFFSET + DATA_ALIGNMENT:
            raise BadInput(f"The partition {each.name!r} begins at {each.offset:#x}; move it to another place.")
        if len(each.name.encode("utf-8")) > 16 or not each.size:
            raise BadInput(f"The partition {each.name!r} needs a name of at most 16 bytes, and a size.")
    in_order = sorted(partitions, key=lambda each: each.offset)
    for lower, upper in itertools.pairwise(in_order):
        if lower.end > upper.offset:
            raise BadInput(f"The partitions {lower.name!r} and {upper.name!r} overlap.")


def _table(rows: Iterable[tuple[str, int, int, int, int]]) -> PartitionTable:
    return PartitionTable(
        tuple(
            Partition(name, kind, subtype, FlashOffset(offset), ByteCount(size))
            for name, kind, subtype, offset, size in rows
        )
    )


_APP: Final = PartitionType.APP
_DATA: Final = PartitionType.DATA
_SETTINGS: Final = (
    ("nvs", _DATA, DataSubtype.NVS, 0x9000, 0x5000),
    ("otadata", _DATA, DataSubtype.OTA, 0xE000, 0x2000),
)
_COREDUMP: Final = ("coredump", _DATA, DataSubtype.COREDUMP, 0x3F0000, 0x10000)

TABLES: Final[Mapping[str, PartitionTable]] = {
    "default": _table(
        (
            *_SETTINGS,
            ("app0", _APP, AppSubtype.OTA_0, 0x10000, 0x140000),
            ("app1", _APP, AppSubtype.OTA_0 + 1, 0x150000, 0x140000),
            ("spiffs", _DATA, DataSubtype.SPIFFS, 0x290000, 0x160000),
            _COREDUMP,
        )
    ),
    "min_spiffs": _table(
        (
            *_SETTINGS,
            ("app0", _APP, AppSubtype.OTA_0, 0x10000, 0x1E0000),
            ("app1", _APP, AppSubtype.OTA_0 + 1, 0x1F0000, 0x1E0000),
            ("spiffs", _DATA, DataSubtype.SPIFFS, 0x3D0000, 0x20000),
            _COREDUMP,
        )
    ),
    "huge_app": _table(
        (
            *_SETTINGS,
            ("app0", _APP, AppSubtype.OTA_0, 0x10000, 0x300000),
            ("spiffs", _DATA, DataSubtype.SPIFFS, 0x310000, 0xE0000),
            _COREDUMP,
        )
    ),
}
"""The Arduino core's usual tables for 4 MiB, by the names of its files. ``huge_app`` cannot be updated over the air."""


def find_table(name: str) -> PartitionTable:
    """The table of that name.

    Raises:
        BadInput: there is none; the message lists those that there are.
    """
    table = TABLES.get(name)
    if table is None:
        raise BadInput(f"There is no partition table {name!r}; there are {', '.join(TABLES)}.")
    return table
