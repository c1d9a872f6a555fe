"""Whether what lies in flash can start: the ROM's check of the boot part, and ours of the sketch.

No Xtensa instruction is executed here, so "it runs" has to mean something else. A sketch *runs* when

* the ROM accepts the boot part: header, segments and checksum (the one check that the silicon makes);
* eboot loaded every segment of the app;
* the app's header is one: E9 and 1 to 16 segments;
* each segment lies in RAM, or where the flash mapping shows exactly the bytes that the image has for it;
* the entry lies in one of them;
* the image's own CRC holds, if it has a length word that can be one (images since core 2.7.0), or its app part is
  one that has run here before: the CRC covers the boot part, too, and an app runs once more below a broken one.

The last point is what tells a half-copied image from a whole one; the chip itself does not look and would run
into whatever is there. An older image, without CRC, is believed as far as the other points go.
"""

from __future__ import annotations

import functools
import operator
import struct
import zlib
from typing import Final

from otaria.device.eboot import IRAM_START, LENGTH_OFFSET, EbootRun, Ending, LoadedSegment
from otaria.device.spi import Spi
from otaria.wire.checksums import crc32_mpeg2
from otaria.wire.esp_image import APP_OFFSET, HEADER_SIZE, MOST_SEGMENTS, Header, read_header

__all__ = ["app_fingerprint", "boot_part_starts", "sketch_crc_holds", "sketch_runs"]

MAPPED_START: Final = 0x40200000
"""Where the flash appears in the processor's memory."""

MAPPED_SIZE: Final = 1 << 20
"""The first megabyte of it, for sketches of this core."""

DATA_RAM_START: Final = 0x3FFE8000
DATA_RAM_END: Final = 0x40000000
BOOT_IRAM_END: Final = 0x40110000
"""The boot part lies above what an app may use."""

CHECKSUM_SEED: Final = 0xEF
ALIGNMENT: Final = 16

_SEGMENT: Final = struct.Struct("<II")
_TWO_WORDS: Final = struct.Struct("<II")
_AFTER_CRC: Final = LENGTH_OFFSET + _TWO_WORDS.size
_MODE_AND_SIZE: Final = slice(2, 4)


def boot_part_starts(spi: Spi) -> bool:
    """Whether the ROM would load the boot part and jump into it."""
    header = _header(spi, 0)
    if header is None:
        return False
    position, checksum = HEADER_SIZE, CHECKSUM_SEED
    for _ in range(header.segments):
        address, size = _SEGMENT.unpack(spi.read(position, _SEGMENT.size) or bytes(_SEGMENT.size))
        position += _SEGMENT.size
        content = spi.read(position, size) if _is_inside_ram(address, size, BOOT_IRAM_END) else None
        if content is None:
            return False
        checksum = functools.reduce(operator.xor, content, checksum)
        position += size
    return spi.read(position | ALIGNMENT - 1, 1) == bytes((checksum,))


def sketch_runs(spi: Spi, run: EbootRun, iram_end: int, proven_app: int | None) -> bool:
    """Whether eboot jumped into a sketch and not into something else.

    Args:
        spi: the flash.
        run: what eboot did.
        iram_end: where this core's instruction RAM ends.
        proven_app: the fingerprint of the app part that ran last.
    """
    if run.ending is not Ending.JUMPED or _header(spi, run.app_offset + APP_OFFSET) is None:
        return False
    placed = all(_is_in_place(segment, iram_end) for segment in run.segments)
    entered = any(segment.address <= run.entry < segment.address + segment.size for segment in run.segments)
    return placed and entered and (run.app_offset != 0 or _is_whole(spi, proven_app))


def app_fingerprint(spi: Spi) -> int | None:
    """What tells this app part from any other; None for an image without a length word."""
    length, _ = _length_and_crc(spi)
    content = spi.read(APP_OFFSET, length - APP_OFFSET) if _can_be_length(length) else None
    return None if content is None else zlib.crc32(content)


def sketch_crc_holds(spi: Spi) -> bool:
    """What ``ESP.checkFlashCRC()`` returns: whether the image's CRC word is right for its length word."""
    length, crc = _length_and_crc(spi)
    content = spi.read(0, length) if length >= _AFTER_CRC else None
    return content is not None and _crc(content) == crc


def _header(spi: Spi, offset: int) -> Header | None:
    raw = spi.read(offset, HEADER_SIZE)
    header = None if raw is None else read_header(raw)
    return header if header is not None and 0 < header.segments <= MOST_SEGMENTS else None


def _is_inside_ram(address: int, size: int, iram_end: int) -> bool:
    areas = ((DATA_RAM_START, DATA_RAM_END), (IRAM_START, iram_end))
    return any(start <= address and address + size <= end for start, end in areas)


def _is_in_place(segment: LoadedSegment, iram_end: int) -> bool:
    if segment.copied:
        return _is_inside_ram(segment.address, segment.size, iram_end)
    mapped = segment.address == MAPPED_START + segment.position
    return mapped and segment.position + segment.size <= MAPPED_SIZE


def _is_whole(spi: Spi, proven_app: int | None) -> bool:
    """Whether the image's CRC holds, or there is none, or we know the app part.

    The Updater and esptool change bytes 2 and 3 of the first header and leave the CRC; the app's header still has
    them as they were built.
    """
    length, crc = _length_and_crc(spi)
    if not _can_be_length(length):
        return True
    content = spi.read(0, length)
    if content is None:
        return False
    as_built = content[APP_OFFSET:][_MODE_AND_SIZE]
    if crc in (_crc(content), _crc(content[:2] + as_built + content[4:])):
        return True
    return proven_app is not None and proven_app == zlib.crc32(content[APP_OFFSET:])


def _can_be_length(length: int) -> bool:
    return length % ALIGNMENT == 0 and _AFTER_CRC <= length <= MAPPED_SIZE


def _length_and_crc(spi: Spi) -> tuple[int, int]:
    length, crc = _TWO_WORDS.unpack(spi.read(LENGTH_OFFSET, _TWO_WORDS.size) or bytes(_TWO_WORDS.size))
    return length, crc


def _crc(content: bytes) -> int:
    return crc32_mpeg2(content[:LENGTH_OFFSET] + bytes(_TWO_WORDS.size) + content[_AFTER_CRC:])
