"""Images as files: what a device installs, told from everything else (protocols §6.1, §6.2, §6.4).

An image that the ESP8266 Arduino core builds has two parts::

    0x0000  boot part: header, segments, zeros, checksum; filled with AA up to 4096 bytes
    0x1000  app part:  header, segments (irom0 first), zeros, checksum
            (signed images end in: signature, u32 length of the signature)

The ROM loads the boot part (eboot); eboot loads the app part. The first two words of irom0, at file offsets
0x1010 and 0x1014, are the file's length and CRC in images built with core 2.7.0 or later.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from otaria.errors import NotAnImage, WrongChip
from otaria.units import ByteCount, Md5, round_up
from otaria.wire.checksums import crc32_mpeg2
from otaria.wire.chips import CHIP_IDS, ChipFamily
from otaria.wire.layouts import SECTOR_SIZE

__all__ = [
    "APP_OFFSET",
    "FLASH_SIZES",
    "GZIP_MAGIC",
    "HEADER_SIZE",
    "MAGIC",
    "Esp8266Image",
    "FlashMode",
    "Header",
    "Part",
    "Segment",
    "build",
    "chip_family",
    "flash_size_of",
    "installed_md5s",
    "parse",
    "read_header",
    "sketch_size",
]

MAGIC: Final = 0xE9
GZIP_MAGIC: Final = b"\x1f\x8b"
APP_OFFSET: Final = SECTOR_SIZE
"""The app part begins where the boot part's sector ends."""

LENGTH_OFFSET: Final = 0x1010
CRC_OFFSET: Final = 0x1014
BOOT_PART_FILL: Final = 0xAA
CHECKSUM_SEED: Final = 0xEF
ALIGNMENT: Final = 16

MOST_SEGMENTS: Final = 16
"""More than any linker script makes; esptool draws the same line."""

_HEADER: Final = struct.Struct("<BBBBI")
_SEGMENT: Final = struct.Struct("<II")
_WORD: Final = struct.Struct("<I")
HEADER_SIZE: Final = _HEADER.size

FLASH_SIZES: Final = {
    0: ByteCount(512 << 10),
    1: ByteCount(256 << 10),
    2: ByteCount(1 << 20),
    3: ByteCount(2 << 20),
    4: ByteCount(4 << 20),
    8: ByteCount(8 << 20),
    9: ByteCount(16 << 20),
}
"""What the high nibble of byte 3 says; the core takes any other for 0 bytes."""

FREQUENCIES_MHZ: Final = {0: 40, 1: 26, 2: 20, 15: 80}
"""What the low nibble of byte 3 says."""

_DESCRIPTOR_OFFSET: Final = 0x20
_DESCRIPTOR_MAGIC: Final = 0xABCD5432
_ESP32_CHIP_ID_OFFSET: Final = 12
_ESP32_HEADER_SIZE: Final = 24


class FlashMode(IntEnum):
    """Byte 2: how the flash is wired. The Updater replaces it by the running device's own."""

    QIO = 0
    QOUT = 1
    DIO = 2
    DOUT = 3


@dataclass(frozen=True, slots=True)
class Header:
    """The eight bytes that open a part."""

    segments: int
    mode: int
    size_and_frequency: int
    entry: int

    @property
    def flash_size(self) -> ByteCount:
        """The flash size that the image was built for, in bytes; 0 where the nibble is not the core's."""
        return flash_size_of(self.size_and_frequency)

    @property
    def frequency_mhz(self) -> int | None:
        """The flash clock; None where the nibble is not the core's."""
        return FREQUENCIES_MHZ.get(self.size_and_frequency & 0x0F)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the program and where it belongs in the chip's memory."""

    address: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """The boot part or the app part.

    Args:
        header: its first eight bytes.
        segments: in file order.
        checksum: the byte that stands in the file.
        size: bytes from the header to the checksum, a multiple of 16.
    """

    header: Header
    segments: tuple[Segment, ...]
    checksum: int
    size: ByteCount

    @property
    def checksum_holds(self) -> bool:
        """Whether the stored byte is the one the segments give.

        It must for the boot part, which the ROM checks. For the app part it normally does not: the length and
        CRC words are patched in afterwards and nothing on the device looks at it (protocols §6.1).
        """
        return self.checksum == _checksum(self.segments)


@dataclass(frozen=True, slots=True)
class Esp8266Image:
    """A plain ESP8266 image and what its own words say about it.

    Args:
        boot: the boot part, at offset 0.
        app: the app part, at offset 0x1000.
        size: bytes of the payload, what ``getSketchSize()`` returns once it is installed.
        trailer: what follows the payload: a signature and its length, or nothing.
        length_word: the word at 0x1010.
        crc_word: the word at 0x1014.
        crc: what that word should be, over the payload with both words zero.
    """

    boot: Part
    app: Part
    size: ByteCount
    trailer: bytes
    length_word: int
    crc_word: int
    crc: int

    @property
    def has_length_and_crc(self) -> bool:
        """Whether the two words are present and right; images built before core 2.7.0 hold other things there."""
        return self.length_word == self.size and self.crc_word == self.crc

    @property
    def signature(self) -> bytes | None:
        """The signature, where the trailer is one: its last word says how long it is (protocols §8.1)."""
        if len(self.trailer) <= _WORD.size:
            return None
        (length,) = _WORD.unpack_from(self.trailer, len(self.trailer) - _WORD.size)
        return self.trailer[:length] if length == len(self.trailer) - _WORD.size else None


def flash_size_of(size_and_frequency: int) -> ByteCount:
    """The flash size in bytes that byte 3 of a header stands for; 0 for an unknown nibble, as the core has it."""
    return FLASH_SIZES.get(size_and_frequency >> 4, ByteCount(0))


def chip_family(content: bytes) -> ChipFamily:
    """Tell for which chips an uncompressed image is.

    Raises:
        NotAnImage: it does not begin as an image does.
    """
    if not content or content[0] != MAGIC:
        begins = f"begins with {content[:4].hex(' ')}" if content else "is empty"
        raise NotAnImage(f"This is no image: it {begins}, and an image begins with e9.")
    if len(content) >= _DESCRIPTOR_OFFSET + _WORD.size:
        (descriptor,) = _WORD.unpack_from(content, _DESCRIPTOR_OFFSET)
        chip_id = int.from_bytes(content[_ESP32_CHIP_ID_OFFSET : _ESP32_CHIP_ID_OFFSET + 2], "little")
        if descriptor == _DESCRIPTOR_MAGIC and chip_id in CHIP_IDS:
            return CHIP_IDS[chip_id]
    return ChipFamily.ESP8266


def parse(content: bytes) -> Esp8266Image:
    """Read a plain (uncompressed) ESP8266 image, signed or not.

    Raises:
        NotAnImage: the bytes are no image, or one that was cut off.
        WrongChip: an image for a chip of the ESP32 family.
    """
    family = chip_family(content)
    if family is not ChipFamily.ESP8266:
        raise WrongChip(
            f"This image is for the {family}; an ESP8266 would accept it and never start again. "
            "Build the sketch for the ESP8266."
        )
    boot = _read_part(content, 0, "boot part")
    if boot.size > SECTOR_SIZE:
        raise NotAnImage(f"This is no image of the ESP8266 core: its boot part takes {boot.size} bytes, not 4096.")
    if not boot.checksum_holds:
        raise NotAnImage(
            f"The boot part's checksum is {boot.checksum:02x} and should be {_checksum(boot.segments):02x}: "
            "the chip would not start it. The file is damaged; build it again."
        )
    app = _read_part(content, APP_OFFSET, "app part")
    size = ByteCount(APP_OFFSET + app.size)
    length_word, crc_word = struct.unpack_from("<II", content, LENGTH_OFFSET)
    return Esp8266Image(
        boot=boot,
        app=app,
        size=size,
        trailer=content[size:],
        length_word=length_word,
        crc_word=crc_word,
        crc=_file_crc(content[:size]),
    )


def _read_part(content: bytes, offset: int, name: str) -> Part:
    def read(position: int, length: int) -> bytes:
        piece = content[position : position + length]
        if len(piece) < length:
            raise NotAnImage(
                f"The image is cut off in its {name}: {len(content)} bytes are there, "
                f"at least {position + length} belong to it. Build it or fetch it again."
            )
        return piece

    header = _parse_header(read(offset, HEADER_SIZE), name)
    segments = []
    position = offset + HEADER_SIZE
    for _ in range(header.segments):
        address, length = _SEGMENT.unpack(read(position, _SEGMENT.size))
        segments.append(Segment(address, read(position + _SEGMENT.size, length)))
        position += _SEGMENT.size + length
    size = _padded(position - offset)
    checksum = read(offset + size - 1, 1)[0]
    return Part(header, tuple(segments), checksum, ByteCount(size))


def _parse_header(raw: bytes, name: str) -> Header:
    magic, segments, mode, size_and_frequency, entry = _HEADER.unpack(raw)
    if magic != MAGIC:
        raise NotAnImage(
            f"This is no image of the ESP8266 core: its {name} begins with {magic:02x} and not with e9. "
            "Take the .bin that the Arduino IDE, arduino-cli or PlatformIO builds."
        )
    if not 0 < segments <= MOST_SEGMENTS:
        raise NotAnImage(f"This is no image: its {name} claims {segments} segments; there are 1 to {MOST_SEGMENTS}.")
    return Header(segments, mode, size_and_frequency, entry)


def read_header(raw: bytes) -> Header | None:
    """Read eight bytes as eboot does: a header, or None where the magic byte is not there."""
    magic, segments, mode, size_and_frequency, entry = _HEADER.unpack(raw[:HEADER_SIZE])
    return Header(segments, mode, size_and_frequency, entry) if magic == MAGIC else None


def sketch_size(read: Callable[[int, int], bytes]) -> ByteCount:
    """What ``ESP.getSketchSize()`` returns: the end of the app part, found by walking it (protocols §6.3).

    Args:
        read: takes a flash offset and a length, returns that many bytes.
    """
    header = read_header(read(APP_OFFSET, HEADER_SIZE))
    position = APP_OFFSET + HEADER_SIZE
    for _ in range(header.segments if header else 0):
        _, length = _SEGMENT.unpack(read(position, _SEGMENT.size))
        position += _SEGMENT.size + length
    return ByteCount(_padded(position))


def installed_md5s(content: bytes, image: Esp8266Image) -> frozenset[Md5]:
    """Every sketch-MD5 that a device can report once this image is installed (protocols §6.3).

    The Updater replaces byte 2, the flash mode, by the device's own; esptool replaces bytes 2 and 3 when it
    flashes over the cable. A signature is not part of what is digested.

    Args:
        content: the plain file, with its trailer if it has one.
        image: the same, parsed.
    """
    rest = content[4 : image.size]
    frequencies_and_sizes = {size << 4 | frequency for size in FLASH_SIZES for frequency in FREQUENCIES_MHZ}
    return frozenset(
        Md5(hashlib.md5(content[:2] + bytes((mode, third)) + rest).hexdigest())  # noqa: S324 - the device's protocol
        for mode in {content[2], *FlashMode}
        for third in {content[3], *frequencies_and_sizes}
    )


def build(
    boot: Sequence[Segment],
    app: Sequence[Segment],
    *,
    boot_entry: int,
    app_entry: int,
    mode: FlashMode = FlashMode.DIO,
    size_and_frequency: int = 0x40,
) -> bytes:
    """Lay out an image as the core's own tool does, length and CRC words included.

    Args:
        boot: segments of the boot part.
        app: segments of the app part, irom0 first; its first eight bytes are kept for the two words.
        boot_entry: where the ROM jumps to.
        app_entry: where eboot jumps to.
        mode: how the flash is wired.
        size_and_frequency: byte 3 of both headers; 0x40 is 4 MiB at 40 MHz.

    Raises:
        NotAnImage: the boot part is too large, or there is no room for the two words.
    """
    if not app or len(app[0].content) < 2 * _WORD.size:
        raise NotAnImage("The app's first segment is too short to hold the image's length and CRC.")

    def header(segments: Sequence[Segment], entry: int) -> bytes:
        return _HEADER.pack(MAGIC, len(segments), mode, size_and_frequency, entry)

    boot_part = _build_part(header(boot, boot_entry), boot)
    if len(boot_part) > SECTOR_SIZE:
        raise NotAnImage(f"The boot part takes {len(boot_part)} bytes; it has one sector of {SECTOR_SIZE}.")
    filled = boot_part.ljust(SECTOR_SIZE, bytes((BOOT_PART_FILL,)))
    content = bytearray(filled + _build_part(header(app, app_entry), app))
    content[LENGTH_OFFSET : CRC_OFFSET + _WORD.size] = bytes(2 * _WORD.size)
    content[LENGTH_OFFSET : CRC_OFFSET + _WORD.size] = struct.pack("<II", len(content), crc32_mpeg2(bytes(content)))
    return bytes(content)


def _build_part(header: bytes, segments: Sequence[Segment]) -> bytes:
    body = header + b"".join(
        _SEGMENT.pack(segment.address, len(segment.content)) + segment.content for segment in segments
    )
    return body.ljust(_padded(len(body)) - 1, b"\0") + bytes((_checksum(segments),))


def _padded(length: int) -> int:
    """Where a part ends: one byte of checksum, at the end of a group of sixteen."""
    return round_up(length + 1, ALIGNMENT)


def _checksum(segments: Sequence[Segment]) -> int:
    return functools.reduce(operator.xor, b"".join(segment.content for segment in segments), CHECKSUM_SEED)


def _file_crc(payload: bytes) -> int:
    return crc32_mpeg2(payload[:LENGTH_OFFSET] + bytes(2 * _WORD.size) + payload[CRC_OFFSET + _WORD.size :])
