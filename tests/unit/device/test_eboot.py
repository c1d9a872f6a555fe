"""Named after the statements of protocols §5.2."""

from __future__ import annotations

import gzip
import io
import struct
import zlib

import pytest
from tests.device_bench import boot_part, build_sketch, noise

from otaria.device.core_version import Core
from otaria.device.eboot import CopyResult, EbootRun, Ending, LoadResult, run_eboot
from otaria.device.flash import BadSector, Flash, ResetStruck
from otaria.device.rtc import RtcMemory
from otaria.device.spi import Spi
from otaria.wire.eboot import Action, BootCommand
from otaria.wire.layouts import SECTOR_SIZE

SIZE = 512 << 10
OLD = build_sketch("old", 6)
NEW = build_sketch("new", 7)
NEW_BOOT = build_sketch("new", 7, boot=boot_part("eboot 2"))
STAGED = 0x40000


class Bench:
    """A flash with an old image, something staged, and a command."""

    def __init__(self, staged: bytes = b"", command: BootCommand | None = None, *, core: Core = Core.V3_1) -> None:
        self.flash = Flash(SIZE)
        self.flash.load(OLD.ljust(STAGED, b"\xff") + staged)
        self.rtc = RtcMemory()
        self.core = core
        if command is not None:
            self.rtc.leave_boot_command(command)
        self.console = ""

    def run(self) -> EbootRun:
        return run_eboot(Spi(self.flash), self.rtc, self.core.behaviour, self._put)

    def _put(self, text: str) -> None:
        self.console += text


def copy(staged: bytes, *, destination: int = 0, core: Core = Core.V3_1, size: int | None = None) -> Bench:
    """A bench whose command copies all that is staged."""
    length = len(staged) if size is None else size
    return Bench(staged, BootCommand.copy_raw(STAGED, destination, length), core=core)


# console and command


def test_a_normal_boot_prints_the_length_and_loads() -> None:
    bench = Bench()
    run = bench.run()
    assert bench.console == f"v{len(OLD):08x}\n~ld\n"
    assert (run.ending, run.had_command, run.entry) == (Ending.JUMPED, False, 0x40100004)


def test_the_boot_that_installs_prints_the_old_length_and_skips_an_equal_boot_sector() -> None:
    bench = copy(NEW)
    run = bench.run()
    assert bench.console == f"v{len(OLD):08x}\n@cp:B0\nld\n"
    assert run.copy_result is CopyResult.OK
    assert bench.flash.read(0, len(NEW)) == NEW
    assert bench.rtc.boot_command() is None


def test_another_boot_sector_is_rewritten() -> None:
    bench = copy(NEW_BOOT)
    bench.run()
    assert bench.console == f"v{len(OLD):08x}\n@cp:0\nld\n"
    assert bench.flash.read(0, len(NEW_BOOT)) == NEW_BOOT


def test_older_boot_parts_rewrite_an_equal_boot_sector_too() -> None:
    bench = copy(NEW, core=Core.V2_7)
    bench.run()
    assert bench.console == f"v{len(OLD):08x}\n@cp:0\nld\n"
    assert bench.flash.erase_count(0) == 1


def test_only_sector_0_is_compared() -> None:
    bench = copy(OLD)
    bench.run()
    assert [bench.flash.erase_count(sector) for sector in range(6)] == [0, 1, 1, 1, 1, 1]


def test_a_copy_to_another_place_compares_nothing() -> None:
    bench = copy(NEW, destination=0x20000)
    bench.run()
    assert "B" not in bench.console
    assert bench.flash.read(0x20000, len(NEW)) == NEW
    assert bench.flash.read(0, len(OLD)) == OLD


def test_a_load_command_loads_from_its_offset() -> None:
    bench = Bench(NEW, BootCommand(Action.LOAD_APP, (STAGED,)))
    run = bench.run()
    assert bench.console == f"v{len(OLD):08x}\n@ld\n"
    assert run.app_offset == STAGED
    assert run.segments[0].position == STAGED + 0x1010
    assert bench.rtc.boot_command() is None


def test_an_unknown_action_is_cleared_and_restarts() -> None:
    bench = Bench(NEW, BootCommand(7, (STAGED, 0, len(NEW))))
    run = bench.run()
    assert bench.console == f"v{len(OLD):08x}\n@"
    assert run.ending is Ending.RESTARTS
    assert bench.rtc.boot_command() is None


def test_a_command_with_a_wrong_crc_is_none() -> None:
    bench = copy(NEW)
    bench.rtc.write(16, b"\1\0\0\0")
    bench.run()
    assert "~" in bench.console
    assert bench.flash.read(0, len(OLD)) == OLD


# results of the copy


@pytest.mark.parametrize(("source", "destination"), [(STAGED + 4, 0), (STAGED, 0x1004)])
def test_result_1_not_sector_aligned(source: int, destination: int) -> None:
    bench = Bench(NEW, BootCommand.copy_raw(source, destination, len(NEW)))
    run = bench.run()
    assert bench.console.endswith("@cp:1\n")
    assert (run.copy_result, run.ending) == (CopyResult.UNALIGNED, Ending.RESTARTS)
    assert bench.rtc.boot_command() is None


@pytest.mark.parametrize(
    ("behaviour", "sector", "result"),
    [
        (BadSector.ERASE_FAILS, 3, CopyResult.ERASE_FAILED),
        (BadSector.READ_FAILS, STAGED // SECTOR_SIZE + 3, CopyResult.READ_FAILED),
        (BadSector.PROGRAM_FAILS, 3, CopyResult.WRITE_FAILED),
    ],
)
def test_results_2_3_4_stop_at_the_bad_sector(behaviour: BadSector, sector: int, result: CopyResult) -> None:
    bench = copy(NEW)
    bench.flash.spoil(sector, behaviour)
    assert bench.run().copy_result is result
    assert bench.console.endswith(f"@cp:B{int(result)}\n")
    assert bench.flash.read(0, 3 * SECTOR_SIZE) == NEW[: 3 * SECTOR_SIZE]


def test_a_sector_that_silently_keeps_nothing_is_not_noticed() -> None:
    bench = copy(NEW)
    bench.flash.spoil(3, BadSector.PROGRAM_IGNORED)
    assert bench.run().copy_result is CopyResult.OK
    assert bench.flash.read(3 * SECTOR_SIZE, SECTOR_SIZE) == b"\xff" * SECTOR_SIZE


def test_a_source_behind_the_end_of_flash_cannot_be_read() -> None:
    assert Bench(b"", BootCommand.copy_raw(SIZE, 0x1000, 4096)).run().copy_result is CopyResult.READ_FAILED


def test_a_destination_behind_the_end_of_flash_cannot_be_erased() -> None:
    assert copy(NEW, destination=SIZE - SECTOR_SIZE).run().copy_result is CopyResult.ERASE_FAILED


def test_an_older_boot_part_finds_the_same_when_it_erases_first() -> None:
    bench = copy(NEW, core=Core.V2_7)
    bench.flash.spoil(3, BadSector.ERASE_FAILS)
    assert bench.run().copy_result is CopyResult.ERASE_FAILED


@pytest.mark.parametrize("size", [0, 0x80000000, 0xFFFFFFFF])
def test_a_size_of_zero_or_of_2_gib_and_more_copies_nothing_and_succeeds(size: int) -> None:
    bench = copy(NEW, size=size)
    assert bench.run().copy_result is CopyResult.OK
    assert bench.flash.read(0, len(OLD)) == OLD


def test_a_raw_copy_takes_whole_sectors() -> None:
    bench = copy(NEW + b"what follows it", size=len(NEW))
    bench.run()
    assert bench.flash.read(len(NEW), 15) == b"what follows it"


# gzip


def packed(content: bytes, *, name: str = "") -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(name, "wb", 9, out, mtime=0) as file:
        file.write(content)
    return out.getvalue()


def test_a_gzip_is_unpacked_and_its_last_sector_filled_with_ff() -> None:
    bench = copy(packed(NEW))
    assert bench.run().copy_result is CopyResult.OK
    assert bench.console.endswith("@cp:B0\nld\n")
    assert bench.flash.read(0, 7 * SECTOR_SIZE) == NEW.ljust(7 * SECTOR_SIZE, b"\xff")


def test_all_header_fields_are_skipped() -> None:
    flags = 0x1F
    head = b"\x1f\x8b\x08" + bytes((flags,)) + b"\1\2\3\4\2\3"
    fields = struct.pack("<H", 5000) + noise("extra", 5000) + b"name\0" + b"comment\0" + b"\xaa\xbb"
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflater.compress(NEW) + deflater.flush()
    tail = struct.pack("<II", zlib.crc32(NEW), len(NEW))
    bench = copy(head + fields + body + tail)
    assert bench.run().copy_result is CopyResult.OK
    assert bench.flash.read(0, len(NEW)) == NEW


def test_the_crc_of_the_gzip_is_not_checked() -> None:
    content = packed(NEW)
    bench = copy(content[:-8] + b"\0\0\0\0" + content[-4:])
    assert bench.run().copy_result is CopyResult.OK
    assert bench.flash.read(0, len(NEW)) == NEW


def test_only_the_first_member_is_read() -> None:
    both = packed(NEW) + packed(noise("second", len(NEW)))
    bench = copy(both)
    bench.run()
    assert bench.flash.read(0, len(NEW)) == NEW


@pytest.mark.parametrize("header", [b"\x1f\x8b\x07\x00", b"\x1f\x8b\x08\x20", b"\x1f\x8b\x08\x80"])
def test_result_5_a_header_that_is_not_taken(header: bytes) -> None:
    bench = copy(header + packed(NEW)[4:])
    assert bench.run().copy_result is CopyResult.GZIP_HEADER
    assert bench.flash.read(0, len(OLD)) == OLD


def test_result_6_damage_is_met_on_the_way_and_what_came_before_stays() -> None:
    content = bytearray(packed(bytes(range(256)) * 112))
    content[10] = 0x07
    bench = copy(bytes(content))
    assert bench.run().copy_result is CopyResult.INFLATE
    assert bench.console.endswith("@cp:6\n")


def test_the_unpacked_size_is_the_last_word_so_a_trailer_breaks_it() -> None:
    signed = packed(NEW) + b"s" * 256 + struct.pack("<I", 256)
    bench = copy(signed)
    assert bench.run().copy_result is CopyResult.OK
    assert bench.flash.read(0, SECTOR_SIZE) == NEW[:256].ljust(SECTOR_SIZE, b"\xff")
    assert bench.flash.read(SECTOR_SIZE, len(OLD) - SECTOR_SIZE) == OLD[SECTOR_SIZE:]


def test_a_file_shorter_than_its_last_word_says_repeats_the_last_sector() -> None:
    content = packed(noise("two sectors", 2 * SECTOR_SIZE))
    bench = copy(content[:-4] + struct.pack("<I", 3 * SECTOR_SIZE), destination=0x20000)
    assert bench.run().copy_result is CopyResult.OK
    assert bench.flash.read(0x22000, SECTOR_SIZE) == bench.flash.read(0x21000, SECTOR_SIZE)


@pytest.mark.parametrize("last_word", [0, 0x80000000])
def test_an_unpacked_size_of_zero_or_of_2_gib_copies_nothing(last_word: int) -> None:
    bench = copy(packed(NEW)[:-4] + struct.pack("<I", last_word))
    assert bench.run().copy_result is CopyResult.OK
    assert bench.flash.read(0, len(OLD)) == OLD


def test_boot_parts_before_2_7_copy_a_gzip_as_it_is() -> None:
    content = packed(NEW)
    bench = copy(content, core=Core.V2_5)
    bench.run()
    assert bench.flash.read(0, len(content)) == content


def flat_then_busy() -> tuple[bytes, bytes]:
    """An image that unpacks to much from its first bytes and to little from the others, and its gzip."""
    content = build_sketch("flat", 24, content=bytes(20 * SECTOR_SIZE) + noise("busy", 3 * SECTOR_SIZE))
    return content, packed(content)


def test_a_destination_that_overtakes_the_source_is_unpacked_in_its_place() -> None:
    content, small = flat_then_busy()
    source = 0x3000
    bench = Bench(b"", BootCommand.copy_raw(source, 0, len(small)))
    bench.flash.load(OLD[:source] + small)
    bench.run()
    flash = bench.flash.read(0, len(content))
    assert flash[: 20 * SECTOR_SIZE] == content[: 20 * SECTOR_SIZE]
    assert flash != content


def test_the_same_from_further_up_succeeds() -> None:
    content, small = flat_then_busy()
    bench = copy(small)
    bench.run()
    assert bench.flash.read(0, len(content)) == content


def test_a_source_within_what_is_read_ahead_is_safe() -> None:
    content = build_sketch("flat", 64, content=bytes(64 * SECTOR_SIZE))
    small = packed(content)
    assert len(small) <= 4096
    bench = Bench(b"", BootCommand.copy_raw(0x3000, 0, len(small)))
    bench.flash.load(OLD[:0x3000] + small)
    bench.run()
    assert bench.flash.read(0, len(content)) == content


def test_a_name_that_never_ends_hangs_and_keeps_the_command() -> None:
    bench = copy(b"\x1f\x8b\x08\x08" + b"x" * (SIZE - STAGED - 4))
    run = bench.run()
    assert run.ending is Ending.HANGS
    assert bench.console.endswith("@cp:")
    assert bench.rtc.boot_command() is not None


# when the command is cleared


@pytest.mark.parametrize(("core", "survives"), [(Core.V2_5, False), (Core.V2_7, True), (Core.V3_1, True)])
def test_the_command_is_cleared_after_the_copy_since_2_7(core: Core, survives: bool) -> None:
    bench = copy(NEW, core=core)
    bench.flash.reset_at(4)
    with pytest.raises(ResetStruck):
        bench.run()
    assert (bench.rtc.boot_command() is not None) is survives
    assert "@cp:" in bench.console


def test_older_boot_parts_erase_before_they_read() -> None:
    bench = copy(NEW, core=Core.V2_7)
    bench.flash.spoil(STAGED // SECTOR_SIZE + 2, BadSector.READ_FAILS)
    bench.run()
    assert bench.flash.read(2 * SECTOR_SIZE, SECTOR_SIZE) == b"\xff" * SECTOR_SIZE
    newer = copy(NEW)
    newer.flash.spoil(STAGED // SECTOR_SIZE + 2, BadSector.READ_FAILS)
    newer.run()
    assert newer.flash.read(2 * SECTOR_SIZE, SECTOR_SIZE) == OLD[2 * SECTOR_SIZE : 3 * SECTOR_SIZE]


# loading


def segment(address: int, size: int) -> bytes:
    return struct.pack("<II", address, size)


def load(app: bytes, core: Core = Core.V3_1) -> tuple[EbootRun, str]:
    bench = Bench(core=core)
    bench.flash.load(OLD[:SECTOR_SIZE] + app)
    run = bench.run()
    return run, bench.console.partition("~")[2]


@pytest.mark.parametrize(
    ("address", "copied"),
    [
        (0x3FFE8000, True),
        (0x3FFFFFFF, True),
        (0x40000000, False),
        (0x400FFFFF, False),
        (0x40100000, True),
        (0x4010BFFF, True),
        (0x4010C000, False),
        (0x40201010, False),
        (0x5FFFFFFF, False),
        (0x60000000, True),
        (0xFFFFFFFF, True),
    ],
)
def test_a_segment_is_copied_by_its_address(address: int, copied: bool) -> None:
    run, _ = load(b"\xe9\x01\x02\x00" + bytes(4) + segment(address, 16) + bytes(16))
    assert [each.copied for each in run.segments] == [copied]


def test_older_boot_parts_know_32_kib_of_instruction_ram() -> None:
    app = b"\xe9\x01\x02\x00" + bytes(4) + segment(0x40108000, 16) + bytes(16)
    assert [load(app, core)[0].segments[0].copied for core in Core] == [False, False, False, True, True]


def test_neither_magic_nor_checksum_of_the_app_is_looked_at() -> None:
    run, console = load(b"\x00\x00\x00\x00" + struct.pack("<I", 0x40100000))
    assert (run.ending, run.entry, console) == (Ending.JUMPED, 0x40100000, "ld\n")


def test_e_1_a_header_behind_the_end_of_flash() -> None:
    bench = Bench(b"", BootCommand(Action.LOAD_APP, (SIZE,)))
    run = bench.run()
    assert bench.console.endswith("@ld\ne:1\n")
    assert (run.load_result, run.ending) == (LoadResult.HEADER, Ending.RESTARTS)


def test_e_2_a_segment_header_behind_the_end_of_flash() -> None:
    run, console = load(b"\xe9\x02\x02\x00" + bytes(4) + segment(0x40201010, SIZE))
    assert console == "ld\ne:2\n"
    assert run.load_result is LoadResult.SEGMENT_HEADER


def test_e_3_a_segment_longer_than_flash() -> None:
    run, console = load(b"\xe9\x01\x02\x00" + bytes(4) + segment(0x3FFE8000, SIZE))
    assert console == "ld\ne:3\n"
    assert run.load_result is LoadResult.SEGMENT


def test_erased_flash_cannot_be_loaded() -> None:
    bench = Bench()
    bench.flash.load(b"")
    run = bench.run()
    assert bench.console == "vffffffff\n~ld\ne:3\n"
    assert run.ending is Ending.RESTARTS


def test_a_length_that_cannot_be_read_is_not_printed() -> None:
    bench = Bench()
    bench.flash.spoil(1, BadSector.READ_FAILS)
    bench.run()
    assert bench.console == "~ld\ne:1\n"


def test_offsets_wrap_around_at_4_gib() -> None:
    bench = Bench(b"", BootCommand(Action.LOAD_APP, (0xFFFFF000,)))
    assert bench.run().load_result is not LoadResult.HEADER
