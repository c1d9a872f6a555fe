from __future__ import annotations

import pytest
from tests.esp32_bench import (
    APP_0,
    APP_1,
    APP_2,
    CHIP,
    FACTORY_AND_TWO,
    FACTORY_ONLY,
    FILES,
    FLASH_SIZE,
    NVS,
    ONE_SLOT,
    OTADATA,
    THREE_SLOTS,
    TWO_SLOTS,
    app_in,
    build_app,
    partition,
    running_esp32,
)

from otaria.device.esp32_machine import as_flashed
from otaria.device.esp32_slots import EspError, Slots, read_entries, write_entry
from otaria.device.flash import BadSector, Flash
from otaria.device.spi import Spi
from otaria.wire.esp32_image import Esp32Image, ImageFlaw
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.otadata import OtaState, SelectEntry
from otaria.wire.partitions import AppSubtype, DataSubtype, Partition, PartitionTable, PartitionType

APP = build_app("app")
OTADATA_SECTOR = OTADATA.offset // SECTOR_SIZE


def flash_with(table: PartitionTable, apps: dict[Partition, bytes]) -> Flash:
    content = bytearray(as_flashed(APP, table).ljust(FLASH_SIZE, b"\xff"))
    for place, app in apps.items():
        content[place.offset : place.offset + len(app)] = app
    flash = Flash(FLASH_SIZE)
    flash.load(bytes(content))
    return flash


def slots_of(flash: Flash, table: PartitionTable = TWO_SLOTS, *, rollback: bool = True) -> Slots:
    return Slots(Spi(flash), table, CHIP, rollback=rollback)


def entries_in(flash: Flash, table: PartitionTable = TWO_SLOTS) -> tuple[SelectEntry, SelectEntry]:
    entries = read_entries(Spi(flash), table)
    assert entries is not None
    return entries


# ------------------------------------------------------------------------------- the entries


def test_each_entry_begins_a_sector_of_its_own() -> None:
    flash = flash_with(TWO_SLOTS, {})
    assert write_entry(Spi(flash), TWO_SLOTS, 1, SelectEntry.made(2, OtaState.NEW))
    assert entries_in(flash) == (SelectEntry.made(1, OtaState.UNDEFINED), SelectEntry.made(2, OtaState.NEW))
    assert flash.read(OTADATA.offset + SECTOR_SIZE, 32) == SelectEntry.made(2, OtaState.NEW).encode()


def test_rewriting_one_entry_leaves_the_other_alone() -> None:
    flash = flash_with(TWO_SLOTS, {})
    write_entry(Spi(flash), TWO_SLOTS, 1, SelectEntry.made(9, OtaState.NEW))
    assert flash.erase_count(OTADATA_SECTOR) == 0
    assert flash.erase_count(OTADATA_SECTOR + 1) == 1


def test_without_otadata_there_are_no_entries() -> None:
    flash = flash_with(FACTORY_ONLY, {})
    assert read_entries(Spi(flash), FACTORY_ONLY) is None
    assert not write_entry(Spi(flash), FACTORY_ONLY, 0, SelectEntry.made(1, OtaState.NEW))


def test_otadata_of_one_sector_is_too_small() -> None:
    small = partition("otadata", PartitionType.DATA, DataSubtype.OTA, 0xE000, SECTOR_SIZE)
    assert read_entries(Spi(Flash(FLASH_SIZE)), PartitionTable((small, APP_0))) is None


def test_an_entry_that_cannot_be_read_is_blank() -> None:
    flash = flash_with(TWO_SLOTS, {})
    flash.spoil(OTADATA_SECTOR, BadSector.READ_FAILS)
    assert not entries_in(flash)[0].is_written


# --------------------------------------------------------------------------- which slot is next


@pytest.mark.parametrize(
    ("table", "running", "following"),
    [
        (TWO_SLOTS, APP_0, APP_1),
        (TWO_SLOTS, APP_1, APP_0),
        (THREE_SLOTS, APP_1, APP_2),
        (THREE_SLOTS, APP_2, APP_0),
        (ONE_SLOT, APP_0, APP_0),
        (PartitionTable((APP_0, APP_2)), APP_0, APP_2),
    ],
)
def test_the_next_slot_is_the_one_behind_the_running_one(
    table: PartitionTable, running: Partition, following: Partition
) -> None:
    assert slots_of(Flash(FLASH_SIZE), table).next_update(running) == following


def test_the_factory_app_is_followed_by_the_first_slot() -> None:
    assert FACTORY_AND_TWO.factory is not None
    following = slots_of(Flash(FLASH_SIZE), FACTORY_AND_TWO).next_update(FACTORY_AND_TWO.factory)
    assert following == FACTORY_AND_TWO.ota_slots[0]


def test_without_slots_there_is_no_next_one() -> None:
    assert slots_of(Flash(FLASH_SIZE), FACTORY_ONLY).next_update(APP_0) is None


# ------------------------------------------------------------------------------ what lies there


def test_a_sound_image_is_found_and_an_empty_slot_is_empty() -> None:
    slots = slots_of(flash_with(TWO_SLOTS, {}))
    found = slots.image_in(APP_0)
    assert isinstance(found, Esp32Image)
    assert found.size == len(APP)
    assert slots.image_in(APP_1) is ImageFlaw.MAGIC


def test_a_sector_that_cannot_be_read_matters_only_inside_the_image() -> None:
    flash = flash_with(TWO_SLOTS, {})
    flash.spoil(APP_0.offset // SECTOR_SIZE + 5, BadSector.READ_FAILS)
    assert isinstance(slots_of(flash).image_in(APP_0), Esp32Image)
    flash.spoil(APP_0.offset // SECTOR_SIZE + 1, BadSector.READ_FAILS)
    assert slots_of(flash).image_in(APP_0) is ImageFlaw.CUT_OFF


# ------------------------------------------------------------------------------------ choosing


@pytest.mark.parametrize(("rollback", "state"), [(True, OtaState.NEW), (False, OtaState.UNDEFINED)])
def test_a_chosen_slot_gets_the_next_number_in_the_other_entry(rollback: bool, state: OtaState) -> None:
    flash = flash_with(TWO_SLOTS, {APP_1: APP})
    assert slots_of(flash, rollback=rollback).set_boot_partition(APP_1) is EspError.OK
    assert entries_in(flash) == (SelectEntry.made(1, OtaState.UNDEFINED), SelectEntry.made(2, state))


def test_a_slot_that_is_chosen_already_has_its_state_rewritten() -> None:
    flash = flash_with(TWO_SLOTS, {})
    assert slots_of(flash).set_boot_partition(APP_0) is EspError.OK
    assert entries_in(flash)[0] == SelectEntry.made(1, OtaState.NEW)
    assert not entries_in(flash)[1].is_written


def test_a_slot_without_a_sound_image_is_not_chosen_and_nothing_is_written() -> None:
    flash = flash_with(TWO_SLOTS, {APP_1: APP[:-1] + b"\0"})
    assert slots_of(flash).set_boot_partition(APP_1) is EspError.OTA_VALIDATE_FAILED
    assert flash.operations == 0


def test_without_otadata_nothing_can_be_chosen() -> None:
    table = PartitionTable((NVS, APP_0, APP_1))
    assert slots_of(flash_with(table, {}), table).set_boot_partition(APP_0) is EspError.NOT_FOUND


def test_a_slot_behind_a_gap_cannot_be_chosen() -> None:
    table = PartitionTable((NVS, OTADATA, APP_0, APP_2))
    flash = flash_with(table, {APP_2: APP})
    assert slots_of(flash, table).set_boot_partition(APP_2) is EspError.INVALID_ARGUMENT
    assert flash.operations == 0


@pytest.mark.parametrize("behaviour", [BadSector.ERASE_FAILS, BadSector.PROGRAM_FAILS])
def test_otadata_that_will_not_be_written_is_told(behaviour: BadSector) -> None:
    flash = flash_with(TWO_SLOTS, {APP_1: APP})
    flash.spoil(OTADATA_SECTOR + 1, behaviour)
    assert slots_of(flash).set_boot_partition(APP_1) is EspError.FLASH_OPERATION_FAILED
    assert entries_in(flash)[0] == SelectEntry.made(1, OtaState.UNDEFINED)


# --------------------------------------------------------------------------------- saying so


def test_an_app_that_says_that_it_is_well_is_written_down_once() -> None:
    flash = flash_with(TWO_SLOTS, {})
    assert slots_of(flash).mark_valid() is EspError.OK
    assert entries_in(flash)[0] == SelectEntry.made(1, OtaState.VALID)
    operations = flash.operations
    assert slots_of(flash).mark_valid() is EspError.OK
    assert flash.operations == operations


def test_without_an_active_entry_nothing_can_be_said() -> None:
    flash = Flash(FLASH_SIZE)
    assert slots_of(flash).mark_valid() is EspError.FAIL
    assert slots_of(flash).mark_invalid() is EspError.OTA_ROLLBACK_FAILED
    assert flash.operations == 0


def with_two_apps(second: SelectEntry) -> Flash:
    flash = flash_with(TWO_SLOTS, {APP_1: APP})
    write_entry(Spi(flash), TWO_SLOTS, 1, second)
    return flash


def test_an_app_that_is_not_well_goes_back_to_the_one_before() -> None:
    flash = with_two_apps(SelectEntry.made(2, OtaState.PENDING_VERIFY))
    assert slots_of(flash).mark_invalid() is EspError.OK
    assert entries_in(flash)[1] == SelectEntry.made(2, OtaState.INVALID)


def test_an_app_stays_where_there_is_none_to_go_back_to() -> None:
    flash = flash_with(TWO_SLOTS, {})
    assert slots_of(flash).mark_invalid() is EspError.OTA_ROLLBACK_FAILED
    broken = with_two_apps(SelectEntry.made(2, OtaState.PENDING_VERIFY))
    broken.spoil(APP_0.offset // SECTOR_SIZE, BadSector.READ_FAILS)
    assert slots_of(broken).mark_invalid() is EspError.OTA_ROLLBACK_FAILED
    assert entries_in(broken)[1].state == OtaState.PENDING_VERIFY


def test_the_first_app_in_a_slot_goes_back_to_the_factory_app() -> None:
    slot = FACTORY_AND_TWO.ota_slots[0]
    flash = flash_with(FACTORY_AND_TWO, {slot: APP})
    slots = slots_of(flash, FACTORY_AND_TWO)
    assert slots.set_boot_partition(slot) is EspError.OK
    assert slots.mark_invalid() is EspError.OK


def test_the_state_of_an_app_is_the_one_in_the_entry_that_stands_for_it() -> None:
    flash = with_two_apps(SelectEntry.made(2, OtaState.PENDING_VERIFY))
    slots = slots_of(flash)
    assert slots.state_of(APP_0) == OtaState.UNDEFINED
    assert slots.state_of(APP_1) == OtaState.PENDING_VERIFY
    assert slots.state_of(FILES) is None
    assert slots_of(flash, FACTORY_ONLY).state_of(APP_0) is None


def test_the_bench_puts_the_first_app_where_the_cable_does() -> None:
    machine = running_esp32(APP)
    assert machine.partition == APP_0
    assert app_in(machine, APP_0, len(APP)) == APP
    assert APP_0.subtype == AppSubtype.OTA_0
