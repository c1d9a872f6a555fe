"""Images of protocols §6.2 and §6.4, byte for byte, and the pieces that they are made of."""

from __future__ import annotations

import hashlib
import struct

from otaria.wire.esp_image import Segment

BOOT = Segment(0x4010F000, bytes.fromhex("01020304"))
IROM = Segment(0x40201010, bytes(8) + bytes.fromhex("0102030405060708"))
TEXT = Segment(0x40100000, bytes.fromhex("aabbccdd"))

MINIMAL_IMAGE = bytes.fromhex(
    "e9010040 00f01040 00f01040 04000000 01020304 0000000000000000000000 eb".replace(" ", "")
).ljust(0x1000, b"\xaa") + bytes.fromhex(
    "e9020040 04001040 10102040 1000000030100000 2d40e0df 010203040506070800001040 04000000 aabbccdd 000000 e7".replace(
        " ", ""
    )
)
"""4144 bytes; byte-identical with what the core's own tool makes of the three segments."""


def esp32_image(chip_id: int = 0x0005) -> bytes:
    """The ESP32-C3 image of 336 bytes, or the same for another chip of the family."""
    header = struct.pack("<BBBBIB3xHBHH4xB", 0xE9, 1, 2, 0x2F, 0x40380000, 0xEE, chip_id, 0, 0, 99, 1)
    descriptor = struct.pack(
        "<IIQ32s32s16s16s32s32sHHBB74x",
        0xABCD5432,
        0,
        0,
        b"1.2.3",
        b"demo",
        b"12:00:00",
        b"Jan  1 2026",
        b"v5.1",
        b"\x11" * 32,
        0,
        99,
        16,
        0,
    )
    body = header + struct.pack("<II", 0x3C000020, len(descriptor)) + descriptor
    checksum = 0xEF
    for byte in descriptor:
        checksum ^= byte
    whole = body + bytes(-(len(body) + 1) % 16) + bytes((checksum,))
    return whole + hashlib.sha256(whole).digest()
