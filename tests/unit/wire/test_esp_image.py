from __future__ import annotations

import hashlib
import struct
from functools import partial

import pytest
from tests.vectors.images import BOOT, IROM, MINIMAL_IMAGE, TEXT, esp32_image

from otaria.errors import NotAnImage, WrongChip
from otaria.wire.checksums import crc32_mpeg2
from otaria.wire.chips import ChipFamily
from otaria.wire.esp_image import (
    FLASH_SIZES,
    FREQUENCIES_MHZ,
    FlashMode,
    Segment,
    build,
    chip_family,
    flash_size_of,
    installed_md5s,
    parse,
    read_header,
    sketch_size,
)

lay_out = partial(build, boot_entry=0x4010F000, app_entry=0x40100004)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - the device's protocol


def patched(content: bytes, offset: int, piece: bytes) -> bytes:
    return content[:offset] + piece + content[offset + len(piece) :]


@pytest.mark.parametrize(
    ("size_and_frequency", "flash_size", "frequency"),
    [
        (0x00, 512 << 10, 40),
        (0x11, 256 << 10, 26),
        (0x22, 1 << 20, 20),
        (0x3F, 2 << 20, 80),
        (0x40, 4 << 20, 40),
        (0x8F, 8 << 20, 80),
        (0x9F, 16 << 20, 80),
        (0x5F, 0, 80),
        (0x63, 0, None),
        (0xA5, 0, None),
    ],
)
def test_byte_3_says_flash_size_and_clock(size_and_frequency: int, flash_size: int, frequency: int | None) -> None:
    header = parse(patched(MINIMAL_IMAGE, 3, bytes((size_and_frequency,)))).boot.header
    assert (header.flash_size, header.frequency_mhz) == (flash_size, frequency)
    assert flash_size_of(size_and_frequency) == flash_size


def test_an_image_cut_off_anywhere_is_none() -> None:
    for length in range(len(MINIMAL_IMAGE)):
        with pytest.raises(NotAnImage):
            parse(MINIMAL_IMAGE[:length])


def test_a_cut_off_image_is_refused_with_what_is_missing() -> None:
    with pytest.raises(NotAnImage, match=r"cut off in its app part: 4140 bytes are there, at least 4144 belong to it"):
        parse(MINIMAL_IMAGE[:4140])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08\x00rest", "begins with 1f 8b 08 00"),
        (b"<!DOCTYPE html>", "begins with 3c 21 44 4f"),
        (b"\xff", "begins with ff,"),
    ],
)
def test_what_does_not_begin_as_an_image_is_refused_with_how_it_begins(content: bytes, reason: str) -> None:
    with pytest.raises(NotAnImage, match=reason):
        parse(content)


@pytest.mark.parametrize("part", [0x0000, 0x1000])
@pytest.mark.parametrize("segments", [0, 17, 255])
def test_a_part_without_segments_or_with_too_many_is_none(part: int, segments: int) -> None:
    with pytest.raises(NotAnImage, match=f"claims {segments} segments"):
        parse(patched(MINIMAL_IMAGE, part + 1, bytes((segments,))))


def test_a_file_without_app_part_is_no_image_of_this_core() -> None:
    with pytest.raises(NotAnImage, match="app part begins with ff"):
        parse(MINIMAL_IMAGE[:0x1000] + b"\xff" * 4096)


def test_a_boot_part_that_reaches_into_the_app_is_none() -> None:
    boot = struct.pack("<BBBBIII", 0xE9, 1, 2, 0x40, 0x4010F000, 0x4010F000, 5000) + bytes(8000)
    with pytest.raises(NotAnImage, match=r"boot part takes 5024 bytes, not 4096"):
        parse(boot)


@pytest.mark.parametrize("offset", [16, 17, 18, 19, 31])
def test_a_flipped_bit_in_what_the_rom_checks_is_noticed(offset: int) -> None:
    for bit in range(8):
        damaged = patched(MINIMAL_IMAGE, offset, bytes((MINIMAL_IMAGE[offset] ^ 1 << bit,)))
        with pytest.raises(NotAnImage, match=r"checksum is .. and should be ..: the chip would not start it"):
            parse(damaged)


def test_a_flipped_bit_in_the_app_is_noticed_by_the_crc_word() -> None:
    damaged = parse(patched(MINIMAL_IMAGE, 0x1018, b"\xff"))
    assert not damaged.has_length_and_crc
    assert damaged.length_word == damaged.size


def test_an_image_from_before_core_2_7_is_believed_without_the_two_words() -> None:
    old = parse(patched(MINIMAL_IMAGE, 0x1010, b"\x12\x34\x56\x78\x9a\xbc\xde\xf0"))
    assert not old.has_length_and_crc
    assert old.size == len(MINIMAL_IMAGE)


def test_an_image_with_a_right_length_and_a_wrong_crc_does_not_have_the_two_words() -> None:
    assert not parse(patched(MINIMAL_IMAGE, 0x1014, bytes(4))).has_length_and_crc


def test_the_crc_covers_the_payload_with_both_words_zero() -> None:
    image = parse(MINIMAL_IMAGE + b"trailer")
    assert image.crc == crc32_mpeg2(patched(MINIMAL_IMAGE, 0x1010, bytes(8)))


@pytest.mark.parametrize(
    ("trailer", "signature"),
    [
        (b"", None),
        (b"\0\0\0\0", None),
        (b"\x04\0\0\0", None),
        (b"x\x01\0\0\0", b"x"),
        (b"x\x02\0\0\0", None),
        (b"xy\x01\0\0\0", None),
        (bytes(256) + struct.pack("<I", 256), bytes(256)),
        (bytes(512) + struct.pack("<I", 512), bytes(512)),
        (bytes(512) + struct.pack("<I", 256), None),
        (b"\r\n", None),
    ],
)
def test_a_trailer_is_a_signature_where_its_last_word_is_its_length(trailer: bytes, signature: bytes | None) -> None:
    image = parse(MINIMAL_IMAGE + trailer)
    assert (image.trailer, image.signature) == (trailer, signature)
    assert image.size == len(MINIMAL_IMAGE)


def test_an_esp32_image_is_refused_before_anything_else_is_looked_at() -> None:
    with pytest.raises(WrongChip, match=r"for the ESP32-C3; an ESP8266 would accept it and never start again"):
        parse(esp32_image())


def test_a_chip_id_that_nobody_knows_does_not_make_an_esp32_image() -> None:
    assert chip_family(esp32_image(0x7777)) is ChipFamily.ESP8266
    with pytest.raises(NotAnImage):
        parse(esp32_image(0x7777))


def test_the_minimal_image_is_for_the_esp8266() -> None:
    assert chip_family(MINIMAL_IMAGE) is ChipFamily.ESP8266
    assert chip_family(b"\xe9") is ChipFamily.ESP8266


def test_a_header_is_read_only_behind_the_magic_byte() -> None:
    header = read_header(MINIMAL_IMAGE[0x1000:])
    assert header is not None
    assert (header.segments, header.entry) == (2, 0x40100004)
    assert read_header(b"\xff" * 8) is None


@pytest.mark.parametrize("rest", range(16))
def test_the_sketch_size_always_leaves_room_for_the_checksum(rest: int) -> None:
    content = lay_out([BOOT], [IROM, Segment(0x40100000, bytes(rest))])
    assert sketch_size(lambda offset, length: content[offset : offset + length]) == len(content) == parse(content).size
    assert len(content) % 16 == 0


def test_a_device_reports_the_files_own_digest_or_one_with_patched_bytes() -> None:
    image = parse(MINIMAL_IMAGE)
    digests = installed_md5s(MINIMAL_IMAGE, image)
    assert md5(MINIMAL_IMAGE) in digests
    for mode in FlashMode:
        assert md5(patched(MINIMAL_IMAGE, 2, bytes((mode,)))) in digests
    for size in FLASH_SIZES:
        for frequency in FREQUENCIES_MHZ:
            assert md5(patched(MINIMAL_IMAGE, 2, bytes((FlashMode.DOUT, size << 4 | frequency)))) in digests
    assert len(digests) == len(FlashMode) * len(FLASH_SIZES) * len(FREQUENCIES_MHZ)


def test_bytes_that_no_tool_writes_are_in_the_set_only_if_the_file_has_them() -> None:
    odd = patched(MINIMAL_IMAGE, 2, b"\x07\x77")
    assert md5(odd) not in installed_md5s(MINIMAL_IMAGE, parse(MINIMAL_IMAGE))
    assert md5(odd) in installed_md5s(odd, parse(odd))


def test_a_signature_is_no_part_of_what_a_device_reports() -> None:
    signed = MINIMAL_IMAGE + bytes(256) + struct.pack("<I", 256)
    assert installed_md5s(signed, parse(signed)) == installed_md5s(MINIMAL_IMAGE, parse(MINIMAL_IMAGE))


def test_a_built_image_reads_as_its_segments() -> None:
    content = lay_out([BOOT], [IROM, TEXT], mode=FlashMode.DOUT, size_and_frequency=0x2F)
    image = parse(content)
    assert image.has_length_and_crc
    assert image.boot.header.mode == image.app.header.mode == FlashMode.DOUT
    assert image.boot.header.size_and_frequency == image.app.header.size_and_frequency == 0x2F
    assert [segment.address for segment in image.app.segments] == [IROM.address, TEXT.address]
    assert content[parse(content).boot.size : 0x1000] == b"\xaa" * (0x1000 - image.boot.size)


@pytest.mark.parametrize(("length", "fits"), [(4079, True), (4080, False)])
def test_a_boot_part_has_one_sector(length: int, fits: bool) -> None:
    boot = [Segment(0x4010F000, bytes(length))]
    if fits:
        assert parse(lay_out(boot, [IROM])).boot.size == 4096
    else:
        with pytest.raises(NotAnImage, match="it has one sector of 4096"):
            lay_out(boot, [IROM])


@pytest.mark.parametrize("app", [[], [Segment(0x40201010, bytes(7))], [Segment(0x40100000, b""), IROM]])
def test_an_app_without_room_for_length_and_crc_is_refused(app: list[Segment]) -> None:
    with pytest.raises(NotAnImage, match="too short to hold the image's length and CRC"):
        lay_out([BOOT], app)
