"""Images for virtual ESP32s: laid out and sealed as real ones, with nothing in them but a name and a version.

Unlike the ESP8266's demo firmware they hold no program: Debian has no compiler for these chips.
"""

from __future__ import annotations

from typing import Final

from otaria.wire import esp32_image
from otaria.wire.chips import ChipFamily
from otaria.wire.esp32_image import AppDescriptor
from otaria.wire.esp_image import Segment

__all__ = ["demo_image"]

MAPPED_AT: Final = 0x3F400020
"""Where an ESP32 shows constants that lie in flash; the place in the page is that in the file."""

LOADED_AT: Final = 0x40080000
FILLING: Final = 40_000


def demo_image(version: str) -> bytes:
    """An image that any ESP32 starts, with this version in its descriptor."""
    descriptor = AppDescriptor(version, "otaria-demo").encode()
    filling = bytes(number * 31 & 0xFF for number in range(FILLING))
    segments = [
        Segment(MAPPED_AT, descriptor + filling),
        Segment(LOADED_AT, version.encode("utf-8").ljust(64, b"\0")),
    ]
    return esp32_image.build(segments, family=ChipFamily.ESP32, entry=LOADED_AT)
