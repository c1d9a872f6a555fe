"""Named after the statements of protocols §4.1."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Generator

import pytest
from tests.device_bench import SMALL, build_sketch, new_machine, noise, running, stage

from otaria.device.core_version import Core
from otaria.device.flash import BadSector
from otaria.device.machine import Machine
from otaria.device.update_error import UpdateError
from otaria.device.updater import Updater
from otaria.units import ByteCount
from otaria.wire.arduino_ota import Command
from otaria.wire.eboot import BootCommand
from otaria.wire.esp_image import FlashMode
from otaria.wire.layouts import LAYOUTS, SECTOR_SIZE

OLD = build_sketch("old", 6)
NEW = build_sketch("new", 7)
FS_START = SMALL.file_system_start
SIGNATURE = b"s" * 256
TRAILER = SIGNATURE + (256).to_bytes(4, "little")

ALL_CORES = pytest.mark.parametrize("core", list(Core))


class Signed:
    """Accepts one payload only, signed with one signature."""

    length = 256

    def __init__(self, payload: bytes) -> None:
        self._digest = hashlib.sha256(payload).digest()

    def verify(self, digest: bytes, signature: bytes) -> bool:
        return digest == self._digest and signature == SIGNATURE


class Log(list[str]):
    """Writes down what an Updater calls, in order."""

    def __init__(self, updater: Updater) -> None:
        updater.on_start = lambda: self.append("start")
        updater.on_end = lambda: self.append("end")
        updater.on_error = lambda code: self.append(f"error {code}")
        updater.on_progress = lambda done, size: self.append(f"progress {done}/{size}")


def command_of(machine: Machine) -> tuple[int, ...] | None:
    command = machine.rtc.boot_command()
    return None if command is None else (command.action, *(command.argument(index) for index in range(3)))


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - the device's protocol


# what an idle Updater is


def test_an_idle_updater_does_not_run_and_counts_as_finished() -> None:
    updater = running(OLD).updater
    assert not updater.is_running
    assert updater.is_finished
    assert (updater.size, updater.progress, updater.remaining, updater.error) == (0, 0, 0, 0)
    assert updater.error_text() == "ERROR[0]: No Error"


# begin


def test_a_sketch_is_staged_as_high_as_it_fits_below_the_file_system() -> None:
    machine = running(OLD)
    assert stage(machine, NEW)
    start = FS_START - 7 * SECTOR_SIZE
    assert command_of(machine) == (1, start, 0, len(NEW))
    assert machine.flash.read(start, len(NEW)) == NEW
    assert machine.flash.read(0, len(OLD)) == OLD


def test_the_staging_address_of_the_core_s_own_example() -> None:
    machine = running(OLD, layout=LAYOUTS["4m3m"])
    machine.updater.begin(373940)
    machine.updater.write(bytes(4097))
    assert machine.flash.read(0xA4000, SECTOR_SIZE) != b"\xff" * SECTOR_SIZE
    assert LAYOUTS["4m3m"].free_sketch_space(373940) == 671744


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (1, False)])
def test_a_sketch_must_leave_the_running_one_alone(spare: int, fits: bool) -> None:
    updater = running(OLD).updater
    room = FS_START - 6 * SECTOR_SIZE
    assert updater.begin(room + spare) is fits
    assert updater.error == (UpdateError.OK if fits else UpdateError.SPACE)


def test_a_sketch_larger_than_everything_is_not_staged_at_zero() -> None:
    updater = running(OLD).updater
    assert not updater.begin(FS_START + 1)
    assert updater.error_text() == "ERROR[4]: Not Enough Space"


def test_size_zero_is_a_bad_size() -> None:
    updater = running(OLD).updater
    assert not updater.begin(0)
    assert updater.error_text() == "ERROR[5]: Bad Size Given"


def test_a_flash_smaller_than_configured_is_refused_with_both_sizes() -> None:
    updater = running(build_sketch("for 4M", size_and_frequency=0x40)).updater
    assert not updater.begin(4096)
    assert updater.error_text() == "ERROR[8]: Flash config wrong: real: 524288, SDK: 4194304"


def test_with_a_flash_map_the_configured_size_is_the_real_one() -> None:
    machine = new_machine(build_sketch("for 4M", size_and_frequency=0x40))
    machine.flash_map = True
    machine.power_on(b"")
    assert machine.updater.begin(4096)


def test_begin_looks_at_boot_mode_then_size_then_flash_then_room() -> None:
    machine = running(build_sketch("for 4M", size_and_frequency=0x40))
    updater = machine.updater

    def refusal(size: int) -> int:
        assert not updater.begin(size)
        return updater.error

    machine.boot_strap_mode = 1
    assert refusal(0) == UpdateError.BOOTSTRAP
    machine.boot_strap_mode = 3
    assert refusal(0) == UpdateError.SIZE
    assert refusal(1 << 30) == UpdateError.FLASH_CONFIG
    machine.real_size = ByteCount(4 << 20)
    assert refusal(1 << 30) == UpdateError.SPACE


def test_the_uart_boot_mode_is_refused() -> None:
    machine = running(OLD)
    machine.boot_strap_mode = 1
    assert not machine.updater.begin(4096)
    assert machine.updater.error_text() == "ERROR[11]: Invalid bootstrapping state, reset ESP8266 before updating"


def test_a_file_system_must_fit_between_its_borders() -> None:
    updater = running(OLD).updater
    assert not updater.begin(SMALL.file_system_size + 1, Command.FILESYSTEM)
    assert updater.error == UpdateError.SPACE
    assert updater.begin(SMALL.file_system_size, Command.FILESYSTEM)


def test_another_command_is_unknown_to_master_and_refused_without_a_number_before() -> None:
    for core, error in ((Core.MASTER, UpdateError.UNKNOWN_COMMAND), (Core.V3_1, UpdateError.OK)):
        updater = running(OLD, core=core).updater
        assert not updater.begin(4096, 101)
        assert updater.error == error
        assert not updater.is_running


def test_on_master_begin_during_an_update_ends_that_update() -> None:
    updater = running(OLD, core=Core.MASTER).updater
    updater.begin(len(NEW))
    assert not updater.begin(len(NEW))
    assert updater.error_text() == "ERROR[15]: Update already running"
    assert not updater.is_running


@pytest.mark.parametrize("core", [core for core in Core if core is not Core.MASTER])
def test_in_releases_begin_during_an_update_leaves_it_alone(core: Core) -> None:
    machine = running(OLD, core=core)
    machine.updater.begin(len(NEW))
    machine.updater.write(NEW[:5000])
    assert not machine.updater.begin(len(NEW))
    assert machine.updater.error == 0
    assert machine.updater.write(NEW[5000:]) == len(NEW) - 5000
    assert machine.updater.end()


def test_without_memory_for_the_buffer_nothing_begins() -> None:
    machine = running(OLD, core=Core.MASTER)
    machine.free_heap = ByteCount(200)
    assert not machine.updater.begin(4096)
    assert machine.updater.error_text() == "ERROR[14]: Out of memory"
    assert not machine.updater.is_running


def test_begin_forgets_error_and_md5_of_the_last_update() -> None:
    machine = running(OLD)
    machine.updater.set_md5(md5(b"another"))
    machine.updater.begin(0)
    assert stage(machine, NEW)
    assert machine.updater.error == 0


# setMD5


def test_an_md5_of_another_length_is_refused_and_the_old_one_stays() -> None:
    machine = running(OLD)
    updater = machine.updater
    updater.begin(len(NEW))
    assert updater.set_md5(md5(b"another"))
    for text in ("", "0" * 31, "0" * 33):
        assert not updater.set_md5(text)
    updater.write(NEW)
    assert not updater.end()
    assert updater.error_text() == (
        f"ERROR[7]: MD5 verification failed: expected: {md5(b'another')}, calculated: {md5(NEW)}"
    )
    assert command_of(machine) is None


@pytest.mark.parametrize("early", [True, False])
def test_the_md5_may_be_set_before_or_after_writing_and_in_any_case(early: bool) -> None:
    updater = running(OLD).updater
    updater.begin(len(NEW))
    if early:
        updater.set_md5(md5(NEW).upper())
    updater.write(NEW)
    if not early:
        updater.set_md5(md5(NEW).upper())
    assert updater.end()


def test_without_an_md5_nothing_is_compared() -> None:
    assert stage(running(OLD), NEW)


# write


def test_a_full_buffer_is_flushed_only_by_the_next_byte() -> None:
    updater = running(OLD).updater
    updater.begin(len(NEW))
    assert updater.write(NEW[:4096]) == 4096
    assert (updater.progress, updater.buffered) == (0, 4096)
    assert updater.write(NEW[4096:4097]) == 1
    assert (updater.progress, updater.buffered) == (4096, 1)


def test_a_buffer_that_completes_the_update_is_flushed_at_once() -> None:
    updater = running(OLD).updater
    updater.begin(8192)
    updater.write(NEW[:8192])
    assert updater.is_finished
    assert (updater.progress, updater.remaining) == (8192, 0)


def test_with_little_memory_the_buffer_has_256_bytes() -> None:
    machine = running(OLD)
    machine.free_heap = ByteCount(8192)
    machine.updater.begin(len(NEW))
    machine.updater.write(NEW[:257])
    assert machine.updater.progress == 256
    machine.updater.write(NEW[257:])
    assert machine.updater.end()
    assert machine.flash.read(FS_START - 7 * SECTOR_SIZE, len(NEW)) == NEW


def test_a_core_before_the_small_buffer_takes_the_large_one_all_the_same() -> None:
    machine = running(OLD, core=Core.V2_3)
    machine.free_heap = ByteCount(8192)
    machine.updater.begin(len(NEW))
    machine.updater.write(NEW[:4096])
    assert machine.updater.progress == 0


def test_more_than_the_size_is_error_4_and_ends_the_update() -> None:
    updater = running(OLD).updater
    updater.begin(10)
    updater.write(b"12345")
    assert updater.write(b"678901") == 0
    assert updater.error == UpdateError.SPACE
    assert not updater.is_running


def test_nothing_is_written_after_an_error_or_without_begin() -> None:
    updater = running(OLD).updater
    assert updater.write(b"abc") == 0
    updater.begin(0)
    assert updater.write(b"abc") == 0


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [(BadSector.ERASE_FAILS, UpdateError.ERASE), (BadSector.PROGRAM_FAILS, UpdateError.WRITE)],
)
def test_a_bad_sector_ends_the_update_and_the_write_tells_what_was_taken(
    behaviour: BadSector, error: UpdateError
) -> None:
    machine = running(OLD)
    machine.flash.spoil(FS_START // SECTOR_SIZE - 6, behaviour)
    updater = machine.updater
    updater.begin(len(NEW))
    assert updater.write(NEW) == SECTOR_SIZE
    assert updater.error == error
    assert not updater.is_running
    assert not updater.end()
    assert command_of(machine) is None


def test_a_bad_sector_under_the_last_piece_is_told_by_that_write() -> None:
    machine = running(OLD)
    machine.flash.spoil(FS_START // SECTOR_SIZE - 1, BadSector.PROGRAM_FAILS)
    machine.updater.begin(len(NEW))
    assert machine.updater.write(NEW[:-100]) == len(NEW) - 100
    assert machine.updater.write(NEW[-100:]) == 0
    assert machine.updater.error == UpdateError.WRITE


def test_an_image_of_odd_length_is_padded_with_ff() -> None:
    machine = running(OLD)
    odd = gzip.compress(NEW, mtime=0)
    odd += b"\0" * (5 - len(odd) % 4)
    assert stage(machine, odd)
    start = FS_START - -(-len(odd) // SECTOR_SIZE) * SECTOR_SIZE
    assert machine.flash.read(start, len(odd) + 3) == odd + b"\xff\xff\xff"


def test_an_empty_write_after_the_last_byte_erases_the_sector_behind() -> None:
    machine = running(OLD)
    machine.flash.write(FS_START, b"file system.")
    machine.updater.begin(8192)
    machine.updater.write(NEW[:8192])
    machine.updater.write(b"")
    assert machine.flash.read(FS_START, 12) == b"\xff" * 12


# the flash mode


def test_the_flash_mode_is_patched_in_flash_and_the_md5_sees_what_was_sent() -> None:
    machine = running(build_sketch("old", mode=FlashMode.DOUT))
    new = build_sketch("new", mode=FlashMode.QIO)
    machine.updater.set_md5(md5(new))
    updater = machine.updater
    updater.begin(len(new))
    updater.set_md5(md5(new))
    updater.write(new)
    assert updater.end()
    assert machine.flash.read(FS_START - 6 * SECTOR_SIZE, 4) == new[:2] + bytes((FlashMode.DOUT,)) + new[3:4]


def test_a_mode_byte_above_3_is_patched_and_its_md5_never_holds() -> None:
    machine = running(OLD)
    strange = NEW[:2] + b"\x07" + NEW[3:]
    updater = machine.updater
    updater.begin(len(strange))
    updater.set_md5(md5(strange))
    updater.write(strange)
    assert not updater.end()
    assert md5(NEW[:2] + b"\xff" + NEW[3:]) in updater.error_text()
    assert machine.flash.read(FS_START - 7 * SECTOR_SIZE + 2, 1) == bytes((FlashMode.DIO,))


def test_a_device_whose_own_mode_is_unknown_writes_ff() -> None:
    machine = running(OLD[:2] + b"\x09" + OLD[3:])
    assert stage(machine, NEW)
    assert machine.flash.read(FS_START - 7 * SECTOR_SIZE + 2, 1) == b"\xff"


def test_two_unknown_modes_count_as_equal() -> None:
    machine = running(OLD[:2] + b"\x09" + OLD[3:])
    assert stage(machine, NEW[:2] + b"\x08" + NEW[3:])
    assert machine.flash.read(FS_START - 7 * SECTOR_SIZE + 2, 1) == b"\x08"


def test_a_compressed_image_is_not_patched() -> None:
    machine = running(OLD)
    packed = gzip.compress(build_sketch("new", mode=FlashMode.QIO), mtime=0)
    assert stage(machine, packed)
    assert machine.flash.read(FS_START - -(-len(packed) // SECTOR_SIZE) * SECTOR_SIZE, 4) == packed[:4]


@ALL_CORES
def test_old_cores_patch_a_file_system_too(core: Core) -> None:
    machine = running(OLD, core=core)
    image = b"\xe9\x00\x00\x00" + noise("fs", 8188)
    assert stage(machine, image, Command.FILESYSTEM)
    patched = core is Core.V2_5
    assert machine.flash.read(FS_START + 2, 1) == (bytes((FlashMode.DIO,)) if patched else b"\0")


# end


def test_end_without_begin_is_false_and_sets_no_error() -> None:
    updater = running(OLD).updater
    assert not updater.end()
    assert updater.error == 0


def test_an_unfinished_update_ends_with_error_0() -> None:
    machine = running(OLD)
    machine.updater.begin(len(NEW))
    machine.updater.write(NEW[:5000])
    assert not machine.updater.end()
    assert machine.updater.error_text() == "ERROR[0]: No Error"
    assert command_of(machine) is None


@pytest.mark.parametrize("sent", [0, 1, 4096])
def test_up_to_4096_unflushed_bytes_of_a_larger_update_are_no_data(sent: int) -> None:
    updater = running(OLD).updater
    updater.begin(len(NEW))
    updater.write(NEW[:sent])
    assert not updater.end(even_if_remaining=True)
    assert updater.error_text() == "ERROR[13]: No data supplied"


def test_before_error_13_a_small_file_of_unknown_size_is_taken() -> None:
    machine = running(OLD, core=Core.V2_7)
    machine.updater.begin(2 * SECTOR_SIZE)
    machine.updater.write(b"\xe9" * 100)
    assert machine.updater.end(even_if_remaining=True)
    assert command_of(machine) == (1, FS_START - 2 * SECTOR_SIZE, 0, 100)


def test_even_if_remaining_takes_what_came_as_the_size() -> None:
    machine = running(OLD)
    room = (machine.free_sketch_space - SECTOR_SIZE) // SECTOR_SIZE * SECTOR_SIZE
    machine.updater.begin(room)
    machine.updater.write(NEW)
    assert machine.updater.end(even_if_remaining=True)
    assert command_of(machine) == (1, FS_START - room, 0, len(NEW))


def test_the_browser_stages_one_sector_above_the_sketch() -> None:
    machine = running(OLD)
    room = (machine.free_sketch_space - SECTOR_SIZE) // SECTOR_SIZE * SECTOR_SIZE
    machine.updater.begin(room)
    machine.updater.write(NEW)
    assert machine.flash.read(7 * SECTOR_SIZE, 8) == NEW[:8]


def test_a_last_flush_that_fails_is_overlooked_and_the_command_copies_nothing() -> None:
    machine = running(OLD)
    machine.updater.begin(8 * SECTOR_SIZE)
    machine.updater.write(NEW[:5000])
    machine.flash.spoil(FS_START // SECTOR_SIZE - 7, BadSector.ERASE_FAILS)
    assert machine.updater.end(even_if_remaining=True)
    assert machine.updater.error == UpdateError.ERASE
    assert command_of(machine) == (1, 0, 0, 0)
    assert machine.reset().running
    assert machine.flash.read(0, len(OLD)) == OLD


def test_end_does_not_restart_anything() -> None:
    machine = running(OLD)
    stage(machine, NEW)
    assert machine.running
    assert not machine.updater.is_running
    assert machine.flash.read(0, len(OLD)) == OLD


@pytest.mark.parametrize("first", [b"\x00", b"\x1f\x8c", b"\xff", b"{"])
def test_another_first_byte_is_found_at_the_end_only(first: bytes) -> None:
    machine = running(OLD)
    wrong = first + NEW[len(first) :]
    assert machine.updater.begin(len(wrong))
    assert machine.updater.write(wrong) == len(wrong)
    assert not machine.updater.end()
    assert machine.updater.error_text() == "ERROR[10]: Magic byte is not 0xE9"
    assert command_of(machine) is None


@ALL_CORES
def test_gzip_is_taken_unseen_since_2_7(core: Core) -> None:
    machine = running(OLD, core=core)
    taken = stage(machine, gzip.compress(b"no image at all", mtime=0))
    assert taken is (core not in (Core.V2_3, Core.V2_5))
    assert machine.updater.error == (0 if taken else UpdateError.MAGIC_BYTE)


def test_an_image_for_a_larger_flash_is_refused_at_the_end() -> None:
    machine = running(OLD)
    assert not stage(machine, build_sketch("for 1M", size_and_frequency=0x20))
    assert machine.updater.error_text() == "ERROR[9]: new Flash config wrong, real size: 524288"


def test_a_flash_map_sketch_does_not_look_at_the_flash_size() -> None:
    machine = running(OLD)
    machine.flash_map = True
    assert stage(machine, build_sketch("for 1M", size_and_frequency=0x20))


def test_an_unknown_flash_size_counts_as_zero_and_fits() -> None:
    assert stage(running(OLD), build_sketch("2M-c1", size_and_frequency=0x50))


def test_a_staging_area_that_cannot_be_read_is_error_3() -> None:
    machine = running(OLD)
    machine.updater.begin(len(NEW))
    machine.updater.write(NEW)
    machine.flash.spoil(FS_START // SECTOR_SIZE - 7, BadSector.READ_FAILS)
    assert not machine.updater.end()
    assert machine.updater.error_text() == "ERROR[3]: Flash Read Failed"


# file systems


def test_a_file_system_is_written_in_place_and_leaves_no_command() -> None:
    machine = running(OLD)
    image = noise("fs", SMALL.file_system_size)
    assert stage(machine, image, Command.FILESYSTEM)
    assert machine.flash.read(FS_START, len(image)) == image
    assert command_of(machine) is None


def test_an_aborted_file_system_update_leaves_it_broken() -> None:
    machine = running(OLD)
    before = noise("old fs", SMALL.file_system_size)
    stage(machine, before, Command.FILESYSTEM)
    machine.updater.begin(len(before), Command.FILESYSTEM)
    machine.updater.write(noise("new fs", 5000))
    assert not machine.updater.end()
    assert machine.flash.read(FS_START, len(before)) != before


def test_an_atomic_file_system_is_staged_and_copied_by_the_bootloader() -> None:
    machine = new_machine(OLD, atomic_file_system=True)
    machine.power_on(b"")
    image = noise("fs", SMALL.file_system_size)
    assert stage(machine, image, Command.FILESYSTEM)
    assert command_of(machine) == (1, FS_START - len(image), FS_START, len(image))


def test_an_atomic_file_system_needs_room_beside_the_sketch() -> None:
    machine = new_machine(build_sketch("large", 100), atomic_file_system=True)
    machine.power_on(b"")
    assert not machine.updater.begin(SMALL.file_system_size, Command.FILESYSTEM)
    assert machine.updater.error == UpdateError.SPACE


# signatures


def signed_machine(payload: bytes, core: Core = Core.V3_1) -> Machine:
    machine = running(OLD, core=core)
    machine.updater.install_signature(Signed(payload))
    return machine


def test_a_good_signature_is_cut_off_the_size() -> None:
    machine = signed_machine(NEW)
    assert stage(machine, NEW + TRAILER)
    command = command_of(machine)
    assert command is not None
    assert command[3] == len(NEW)


def test_a_payload_that_cannot_be_read_back_is_error_12() -> None:
    machine = signed_machine(NEW)
    machine.updater.begin(len(NEW + TRAILER))
    machine.updater.write(NEW + TRAILER)
    machine.flash.spoil(FS_START // SECTOR_SIZE - 4, BadSector.READ_FAILS)
    assert not machine.updater.end()
    assert machine.updater.error == UpdateError.SIGN


def test_a_signed_file_of_known_size_may_end_even_if_remaining() -> None:
    machine = signed_machine(NEW)
    machine.updater.begin(len(NEW + TRAILER))
    machine.updater.write(NEW + TRAILER)
    assert machine.updater.end(even_if_remaining=True)


def test_before_3_0_the_size_keeps_the_signature() -> None:
    machine = signed_machine(NEW, Core.V2_7)
    assert stage(machine, NEW + TRAILER)
    command = command_of(machine)
    assert command is not None
    assert command[3] == len(NEW) + 260


@pytest.mark.parametrize(
    "content",
    [NEW, NEW + b"t" * 256 + TRAILER[-4:], NEW[:-1] + b"x" + TRAILER, NEW + TRAILER[:-4] + bytes(4), TRAILER[-4:]],
    ids=["unsigned", "another signature", "another payload", "another length", "only a length"],
)
def test_anything_else_is_error_12(content: bytes) -> None:
    machine = signed_machine(NEW)
    assert not stage(machine, content)
    assert machine.updater.error_text() == "ERROR[12]: Signature verification failed"
    assert command_of(machine) is None


def test_with_a_verifier_the_md5_is_not_looked_at() -> None:
    machine = signed_machine(NEW)
    machine.updater.begin(len(NEW + TRAILER))
    machine.updater.set_md5(md5(b"wrong"))
    machine.updater.write(NEW + TRAILER)
    assert machine.updater.end()


def test_a_signed_plain_image_of_another_mode_fails_because_flash_is_hashed() -> None:
    other = build_sketch("new", mode=FlashMode.QIO)
    machine = signed_machine(other)
    assert not stage(machine, other + TRAILER)
    assert machine.updater.error == UpdateError.SIGN
    packed = gzip.compress(other, mtime=0)
    assert stage(signed_machine(packed), packed + TRAILER)


def test_a_verifier_without_a_trailer_sees_the_whole_image() -> None:
    machine = running(OLD)
    seen = []

    class Whole:
        length = 0

        def verify(self, digest: bytes, signature: bytes) -> bool:
            seen.append((digest, signature))
            return True

    machine.updater.install_signature(Whole())
    assert stage(machine, NEW)
    assert seen == [(hashlib.sha256(NEW).digest(), b"")]


def test_a_core_without_signatures_ignores_the_verifier() -> None:
    assert stage(signed_machine(b"another", Core.V2_3), NEW)


# errors and call-backs


def test_the_error_stays_until_it_is_cleared() -> None:
    updater = running(OLD).updater
    updater.begin(0)
    assert not updater.end()
    assert updater.error == UpdateError.SIZE
    updater.clear_error()
    assert updater.error_text() == "ERROR[0]: No Error"


def test_cores_before_3_1_word_four_errors_otherwise() -> None:
    machine = running(OLD, core=Core.V2_7)
    stage(machine, b"x" * 5000)
    assert machine.updater.error_text() == "ERROR[10]: Magic byte is wrong, not 0xE9"
    machine.updater.begin(len(NEW))
    machine.updater.set_md5("0" * 32)
    machine.updater.write(NEW)
    machine.updater.end()
    assert machine.updater.error_text() == f"ERROR[7]: MD5 Failed: expected:{'0' * 32}, calculated:{md5(NEW)}"


def test_the_call_backs_of_a_good_update() -> None:
    machine = running(OLD)
    log = Log(machine.updater)
    assert stage(machine, NEW)
    assert log == ["end", "start", "end"]


def test_the_call_backs_of_a_refused_begin() -> None:
    updater = running(OLD).updater
    log = Log(updater)
    updater.begin(0)
    updater.begin(1 << 30)
    assert log == ["error 5", "end", "end", "error 4", "end"]


def test_the_call_backs_of_a_failed_end() -> None:
    machine = running(OLD)
    log = Log(machine.updater)
    stage(machine, b"x" * 5000)
    assert log == ["end", "start", "error 10", "end", "end"]
    log.clear()
    machine.updater.end()
    assert log == ["end"]


def test_the_call_backs_of_a_wrong_md5() -> None:
    machine = running(OLD)
    log = Log(machine.updater)
    machine.updater.begin(len(NEW))
    machine.updater.set_md5("0" * 32)
    machine.updater.write(NEW)
    machine.updater.end()
    assert log == ["end", "start", "error 7", "end"]


@pytest.mark.parametrize("core", [Core.V2_3, Core.V2_5, Core.V2_7])
def test_older_cores_have_no_start_end_and_error_call_backs(core: Core) -> None:
    machine = running(OLD, core=core)
    log = Log(machine.updater)
    stage(machine, b"x" * 5000)
    assert not log


# writeStream


def feed(stream: Generator[int, bytes | None, int], *pieces: bytes | None) -> int:
    """Send what the stream brings, at most what is asked for at a time; then, silence."""
    left = list(pieces)
    try:
        room = next(stream)
        while True:
            piece = left.pop(0) if left else None
            if piece is not None and len(piece) > room:
                left.insert(0, piece[room:])
                piece = piece[:room]
            room = stream.send(piece)
    except StopIteration as stop:
        return int(stop.value)


def test_a_stream_is_read_until_everything_is_there() -> None:
    machine = running(OLD)
    machine.updater.begin(len(NEW))
    assert feed(machine.updater.write_stream(NEW[0]), NEW[:100], NEW[100:]) == len(NEW)
    assert machine.updater.end()
    assert machine.flash.read(FS_START - 7 * SECTOR_SIZE, len(NEW)) == NEW


def test_a_stream_reports_flashed_bytes_before_after_each_piece_and_once_more() -> None:
    machine = running(OLD)
    log = Log(machine.updater)
    machine.updater.begin(5000)
    feed(machine.updater.write_stream(0xE9), b"\xe9" * 4000, b"\0" * 96, b"\0" * 904)
    assert log[2:] == [f"progress {done}/5000" for done in (0, 0, 4096, 5000, 5000)]


def test_a_stream_flushes_a_full_buffer_at_once() -> None:
    updater = running(OLD).updater
    updater.begin(len(NEW))
    stream = updater.write_stream(NEW[0])
    assert next(stream) == 4096
    stream.send(NEW[:4096])
    assert updater.progress == 4096


def test_a_stream_that_begins_wrong_is_refused_before_it_is_read() -> None:
    updater = running(OLD).updater
    updater.begin(len(NEW))
    assert feed(updater.write_stream(0x7B)) == 0
    assert updater.error == UpdateError.MAGIC_BYTE
    assert not updater.is_running


def test_a_file_system_stream_may_begin_with_anything() -> None:
    updater = running(OLD).updater
    updater.begin(100, Command.FILESYSTEM)
    assert feed(updater.write_stream(0x7B), b"{" * 100) == 100


def test_a_gzip_stream_is_taken_by_cores_that_know_it() -> None:
    for core, error in ((Core.V2_5, UpdateError.MAGIC_BYTE), (Core.V2_7, UpdateError.STREAM)):
        updater = running(OLD, core=core).updater
        updater.begin(100)
        feed(updater.write_stream(0x1F))
        assert updater.error == error


def test_a_silent_stream_is_error_6() -> None:
    machine = running(OLD)
    log = Log(machine.updater)
    machine.updater.begin(len(NEW))
    assert feed(machine.updater.write_stream(NEW[0]), NEW[:5000]) == 5000
    assert machine.updater.error_text() == "ERROR[6]: Stream Read Timeout"
    assert log[-3:] == ["error 6", "end", "end"]


def test_a_stream_stops_at_a_bad_sector() -> None:
    machine = running(OLD)
    machine.flash.spoil(FS_START // SECTOR_SIZE - 6, BadSector.PROGRAM_FAILS)
    machine.updater.begin(len(NEW))
    assert feed(machine.updater.write_stream(NEW[0]), NEW) == SECTOR_SIZE
    assert machine.updater.error == UpdateError.WRITE


def test_a_stream_into_an_idle_updater_takes_nothing() -> None:
    assert feed(running(OLD).updater.write_stream(0xE9), NEW) == 0


def test_the_words_that_the_command_leaves_to_chance_are_zero() -> None:
    machine = running(OLD)
    stage(machine, NEW)
    assert machine.rtc.read(0, 128) == BootCommand.copy_raw(FS_START - 7 * SECTOR_SIZE, 0, len(NEW)).encode()
