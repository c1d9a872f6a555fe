"""The slots of an ESP32 as its programs see them: which is next, and how to choose one (protocols §6.5).

Whatever is done here, one app stays startable at every moment: a slot is chosen only after its image was found sound,
and the entry that speaks for the running one is not touched before the new one is whole.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from typing import Final

from otaria.device.flash import ERASED
from otaria.device.spi import Spi
from otaria.wire.esp32_image import Chip, Esp32Image, ImageFlaw, examine
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.otadata import (
    ENTRY_SIZE,
    Entries,
    OtaState,
    SelectEntry,
    active_entry,
    slot_of,
    switched_to,
)
from otaria.wire.partitions import Partition, PartitionTable

__all__ = ["EspError", "Slots", "read_entries", "write_entry"]

OTADATA_SECTORS: Final = 2


class EspError(IntEnum):
    """What the functions of the framework return (``esp_err_t``), as far as the slots need it."""

    OK = 0
    FAIL = -1
    INVALID_ARGUMENT = 0x102
    NOT_FOUND = 0x105
    OTA_VALIDATE_FAILED = 0x1503
    OTA_ROLLBACK_FAILED = 0x1505
    FLASH_OPERATION_FAILED = 0x6001


def read_entries(spi: Spi, table: PartitionTable) -> Entries | None:
    """Both entries; None where the table has no otadata, or one that is too small. What cannot be read is blank."""
    otadata = table.otadata
    if otadata is None or otadata.size < OTADATA_SECTORS * SECTOR_SIZE:
        return None
    blank = bytes((ERASED,)) * ENTRY_SIZE
    raw = [spi.read(otadata.offset + index * SECTOR_SIZE, ENTRY_SIZE) or blank for index in range(OTADATA_SECTORS)]
    return SelectEntry.decode(raw[0]), SelectEntry.decode(raw[1])


def write_entry(spi: Spi, table: PartitionTable, index: int, entry: SelectEntry) -> bool:
    """Rewrite one of the two: erase its sector, then write; in between, only the other one is there."""
    if table.otadata is None:
        return False
    offset = table.otadata.offset + index * SECTOR_SIZE
    return spi.erase(offset // SECTOR_SIZE) and spi.write(offset, entry.encode())


class Slots:
    """What a running program can do with its device's slots.

    Args:
        spi: the flash.
        table: its partition table.
        chip: the part, for which an image must be built.
        rollback: bootloader and program were built to go back where a new program does not say that it is well.
    """

    def __init__(self, spi: Spi, table: PartitionTable, chip: Chip, *, rollback: bool) -> None:
        self.table = table
        self._spi = spi
        self._chip = chip
        self._rollback = rollback

    def image_in(self, partition: Partition) -> Esp32Image | ImageFlaw:
        """The image there if the chip would start it, else what is wrong with it."""
        return examine(self._readable(partition), self._chip, partition.size)

    def next_update(self, running: Partition) -> Partition | None:
        """Where the next image goes: the slot behind the running one, or the first; None where there is no slot.

        With a single slot it is the running one itself.
        """
        slots = list(self.table.ota_slots.values())
        if not slots:
            return None
        behind = slots.index(running) + 1 if running in slots else 0
        return slots[behind % len(slots)]

    def state_of(self, partition: Partition) -> int | None:
        """What otadata says of the app in a slot; None where it says nothing."""
        entries, count = self._entries(), self.table.ota_slot_count
        if entries is None or not count:
            return None
        told = (entry.state for entry in entries if entry.is_written and slot_of(entry, count) == partition.ota_slot)
        return next(told, None)

    def set_boot_partition(self, partition: Partition) -> EspError:
        """Start this slot from the next start on, if there is a sound image in it."""
        if isinstance(self.image_in(partition), ImageFlaw):
            return EspError.OTA_VALIDATE_FAILED
        entries, count = self._entries(), self.table.ota_slot_count
        if entries is None:
            return EspError.NOT_FOUND
        slot = partition.ota_slot
        if slot is None or slot >= count:
            return EspError.INVALID_ARGUMENT
        state = OtaState.NEW if self._rollback else OtaState.UNDEFINED
        return self._rewrite(*switched_to(entries, slot, count, state))

    def mark_valid(self) -> EspError:
        """``esp_ota_mark_app_valid_cancel_rollback``: the running app is well, if it has not said so before."""
        return self._mark(OtaState.VALID)

    def mark_invalid(self) -> EspError:
        """``esp_ota_mark_app_invalid_rollback_and_reboot``, all but the restart: go back to the app before this one."""
        return self._mark(OtaState.INVALID) if self._can_go_back() else EspError.OTA_ROLLBACK_FAILED

    def _mark(self, state: OtaState) -> EspError:
        entries = self._entries()
        active = None if entries is None else active_entry(entries)
        if entries is None or active is None:
            return EspError.FAIL
        if entries[active].state == state:
            return EspError.OK
        return self._rewrite(active, replace(entries[active], state=state))

    def _can_go_back(self) -> bool:
        """Whether there is another app that would start: the other entry's, or the factory's."""
        entries = self._entries()
        active = None if entries is None else active_entry(entries)
        if entries is None or active is None:
            return False
        other = entries[1 - active]
        partition = self.table.factory
        if other.is_valid:
            partition = self.table.ota_slots.get(slot_of(other, max(1, self.table.ota_slot_count)))
        return partition is not None and isinstance(self.image_in(partition), Esp32Image)

    def _entries(self) -> Entries | None:
        return read_entries(self._spi, self.table)

    def _rewrite(self, index: int, entry: SelectEntry) -> EspError:
        written = write_entry(self._spi, self.table, index, entry)
        return EspError.OK if written else EspError.FLASH_OPERATION_FAILED

    def _readable(self, partition: Partition) -> bytes:
        """The partition's content, or what precedes the first sector that cannot be read."""
        whole = self._spi.read(partition.offset, partition.size)
        if whole is not None:
            return whole
        sectors: list[bytes] = []
        for offset in range(partition.offset, partition.end, SECTOR_SIZE):
            sector = self._spi.read(offset, SECTOR_SIZE)
            if sector is None:
                break
            sectors.append(sector)
        return b"".join(sectors)
