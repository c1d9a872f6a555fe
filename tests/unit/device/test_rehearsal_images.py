from __future__ import annotations

import hashlib

import pytest
from tests.device_bench import FOR_512K, MAC, NOISE, boot_part, build_sketch
from tests.vectors.images import esp32_image

from otaria.device.flash import Flash
from otaria.device.machine import Machine
from otaria.device.rehearsal_images import installed_variant, stand_in
from otaria.units import Md5
from otaria.wire import esp_image
from otaria.wire.esp_image import FlashMode
from otaria.wire.layouts import LAYOUTS

LAYOUT = LAYOUTS["4m1m"]
IMAGE = build_sketch("an image", 9, mode=FlashMode.QIO, size_and_frequency=0x4F)
SMALLEST = 0x1040


def on_a_machine(image: bytes) -> Machine:
    flash = Flash(LAYOUT.flash_size)
    flash.load(image)
    machine = Machine(flash, LAYOUT, MAC)
    machine.power_on(NOISE)
    return machine


def md5(content: bytes) -> Md5:
    return Md5(hashlib.md5(content).hexdigest())  # noqa: S324 - the device's protocol


# stand-ins


@pytest.mark.parametrize("size", [SMALLEST, 5008, 36_864, 373_936, 1_044_464])
@pytest.mark.parametrize("like", [IMAGE, b"no image"], ids=["an image", "nothing"])
def test_a_stand_in_runs_and_has_the_size_that_was_asked_for(size: int, like: bytes) -> None:
    image = stand_in(size, LAYOUT.flash_size, like)
    assert len(image) == size
    machine = on_a_machine(image)
    assert machine.running
    assert machine.sketch_size == size
    assert machine.flash_chip_size == LAYOUT.flash_size


@pytest.mark.parametrize("size", [0, 1, 4096])
def test_a_stand_in_is_never_smaller_than_a_sketch_can_be(size: int) -> None:
    assert len(stand_in(size, LAYOUT.flash_size, IMAGE)) == SMALLEST


def test_a_stand_in_has_the_boot_part_mode_and_frequency_of_the_image_that_replaces_it() -> None:
    image = stand_in(50_000, LAYOUT.flash_size, IMAGE)
    assert image[:4096] == IMAGE[:4096]
    assert esp_image.parse(image).boot.header.mode == FlashMode.QIO
    assert image[3] == 0x4F


def test_a_stand_in_is_built_for_the_layout_whatever_the_image_is_built_for() -> None:
    for_512k = build_sketch("small", 9, size_and_frequency=FOR_512K)
    assert on_a_machine(stand_in(50_000, LAYOUT.flash_size, for_512k)).flash_chip_size == LAYOUT.flash_size


def test_a_stand_in_differs_from_the_image_in_every_sector_of_the_app() -> None:
    image = stand_in(len(IMAGE), LAYOUT.flash_size, IMAGE)
    sectors = range(4096, len(IMAGE), 4096)
    assert all(image[start : start + 4096] != IMAGE[start : start + 4096] for start in sectors)


def test_a_flash_mode_that_no_device_has_is_not_taken_over() -> None:
    strange = IMAGE[:2] + b"\x07" + IMAGE[3:]
    assert stand_in(50_000, LAYOUT.flash_size, strange)[2] == FlashMode.DIO


def test_an_image_for_another_chip_lends_nothing() -> None:
    assert on_a_machine(stand_in(50_000, LAYOUT.flash_size, esp32_image())).running


# which variant of an image a device runs


@pytest.mark.parametrize("mode", FlashMode)
def test_the_reported_digest_tells_the_flash_mode(mode: FlashMode) -> None:
    installed = IMAGE[:2] + bytes((mode,)) + IMAGE[3:]
    assert installed_variant(IMAGE, md5(installed)) == installed


def test_the_reported_digest_tells_what_esptool_put_into_byte_3() -> None:
    installed = IMAGE[:2] + bytes((FlashMode.DOUT, 0x20)) + IMAGE[4:]
    assert installed_variant(IMAGE, md5(installed)) == installed


def test_another_image_is_no_variant() -> None:
    assert installed_variant(IMAGE, md5(build_sketch("another", 9))) is None
    other_boot_part = build_sketch("an image", 9, boot=boot_part("eboot 2"), mode=FlashMode.QIO)
    assert installed_variant(IMAGE, md5(other_boot_part)) is None
