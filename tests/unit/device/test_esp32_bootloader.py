from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.esp32_bench import (
    APP_0,
    APP_1,
    APP_2,
    CHIP,
    FACTORY_AND_TWO,
    FACTORY_ONLY,
    FLASH_SIZE,
    NVS,
    OTADATA,
    SLOT,
    TEST_APP,
    THREE_SLOTS,
    TWO_SLOTS,
    build_app,
    partition,
)

from otaria.device.esp32_bootloader import Started, run_bootloader
from otaria.device.esp32_slots import read_entries
from otaria.device.flash import BadSector, Flash
from otaria.device.spi import Spi
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.otadata import OtaState, SelectEntry
from otaria.wire.partitions import TABLE_OFFSET, DataSubtype, Partition, PartitionTable, PartitionType

APP = build_app("app")
DAMAGED = APP[:5000] + b"\0\0\0\0" + APP[5004:]
FACTORY = FACTORY_AND_TWO.factory
BLANK = SelectEntry.decode(b"\xff" * 32)
OTADATA_SECTOR = OTADATA.offset // SECTOR_SIZE


def chip_with(
    apps: Mapping[Partition, bytes],
    *entries: SelectEntry,
    table: PartitionTable = TWO_SLOTS,
) -> Flash:
    """A flash chip with these apps and these entries in otadata."""
    content = bytearray(b"\xff" * FLASH_SIZE)
    content[TABLE_OFFSET : TABLE_OFFSET + 0xC00] = table.encode()
    for place, app in apps.items():
        content[place.offset : place.offset + len(app)] = app
    for index, entry in enumerate(entries):
        at = OTADATA.offset + index * SECTOR_SIZE
        content[at : at + 32] = entry.encode()
    flash = Flash(FLASH_SIZE)
    flash.load(bytes(content))
    return flash


def start(flash: Flash, *, rollback: bool = True) -> tuple[Started | None, str]:
    printed: list[str] = []
    started = run_bootloader(Spi(flash), CHIP, flash.size, rollback=rollback, put=printed.append)
    return started, "".join(printed)


def place_started(flash: Flash, *, rollback: bool = True) -> Partition | None:
    started, _ = start(flash, rollback=rollback)
    return None if started is None else started.partition


def entry_in(flash: Flash, index: int) -> SelectEntry:
    entries = read_entries(Spi(flash), TWO_SLOTS)
    assert entries is not None
    return entries[index]


BOTH = {APP_0: APP, APP_1: APP}


def made(sequence: int, state: OtaState = OtaState.VALID) -> SelectEntry:
    return SelectEntry.made(sequence, state)


# ---------------------------------------------------------------------------- which app it is


@pytest.mark.parametrize(
    ("entries", "place"),
    [
        ((made(1), BLANK), APP_0),
        ((made(2), BLANK), APP_1),
        ((made(3), made(2)), APP_0),
        ((made(3), made(4)), APP_1),
        ((made(3, OtaState.ABORTED), made(2)), APP_1),
        ((made(3), made(4, OtaState.INVALID)), APP_0),
        ((made(3), made(4, OtaState.UNDEFINED)), APP_1),
    ],
)
def test_the_active_entry_says_which_slot_starts(entries: tuple[SelectEntry, SelectEntry], place: Partition) -> None:
    assert place_started(chip_with(BOTH, *entries)) == place


def test_what_it_started_is_told_and_printed() -> None:
    started, console = start(chip_with(BOTH, made(2)))
    assert started is not None
    assert (started.table, started.partition, started.size) == (TWO_SLOTS, APP_1, len(APP))
    assert started.descriptor is not None
    assert started.descriptor.version == "app"
    assert console == "I boot: Loaded app from partition at offset 0x20000\n"


def test_blank_otadata_starts_the_factory_app() -> None:
    assert FACTORY is not None
    flash = chip_with({FACTORY: APP, **dict.fromkeys(FACTORY_AND_TWO.ota_slots.values(), APP)}, table=FACTORY_AND_TWO)
    started, console = start(flash)
    assert started is not None
    assert started.partition == FACTORY
    assert console.startswith("I boot: Defaulting to factory image\n")
    assert flash.operations == 0


def test_blank_otadata_without_a_factory_app_starts_ota_0_and_writes_that_down() -> None:
    flash = chip_with(BOTH)
    started, console = start(flash)
    assert started is not None
    assert started.partition == APP_0
    assert "No factory image, trying OTA 0" in console
    assert entry_in(flash, 0) == made(1, OtaState.VALID)
    assert place_started(flash) == APP_0
    assert flash.operations == 2


def test_blank_otadata_starts_the_first_slot_that_holds_an_app() -> None:
    flash = chip_with({APP_1: APP})
    assert place_started(flash) == APP_1
    assert entry_in(flash, 0) == made(2, OtaState.VALID)


def test_two_failed_apps_are_not_taken_for_blank_otadata() -> None:
    flash = chip_with(BOTH, made(1, OtaState.ABORTED), made(2, OtaState.INVALID))
    assert place_started(flash) == APP_0
    assert flash.operations == 0


def test_a_torn_entry_beside_a_blank_one_starts_whatever_starts() -> None:
    torn = SelectEntry(2, OtaState.NEW, 0xFFFFFFFF)
    started, console = start(chip_with(BOTH, torn))
    assert started is not None
    assert started.partition == APP_0
    assert "ota data partition invalid" in console


def test_a_table_without_otadata_starts_the_factory_app() -> None:
    assert FACTORY_ONLY.factory is not None
    assert place_started(chip_with({FACTORY_ONLY.factory: APP}, table=FACTORY_ONLY)) == FACTORY_ONLY.factory


def test_a_table_without_otadata_and_without_a_factory_app_starts_the_first_slot() -> None:
    table = PartitionTable((NVS, APP_0, APP_1))
    assert place_started(chip_with(BOTH, table=table)) == APP_0


# ------------------------------------------------------------------------------- falling back


def test_a_damaged_app_is_passed_over_downwards() -> None:
    started, console = start(chip_with({APP_0: APP, APP_1: DAMAGED}, made(2)))
    assert started is not None
    assert started.partition == APP_0
    assert console == (
        "E esp_image: image at 0x20000: its checksum is wrong\n"
        "E boot: OTA app partition slot 1 is not bootable\n"
        "I boot: Loaded app from partition at offset 0x10000\n"
    )


def test_a_damaged_first_app_is_passed_over_upwards() -> None:
    assert place_started(chip_with({APP_0: DAMAGED, APP_1: APP}, made(1))) == APP_1


def test_the_factory_app_is_tried_before_higher_slots() -> None:
    assert FACTORY is not None
    slots = FACTORY_AND_TWO.ota_slots
    apps = {FACTORY: APP, slots[0]: DAMAGED, slots[1]: APP}
    assert place_started(chip_with(apps, made(1), table=FACTORY_AND_TWO)) == FACTORY


def test_lower_slots_are_tried_from_the_top() -> None:
    apps = {APP_0: APP, APP_1: APP, APP_2: DAMAGED}
    assert place_started(chip_with(apps, made(3), table=THREE_SLOTS)) == APP_1


def test_the_test_app_is_the_last_resort() -> None:
    table = PartitionTable((*TWO_SLOTS.partitions, TEST_APP))
    assert place_started(chip_with({APP_0: DAMAGED, TEST_APP: APP}, made(1), table=table)) == TEST_APP


def test_an_unsound_test_app_is_called_by_its_name() -> None:
    table = PartitionTable((*TWO_SLOTS.partitions, TEST_APP))
    started, console = start(chip_with({TEST_APP: DAMAGED}, table=table))
    assert started is None
    assert "E boot: Factory test app partition is not bootable\n" in console


def test_without_any_sound_app_nothing_starts() -> None:
    started, console = start(chip_with({APP_0: DAMAGED, APP_1: DAMAGED}, made(2)))
    assert started is None
    assert console.endswith("E boot: No bootable app partitions in the partition table\n")


def test_a_slot_behind_a_gap_is_never_started() -> None:
    table = PartitionTable((NVS, OTADATA, APP_0, APP_2))
    assert place_started(chip_with({APP_0: DAMAGED, APP_2: APP}, made(1), table=table)) is None


# ------------------------------------------------------------------------- the partition table


@pytest.mark.parametrize("offset", [TABLE_OFFSET, TABLE_OFFSET + 40])
def test_a_damaged_partition_table_starts_nothing(offset: int) -> None:
    flash = chip_with(BOTH, made(1))
    content = bytearray(flash.dump())
    content[offset] ^= 0x10
    flash.load(bytes(content))
    started, console = start(flash)
    assert started is None
    assert console.endswith("E boot: Failed to verify partition table\n")


def test_a_table_that_cannot_be_read_starts_nothing() -> None:
    flash = chip_with(BOTH, made(1))
    flash.spoil(TABLE_OFFSET // SECTOR_SIZE, BadSector.READ_FAILS)
    assert place_started(flash) is None


def test_a_table_for_a_larger_chip_starts_nothing() -> None:
    printed: list[str] = []
    flash = chip_with(BOTH, made(1))
    assert run_bootloader(Spi(flash), CHIP, 4 * SLOT, rollback=True, put=printed.append) is None
    assert "'spiffs' ends at 0x50000" in "".join(printed)


def test_otadata_that_is_too_small_starts_nothing() -> None:
    small = partition("otadata", PartitionType.DATA, DataSubtype.OTA, 0xE000, SECTOR_SIZE)
    table = PartitionTable((NVS, small, APP_0))
    started, console = start(chip_with({APP_0: APP}, table=table))
    assert started is None
    assert "too small" in console


# --------------------------------------------------------------------------------- the account


def test_a_new_app_becomes_pending_by_its_first_start() -> None:
    flash = chip_with(BOTH, made(1), made(2, OtaState.NEW))
    assert place_started(flash) == APP_1
    assert entry_in(flash, 1) == made(2, OtaState.PENDING_VERIFY)


def test_an_app_that_is_still_pending_at_the_next_start_is_aborted() -> None:
    flash = chip_with(BOTH, made(1), made(2, OtaState.PENDING_VERIFY))
    assert place_started(flash) == APP_0
    assert entry_in(flash, 1) == made(2, OtaState.ABORTED)
    assert place_started(flash) == APP_0


def test_a_pending_entry_is_aborted_even_where_it_is_not_the_active_one() -> None:
    flash = chip_with(BOTH, made(3, OtaState.PENDING_VERIFY), made(4))
    assert place_started(flash) == APP_1
    assert entry_in(flash, 0) == made(3, OtaState.ABORTED)


def test_an_aborted_app_goes_back_to_the_factory_app() -> None:
    assert FACTORY is not None
    apps = {FACTORY: APP, FACTORY_AND_TWO.ota_slots[0]: APP}
    flash = chip_with(apps, made(1, OtaState.PENDING_VERIFY), table=FACTORY_AND_TWO)
    assert place_started(flash) == FACTORY


@pytest.mark.parametrize("state", [OtaState.NEW, OtaState.PENDING_VERIFY, OtaState.UNDEFINED])
def test_a_bootloader_without_rollback_keeps_no_account(state: OtaState) -> None:
    flash = chip_with(BOTH, made(1), made(2, state))
    assert place_started(flash, rollback=False) == APP_1
    assert flash.operations == 0


@pytest.mark.parametrize("state", [OtaState.VALID, OtaState.UNDEFINED])
def test_an_app_that_is_known_to_be_well_is_started_without_a_write(state: OtaState) -> None:
    flash = chip_with(BOTH, made(1), made(2, state))
    assert place_started(flash) == APP_1
    assert flash.operations == 0


def test_an_account_that_cannot_be_written_is_printed_and_the_app_starts() -> None:
    flash = chip_with(BOTH, made(1), made(2, OtaState.NEW))
    flash.spoil(OTADATA_SECTOR + 1, BadSector.ERASE_FAILS)
    started, console = start(flash)
    assert started is not None
    assert started.partition == APP_1
    assert "E boot: Error in write_otadata operation\n" in console
