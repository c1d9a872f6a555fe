from __future__ import annotations

import gzip

import pytest

from otaria.errors import NotAnImage, Refused, WrongChip
from otaria.push.checks import check_before_push
from otaria.wire.chips import ChipFamily

TRAILER = bytes(256) + (256).to_bytes(4, "little")


def test_a_plain_image_passes(new_image: bytes) -> None:
    assert check_before_push(new_image, "x.bin", family=ChipFamily.ESP8266, filesystem=False).size == len(new_image)


def test_the_message_names_the_file() -> None:
    with pytest.raises(NotAnImage, match=r"^x\.bin was not sent\. "):
        check_before_push(b"hello", "x.bin", family=ChipFamily.ESP8266, filesystem=False)


def test_neither_family_gets_the_others_image(new_image: bytes, esp32_image: bytes) -> None:
    with pytest.raises(WrongChip, match="built for the ESP8266 and the device is taken for an ESP32"):
        check_before_push(new_image, "x.bin", family=ChipFamily.ESP32, filesystem=False)
    with pytest.raises(WrongChip, match="built for the ESP32-C3"):
        check_before_push(esp32_image, "x.bin", family=ChipFamily.ESP8266, filesystem=False)


def test_esp32_stands_for_every_chip_of_that_family(esp32_image: bytes) -> None:
    check_before_push(esp32_image, "x.bin", family=ChipFamily.ESP32, filesystem=False)


def test_one_chip_of_the_family_does_not_stand_for_another(esp32_image: bytes) -> None:
    with pytest.raises(WrongChip):
        check_before_push(esp32_image, "x.bin", family=ChipFamily.ESP32_S3, filesystem=False)


def test_compressed_and_signed_at_once_is_sent_only_by_force(new_image: bytes) -> None:
    both = gzip.compress(new_image) + TRAILER
    with pytest.raises(Refused, match="--force"):
        check_before_push(both, "x.bin.gz", family=ChipFamily.ESP8266, filesystem=False)
    check_before_push(both, "x.bin.gz", family=ChipFamily.ESP8266, filesystem=False, force=True)


def test_a_sketch_is_not_sent_as_a_file_system(new_image: bytes) -> None:
    with pytest.raises(NotAnImage, match="declared to be a file system"):
        check_before_push(new_image, "x.bin", family=ChipFamily.ESP8266, filesystem=True)
