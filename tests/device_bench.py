"""The workbench of the device tests: small images of any size, and machines that run them."""

from __future__ import annotations

import random

from otaria.device.core_version import Core
from otaria.device.flash import Flash
from otaria.device.machine import Machine
from otaria.units import MacAddress
from otaria.wire.arduino_ota import Command
from otaria.wire.esp_image import FlashMode, Segment, build
from otaria.wire.layouts import LAYOUTS, SECTOR_SIZE, Layout

MAC = MacAddress("18:FE:34:AA:BB:CC")
SMALL = LAYOUTS["512k64"]
NOISE = bytes(range(256)) * 2
FOR_512K = 0x00
"""Byte 3 of an image for 512 KiB at 40 MHz."""

_HEADERS_AND_TAIL = 0x1000 + 8 + 8 + 8 + 256 + 16


def noise(seed: str, length: int) -> bytes:
    """Bytes that look random and are the same every time."""
    return random.Random(seed).randbytes(length)  # noqa: S311 - content, not a secret


def boot_part(label: str = "eboot 1", length: int = 3000) -> Segment:
    """A boot part; by default one that takes more than half of its sector."""
    return Segment(0x4010F000, noise(label, length))


def build_sketch(
    label: str,
    sectors: int = 6,
    *,
    boot: Segment | None = None,
    content: bytes | None = None,
    mode: FlashMode = FlashMode.DIO,
    size_and_frequency: int = FOR_512K,
) -> bytes:
    """An image that runs and takes that many sectors, the last one not quite.

    Args:
        label: its irom is made from it.
        sectors: how many it takes.
        boot: its boot part.
        content: what irom holds instead, as far as it reaches.
        mode: byte 2.
        size_and_frequency: byte 3.
    """
    length = sectors * SECTOR_SIZE - _HEADERS_AND_TAIL - 100
    irom = (content or b"")[:length].ljust(length, b"\0") if content is not None else noise(label, length)
    text = Segment(0x40100000, noise(label + " text", 252) + b"\0" * 4)
    return build(
        [boot or boot_part()],
        [Segment(0x40201010, bytes(8) + irom[8:]), text],
        boot_entry=0x4010F000,
        app_entry=0x40100004,
        mode=mode,
        size_and_frequency=size_and_frequency,
    )


def new_machine(
    image: bytes,
    *,
    layout: Layout = SMALL,
    core: Core = Core.V3_1,
    atomic_file_system: bool = False,
) -> Machine:
    """A machine whose flash holds the image, not yet switched on."""
    flash = Flash(layout.flash_size)
    flash.load(image)
    return Machine(flash, layout, MAC, core=core, atomic_file_system=atomic_file_system)


def running(image: bytes, *, layout: Layout = SMALL, core: Core = Core.V3_1) -> Machine:
    """A machine that runs the image."""
    machine = new_machine(image, layout=layout, core=core)
    assert machine.power_on(NOISE).running
    return machine


def stage(machine: Machine, image: bytes, command: Command = Command.FLASH) -> bool:
    """Give the whole image to the Updater, in pieces as a TCP stream brings them."""
    updater = machine.updater
    if not updater.begin(len(image), command):
        return False
    for offset in range(0, len(image), 1460):
        if updater.write(image[offset : offset + 1460]) == 0:
            break
    return updater.end()


def installed(machine: Machine, image: bytes) -> bool:
    """Whether the plain image lies at the beginning of flash, whole."""
    return machine.flash.read(0, len(image)) == image


def app_installed(machine: Machine, image: bytes) -> bool:
    """Whether the image's app part lies in its place, whole, whatever the boot part."""
    return machine.flash.read(SECTOR_SIZE, len(image) - SECTOR_SIZE) == image[SECTOR_SIZE:]
