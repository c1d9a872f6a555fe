from __future__ import annotations

import gzip
import hashlib
import struct
import zlib

import pytest
from tests.fleet_bench import FILE_SYSTEM, patched, signed, sketch, zipped
from tests.vectors.images import MINIMAL_IMAGE, esp32_image

from otaria.errors import NotAnImage
from otaria.units import Md5, round_up
from otaria.wire.chips import ChipFamily
from otaria.wire.esp_image import FlashMode
from otaria.wire.image_file import LARGEST_PAYLOAD, ImageFile, ImageKind, read_image_file
from otaria.wire.layouts import SECTOR_SIZE


def read(content: bytes, kind: ImageKind = ImageKind.SKETCH) -> ImageFile:
    return read_image_file(content, kind)


def md5(content: bytes) -> Md5:
    return Md5(hashlib.md5(content).hexdigest())  # noqa: S324 - the devices' protocols demand it


def test_a_plain_sketch_is_sent_and_installed_as_it_is() -> None:
    file = read(MINIMAL_IMAGE)
    assert (file.kind, file.family) == (ImageKind.SKETCH, ChipFamily.ESP8266)
    assert (file.size, file.payload) == (4144, MINIMAL_IMAGE)
    assert file.md5 == "48b0bc2576eda0c9ad0d6d06519aa974"  # protocols §6.2
    assert file.sha256 == "f9dca5df6db316a659f2c5a52cc9227cf2a396a5f6506d6366904e3e74de9932"  # protocols §8.1
    assert (file.compressed, file.signed, file.staging_floor) == (False, False, 0)
    assert (file.flash_size, file.flash_mode) == (4 << 20, FlashMode.QIO)
    assert file.has_length_and_crc


@pytest.mark.parametrize("mode", FlashMode)
@pytest.mark.parametrize("wrap", [lambda content: content, zipped, signed, lambda content: signed(zipped(content))])
def test_the_installed_md5s_are_those_of_the_payload_in_each_flash_mode(mode: FlashMode, wrap: object) -> None:
    assert callable(wrap)
    plain = sketch("door")
    assert md5(patched(plain, mode)) in read(wrap(plain)).installed_md5s


def test_the_md5_for_the_wire_is_that_of_the_file_as_sent() -> None:
    plain = sketch("door")
    for content in (plain, zipped(plain), signed(plain), signed(zipped(plain))):
        file = read(content)
        assert file.md5 == md5(content)
        assert file.size == len(content)
        assert file.payload == plain


def test_compression_and_signature_are_recognised() -> None:
    plain = sketch("door")
    assert (read(zipped(plain)).compressed, read(zipped(plain)).signed) == (True, False)
    assert (read(signed(plain)).compressed, read(signed(plain)).signed) == (False, True)
    assert (read(signed(zipped(plain))).compressed, read(signed(zipped(plain))).signed) == (True, True)


@pytest.mark.parametrize("length", [0, 1, 7, 4096, 4100, 4143])
def test_a_sketch_that_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(NotAnImage):
        read(MINIMAL_IMAGE[:length])


@pytest.mark.parametrize("length", [10, -40, -9, -1])
def test_a_compressed_sketch_that_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(NotAnImage, match="cut off"):
        read(zipped(sketch("door"))[:length])


def test_a_signature_that_was_cut_off_is_refused() -> None:
    with pytest.raises(NotAnImage, match="no signature"):
        read(signed(sketch("door"))[:-1])


def test_padding_after_the_image_does_no_harm() -> None:
    plain = sketch("door")
    assert read(plain + b"\xff" * 100).payload == plain
    assert read(plain + bytes(8)).payload == plain


def test_a_flipped_byte_is_found_by_the_images_own_crc() -> None:
    damaged = bytearray(sketch("door"))
    damaged[0x1020] ^= 1
    with pytest.raises(NotAnImage, match="the file is damaged"):
        read(bytes(damaged))


def test_an_image_of_an_old_core_has_no_words_to_be_checked_by() -> None:
    old = bytearray(sketch("door"))
    old[0x1010:0x1018] = b"old code"
    file = read(bytes(old))
    assert not file.has_length_and_crc


def test_a_flash_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(NotAnImage, match="flash mode is 4"):
        read(rebuilt_with_mode(4))


def rebuilt_with_mode(mode: int) -> bytes:
    """An image of an old core, whose CRC word does not speak for byte 2."""
    content = bytearray(sketch("door"))
    content[2] = mode
    content[0x1010:0x1018] = bytes(8)
    return bytes(content)


def test_a_stray_byte_after_a_compressed_image_would_brick_and_is_refused() -> None:
    with pytest.raises(NotAnImage, match="1 bytes that are no signature"):
        read(zipped(sketch("door")) + b"\0")


def test_a_second_compressed_member_is_refused_because_the_bootloader_reads_one_only() -> None:
    content = sketch("door")
    with pytest.raises(NotAnImage, match="no signature"):
        read(zipped(content[:4096]) + zipped(content[4096:]))


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(NotAnImage, match="unpacks to more than 16 MiB"):
        read(gzip.compress(bytes(LARGEST_PAYLOAD + 1)))


def test_a_damaged_compressed_file_is_refused() -> None:
    damaged = bytearray(zipped(sketch("door")))
    damaged[20] ^= 0xFF
    with pytest.raises(NotAnImage):
        read(bytes(damaged))


def test_something_else_that_is_compressed_is_refused() -> None:
    with pytest.raises(NotAnImage, match="begins with 68 65 6c 6c"):
        read(zipped(b"hello world"))


# ---------------------------------------------------------------------- the staging floor


def eboot_survives(content: bytes, staging_start: int) -> bool:
    """Unpack in place as the bootloader does: read 4 KiB ahead at most, write sector by sector from 0."""
    flash = bytearray(b"\xff" * (staging_start + round_up(len(content), SECTOR_SIZE) + (4 << 20)))
    flash[staging_start : staging_start + len(content)] = content
    expected = gzip.decompress(content)
    inflater = zlib.decompressobj(31)
    position, written, pending = staging_start, 0, b""
    while written < len(expected):
        while len(pending) < SECTOR_SIZE and not inflater.eof:
            # One byte at a time: the latest moment at which a byte can be read.
            try:
                pending += inflater.decompress(bytes(flash[position : position + 1]))
            except zlib.error:
                return False
            position += 1
            if position > staging_start + len(content):
                return False
        flash[written : written + SECTOR_SIZE] = pending[:SECTOR_SIZE].ljust(SECTOR_SIZE, b"\xff")
        written += SECTOR_SIZE
        pending = pending[SECTOR_SIZE:]
    return bytes(flash[: len(expected)]) == expected


@pytest.mark.parametrize("size", [100, 30_000, 200_000])
def test_from_its_staging_floor_a_compressed_image_unpacks_in_place(size: int) -> None:
    content = zipped(sketch("door", size=size))
    file = read(content)
    assert 0 < file.staging_floor <= round_up(file.payload_size, SECTOR_SIZE)
    assert eboot_survives(content, file.staging_floor)


def test_well_below_its_staging_floor_it_does_not() -> None:
    content = zipped(sketch("door", size=200_000))
    assert not eboot_survives(content, round_up(read(content).staging_floor // 2, SECTOR_SIZE))


# ----------------------------------------------------------------------------- ESP32


def test_an_esp32_image_is_installed_as_it_is() -> None:
    content = esp32_image()
    file = read(content)
    assert file.family is ChipFamily.ESP32_C3
    assert file.installed_md5s == {md5(content)}
    assert (file.flash_size, file.flash_mode) == (None, None)


def test_an_esp32_image_with_a_trailer_may_be_reported_with_it_or_without() -> None:
    content = esp32_image()
    assert read(content + bytes(512)).installed_md5s == {md5(content), md5(content + bytes(512))}


@pytest.mark.parametrize("length", [40, 300, 335])
def test_an_esp32_image_that_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(NotAnImage, match="cut off"):
        read(esp32_image()[:length])


def test_a_damaged_esp32_image_is_refused() -> None:
    damaged = bytearray(esp32_image())
    damaged[0x60] ^= 1
    with pytest.raises(NotAnImage, match="SHA-256"):
        read(bytes(damaged))


def test_a_compressed_esp32_image_is_refused() -> None:
    with pytest.raises(NotAnImage, match="does not unpack"):
        read(zipped(esp32_image()))


# ----------------------------------------------------------------------- file systems


def test_a_file_system_is_what_is_declared_to_be_one() -> None:
    file = read(FILE_SYSTEM, ImageKind.FILESYSTEM)
    assert (file.kind, file.family, file.flash_size) == (ImageKind.FILESYSTEM, None, None)
    assert file.payload == FILE_SYSTEM
    assert file.installed_md5s == frozenset()


@pytest.mark.parametrize(
    "content", [sketch("door"), zipped(sketch("door")), sketch("door")[:4200], esp32_image(), signed(sketch("door"))]
)
def test_a_sketch_that_is_declared_a_file_system_is_refused(content: bytes) -> None:
    with pytest.raises(NotAnImage, match="This is a sketch"):
        read(content, ImageKind.FILESYSTEM)


def test_a_file_system_that_begins_like_a_sketch_is_one_all_the_same() -> None:
    assert read(b"\xe9" + FILE_SYSTEM, ImageKind.FILESYSTEM).size == len(FILE_SYSTEM) + 1


def test_a_file_system_that_is_declared_a_sketch_is_refused() -> None:
    with pytest.raises(NotAnImage, match="begins with 01 6c 69 74"):
        read(FILE_SYSTEM)


@pytest.mark.parametrize("kind", ImageKind)
def test_an_empty_file_is_nothing(kind: ImageKind) -> None:
    with pytest.raises(NotAnImage, match="is empty"):
        read(b"", kind)


def test_a_length_word_of_a_signature_needs_the_signature_before_it() -> None:
    with pytest.raises(NotAnImage, match="no signature"):
        read(sketch("door") + struct.pack("<I", 256))
