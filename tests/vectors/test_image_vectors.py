"""The images of protocols §6.2, §6.4 and §8.1, byte for byte."""

from __future__ import annotations

import hashlib

import pytest
from tests.vectors.images import BOOT, IROM, MINIMAL_IMAGE, TEXT, esp32_image

from otaria.errors import WrongChip
from otaria.wire.chips import CHIP_IDS, ChipFamily
from otaria.wire.esp_image import FlashMode, build, chip_family, parse, sketch_size

MINIMAL_CRC = 0xDFE0402D


def test_the_minimal_image_is_the_one_of_the_sheet() -> None:
    assert len(MINIMAL_IMAGE) == 0x1030
    assert hashlib.md5(MINIMAL_IMAGE).hexdigest() == "48b0bc2576eda0c9ad0d6d06519aa974"  # noqa: S324 - to compare


def test_our_layout_of_the_minimal_image_is_byte_identical() -> None:
    built = build(
        [BOOT], [IROM, TEXT], boot_entry=0x4010F000, app_entry=0x40100004, mode=FlashMode.QIO, size_and_frequency=0x40
    )
    assert built == MINIMAL_IMAGE


def test_the_minimal_image_says_what_it_is() -> None:
    image = parse(MINIMAL_IMAGE)
    assert image.size == 4144
    assert image.has_length_and_crc
    assert (image.length_word, image.crc_word, image.crc) == (4144, MINIMAL_CRC, MINIMAL_CRC)
    assert (image.trailer, image.signature) == (b"", None)

    assert image.boot.segments == (BOOT,)
    assert image.boot.header.entry == 0x4010F000
    assert image.boot.header.mode == FlashMode.QIO
    assert image.boot.header.flash_size == 4 * 1024 * 1024
    assert image.boot.header.frequency_mhz == 40
    assert (image.boot.checksum, image.boot.checksum_holds, image.boot.size) == (0xEB, True, 32)

    irom, text = image.app.segments
    assert (irom.address, irom.content[8:]) == (IROM.address, IROM.content[8:])
    assert text == TEXT
    assert image.app.header.entry == 0x40100004
    assert image.app.size == 0x30


def test_the_apps_checksum_is_stale_because_the_two_words_were_patched_in_later() -> None:
    app = parse(MINIMAL_IMAGE).app
    assert app.checksum == 0xE7
    assert not app.checksum_holds


def test_walking_the_flash_finds_the_size_of_the_minimal_image() -> None:
    flash = MINIMAL_IMAGE.ljust(8192, b"\xff")
    assert sketch_size(lambda offset, length: flash[offset : offset + length]) == 4144


def test_the_signed_minimal_image_has_260_bytes_more() -> None:
    digest = hashlib.sha256(MINIMAL_IMAGE).hexdigest()
    assert digest == "f9dca5df6db316a659f2c5a52cc9227cf2a396a5f6506d6366904e3e74de9932"
    signature = bytes(range(256))
    signed = MINIMAL_IMAGE + signature + bytes.fromhex("00010000")
    image = parse(signed)
    assert len(signed) == 4404
    assert (image.size, image.signature) == (4144, signature)
    assert image.has_length_and_crc


def test_the_esp32_example_is_the_one_of_the_sheet() -> None:
    image = esp32_image()
    first = "e901022f 00003840 ee000000 05000000 00630000 00000001 2000003c 00010000 3254cdab"
    assert image[:36] == bytes.fromhex(first)
    assert len(image) == 336
    assert image[303] == 0xA2
    assert image[304:].hex() == "986686aadcb0551023543d2dea5af1252f12299b6e90977a774735ad15a0bcc3"


@pytest.mark.parametrize(
    ("chip_id", "name"),
    [
        (0x0000, "ESP32"),
        (0x0002, "ESP32-S2"),
        (0x0005, "ESP32-C3"),
        (0x0009, "ESP32-S3"),
        (0x000C, "ESP32-C2"),
        (0x000D, "ESP32-C6"),
        (0x0010, "ESP32-H2"),
        (0x0012, "ESP32-P4"),
        (0x0014, "ESP32-C61"),
        (0x0017, "ESP32-C5"),
        (0x0019, "ESP32-H21"),
        (0x001C, "ESP32-H4"),
        (0x0020, "ESP32-S31"),
    ],
)
def test_an_image_of_every_esp32_chip_is_known_and_kept_from_an_esp8266(chip_id: int, name: str) -> None:
    image = esp32_image(chip_id)
    assert chip_family(image) == CHIP_IDS[chip_id] == name
    with pytest.raises(WrongChip, match=f"for the {name};"):
        parse(image)


def test_there_is_no_chip_without_an_id_but_the_esp8266() -> None:
    assert set(ChipFamily) - set(CHIP_IDS.values()) == {ChipFamily.ESP8266}
    assert len(CHIP_IDS) == 13
