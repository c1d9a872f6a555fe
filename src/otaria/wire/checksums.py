"""The one checksum that the ESP8266 core's own formats share."""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["crc32_mpeg2"]

_BIT_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc32_mpeg2(content: bytes) -> int:
    """CRC-32/MPEG-2: polynomial 0x04C11DB7, most significant bit first, init all ones, no final xor.

    The boot command and the image's CRC word use it (protocols §5.1, §6.2). zlib computes the same polynomial
    least significant bit first, so the bits are turned around on the way in and on the way out.
    """
    reflected = zlib.crc32(content.translate(_BIT_REVERSED)) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
