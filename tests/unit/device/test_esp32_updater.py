from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass

import pytest
from tests.device_bench import noise
from tests.esp32_bench import (
    APP_0,
    APP_1,
    FACTORY_AND_TWO,
    FACTORY_ONLY,
    FILES,
    NVS,
    ONE_SLOT,
    OTADATA,
    SLOT,
    TWO_SLOTS,
    app_in,
    build_app,
    give,
    label_of,
    partition,
    running_esp32,
)

from otaria.device.esp32_core_version import Esp32Core
from otaria.device.esp32_machine import Esp32Machine, as_flashed
from otaria.device.esp32_update_error import Esp32UpdateError
from otaria.device.esp32_updater import UNKNOWN_SIZE, Esp32Updater
from otaria.device.flash import BadSector, Flash
from otaria.units import MIB, ByteCount, FlashOffset, MacAddress
from otaria.wire.chips import ChipFamily
from otaria.wire.esp32_image import Chip
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.partitions import (
    TABLES,
    AppSubtype,
    DataSubtype,
    Partition,
    PartitionTable,
    PartitionType,
)

OLD = build_app("old")
NEW = build_app("new", 3)
WITHHELD = 16


@pytest.fixture
def machine() -> Esp32Machine:
    return running_esp32(OLD)


@pytest.fixture
def updater(machine: Esp32Machine) -> Esp32Updater:
    return machine.updater


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - the device's protocol


# -------------------------------------------------------------------------------------- begin


def test_an_update_goes_into_the_slot_that_does_not_run(machine: Esp32Machine) -> None:
    assert give(machine, NEW)
    assert app_in(machine, APP_1, len(NEW)) == NEW
    assert app_in(machine, APP_0, len(OLD)) == OLD
    machine.reset()
    assert (label_of(machine), machine.partition) == ("new", APP_1)
    assert give(machine, build_app("third"))
    machine.reset()
    assert (label_of(machine), machine.partition) == ("third", APP_0)


@pytest.mark.parametrize("size", [0, SLOT + 1, 1 << 31, UNKNOWN_SIZE - 1])
def test_a_size_of_nothing_or_too_large_for_the_partition_is_error_5(updater: Esp32Updater, size: int) -> None:
    assert not updater.begin(size)
    assert (updater.error, updater.error_text()) == (5, "Bad Size Given")
    assert not updater.is_running


@pytest.mark.parametrize("size", [1, SLOT])
def test_a_size_that_fits_is_taken_and_nothing_is_erased_yet(machine: Esp32Machine, size: int) -> None:
    before = machine.flash.operations
    assert machine.updater.begin(size)
    assert (machine.updater.size, machine.updater.error) == (size, 0)
    assert machine.flash.operations == before


def test_an_unknown_size_takes_the_whole_partition(updater: Esp32Updater) -> None:
    assert updater.begin(UNKNOWN_SIZE)
    assert updater.size == SLOT


@pytest.mark.parametrize("table", [ONE_SLOT, FACTORY_ONLY])
def test_without_another_slot_there_is_error_10(table: PartitionTable) -> None:
    updater = running_esp32(OLD, table=table).updater
    assert not updater.begin(100)
    assert (updater.error, updater.error_text()) == (10, "Partition Could Not be Found")


def test_from_the_factory_app_an_update_goes_into_the_first_slot() -> None:
    machine = running_esp32(OLD, table=FACTORY_AND_TWO)
    assert give(machine, NEW)
    machine.reset()
    assert machine.partition == FACTORY_AND_TWO.ota_slots[0]


@pytest.mark.parametrize("command", [1, 99, 200])
def test_a_command_that_nobody_knows_is_error_11(updater: Esp32Updater, command: int) -> None:
    assert not updater.begin(100, command)
    assert (updater.error, updater.error_text()) == (11, "Bad Argument")


def test_a_begin_during_an_update_is_refused_and_leaves_it_alone(machine: Esp32Machine) -> None:
    updater = machine.updater
    assert updater.begin(len(NEW))
    assert updater.write(NEW[:5000]) == 5000
    assert not updater.begin(100)
    assert (updater.error, updater.size) == (0, len(NEW))
    assert updater.write(NEW[5000:]) == len(NEW) - 5000
    assert updater.end()


def test_an_error_stays_until_the_next_begin(updater: Esp32Updater) -> None:
    updater.begin(0)
    assert not updater.end()
    assert updater.error == Esp32UpdateError.SIZE
    assert updater.begin(100)
    assert updater.error == 0


def test_clearing_an_error_does_not_revive_the_update(updater: Esp32Updater) -> None:
    updater.begin(100)
    updater.abort()
    updater.clear_error()
    assert (updater.error, updater.is_running, updater.write(b"x")) == (0, False, 0)


# ------------------------------------------------------------------------------- file systems


def with_file_system(subtype: int) -> PartitionTable:
    files = partition("files", PartitionType.DATA, subtype, FILES.offset, FILES.size)
    return PartitionTable((NVS, OTADATA, APP_0, APP_1, files))


@pytest.mark.parametrize(
    ("core", "command", "subtype", "taken"),
    [
        (Esp32Core.V2_0, 100, DataSubtype.SPIFFS, True),
        (Esp32Core.V2_0, 100, DataSubtype.FAT, True),
        (Esp32Core.V2_0, 100, DataSubtype.LITTLEFS, False),
        (Esp32Core.V3_3, 100, DataSubtype.LITTLEFS, True),
        (Esp32Core.V3_3, 101, DataSubtype.SPIFFS, True),
        (Esp32Core.V3_3, 101, DataSubtype.LITTLEFS, False),
        (Esp32Core.V3_3, 102, DataSubtype.FAT, True),
        (Esp32Core.V3_3, 103, DataSubtype.LITTLEFS, True),
    ],
)
def test_a_file_system_goes_into_its_partition_or_is_error_10(
    core: Esp32Core, command: int, subtype: int, taken: bool
) -> None:
    machine = running_esp32(OLD, table=with_file_system(subtype), core=core)
    files = noise("files", 3 * SECTOR_SIZE + 100)
    assert give(machine, files, command) is taken
    assert machine.updater.error == (0 if taken else Esp32UpdateError.NO_PARTITION)
    written = machine.flash.read(FILES.offset, len(files))
    assert written == (files if taken else b"\xff" * len(files))


def test_a_file_system_has_no_bytes_kept_back_and_chooses_no_slot(machine: Esp32Machine) -> None:
    assert give(machine, b"not an app" * 100, 100)
    assert machine.flash.read(FILES.offset, 10) == b"not an app"
    machine.reset()
    assert label_of(machine) == "old"


def test_a_file_system_larger_than_its_partition_is_error_5(updater: Esp32Updater) -> None:
    assert not updater.begin(FILES.size + 1, 100)
    assert updater.error == 5


# ---------------------------------------------------------------------------- bytes kept back


def test_the_first_16_bytes_are_withheld_until_the_end(machine: Esp32Machine) -> None:
    updater = machine.updater
    updater.begin(len(NEW))
    updater.write(NEW)
    assert updater.is_finished
    assert app_in(machine, APP_1, len(NEW)) == b"\xff" * WITHHELD + NEW[WITHHELD:]
    assert updater.end()
    assert app_in(machine, APP_1, len(NEW)) == NEW


def test_a_slot_that_is_only_partly_written_cannot_be_started(machine: Esp32Machine) -> None:
    updater = machine.updater
    updater.begin(len(NEW))
    updater.write(NEW)
    machine.reset()
    assert (label_of(machine), machine.partition) == ("old", APP_0)
    assert app_in(machine, APP_1, WITHHELD) == b"\xff" * WITHHELD


@pytest.mark.parametrize("piece", [1, 7, 1459, 1460, 4095, 4096, 4097, 100_000])
def test_an_image_may_come_in_pieces_of_any_size(machine: Esp32Machine, piece: int) -> None:
    updater = machine.updater
    updater.begin(len(NEW))
    updater.set_md5(md5(NEW))
    for offset in range(0, len(NEW), piece):
        part = NEW[offset : offset + piece]
        assert updater.write(part) == len(part)
    assert updater.end()
    assert app_in(machine, APP_1, len(NEW)) == NEW


def test_a_full_buffer_is_flushed_only_by_the_next_byte(machine: Esp32Machine) -> None:
    updater = machine.updater
    updater.begin(len(NEW))
    updater.write(NEW[:SECTOR_SIZE])
    assert (updater.progress, updater.buffered) == (0, SECTOR_SIZE)
    updater.write(NEW[SECTOR_SIZE : SECTOR_SIZE + 1])
    assert (updater.progress, updater.buffered) == (SECTOR_SIZE, 1)


def test_sectors_of_nothing_but_ff_are_erased_and_not_written(machine: Esp32Machine) -> None:
    app = build_app("gap", 12, content=b"\1" + b"\xff" * 40_000)
    assert give(machine, app)
    assert app_in(machine, APP_1, len(app)) == app
    blank = [app[at : at + SECTOR_SIZE] for at in range(0, len(app), SECTOR_SIZE)].count(b"\xff" * SECTOR_SIZE)
    sectors = -(-len(app) // SECTOR_SIZE)
    assert blank > 5
    erases, entry, withheld = sectors, 2, 1
    assert machine.flash.operations == erases + sectors - blank + withheld + entry


# ---------------------------------------------------------------------------- what is erased


def large_machine(offset: int, size: int) -> tuple[Esp32Machine, Partition]:
    """A machine of 2 MiB whose second slot lies there."""
    second = Partition("app1", PartitionType.APP, AppSubtype.OTA_0 + 1, FlashOffset(offset), ByteCount(size))
    table = PartitionTable((NVS, OTADATA, APP_0, second))
    flash = Flash(2 * MIB)
    flash.load(as_flashed(OLD, table))
    machine = Esp32Machine(flash, MacAddress("24:6F:28:00:00:01"))
    assert machine.power_on().running
    return machine, second


@pytest.mark.parametrize("length", [40, 47, 48, 49, 63, 64, 65])
def test_every_sector_of_the_image_is_erased_before_it_is_written_and_none_behind_it(length: int) -> None:
    machine, second = large_machine(0x100000, 0x80000)
    app = build_app("large", length)
    content = bytearray(machine.flash.dump())
    content[second.offset : second.end] = bytes(second.size)
    machine.flash.load(bytes(content))
    assert give(machine, app)
    assert app_in(machine, second, len(app)) == app
    behind = second.offset + -(-len(app) // SECTOR_SIZE) * SECTOR_SIZE
    assert machine.flash.read(behind, second.end - behind) == bytes(second.end - behind)


def test_a_block_is_erased_at_once_where_the_image_fills_it() -> None:
    machine, second = large_machine(0x100000, 0x80000)
    machine.updater.begin(0x20000)
    machine.updater.write(b"\xe9" + bytes(SECTOR_SIZE))
    first = second.offset // SECTOR_SIZE
    assert [machine.flash.erase_count(first + index) for index in range(17)] == [1] * 16 + [0]


# ------------------------------------------------------------------------------- what is checked


def test_an_image_of_the_wrong_magic_byte_is_error_8_on_core_2() -> None:
    updater = running_esp32(OLD, core=Esp32Core.V2_0).updater
    updater.begin(len(NEW))
    assert updater.write(b"\0" + NEW[1:]) == 0
    assert (updater.error, updater.error_text()) == (8, "Wrong Magic Byte")


@pytest.mark.parametrize("core", [Esp32Core.V3_0, Esp32Core.V3_3, Esp32Core.V3_3_1])
def test_since_core_3_it_is_taken_for_an_encrypted_one_without_a_key(core: Esp32Core) -> None:
    machine = running_esp32(OLD, core=core)
    assert not give(machine, gzip.compress(NEW, mtime=0))
    assert (machine.updater.error, machine.updater.error_text()) == (13, "Decryption error")
    assert machine.flash.read(APP_1.offset, SECTOR_SIZE) == b"\xff" * SECTOR_SIZE


@pytest.mark.parametrize("digest", [md5(NEW), md5(NEW).upper()])
def test_the_md5_is_lower_cased_before_it_is_compared(machine: Esp32Machine, digest: str) -> None:
    updater = machine.updater
    updater.begin(len(NEW))
    assert updater.set_md5(digest)
    updater.write(NEW)
    assert updater.end()


@pytest.mark.parametrize("digest", ["", "0" * 31, "0" * 33])
def test_an_md5_of_another_length_is_refused_and_the_old_one_stays(updater: Esp32Updater, digest: str) -> None:
    updater.begin(len(NEW))
    assert updater.set_md5("0" * 32)
    assert not updater.set_md5(digest)
    updater.write(NEW)
    assert not updater.end()
    assert updater.error == Esp32UpdateError.MD5


def test_a_wrong_md5_is_error_7_and_the_old_app_starts_again(machine: Esp32Machine) -> None:
    updater = machine.updater
    updater.begin(len(NEW))
    updater.set_md5("0" * 32)
    updater.write(NEW)
    assert not updater.end()
    assert (updater.error, updater.error_text()) == (7, "MD5 Check Failed")
    machine.reset()
    assert label_of(machine) == "old"


@pytest.mark.parametrize(
    "image",
    [
        NEW[:5000] + b"\0\0\0\0" + NEW[5004:],
        NEW[:-1] + b"\0",
        NEW[:-100],
        build_app("c3", family=ChipFamily.ESP32_C3),
        build_app("too new", min_revision=999),
        b"\xe9" * 100,
        b"\xe9" * 16,
    ],
    ids=["damaged", "wrong digest", "cut off", "other chip", "newer revision", "garbage", "sixteen bytes"],
)
def test_an_image_that_the_chip_would_not_start_is_error_9_at_the_end(machine: Esp32Machine, image: bytes) -> None:
    assert not give(machine, image)
    assert (machine.updater.error, machine.updater.error_text()) == (9, "Could Not Activate The Firmware")
    machine.reset()
    assert (label_of(machine), machine.partition) == ("old", APP_0)


def test_an_image_for_another_family_is_taken_whole_and_refused_at_the_end() -> None:
    machine = running_esp32(OLD)
    machine.chip = Chip(ChipFamily.ESP32, 301)
    updater = machine.updater
    foreign = build_app("s3", family=ChipFamily.ESP32_S3)
    updater.begin(len(foreign))
    assert updater.write(foreign) == len(foreign)
    assert not updater.end()
    assert updater.error == 9


def test_more_than_was_announced_is_error_4(updater: Esp32Updater) -> None:
    updater.begin(100)
    assert updater.write(b"\xe9" * 101) == 0
    assert (updater.error, updater.error_text()) == (4, "Not Enough Space")
    assert not updater.is_running


def test_buffered_bytes_do_not_count_so_a_piece_too_many_is_taken_and_never_ends(updater: Esp32Updater) -> None:
    updater.begin(5000)
    assert updater.write(b"\xe9" * 4096) == 4096
    assert updater.write(b"\0" * 1000) == 1000
    assert not updater.is_finished
    assert not updater.end()
    assert updater.error == Esp32UpdateError.ABORT


def test_a_large_piece_too_many_is_written_and_the_update_never_ends(machine: Esp32Machine) -> None:
    updater = machine.updater
    updater.begin(5000)
    updater.write(b"\xe9" * 4096)
    assert updater.write(b"\0" * 5000) == 5000
    assert (updater.progress, updater.remaining) == (8192, (1 << 32) - 3192)
    assert not updater.end()
    assert updater.error == Esp32UpdateError.ABORT


def test_a_stream_longer_than_announced_is_read_to_the_partitions_end_and_not_beyond(machine: Esp32Machine) -> None:
    updater = machine.updater
    updater.begin(113)
    assert feed(updater, b"\xe9" * (SLOT + 9000), 50) > 113
    assert updater.error == Esp32UpdateError.ERASE
    assert machine.flash.read(APP_1.end, SECTOR_SIZE) == b"\xff" * SECTOR_SIZE


def test_an_unfinished_end_is_error_12(machine: Esp32Machine) -> None:
    updater = machine.updater
    updater.begin(len(NEW))
    updater.write(NEW[:9000])
    assert not updater.end()
    assert (updater.error, updater.error_text()) == (12, "Aborted")
    machine.reset()
    assert label_of(machine) == "old"


def test_an_abort_is_error_12(updater: Esp32Updater) -> None:
    updater.begin(len(NEW))
    updater.write(NEW[:9000])
    updater.abort()
    assert (updater.error, updater.is_running, updater.progress, updater.buffered) == (12, False, 0, 0)


def test_an_end_without_a_begin_is_false_without_an_error(updater: Esp32Updater) -> None:
    assert not updater.end()
    assert updater.error == 0


def test_an_updater_that_does_nothing_is_finished_and_takes_nothing(updater: Esp32Updater) -> None:
    assert updater.is_finished
    assert updater.write(b"x") == 0


# ------------------------------------------------------------------- an end before everything has come


def test_an_image_of_unknown_size_ends_with_what_has_come(machine: Esp32Machine) -> None:
    updater = machine.updater
    updater.begin(UNKNOWN_SIZE)
    updater.set_md5(md5(NEW))
    updater.write(NEW)
    assert not updater.is_finished
    assert updater.end(even_if_remaining=True)
    assert app_in(machine, APP_1, len(NEW)) == NEW
    machine.reset()
    assert label_of(machine) == "new"


def test_a_file_of_one_sector_or_less_is_taken_unlike_on_an_esp8266(machine: Esp32Machine) -> None:
    small = build_app("small", 1)
    updater = machine.updater
    updater.begin(UNKNOWN_SIZE)
    updater.write(small)
    assert updater.progress == 0
    assert updater.end(even_if_remaining=True)


def test_nothing_at_all_is_error_3_because_nothing_was_kept_back(updater: Esp32Updater) -> None:
    updater.begin(UNKNOWN_SIZE)
    assert not updater.end(even_if_remaining=True)
    assert (updater.error, updater.error_text()) == (3, "Flash Read Failed")


def test_fewer_bytes_than_are_kept_back_are_error_1_by_a_length_that_wraps(updater: Esp32Updater) -> None:
    updater.begin(10)
    assert updater.write(b"\xe9" * 10) == 0
    assert (updater.error, updater.error_text()) == (1, "Flash Write Failed")


def test_a_last_flush_that_fails_is_told_by_the_check_that_follows(machine: Esp32Machine) -> None:
    updater = machine.updater
    updater.begin(UNKNOWN_SIZE)
    updater.write(NEW)
    machine.flash.spoil(APP_1.offset // SECTOR_SIZE + (len(NEW) - 1) // SECTOR_SIZE, BadSector.PROGRAM_FAILS)
    assert not updater.end(even_if_remaining=True)
    assert updater.error == Esp32UpdateError.READ


# ------------------------------------------------------------------------------ bad sectors


@pytest.mark.parametrize(
    ("behaviour", "error"), [(BadSector.ERASE_FAILS, 2), (BadSector.PROGRAM_FAILS, 1), (BadSector.READ_FAILS, 3)]
)
def test_a_bad_first_sector_is_told_by_its_number(machine: Esp32Machine, behaviour: BadSector, error: int) -> None:
    machine.flash.spoil(APP_1.offset // SECTOR_SIZE, behaviour)
    assert not give(machine, NEW)
    assert machine.updater.error == error
    machine.flash.spoil(APP_1.offset // SECTOR_SIZE, None)
    machine.reset()
    assert label_of(machine) == "old"


@pytest.mark.parametrize("behaviour", [BadSector.PROGRAM_IGNORED, BadSector.ERASE_IGNORED])
def test_a_sector_that_pretends_to_work_is_found_at_the_end(machine: Esp32Machine, behaviour: BadSector) -> None:
    assert give(machine, build_app("before", 4))
    machine.reset()
    assert give(machine, OLD)
    machine.reset()
    assert machine.partition == APP_0
    machine.flash.spoil(APP_1.offset // SECTOR_SIZE + 1, behaviour)
    assert not give(machine, NEW)
    assert machine.updater.error == Esp32UpdateError.ACTIVATE
    machine.reset()
    assert label_of(machine) == "old"


def test_otadata_that_cannot_be_written_is_error_9(machine: Esp32Machine) -> None:
    machine.flash.spoil(OTADATA.offset // SECTOR_SIZE + 1, BadSector.ERASE_FAILS)
    assert not give(machine, NEW)
    assert machine.updater.error == Esp32UpdateError.ACTIVATE


# --------------------------------------------------------------------------------- streams


def feed(updater: Esp32Updater, content: bytes, piece: int = 1460) -> int:
    """Let the Updater read a stream that ends in silence."""
    taking = updater.write_stream(content[0])
    position = 0
    try:
        wanted = next(taking)
        while True:
            part = content[position : position + min(wanted, piece)]
            position += len(part)
            wanted = taking.send(part or None)
    except StopIteration as done:
        taken: int = done.value
        return taken


@pytest.mark.parametrize("piece", [1, 13, 1460, 5000])
def test_a_stream_is_read_to_its_end(machine: Esp32Machine, piece: int) -> None:
    machine.updater.begin(len(NEW))
    assert feed(machine.updater, NEW, piece) == len(NEW)
    assert machine.updater.end()
    assert app_in(machine, APP_1, len(NEW)) == NEW


def test_a_stream_that_falls_silent_is_error_6(updater: Esp32Updater) -> None:
    updater.begin(len(NEW))
    assert feed(updater, NEW[:5000]) == 5000
    assert (updater.error, updater.error_text()) == (6, "Stream Read Timeout")
    assert not updater.end()


def test_the_oldest_core_looks_at_the_first_byte_of_a_stream() -> None:
    updater = running_esp32(OLD, core=Esp32Core.V2_0).updater
    updater.begin(100)
    assert feed(updater, b"x" * 100) == 0
    assert updater.error == Esp32UpdateError.MAGIC_BYTE


def test_the_newer_ones_find_out_when_they_write_it(updater: Esp32Updater) -> None:
    updater.begin(100)
    assert feed(updater, b"x" * 100, 50) == 50
    assert updater.error == Esp32UpdateError.DECRYPT


def test_a_stream_behind_a_full_buffer_gets_nothing_and_gives_up(updater: Esp32Updater) -> None:
    updater.begin(len(NEW))
    updater.write(NEW[:SECTOR_SIZE])
    assert feed(updater, NEW[SECTOR_SIZE:]) == 0
    assert updater.error == Esp32UpdateError.STREAM


def test_a_stream_into_nothing_is_not_read(updater: Esp32Updater) -> None:
    assert feed(updater, NEW) == 0


# -------------------------------------------------------------------------------- progress


def test_progress_is_told_before_the_first_bytes_and_after_each_flush(machine: Esp32Machine) -> None:
    told: list[tuple[int, int]] = []
    machine.updater.on_progress = lambda done, size: told.append((done, size))
    assert give(machine, NEW)
    size = len(NEW)
    assert told == [(0, size), (4096, size), (8192, size), (size, size)]


# ------------------------------------------------------------------------------- signatures


@dataclass(frozen=True)
class Verifier:
    """Takes a trailer that begins with the digest."""

    hash_name: str = "sha256"

    def verify(self, digest: bytes, trailer: bytes) -> bool:
        return len(trailer) == 512 and trailer.startswith(digest)


def signed(image: bytes, hash_name: str = "sha256") -> bytes:
    return image + hashlib.new(hash_name, image).digest().ljust(512, b"\0")


def signing_machine(core: Esp32Core = Esp32Core.V3_3_1, hash_name: str = "sha256") -> Esp32Machine:
    machine = running_esp32(OLD, core=core)
    assert machine.updater.install_signature(Verifier(hash_name)) is core.behaviour.verifies_signatures
    return machine


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_a_signed_image_is_installed(hash_name: str) -> None:
    machine = signing_machine(hash_name=hash_name)
    assert give(machine, signed(NEW, hash_name))
    machine.reset()
    assert (label_of(machine), machine.sketch_size) == ("new", len(NEW))


@pytest.mark.parametrize("image", [NEW, NEW + bytes(512), signed(NEW)[:-1] + b"\0\0", b"\xe9" * 512])
def test_an_image_without_the_right_signature_is_error_14(image: bytes) -> None:
    machine = signing_machine()
    assert not give(machine, image)
    assert (machine.updater.error, machine.updater.error_text()) == (14, "Signature Verification Failed")
    machine.reset()
    assert label_of(machine) == "old"


def test_less_than_a_trailer_is_error_5() -> None:
    updater = signing_machine().updater
    assert not updater.begin(511)
    assert updater.error == 5


def test_a_signed_image_of_unknown_size_is_hashed_by_the_wrong_window() -> None:
    updater = signing_machine().updater
    assert updater.begin(UNKNOWN_SIZE)
    updater.write(signed(NEW))
    assert not updater.end(even_if_remaining=True)
    assert updater.error == Esp32UpdateError.SIGN


def test_a_key_cannot_be_installed_during_an_update() -> None:
    updater = running_esp32(OLD).updater
    updater.begin(100)
    assert not updater.install_signature(Verifier())


def test_an_older_core_takes_a_signed_image_for_any_other() -> None:
    machine = signing_machine(Esp32Core.V3_3)
    assert give(machine, signed(NEW))
    machine.reset()
    assert label_of(machine) == "new"


def test_the_classic_table_has_room_for_large_apps() -> None:
    flash = Flash(4 * MIB)
    flash.load(as_flashed(OLD))
    machine = Esp32Machine(flash, MacAddress("24:6F:28:00:00:02"))
    assert machine.power_on().running
    large = build_app("large", 319)
    assert give(machine, large)
    machine.reset()
    assert (label_of(machine), machine.free_sketch_space) == ("large", TABLES["default"].ota_slots[0].size)


def test_two_machines_do_not_share_an_updater() -> None:
    one, other = running_esp32(OLD), running_esp32(OLD, table=TWO_SLOTS)
    one.updater.begin(100)
    assert not other.updater.is_running
