from __future__ import annotations

import gzip
import hashlib
import struct

import pytest
from tests.device_bench import (
    MAC,
    NOISE,
    SMALL,
    boot_part,
    build_sketch,
    installed,
    new_machine,
    noise,
    running,
    stage,
)

from otaria.device.core_version import Core
from otaria.device.eboot import CopyResult
from otaria.device.flash import BadSector, Flash, PowerLost
from otaria.device.machine import Boot, BootOutcome, Machine, ResetReason
from otaria.device.updater import UNKNOWN_FLASH_MODE
from otaria.errors import DoesNotFit, Refused, Unreachable
from otaria.wire.arduino_ota import Command
from otaria.wire.eboot import Action, BootCommand
from otaria.wire.esp_image import FlashMode
from otaria.wire.layouts import LAYOUTS, SECTOR_SIZE

OLD = build_sketch("old", 6)
NEW = build_sketch("new", 7)


# power and reset


def test_a_machine_stands_still_until_it_is_switched_on() -> None:
    machine = new_machine(OLD)
    assert not machine.running
    with pytest.raises(Unreachable, match="18:FE:34:AA:BB:CC"):
        _ = machine.updater


def test_power_on_runs_what_is_in_flash() -> None:
    boot = new_machine(OLD).power_on(NOISE)
    assert boot == Boot(f"v{len(OLD):08x}\n~ld\n", ResetReason.POWER_ON, BootOutcome.RUNS, None, 0x40100004)
    assert boot.running


def test_a_restart_installs_what_was_staged() -> None:
    machine = running(OLD)
    stage(machine, NEW)
    boot = machine.reset()
    assert boot.console == f"v{len(OLD):08x}\n@cp:B0\nld\n"
    assert (boot.running, boot.copy_result, boot.reason) == (True, CopyResult.OK, ResetReason.SOFTWARE_RESTART)
    assert installed(machine, NEW)
    assert machine.reset().console == f"v{len(NEW):08x}\n~ld\n"


@pytest.mark.parametrize("reason", [reason for reason in ResetReason if reason is not ResetReason.POWER_ON])
def test_the_command_survives_every_reset(reason: ResetReason) -> None:
    machine = running(OLD)
    stage(machine, NEW)
    assert machine.reset(reason).reason is reason
    assert installed(machine, NEW)


def test_the_command_does_not_survive_a_loss_of_power() -> None:
    machine = running(OLD)
    stage(machine, NEW)
    machine.power_off()
    assert not machine.running
    assert machine.power_on(NOISE).console == f"v{len(OLD):08x}\n~ld\n"
    assert installed(machine, OLD)


def test_a_reset_needs_power() -> None:
    machine = running(OLD)
    machine.power_off()
    with pytest.raises(PowerLost):
        machine.reset()
    assert not machine.running


def test_a_gzip_is_installed_unpacked() -> None:
    machine = running(OLD)
    assert stage(machine, gzip.compress(NEW, mtime=0))
    assert machine.reset().running
    assert installed(machine, NEW)


def test_a_failed_copy_restarts_and_the_second_start_tells_what_is_left() -> None:
    machine = running(OLD)
    stage(machine, NEW)
    machine.flash.spoil(3, BadSector.ERASE_FAILS)
    boot = machine.reset()
    assert boot.console.startswith(f"v{len(OLD):08x}\n@cp:B2\nv{len(NEW):08x}\n~ld\n")
    assert boot.copy_result is CopyResult.ERASE_FAILED
    assert not boot.running
    assert machine.bricked


def test_a_copy_that_fails_before_it_begins_leaves_the_old_sketch() -> None:
    machine = running(OLD)
    machine.rtc.leave_boot_command(BootCommand.copy_raw(4, 0, 4096))
    boot = machine.reset()
    assert boot.console == f"v{len(OLD):08x}\n@cp:1\nv{len(OLD):08x}\n~ld\n"
    assert boot.running


def test_an_unknown_action_is_forgotten() -> None:
    machine = running(OLD)
    machine.rtc.leave_boot_command(BootCommand(9, ()))
    assert machine.reset().console == f"v{len(OLD):08x}\n@v{len(OLD):08x}\n~ld\n"


def test_a_load_command_that_leads_nowhere_is_forgotten() -> None:
    machine = running(OLD)
    machine.rtc.leave_boot_command(BootCommand(Action.LOAD_APP, (0x7F000,)))
    boot = machine.reset()
    assert boot.console == f"v{len(OLD):08x}\n@ld\ne:1\nv{len(OLD):08x}\n~ld\n"
    assert boot.running


def test_after_an_atomic_file_system_the_file_system_is_loaded_first_and_crashes() -> None:
    machine = new_machine(OLD, atomic_file_system=True)
    machine.power_on(NOISE)
    image = noise("fs", SMALL.file_system_size)
    assert stage(machine, image, Command.FILESYSTEM)
    boot = machine.reset()
    assert boot.console.startswith(f"v{len(OLD):08x}\n@cp:0\nld\n")
    assert boot.console.endswith(f"v{len(OLD):08x}\n~ld\n")
    assert boot.running
    assert machine.flash.read(SMALL.file_system_start, len(image)) == image


def test_an_atomic_file_system_may_be_compressed() -> None:
    machine = new_machine(OLD, atomic_file_system=True)
    machine.power_on(NOISE)
    image = (noise("fs", 512) * 128)[: SMALL.file_system_size]
    assert stage(machine, gzip.compress(image, mtime=0), Command.FILESYSTEM)
    assert machine.reset().running
    assert machine.flash.read(SMALL.file_system_start, len(image)) == image


def test_a_plain_file_system_is_not_unpacked() -> None:
    machine = running(OLD)
    content = gzip.compress(noise("fs", 9000), mtime=0)
    assert stage(machine, content, Command.FILESYSTEM)
    machine.reset()
    assert machine.flash.read(SMALL.file_system_start, len(content)) == content


# bricks


def test_erased_flash_does_not_start() -> None:
    machine = new_machine(b"")
    boot = machine.power_on(NOISE)
    assert (boot.console, boot.outcome) == ("", BootOutcome.ROM_REFUSES)
    assert machine.bricked


def test_a_wrong_checksum_of_the_boot_part_keeps_the_chip_from_starting() -> None:
    assert new_machine(OLD[:100] + bytes((OLD[100] ^ 1,)) + OLD[101:]).power_on(NOISE).outcome is (
        BootOutcome.ROM_REFUSES
    )


def test_an_app_that_cannot_be_loaded_restarts_for_ever() -> None:
    boot = new_machine(OLD[:SECTOR_SIZE]).power_on(NOISE)
    assert boot.console == "vffffffff\n~ld\ne:3\n"
    assert boot.outcome is BootOutcome.LOAD_FAILS


def test_a_damaged_app_crashes() -> None:
    machine = new_machine(OLD[:0x2000] + bytes(16) + OLD[0x2010:])
    assert machine.power_on(NOISE).outcome is BootOutcome.CRASHES
    assert machine.bricked


def test_an_esp32_image_is_accepted_and_bricks() -> None:
    machine = running(OLD)
    esp32 = b"\xe9\x01\x02\x0f" + bytes(20) + struct.pack("<II", 0x3C000020, 8192) + noise("esp32", 8192)
    assert stage(machine, esp32)
    assert machine.reset().outcome is BootOutcome.ROM_REFUSES


def test_a_signed_gzip_on_a_device_without_verifier_runs_once_and_never_again() -> None:
    machine = running(OLD)
    signed = gzip.compress(NEW, mtime=0) + b"s" * 256 + struct.pack("<I", 256)
    assert stage(machine, signed)
    boot = machine.reset()
    assert boot.console.endswith("@cp:0\nld\n")
    assert boot.running
    assert machine.flash.read(SECTOR_SIZE, len(OLD) - SECTOR_SIZE) == OLD[SECTOR_SIZE:]
    assert machine.reset().outcome is BootOutcome.ROM_REFUSES


def test_a_signed_plain_image_on_a_device_without_verifier_runs() -> None:
    machine = running(OLD)
    assert stage(machine, NEW + b"s" * 256 + struct.pack("<I", 256))
    assert machine.reset().running
    assert machine.sketch_size == len(NEW)


def test_a_copy_that_hangs_is_forgotten_by_a_power_cycle_only() -> None:
    machine = running(OLD)
    endless = b"\x1f\x8b\x08\x08" + b"x" * (machine.free_sketch_space - 4)
    machine.flash.load(OLD.ljust(0x6B000, b"x") + b"x" * (machine.flash.size - 0x6B000))
    machine.updater.begin(len(endless))
    machine.updater.write(endless)
    machine.updater.end()
    assert machine.reset().outcome is BootOutcome.HANGS
    assert machine.reset(ResetReason.EXTERNAL).outcome is BootOutcome.HANGS
    assert not machine.bricked
    assert machine.power_on(NOISE).running


# after serial flashing


def test_after_serial_flashing_the_boot_mode_is_latched_until_the_reset_pin() -> None:
    machine = new_machine(b"")
    assert machine.flash_over_cable(OLD).running
    assert not machine.updater.begin(4096)
    assert machine.updater.error == 11
    assert machine.reset(ResetReason.EXTERNAL).running
    assert machine.updater.begin(4096)


def test_a_software_restart_after_serial_flashing_ends_in_the_serial_loader() -> None:
    machine = new_machine(b"")
    machine.flash_over_cable(OLD)
    boot = machine.reset()
    assert (boot.console, boot.outcome) == ("", BootOutcome.SERIAL_LOADER)
    assert not machine.running
    assert not machine.bricked
    assert machine.power_on(NOISE).running
    assert machine.reset().running


def test_the_cable_mends_a_brick() -> None:
    machine = new_machine(b"")
    machine.power_on(NOISE)
    assert machine.bricked
    assert machine.flash_over_cable(OLD).running
    assert not machine.bricked


def test_esptool_puts_mode_and_size_into_the_first_header_when_told() -> None:
    machine = new_machine(b"")
    machine.flash_over_cable(OLD, mode=FlashMode.DOUT, size_and_frequency=0x0F)
    assert machine.flash.read(0, 4) == OLD[:2] + b"\x03\x0f"
    assert machine.running
    assert machine.sketch_md5 == hashlib.md5(OLD[:2] + b"\x03\x0f" + OLD[4:]).hexdigest()  # noqa: S324 - the device's protocol


def test_esptool_leaves_what_is_no_image_alone() -> None:
    machine = new_machine(OLD)
    machine.flash_over_cable(b"garbage", mode=FlashMode.DOUT)
    assert machine.flash.read(0, 7) == b"garbage"


def test_an_image_larger_than_the_chip_is_not_flashed() -> None:
    machine = running(OLD)
    with pytest.raises(DoesNotFit):
        machine.flash_over_cable(bytes(machine.flash.size + 1))
    assert machine.running
    assert installed(machine, OLD)


def test_a_chip_that_does_not_take_the_image_says_so() -> None:
    machine = new_machine(b"")
    machine.flash.spoil(2, BadSector.PROGRAM_IGNORED)
    with pytest.raises(Refused, match="0x2000"):
        machine.flash_over_cable(OLD)
    assert not machine.running


# what the sketch sees


def test_the_figures_of_the_core_s_own_example() -> None:
    layout = LAYOUTS["4m3m"]
    machine = running(build_sketch("large", 92, size_and_frequency=0x40), layout=layout)
    assert machine.sketch_size == len(build_sketch("large", 92))
    assert machine.free_sketch_space == layout.file_system_start - 92 * SECTOR_SIZE == 671744
    assert machine.flash_chip_size == machine.real_size == 4 << 20
    assert machine.chip_id == MAC.chip_id == 0xAABBCC


def test_the_sketch_s_md5_is_of_flash_up_to_its_size() -> None:
    assert running(NEW).sketch_md5 == hashlib.md5(NEW).hexdigest()  # noqa: S324 - the device's protocol


def test_the_sketch_s_md5_is_of_the_unpacked_and_patched_image() -> None:
    machine = running(build_sketch("old", mode=FlashMode.DOUT))
    stage(machine, NEW + b"s" * 256 + struct.pack("<I", 256))
    machine.reset()
    patched = NEW[:2] + bytes((FlashMode.DOUT,)) + NEW[3:]
    assert machine.sketch_md5 == hashlib.md5(patched).hexdigest()  # noqa: S324 - the device's protocol
    assert not machine.check_flash_crc()


def test_size_and_md5_are_looked_up_once_until_the_next_start() -> None:
    machine = running(OLD)
    before = machine.sketch_size, machine.sketch_md5
    machine.flash.load(NEW)
    assert (machine.sketch_size, machine.sketch_md5) == before
    machine.reset()
    assert machine.sketch_size == len(NEW)


def test_the_flash_s_own_words_are_read_anew_every_time() -> None:
    machine = running(OLD)
    assert (machine.flash_mode, machine.check_flash_crc()) == (FlashMode.DIO, True)
    machine.flash.load(OLD[:2] + b"\x04" + OLD[3:])
    assert (machine.flash_mode, machine.check_flash_crc()) == (UNKNOWN_FLASH_MODE, False)


def test_what_cannot_be_read_is_zero_or_nothing() -> None:
    machine = new_machine(b"")
    assert machine.sketch_size == 0x1010
    machine.flash.spoil(1, BadSector.READ_FAILS)
    assert machine.sketch_size == 0
    machine.flash.spoil(0, BadSector.READ_FAILS)
    machine.flash.spoil(1, None)
    assert machine.sketch_md5 is None
    assert machine.flash_mode == FlashMode.QIO


def test_a_chip_may_claim_another_size() -> None:
    machine = Machine(Flash(512 << 10), SMALL, MAC, real_size=1 << 20)
    assert machine.real_size == 1 << 20


def test_a_layout_that_is_larger_than_the_chip_fails_at_the_first_erase() -> None:
    machine = Machine(Flash(512 << 10), LAYOUTS["4m2m"], MAC)
    machine.flash.load(OLD)
    machine.power_on(NOISE)
    machine.updater.begin(8192)
    assert machine.updater.write(NEW[:8192]) == 0
    assert machine.updater.error == 2


# the Updater of each start


def test_every_start_has_an_updater_of_its_own() -> None:
    machine = running(OLD)
    machine.updater.begin(8192)
    first = machine.updater
    machine.reset()
    assert machine.updater is not first
    assert not machine.updater.is_running


def test_a_key_that_was_built_in_is_there_after_every_start() -> None:
    class Nobody:
        length = 256

        def verify(self, digest: bytes, signature: bytes) -> bool:
            del digest, signature
            return False

    flash = Flash(512 << 10)
    flash.load(OLD)
    machine = Machine(flash, SMALL, MAC, verifier=Nobody())
    machine.power_on(NOISE)
    for _ in range(2):
        assert not stage(machine, NEW)
        assert machine.updater.error == 12
        machine.reset()


# interruptions and clones


def test_what_was_printed_before_power_failed_is_still_there() -> None:
    machine = running(OLD)
    stage(machine, NEW)
    machine.flash.lose_power_at(0)
    with pytest.raises(PowerLost):
        machine.reset()
    assert machine.console == f"v{len(OLD):08x}\n@cp:B"
    assert not machine.running


def test_power_lost_under_the_running_sketch_stops_it() -> None:
    machine = running(OLD)
    machine.updater.begin(8192)
    machine.flash.lose_power_at(0)
    with pytest.raises(PowerLost):
        machine.updater.write(NEW[:8192])
    assert not machine.running
    assert machine.power_on(NOISE).running


def test_a_clone_takes_over_flash_rtc_and_boot_mode() -> None:
    machine = running(OLD)
    stage(machine, NEW)
    twin = machine.clone()
    assert not twin.running
    assert twin.reset().running
    assert installed(twin, NEW)
    assert installed(machine, OLD)


@pytest.mark.parametrize("core", list(Core))
def test_every_core_installs_a_plain_image(core: Core) -> None:
    machine = running(OLD, core=core)
    assert stage(machine, NEW)
    assert machine.reset().running
    assert installed(machine, NEW)


def test_a_new_boot_part_is_installed_with_the_sketch() -> None:
    machine = running(OLD)
    new_boot = build_sketch("new", 7, boot=boot_part("eboot 2"))
    assert stage(machine, new_boot)
    assert machine.reset().running
    assert installed(machine, new_boot)
