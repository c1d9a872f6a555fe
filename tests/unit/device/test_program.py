from __future__ import annotations

import struct

import pytest
from tests.device_bench import boot_part, build_sketch, noise

from otaria.device.core_version import Core
from otaria.device.eboot import run_eboot
from otaria.device.flash import Flash
from otaria.device.program import app_fingerprint, boot_part_starts, sketch_crc_holds, sketch_runs
from otaria.device.rtc import RtcMemory
from otaria.device.spi import Spi
from otaria.wire.eboot import Action, BootCommand
from otaria.wire.esp_image import Segment, build
from otaria.wire.layouts import SECTOR_SIZE

SKETCH = build_sketch("a sketch")
IRAM_END = Core.V3_1.behaviour.iram_end


def spi_with(content: bytes) -> Spi:
    flash = Flash(512 << 10)
    flash.load(content)
    return Spi(flash)


def starts(content: bytes) -> bool:
    return boot_part_starts(spi_with(content))


def runs(
    content: bytes, command: BootCommand | None = None, *, iram_end: int = IRAM_END, proven_app: int | None = None
) -> bool:
    spi, rtc = spi_with(content), RtcMemory()
    if command is not None:
        rtc.leave_boot_command(command)
    return sketch_runs(spi, run_eboot(spi, rtc, Core.V3_1.behaviour, lambda _: None), iram_end, proven_app)


def changed(content: bytes, offset: int, replacement: bytes) -> bytes:
    return content[:offset] + replacement + content[offset + len(replacement) :]


def app(*segments: Segment, entry: int = 0x40100000, words: bool = False) -> bytes:
    """An image with that app, as an old core builds it, unless it shall have its length and CRC."""
    irom = Segment(0x40201010, bytes(8) + noise("irom", 4096))
    content = build([boot_part()], [irom, *segments], boot_entry=0x4010F000, app_entry=entry)
    return content if words else changed(content, 0x1010, b"\x10\x10\x20\x40\x31\x32\x33\x34")


TEXT = Segment(0x40100000, bytes(64))


# the ROM


def test_the_rom_starts_a_boot_part_whose_checksum_is_right() -> None:
    assert starts(SKETCH)


@pytest.mark.parametrize("offset", [0, 8 + 8, 8 + 8 + 1999])
def test_the_rom_refuses_a_boot_part_with_one_wrong_byte(offset: int) -> None:
    assert not starts(changed(SKETCH, offset, bytes((SKETCH[offset] ^ 1,))))


@pytest.mark.parametrize("segments", [0, 17, 255])
def test_the_rom_refuses_a_boot_part_with_an_impossible_number_of_segments(segments: int) -> None:
    assert not starts(changed(SKETCH, 1, bytes((segments,))))


@pytest.mark.parametrize("address", [0x3FFE7FFC, 0x40110000, 0x40201010, 0])
def test_the_rom_refuses_a_boot_part_outside_ram(address: int) -> None:
    assert not starts(changed(SKETCH, 8, struct.pack("<I", address)))


def test_the_rom_refuses_erased_flash() -> None:
    assert not starts(b"")


def test_a_boot_part_that_runs_over_the_end_of_flash_is_refused() -> None:
    assert not boot_part_starts(Spi(_one_sector(b"\xe9\x02\x00\x00" + bytes(4) + struct.pack("<II", 0x40100000, 4080))))


def _one_sector(content: bytes) -> Flash:
    flash = Flash(SECTOR_SIZE)
    flash.load(content)
    return flash


# the sketch


def test_a_whole_image_runs() -> None:
    assert runs(SKETCH)


def test_an_image_whose_first_header_was_patched_runs_and_its_own_crc_fails() -> None:
    patched = changed(SKETCH, 2, b"\x00\x40")
    assert runs(patched)
    assert sketch_crc_holds(spi_with(SKETCH))
    assert not sketch_crc_holds(spi_with(patched))


def test_any_other_wrong_byte_keeps_it_from_running() -> None:
    for offset in (0x1020, len(SKETCH) // 2, 0x1014):
        assert not runs(changed(SKETCH, offset, bytes((SKETCH[offset] ^ 1,))))


def test_an_app_that_ran_before_runs_again_below_another_boot_part() -> None:
    proven = app_fingerprint(spi_with(SKETCH))
    broken_boot = changed(SKETCH, 100, b"\xff" * 500)
    assert not runs(broken_boot)
    assert runs(broken_boot, proven_app=proven)
    assert not runs(changed(broken_boot, 0x2000, bytes(4)), proven_app=proven)


def test_an_image_without_a_length_has_no_fingerprint() -> None:
    assert app_fingerprint(spi_with(app(TEXT))) is None


def test_an_image_of_an_old_core_has_no_crc_and_is_believed() -> None:
    assert runs(app(TEXT))
    assert runs(app(TEXT, words=True))


@pytest.mark.parametrize("length", [0, 0x1017, 0xFFFFFFFF])
def test_a_length_word_that_cannot_be_one_makes_check_flash_crc_false(length: int) -> None:
    assert not sketch_crc_holds(spi_with(changed(SKETCH, 0x1010, struct.pack("<I", length))))


def test_a_length_word_behind_the_end_of_flash_is_no_whole_image() -> None:
    assert not runs(changed(SKETCH, 0x1010, struct.pack("<I", 0xF0000)))


def test_the_app_s_header_must_be_one() -> None:
    assert not runs(changed(app(TEXT), 0x1000, b"\xe8"))


@pytest.mark.parametrize("entry", [0x400FFFFF, 0x40100040, 0x40201000, 0])
def test_the_entry_must_lie_in_a_segment(entry: int) -> None:
    assert not runs(app(TEXT, entry=entry))


@pytest.mark.parametrize("entry", [0x40100000, 0x4010003F, 0x40201010])
def test_the_entry_may_lie_in_ram_or_in_mapped_flash(entry: int) -> None:
    assert runs(app(TEXT, entry=entry))


@pytest.mark.parametrize("address", [0x3FFE7FFC, 0x3FFFFFFC, 0x4010BFF0, 0x60000000, 0])
def test_a_copied_segment_must_lie_in_ram(address: int) -> None:
    assert not runs(app(TEXT, Segment(address, bytes(64))))


def test_ram_ends_where_the_core_has_it() -> None:
    image = app(TEXT, Segment(0x4010A000, bytes(64)))
    assert runs(image)
    assert not runs(image, iram_end=Core.V2_7.behaviour.iram_end)


def test_a_mapped_segment_must_lie_where_the_flash_shows_it() -> None:
    assert not runs(app(TEXT, Segment(0x40300000, bytes(64))))


def test_a_sketch_loaded_from_elsewhere_is_not_where_its_code_is_mapped() -> None:
    moved = SKETCH.ljust(0x40000, b"\xff") + SKETCH
    assert not runs(moved, BootCommand(Action.LOAD_APP, (0x40000,)))
    assert runs(moved)
