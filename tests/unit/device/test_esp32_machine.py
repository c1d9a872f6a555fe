from __future__ import annotations

import hashlib

import pytest
from tests.esp32_bench import (
    APP_0,
    APP_1,
    CHIP,
    FACTORY_AND_TWO,
    FACTORY_ONLY,
    FILES,
    FLASH_SIZE,
    MAC,
    NVS,
    ONE_SLOT,
    OTADATA,
    SLOT,
    TWO_SLOTS,
    app_in,
    build_app,
    give,
    label_of,
    new_esp32,
    running_esp32,
)

from otaria.device.esp32_core_version import Esp32Core
from otaria.device.esp32_machine import (
    Esp32Boot,
    Esp32BootOutcome,
    Esp32Machine,
    Esp32ResetReason,
    as_flashed,
)
from otaria.device.esp32_slots import EspError
from otaria.device.flash import BadSector, Flash, PowerLost, ResetStruck
from otaria.errors import DoesNotFit, Refused, Unreachable
from otaria.units import MIB, MacAddress
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.otadata import OtaState, SelectEntry
from otaria.wire.partitions import TABLE_OFFSET, TABLES, PartitionTable

OLD = build_app("old")
NEW = build_app("new", 3)


# ----------------------------------------------------------------------------- power and reset


def test_it_is_made_standing_still() -> None:
    machine = new_esp32(OLD)
    assert (machine.running, machine.bricked, machine.console) == (False, False, "")
    assert (machine.sketch_size, machine.sketch_md5, machine.sketch_sha256) == (0, None, None)
    assert (machine.sketch_content, machine.descriptor) == (b"", None)
    with pytest.raises(Unreachable, match="No app runs on 24:6F:28:AA:BB:CC"):
        _ = machine.updater


def test_power_starts_the_app() -> None:
    machine = new_esp32(OLD)
    console = "I boot: Loaded app from partition at offset 0x10000\n"
    assert machine.power_on(b"noise") == Esp32Boot(console, Esp32ResetReason.POWER_ON, Esp32BootOutcome.RUNS, APP_0)
    assert (machine.running, machine.console) == (True, console)


def test_without_power_there_is_no_reset_and_nothing_runs() -> None:
    machine = running_esp32(OLD)
    machine.power_off()
    assert not machine.running
    with pytest.raises(PowerLost):
        machine.reset()
    assert machine.power_on().running


@pytest.mark.parametrize("reason", Esp32ResetReason)
def test_every_reset_starts_the_app_again_and_is_told(reason: Esp32ResetReason) -> None:
    boot = running_esp32(OLD).reset(reason)
    assert (boot.running, boot.reason) == (True, reason)


def test_a_reset_forgets_a_running_update() -> None:
    machine = running_esp32(OLD)
    machine.updater.begin(len(NEW))
    machine.reset()
    assert not machine.updater.is_running


def test_an_empty_chip_starts_nothing_and_only_the_cable_helps() -> None:
    machine = Esp32Machine(Flash(FLASH_SIZE), MAC, chip=CHIP)
    boot = machine.power_on()
    assert (boot.outcome, boot.running, boot.partition) == (Esp32BootOutcome.NOTHING_STARTS, False, None)
    assert machine.bricked
    assert machine.flash_over_cable(OLD, TWO_SLOTS).running
    assert not machine.bricked


def test_a_clone_goes_its_own_way() -> None:
    machine = running_esp32(OLD)
    twin = machine.clone()
    assert not twin.running
    assert twin.power_on().running
    assert give(twin, NEW)
    twin.reset()
    machine.reset()
    assert (label_of(twin), label_of(machine)) == ("new", "old")


def test_a_clone_was_built_like_the_original() -> None:
    machine = Esp32Machine(
        Flash(FLASH_SIZE),
        MAC,
        chip=CHIP,
        core=Esp32Core.V3_0,
        rollback=False,
        verify_later=True,
        real_size=MIB,
    )
    twin = machine.clone()
    built = ("mac", "chip", "core", "rollback", "verify_later", "real_size")
    assert [getattr(twin, name) for name in built] == [getattr(machine, name) for name in built]


# --------------------------------------------------------------------------------- the cable


def test_the_cable_brings_table_choice_and_app() -> None:
    machine = Esp32Machine(Flash(4 * MIB), MAC)
    machine.power_on()
    boot = machine.flash_over_cable(OLD)
    assert (boot.running, boot.reason) == (True, Esp32ResetReason.EXTERNAL)
    flash = machine.flash
    assert flash.read(TABLE_OFFSET, 0xC00) == TABLES["default"].encode()
    assert flash.read(0xE000, 32) == SelectEntry.made(1, OtaState.UNDEFINED).encode()
    assert flash.read(0x10000, len(OLD)) == OLD
    assert flash.dump() == as_flashed(OLD).ljust(4 * MIB, b"\xff")


def test_the_cable_leaves_the_settings_and_the_second_slot_alone() -> None:
    machine = running_esp32(OLD)
    assert give(machine, NEW)
    machine.reset()
    machine.flash.erase(NVS.offset // SECTOR_SIZE)
    machine.flash.write(NVS.offset, b"settings")
    machine.flash_over_cable(OLD, TWO_SLOTS)
    assert machine.flash.read(NVS.offset, 8) == b"settings"
    assert app_in(machine, APP_1, len(NEW)) == NEW
    assert (label_of(machine), machine.partition) == ("old", APP_0)


def test_the_cable_brings_the_first_app_into_the_factory_partition() -> None:
    machine = Esp32Machine(Flash(FLASH_SIZE), MAC, chip=CHIP)
    machine.power_on()
    assert machine.flash_over_cable(OLD, FACTORY_AND_TWO).partition == FACTORY_AND_TWO.factory
    assert machine.flash.read(OTADATA.offset, 32) == b"\xff" * 32


def test_an_image_that_is_too_large_for_its_partition_changes_nothing() -> None:
    machine = running_esp32(OLD)
    before = machine.flash.dump()
    with pytest.raises(DoesNotFit, match="64 KiB for it"):
        machine.flash_over_cable(bytes(SLOT + 1), TWO_SLOTS)
    with pytest.raises(DoesNotFit, match="no app partition"):
        machine.flash_over_cable(OLD, PartitionTable((NVS,)))
    with pytest.raises(DoesNotFit, match="choose a table for it"):
        machine.flash_over_cable(OLD)
    assert machine.flash.dump() == before
    assert machine.running


def test_a_chip_that_does_not_take_what_the_cable_brings_is_told() -> None:
    machine = running_esp32(OLD)
    machine.flash.spoil(APP_0.offset // SECTOR_SIZE, BadSector.PROGRAM_IGNORED)
    with pytest.raises(Refused, match="did not take what belongs to 0x10000"):
        machine.flash_over_cable(NEW, TWO_SLOTS)


def test_no_cable_without_power() -> None:
    machine = new_esp32(OLD)
    machine.power_off()
    with pytest.raises(PowerLost):
        machine.flash_over_cable(OLD, TWO_SLOTS)


# ------------------------------------------------------------------------------ what the app sees


def test_the_figures_are_those_of_the_running_image() -> None:
    machine = running_esp32(OLD)
    assert machine.sketch_size == len(OLD)
    assert machine.sketch_content == OLD
    assert machine.sketch_md5 == hashlib.md5(OLD).hexdigest()  # noqa: S324 - the device's protocol
    assert machine.sketch_sha256 == OLD[-32:].hex()
    assert machine.descriptor is not None
    assert machine.descriptor.project_name == "bench"


def test_they_follow_the_update() -> None:
    machine = running_esp32(OLD)
    assert machine.sketch_md5 is not None
    assert give(machine, NEW)
    assert machine.sketch_size == len(OLD)
    machine.reset()
    assert machine.sketch_size == len(NEW)
    assert machine.sketch_md5 == hashlib.md5(NEW).hexdigest()  # noqa: S324 - the device's protocol
    assert machine.sketch_sha256 == NEW[-32:].hex()


def test_the_free_space_is_the_size_of_the_next_slot() -> None:
    assert running_esp32(OLD).free_sketch_space == APP_1.size
    assert running_esp32(OLD, table=ONE_SLOT).free_sketch_space == APP_0.size
    assert running_esp32(OLD, table=FACTORY_ONLY).free_sketch_space == 0


def test_the_file_systems_size_is_that_of_its_partition() -> None:
    assert running_esp32(OLD).file_system_size == FILES.size
    assert running_esp32(OLD, table=FACTORY_ONLY).file_system_size == 0


def test_the_chip_size_is_what_the_chips_id_states() -> None:
    machine = new_esp32(OLD)
    assert machine.flash_chip_size == machine.real_size == FLASH_SIZE


def test_a_table_beyond_the_size_that_the_chip_claims_starts_nothing() -> None:
    flash = Flash(FLASH_SIZE)
    flash.load(as_flashed(OLD, TWO_SLOTS))
    assert not Esp32Machine(flash, MAC, chip=CHIP, real_size=4 * SLOT).power_on().running


@pytest.mark.parametrize(
    ("station", "access_point"),
    [("24:6F:28:AA:BB:CC", "24:6F:28:AA:BB:CD"), ("24:6F:28:AA:BB:FF", "24:6F:28:AA:BB:00")],
)
def test_the_access_points_mac_is_the_stations_and_one_more(station: str, access_point: str) -> None:
    assert Esp32Machine(Flash(FLASH_SIZE), MacAddress(station)).ap_mac == access_point


def test_the_table_and_the_place_are_those_by_which_it_was_started() -> None:
    machine = running_esp32(OLD)
    assert (machine.partition_table, machine.partition) == (TWO_SLOTS, APP_0)


# ---------------------------------------------------------------------------- new, and not yet well


def updated(*, rollback: bool = True, verify_later: bool = False) -> Esp32Machine:
    """A machine that has just started a new app."""
    machine = running_esp32(OLD, rollback=rollback, verify_later=verify_later)
    assert give(machine, NEW)
    assert machine.reset().running
    return machine


def test_an_app_of_arduino_says_that_it_is_well_by_itself() -> None:
    machine = updated()
    assert (label_of(machine), machine.ota_state) == ("new", OtaState.VALID)
    machine.reset()
    assert label_of(machine) == "new"


def test_an_app_that_wants_to_verify_later_is_pending_until_it_does() -> None:
    machine = updated(verify_later=True)
    assert (label_of(machine), machine.ota_state) == ("new", OtaState.PENDING_VERIFY)
    assert machine.mark_app_valid() is EspError.OK
    assert machine.ota_state == OtaState.VALID
    machine.reset()
    assert label_of(machine) == "new"


def test_an_app_that_does_not_come_to_it_is_aborted_by_the_next_start() -> None:
    machine = updated(verify_later=True)
    machine.reset(Esp32ResetReason.PANIC)
    assert (label_of(machine), machine.partition) == ("old", APP_0)
    assert machine.ota_state == OtaState.UNDEFINED


def test_an_app_that_says_that_it_is_not_well_goes_back() -> None:
    machine = updated(verify_later=True)
    assert machine.mark_app_invalid() is EspError.OK
    machine.reset()
    assert label_of(machine) == "old"


def test_an_app_that_has_nothing_to_go_back_to_stays() -> None:
    machine = running_esp32(OLD)
    assert machine.mark_app_invalid() is EspError.OTA_ROLLBACK_FAILED
    machine.reset()
    assert label_of(machine) == "old"


def test_an_update_while_the_app_is_pending_gives_it_up_at_the_next_start() -> None:
    machine = updated(verify_later=True)
    third = build_app("third")
    assert give(machine, third)
    machine.reset()
    assert (label_of(machine), machine.ota_state) == ("third", OtaState.PENDING_VERIFY)
    machine.reset()
    assert machine.running, "both entries are aborted, and an app is started all the same"


def test_builds_without_rollback_keep_no_state() -> None:
    machine = updated(rollback=False)
    assert (label_of(machine), machine.ota_state) == ("new", OtaState.UNDEFINED)
    machine.reset()
    assert label_of(machine) == "new"


def test_the_factory_app_has_no_state() -> None:
    assert running_esp32(OLD, table=FACTORY_AND_TWO).ota_state is None


# ------------------------------------------------------------------------------- interruptions


@pytest.mark.parametrize("operation", range(4))
def test_power_lost_while_the_account_is_kept_comes_out_of_the_start(operation: int) -> None:
    machine = running_esp32(OLD)
    assert give(machine, NEW)
    machine.flash.lose_power_at(operation)
    with pytest.raises(PowerLost):
        machine.reset()
    assert not machine.running
    assert machine.power_on().running


def test_a_reset_while_the_account_is_kept_leaves_what_was_printed() -> None:
    machine = running_esp32(OLD)
    assert give(machine, NEW)
    machine.flash.reset_at(2)
    with pytest.raises(ResetStruck):
        machine.reset()
    assert machine.console == "I boot: Loaded app from partition at offset 0x20000\n"
    assert machine.reset().running
