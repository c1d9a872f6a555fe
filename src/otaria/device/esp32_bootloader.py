r"""The ESP32's second-stage bootloader: reads the partition table, chooses a slot, checks its image (protocols §6.5).

It tries the chosen slot, then the ones below it down to the factory app, then the ones above, and last the test app.
So as long as one sound image is left anywhere, it starts one. Built to roll back, it keeps account of new apps::

    NEW -> PENDING_VERIFY     the first start of a new app
    PENDING_VERIFY -> ABORTED the app did not say VALID before the next start

What it prints here are its own messages without their time stamps, and of an unfit image what is wrong with it. Its
own place in flash is not looked at: no update writes there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from otaria.device.esp32_slots import Slots, read_entries, write_entry
from otaria.device.spi import Spi
from otaria.errors import BadInput
from otaria.units import ByteCount, Sha256
from otaria.wire.esp32_image import AppDescriptor, Chip, Esp32Image
from otaria.wire.otadata import Entries, OtaState, SelectEntry, active_entry, is_initial, slot_of
from otaria.wire.partitions import (
    TABLE_OFFSET,
    TABLE_SIZE,
    AppSubtype,
    Partition,
    PartitionTable,
    PartitionType,
)

__all__ = ["Started", "run_bootloader"]

_FACTORY: Final = -1
"""Where the search begins at the factory app."""


@dataclass(frozen=True, slots=True)
class Started:
    """What the bootloader started; the image itself stays in flash, so that a fleet of these fits into memory.

    Args:
        table: the partition table.
        partition: where the app lies.
        size: bytes of its image, appended digest included.
        sha256: of the image without that digest.
        descriptor: what the project says about itself, where it does.
    """

    table: PartitionTable
    partition: Partition
    size: ByteCount
    sha256: Sha256
    descriptor: AppDescriptor | None


def run_bootloader(
    spi: Spi, chip: Chip, flash_size: int, *, rollback: bool, put: Callable[[str], None]
) -> Started | None:
    """Run it once; None where nothing would start, and it restarts for ever.

    Args:
        spi: the flash.
        chip: the part.
        flash_size: the flash chip's size.
        rollback: it was built to roll back.
        put: takes what is printed when it is printed.

    Raises:
        Interruption: power or processor stopped while otadata was rewritten.
    """
    raw = spi.read(TABLE_OFFSET, TABLE_SIZE)
    try:
        table = PartitionTable.parse(raw or b"", flash_size)
    except BadInput as error:
        put(f"E flash_parts: {error}\nE boot: Failed to verify partition table\n")
        return None
    return _Bootloader(spi, table, chip, rollback=rollback, put=put).run()


class _Bootloader:
    def __init__(
        self, spi: Spi, table: PartitionTable, chip: Chip, *, rollback: bool, put: Callable[[str], None]
    ) -> None:
        self._spi = spi
        self._table = table
        self._slots = Slots(spi, table, chip, rollback=rollback)
        self._rollback = rollback
        self._put = put
        self._writes_down_choice = False

    def run(self) -> Started | None:
        entries = read_entries(self._spi, self._table)
        if entries is None and self._table.otadata is not None:
            self._put("E boot: ota_info partition size is too small\n")
            return None
        first = _FACTORY if entries is None else self._chosen(entries)
        return self._first_that_starts(first)

    def _chosen(self, entries: Entries) -> int:
        """The index at which the search begins, and the account of new apps."""
        entries = self._without_unconfirmed(entries) if self._rollback else entries
        count = len(self._table.ota_slots)
        if not count or all(entry.is_out_of_use for entry in entries):
            return self._default(entries)
        active = active_entry(entries)
        if active is None:
            self._put("E boot: ota data partition invalid\n")
            return _FACTORY
        if self._rollback and entries[active].state == OtaState.NEW:
            self._write(active, replace(entries[active], state=OtaState.PENDING_VERIFY))
        return slot_of(entries[active], count)

    def _default(self, entries: Entries) -> int:
        """The factory app, or the first slot; which one runs is written down where nothing ever was."""
        if self._table.factory is not None:
            self._put("I boot: Defaulting to factory image\n")
            return _FACTORY
        self._put("I boot: No factory image, trying OTA 0\n")
        self._writes_down_choice = is_initial(entries)
        return 0

    def _without_unconfirmed(self, entries: Entries) -> Entries:
        """Give up every app that was started and did not say that it is well."""
        one, other = (self._given_up(index, entry) for index, entry in enumerate(entries))
        return one, other

    def _given_up(self, index: int, entry: SelectEntry) -> SelectEntry:
        if entry.state != OtaState.PENDING_VERIFY:
            return entry
        aborted = replace(entry, state=OtaState.ABORTED)
        self._write(index, aborted)
        return aborted

    def _first_that_starts(self, first: int) -> Started | None:
        for index, partition in self._candidates(first):
            image = self._slots.image_in(partition)
            if isinstance(image, Esp32Image):
                self._put(f"I boot: Loaded app from partition at offset {partition.offset:#x}\n")
                if self._writes_down_choice and index > _FACTORY:
                    self._write(0, SelectEntry.made(index + 1, OtaState.VALID))
                return Started(self._table, partition, image.size, image.sha256, image.descriptor)
            self._put(f"E esp_image: image at {partition.offset:#x}: {image.value}\n")
            self._put(f"E boot: {_called(partition)} is not bootable\n")
        self._put("E boot: No bootable app partitions in the partition table\n")
        return None

    def _candidates(self, first: int) -> Iterator[tuple[int, Partition]]:
        """What is tried, in this order: down from the first one to the factory app, then up, then the test app."""
        slots, factory = self._table.ota_slots, self._table.factory
        usable = {index: slot for index, slot in slots.items() if index < len(slots)}
        for index in [*range(first, _FACTORY, -1), _FACTORY, *range(first + 1, len(slots))]:
            partition = factory if index == _FACTORY else usable.get(index)
            if partition is not None:
                yield index, partition
        test = self._table.find(PartitionType.APP, AppSubtype.TEST)
        if test is not None:
            yield _FACTORY, test

    def _write(self, index: int, entry: SelectEntry) -> None:
        """Rewrite an entry; a failure is printed and not acted upon."""
        if not write_entry(self._spi, self._table, index, entry):
            self._put("E boot: Error in write_otadata operation\n")


def _called(partition: Partition) -> str:
    if partition.ota_slot is not None:
        return f"OTA app partition slot {partition.ota_slot}"
    return "Factory app partition" if partition.subtype == AppSubtype.FACTORY else "Factory test app partition"
