from __future__ import annotations

import functools
import hashlib
import operator
from dataclasses import replace

import pytest
from tests.esp32_bench import build_app
from tests.vectors.images import MINIMAL_IMAGE, esp32_image

from otaria.errors import NotAnImage
from otaria.units import KIB, MIB
from otaria.wire.chips import CHIP_IDS, ChipFamily
from otaria.wire.esp32_image import (
    HEADER_SIZE,
    MAPPED_ADDRESSES,
    AppDescriptor,
    Chip,
    Esp32Image,
    Header,
    ImageFlaw,
    SpiMode,
    build,
    examine,
    parse,
)
from otaria.wire.esp_image import Segment

C3 = Chip(ChipFamily.ESP32_C3, 4)
ROOM = 64 * KIB

DESCRIPTOR = AppDescriptor(
    version="1.2.3",
    project_name="demo",
    time="12:00:00",
    date="Jan  1 2026",
    idf_version="v5.1",
    elf_sha256=b"\x11" * 32,
    max_efuse_revision=99,
    page_size_log2=16,
)


def patched(image: bytes, offset: int, content: bytes) -> bytes:
    return image[:offset] + content + image[offset + len(content) :]


def sealed(image: bytes) -> bytes:
    """The image with checksum and SHA-256 made right again."""
    found = parse(image)
    content = b"".join(segment.content for segment in found.segments)
    checksum = functools.reduce(operator.xor, content, 0xEF)
    body = image[: found.size - 33] + bytes((checksum,))
    return body + hashlib.sha256(body).digest() + image[found.size :]


# ------------------------------------------------------------------------------- the vector


def test_the_example_of_the_sheet_is_built_byte_for_byte() -> None:
    built = build(
        [Segment(0x3C000020, DESCRIPTOR.encode())], family=ChipFamily.ESP32_C3, entry=0x40380000, max_revision=99
    )
    assert built == esp32_image()
    assert len(built) == 336
    assert built[303] == 0xA2
    assert built[304:].hex() == "986686aadcb0551023543d2dea5af1252f12299b6e90977a774735ad15a0bcc3"


def test_the_example_of_the_sheet_says_what_it_is() -> None:
    image = parse(esp32_image())
    assert image.header.family is ChipFamily.ESP32_C3
    assert (image.header.segments, image.header.entry) == (1, 0x40380000)
    assert (image.header.mode, image.header.flash_size) == (SpiMode.DIO, 4 * MIB)
    assert (image.header.min_revision, image.header.max_revision) == (0, 99)
    assert image.header.digest_appended
    assert [(segment.address, len(segment.content)) for segment in image.segments] == [(0x3C000020, 256)]
    assert image.descriptor == DESCRIPTOR
    assert (image.checksum, image.checksum_holds, image.digest_holds) == (0xA2, True, True)
    assert image.size == 336
    assert image.sha256 == "986686aadcb0551023543d2dea5af1252f12299b6e90977a774735ad15a0bcc3"


def test_the_reported_sha256_leaves_the_appended_one_out() -> None:
    content = esp32_image()
    assert parse(content).sha256 == hashlib.sha256(content[:-32]).hexdigest() != hashlib.sha256(content).hexdigest()


# --------------------------------------------------------------------------------- parsing


def test_what_follows_the_image_is_not_part_of_it() -> None:
    assert parse(esp32_image() + bytes(512)) == parse(esp32_image())


@pytest.mark.parametrize("length", [*range(1, 60), 287, 303, 304, 335])
def test_an_image_that_was_cut_off_is_none(length: int) -> None:
    with pytest.raises(NotAnImage):
        parse(esp32_image()[:length])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\x7fELF", "begins with 7f 45 4c 46"),
        (b"\xe9\x01", "it has 2 bytes"),
        (patched(esp32_image(), 1, b"\x11"), "more segments"),
        (patched(esp32_image(), 28, b"\xff\xff\xff\xff"), "length that there cannot be"),
        (patched(esp32_image(), 28, b"\x02\x01\0\0"), "length that there cannot be"),
        (esp32_image()[:300], "cut off: 300 bytes"),
    ],
)
def test_what_is_no_image_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(NotAnImage, match=reason):
        parse(content)


def test_a_wrong_checksum_is_for_the_caller_to_find() -> None:
    image = parse(patched(esp32_image(), 303, b"\0"))
    assert not image.checksum_holds
    assert not image.digest_holds


def test_an_image_without_digest_ends_with_its_checksum() -> None:
    plain = replace_header(esp32_image(), digest_appended=False)[:304]
    image = parse(plain)
    assert (image.digest, image.digest_holds, image.size) == (None, True, 304)
    assert image.sha256 == hashlib.sha256(plain).hexdigest()


def test_an_image_without_descriptor_has_none() -> None:
    built = build([Segment(0x3FFB0000, b"data")], family=ChipFamily.ESP32, entry=0)
    assert parse(built).descriptor is None


def test_a_descriptor_reads_as_it_was_written_and_cuts_long_texts() -> None:
    long = replace(DESCRIPTOR, version="v" * 40, project_name="p" * 33)
    built = build([Segment(0x3C000020, long.encode())], family=ChipFamily.ESP32_C3, entry=0)
    read = parse(built).descriptor
    assert read == replace(long, version="v" * 32, project_name="p" * 32)


@pytest.mark.parametrize(("nibble", "size"), [(0, MIB), (1, 2 * MIB), (7, 128 * MIB), (8, 0), (15, 0)])
def test_the_flash_size_is_a_power_of_two(nibble: int, size: int) -> None:
    assert Header(1, 0, 0, size_and_speed=nibble << 4).flash_size == size


def replace_header(image: bytes, **fields: object) -> bytes:
    header = Header.decode(image)
    assert header is not None
    return replace(header, **fields).encode() + image[HEADER_SIZE:]  # type: ignore[arg-type]  # fields of any type


def test_a_header_reads_as_it_was_written() -> None:
    header = Header(
        segments=3,
        entry=0x40080000,
        chip_id=9,
        mode=0,
        size_and_speed=0x4F,
        min_revision=101,
        max_revision=199,
        digest_appended=False,
        write_protect_pin=7,
        drive_settings=b"abc",
        legacy_min_revision=1,
    )
    assert Header.decode(header.encode()) == header


def test_an_unknown_chip_number_has_no_family() -> None:
    assert Header(1, 0, 0x7777).family is None


# ------------------------------------------------------------- what the chip looks at, in its order


def flaw_of(content: bytes, chip: Chip = C3, room: int = ROOM) -> ImageFlaw | None:
    found = examine(content, chip, room)
    return found if isinstance(found, ImageFlaw) else None


def test_a_sound_image_has_no_flaw() -> None:
    assert examine(esp32_image(), C3, ROOM) == parse(esp32_image())


@pytest.mark.parametrize("content", [b"", b"\xff" * 400, b"\xe9", MINIMAL_IMAGE[1:]])
def test_without_the_magic_byte_there_is_no_image(content: bytes) -> None:
    assert flaw_of(content) is ImageFlaw.MAGIC


@pytest.mark.parametrize("family", [family for family in CHIP_IDS.values() if family is not ChipFamily.ESP32_C3])
def test_an_image_for_any_other_chip_is_refused(family: ChipFamily) -> None:
    assert flaw_of(build_app("other", family=family)) is ImageFlaw.CHIP


def test_an_esp8266_image_passes_the_first_byte_and_no_further() -> None:
    assert flaw_of(MINIMAL_IMAGE) is ImageFlaw.CHIP


def test_an_image_for_a_newer_revision_is_refused() -> None:
    image = build_app("new", family=ChipFamily.ESP32_C3, min_revision=5)
    assert flaw_of(image, Chip(ChipFamily.ESP32_C3, 4)) is ImageFlaw.REVISION_TOO_LOW
    assert flaw_of(image, Chip(ChipFamily.ESP32_C3, 5)) is None


def test_an_image_for_an_older_revision_is_refused() -> None:
    image = build_app("old", family=ChipFamily.ESP32_C3, max_revision=99)
    assert flaw_of(image, Chip(ChipFamily.ESP32_C3, 100)) is ImageFlaw.REVISION_TOO_HIGH
    assert flaw_of(image, Chip(ChipFamily.ESP32_C3, 99)) is None


@pytest.mark.parametrize("unlimited", [0, 0xFFFF])
def test_a_newest_revision_that_is_not_set_is_no_limit(unlimited: int) -> None:
    image = build_app("any", family=ChipFamily.ESP32_C3, max_revision=unlimited)
    assert flaw_of(image, Chip(ChipFamily.ESP32_C3, 999)) is None


def test_more_than_sixteen_segments_are_refused() -> None:
    assert flaw_of(replace_header(esp32_image(), segments=17)) is ImageFlaw.SEGMENT_COUNT


def test_sixteen_segments_are_taken() -> None:
    segments = [Segment(0x3FC80000 + 16 * number, b"abcd") for number in range(16)]
    assert flaw_of(build(segments, family=ChipFamily.ESP32_C3, entry=0)) is None


@pytest.mark.parametrize("length", [2, 255, 257, 16 * MIB, 0xFFFFFFFC])
def test_a_length_that_is_no_whole_word_or_too_large_is_refused(length: int) -> None:
    assert flaw_of(patched(esp32_image(), 28, length.to_bytes(4, "little"))) is ImageFlaw.SEGMENT_LENGTH


@pytest.mark.parametrize("family", MAPPED_ADDRESSES)
def test_a_mapped_segment_must_lie_where_its_address_says(family: ChipFamily) -> None:
    chip = Chip(family, 0)
    for low, high in MAPPED_ADDRESSES[family]:
        for address in (low + 0x20, high - 0x10000 + 0x20):
            image = build([Segment(address, bytes(16))], family=family, entry=0)
            assert flaw_of(image, chip) is None
            moved = sealed(patched(image, 24, (address + 4).to_bytes(4, "little")))
            assert flaw_of(moved, chip) is ImageFlaw.MAPPING


def test_a_segment_that_is_loaded_may_lie_anywhere() -> None:
    image = build([Segment(0x3FC80004, bytes(16))], family=ChipFamily.ESP32_C3, entry=0)
    assert flaw_of(image) is None


@pytest.mark.parametrize("log2", [13, 14, 15])
def test_an_image_built_for_smaller_pages_is_mapped_by_them(log2: int) -> None:
    described = replace(DESCRIPTOR, page_size_log2=log2).encode()
    first = Segment(0x42000020, described)
    second_at = 24 + 8 + len(described) + 8
    second = Segment(0x42000000 + (1 << log2) + second_at, bytes(16))
    image = build([first, second], family=ChipFamily.ESP32_C6, entry=0)
    assert flaw_of(image, Chip(ChipFamily.ESP32_C6, 0)) is None
    with_large_pages = replace(DESCRIPTOR, page_size_log2=0).encode()
    other = sealed(patched(image, 32, with_large_pages))
    assert flaw_of(other, Chip(ChipFamily.ESP32_C6, 0)) is ImageFlaw.MAPPING


@pytest.mark.parametrize("length", [30, 100, 303, 335])
def test_an_image_that_ends_early_is_cut_off(length: int) -> None:
    assert flaw_of(esp32_image()[:length]) is ImageFlaw.CUT_OFF


def test_a_flipped_byte_is_found_by_the_checksum() -> None:
    assert flaw_of(patched(esp32_image(), 100, b"\x55")) is ImageFlaw.CHECKSUM


def test_an_image_larger_than_its_partition_is_refused() -> None:
    assert flaw_of(esp32_image(), room=335) is ImageFlaw.TOO_LARGE
    assert flaw_of(esp32_image()[:320], room=320) is ImageFlaw.TOO_LARGE
    assert flaw_of(esp32_image(), room=336) is None


def test_two_flipped_bytes_that_leave_the_checksum_are_found_by_the_digest() -> None:
    swapped = patched(esp32_image(), 48, b"1.3.2")
    assert parse(swapped).checksum_holds
    assert flaw_of(swapped) is ImageFlaw.DIGEST


def test_a_wrong_digest_of_nothing_else_is_found() -> None:
    assert flaw_of(patched(esp32_image(), 335, b"\0")) is ImageFlaw.DIGEST


def test_the_chip_looks_in_its_own_order() -> None:
    image = replace_header(build_app("all wrong", family=ChipFamily.ESP32_S3, min_revision=5), segments=17)
    assert flaw_of(b"\0" + image[1:]) is ImageFlaw.MAGIC
    assert flaw_of(image) is ImageFlaw.CHIP
    assert flaw_of(image, Chip(ChipFamily.ESP32_S3, 0)) is ImageFlaw.REVISION_TOO_LOW
    assert flaw_of(image, Chip(ChipFamily.ESP32_S3, 5)) is ImageFlaw.SEGMENT_COUNT


def test_every_flaw_is_told_in_words() -> None:
    assert len({flaw.value for flaw in ImageFlaw}) == len(ImageFlaw)


# -------------------------------------------------------------------------------- building


@pytest.mark.parametrize("family", CHIP_IDS.values())
def test_an_image_is_built_for_every_chip(family: ChipFamily) -> None:
    image = examine(build_app("any chip", family=family), Chip(family, 0), ROOM)
    assert isinstance(image, Esp32Image)
    assert image.header.family is family


def test_an_image_that_could_not_be_mapped_is_not_built() -> None:
    with pytest.raises(NotAnImage, match="No ESP32-C3 would start an image of these segments: a segment does not lie"):
        build([Segment(0x3C000000, bytes(16))], family=ChipFamily.ESP32_C3, entry=0)


def test_an_image_of_too_many_segments_is_not_built() -> None:
    with pytest.raises(NotAnImage, match="more segments"):
        build([Segment(0x3FC80000, b"abcd")] * 17, family=ChipFamily.ESP32_C3, entry=0)


@pytest.mark.parametrize("length", [0, 4, 8, 12, 16, 65536, 65540, 200_000])
def test_the_checksum_is_the_xor_of_all_bytes_whatever_their_number(length: int) -> None:
    content = bytes(index * 7 % 251 for index in range(length))
    image = parse(build([Segment(0x3FC80000, content)], family=ChipFamily.ESP32_C3, entry=0))
    assert image.checksum == functools.reduce(operator.xor, content, 0xEF)
    assert image.size % 16 == 0
