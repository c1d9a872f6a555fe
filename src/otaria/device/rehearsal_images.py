"""What runs on a device whose sketch nobody has at hand, and which variant of a known one it is."""

from __future__ import annotations

import hashlib
from typing import Final

from otaria.errors import NotAnImage, WrongChip
from otaria.units import Md5, round_up
from otaria.wire import esp_image
from otaria.wire.esp_image import (
    APP_OFFSET,
    FLASH_SIZES,
    FREQUENCIES_MHZ,
    HEADER_SIZE,
    Esp8266Image,
    FlashMode,
    Segment,
)

__all__ = ["installed_variant", "stand_in"]

IROM_ADDRESS: Final = 0x40201010
"""Where the core's linker scripts put irom0."""

IRAM_ADDRESS: Final = 0x40100000
BOOT_ADDRESS: Final = 0x4010F000
ALIGNMENT: Final = 16

_ENTRY_CODE: Final = bytes(16)
_OVERHEAD: Final = APP_OFFSET + HEADER_SIZE + 8 + 8 + len(_ENTRY_CODE) + 1
"""Everything but irom0: boot part, header, two segment headers, the code that is entered, and the checksum."""

_PLAINEST_BOOT_PART: Final = (Segment(BOOT_ADDRESS, bytes(ALIGNMENT)),)


def stand_in(size: int, flash_size: int, like: bytes) -> bytes:
    """An image of that size that starts and does nothing, for a device whose own is not at hand.

    Its boot part and flash mode are those of the other image, where that is one: most often both were built with the
    same core for the same board.

    Args:
        size: bytes, as the device reports it; what is smaller than any sketch is made as large as the smallest.
        flash_size: bytes of flash that it was built for.
        like: the image that is to replace it, plain.
    """
    model = _parsed(like)
    header = None if model is None else model.boot.header
    irom_size = max(ALIGNMENT, round_up(size, ALIGNMENT) - _OVERHEAD)
    return esp_image.build(
        _PLAINEST_BOOT_PART if model is None else model.boot.segments,
        [Segment(IROM_ADDRESS, _filling(irom_size)), Segment(IRAM_ADDRESS, _ENTRY_CODE)],
        boot_entry=BOOT_ADDRESS if header is None else header.entry,
        app_entry=IRAM_ADDRESS,
        mode=FlashMode.DIO if header is None or header.mode not in tuple(FlashMode) else FlashMode(header.mode),
        size_and_frequency=_nibble(flash_size) << 4 | (0 if header is None else header.size_and_frequency & 0x0F),
    )


def installed_variant(payload: bytes, reported: Md5) -> bytes | None:
    """The image as it lies in the flash of a device that reports this sketch-MD5; None where it is another one.

    The Updater and esptool replace bytes 2 and 3 (protocols §6.3), and the digest tells by what.

    Args:
        payload: the plain image, without a signature.
        reported: what the device says.
    """
    thirds = [payload[3], *(size << 4 | frequency for size in FLASH_SIZES for frequency in FREQUENCIES_MHZ)]
    variants = (
        payload[:2] + bytes((mode, third)) + payload[4:] for third in thirds for mode in (payload[2], *FlashMode)
    )
    return next((variant for variant in variants if _md5(variant) == reported), None)


def _nibble(flash_size: int) -> int:
    return next(nibble for nibble, size in FLASH_SIZES.items() if size == flash_size)


def _parsed(content: bytes) -> Esp8266Image | None:
    try:
        return esp_image.parse(content)
    except (NotAnImage, WrongChip):
        return None


def _filling(size: int) -> bytes:
    """Bytes that no other image has at the same place: each word is its own position, inverted."""
    words = b"".join((~position & 0xFFFFFFFF).to_bytes(4, "little") for position in range(0, size, 4))
    return bytes(8) + words[8:size]


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - the devices' protocol
