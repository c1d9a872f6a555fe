"""Images of the ESP32 family, and what a chip checks before it starts one (protocols §6.4).

::

    0x00  header, 24 bytes
    0x18  first segment: load address, length, content; by convention the content begins with the app descriptor
          … further segments
          zeros, and one byte of checksum at the end of a group of sixteen
          SHA-256 of everything before it, where the header says that it is there

The second-stage bootloader and ``esp_ota_set_boot_partition`` make the same checks in the same order. Each has an
outcome of its own here (:class:`ImageFlaw`), in the order in which the chip comes to it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final, Self

from otaria.errors import NotAnImage
from otaria.units import KIB, MIB, ByteCount, Sha256, round_up
from otaria.wire.chips import CHIP_IDS, ChipFamily
from otaria.wire.esp_image import MAGIC, MOST_SEGMENTS, Segment

__all__ = [
    "DESCRIPTOR_OFFSET",
    "HEADER_SIZE",
    "MAPPED_ADDRESSES",
    "AppDescriptor",
    "Chip",
    "Esp32Image",
    "Header",
    "ImageFlaw",
    "SpiMode",
    "build",
    "examine",
    "parse",
]

CHECKSUM_SEED: Final = 0xEF
ALIGNMENT: Final = 16
DIGEST_SIZE: Final = 32
LONGEST_SEGMENT: Final = 16 * MIB
"""From this length on the chip takes a segment for garbage."""

LARGEST_PAGE: Final = 64 * KIB
SMALLEST_PAGE: Final = 8 * KIB
"""Pages in which flash is mapped into memory; the smaller chips can be built for smaller ones."""

ANY_REVISION: Final = 0xFFFF
NO_WRITE_PROTECT_PIN: Final = 0xEE
DESCRIPTOR_OFFSET: Final = 0x20
DESCRIPTOR_MAGIC: Final = 0xABCD5432

_HEADER: Final = struct.Struct("<BBBBIB3sHBHH4xB")
HEADER_SIZE: Final = _HEADER.size
_SEGMENT: Final = struct.Struct("<II")
_DESCRIPTOR: Final = struct.Struct("<II8x32s32s16s16s32s32sHHB75x")

_LONG_SEGMENT_SHARE: Final = 1 << 16
"""Bytes that are folded at once for the checksum; large enough for speed, small enough for memory."""


class SpiMode(IntEnum):
    """Byte 2: how the flash is wired."""

    QIO = 0
    QOUT = 1
    DIO = 2
    DOUT = 3
    FAST_READ = 4
    SLOW_READ = 5


MAPPED_ADDRESSES: Final[Mapping[ChipFamily, tuple[tuple[int, int], ...]]] = {
    ChipFamily.ESP32: ((0x400D0000, 0x40400000), (0x3F400000, 0x3F800000)),
    ChipFamily.ESP32_S2: ((0x40080000, 0x40B80000), (0x3F000000, 0x3F3F0000)),
    ChipFamily.ESP32_S3: ((0x42000000, 0x44000000), (0x3C000000, 0x3E000000)),
    ChipFamily.ESP32_C3: ((0x42000000, 0x42800000), (0x3C000000, 0x3C800000)),
    ChipFamily.ESP32_C2: ((0x42000000, 0x42400000), (0x3C000000, 0x3C400000)),
    ChipFamily.ESP32_C6: ((0x42000000, 0x43000000),),
    ChipFamily.ESP32_C61: ((0x42000000, 0x43000000),),
    ChipFamily.ESP32_H2: ((0x42000000, 0x43000000),),
    ChipFamily.ESP32_H21: ((0x42000000, 0x43000000),),
    ChipFamily.ESP32_C5: ((0x42000000, 0x44000000),),
    ChipFamily.ESP32_H4: ((0x42000000, 0x44000000),),
    ChipFamily.ESP32_P4: ((0x40000000, 0x4C000000),),
    ChipFamily.ESP32_S31: ((0x40000000, 0x54000000),),
}
"""Where the chips show flash in memory. A segment there is not loaded but mapped, so its place in the file counts."""


@dataclass(frozen=True, slots=True)
class Chip:
    """The part on which an image shall run.

    Args:
        family: which chip.
        revision: major times 100 plus minor, such as 301 for v3.1.
    """

    family: ChipFamily
    revision: int


@dataclass(frozen=True, slots=True)
class Header:
    """The 24 bytes that open an image.

    Args:
        segments: how many follow.
        entry: where the program begins.
        chip_id: for which chip it is (:data:`~otaria.wire.chips.CHIP_IDS`).
        mode: how the flash is wired.
        size_and_speed: the flash size in the high nibble, its clock in the low one.
        min_revision: the oldest chip revision it runs on, as in :class:`Chip`.
        max_revision: the newest; 0 and :data:`ANY_REVISION` are no limit.
        digest_appended: whether a SHA-256 follows.
        write_protect_pin: of the flash.
        drive_settings: of the flash pins.
        legacy_min_revision: what older bootloaders look at instead.
    """

    segments: int
    entry: int
    chip_id: int
    mode: int = SpiMode.DIO
    size_and_speed: int = 0x2F
    min_revision: int = 0
    max_revision: int = ANY_REVISION
    digest_appended: bool = True
    write_protect_pin: int = NO_WRITE_PROTECT_PIN
    drive_settings: bytes = bytes(3)
    legacy_min_revision: int = 0

    @property
    def family(self) -> ChipFamily | None:
        """The chip it is for; None for a number that no chip has."""
        return CHIP_IDS.get(self.chip_id)

    @property
    def flash_size(self) -> ByteCount:
        """The flash size it was built for; 0 where the nibble stands for none."""
        nibble = self.size_and_speed >> 4
        return ByteCount(MIB << nibble if nibble < 8 else 0)

    def encode(self) -> bytes:
        """The 24 bytes."""
        return _HEADER.pack(
            MAGIC,
            self.segments,
            self.mode,
            self.size_and_speed,
            self.entry,
            self.write_protect_pin,
            self.drive_settings,
            self.chip_id,
            self.legacy_min_revision,
            self.min_revision,
            self.max_revision,
            self.digest_appended,
        )

    @classmethod
    def decode(cls, raw: bytes) -> Self | None:
        """Read the first bytes of an image; None where there are too few or no magic byte."""
        if len(raw) < HEADER_SIZE or raw[0] != MAGIC:
            return None
        _, segments, mode, size_and_speed, entry, pin, drive, chip_id, legacy, low, high, appended = _HEADER.unpack(
            raw[:HEADER_SIZE]
        )
        return cls(
            segments=segments,
            entry=entry,
            chip_id=chip_id,
            mode=mode,
            size_and_speed=size_and_speed,
            min_revision=low,
            max_revision=high,
            digest_appended=bool(appended),
            write_protect_pin=pin,
            drive_settings=drive,
            legacy_min_revision=legacy,
        )


@dataclass(frozen=True, slots=True)
class AppDescriptor:
    """What the project says about itself, 256 bytes at the beginning of the first segment.

    Args:
        version: what the project calls this build.
        project_name: what it calls itself.
        time: of the build, as the compiler writes it.
        date: of the build, as the compiler writes it.
        idf_version: of the framework below.
        elf_sha256: digest of the linked program.
        secure_version: counts up where going back is forbidden for good.
        min_efuse_revision: the oldest eFuse block revision it runs on.
        max_efuse_revision: the newest.
        page_size_log2: of the pages in which it wants to be mapped; 0 where it does not say.
    """

    version: str
    project_name: str
    time: str = ""
    date: str = ""
    idf_version: str = ""
    elf_sha256: bytes = bytes(DIGEST_SIZE)
    secure_version: int = 0
    min_efuse_revision: int = 0
    max_efuse_revision: int = ANY_REVISION
    page_size_log2: int = 0

    def encode(self) -> bytes:
        """The 256 bytes; a text that is too long is cut off."""
        texts = (self.version, self.project_name, self.time, self.date, self.idf_version)
        return _DESCRIPTOR.pack(
            DESCRIPTOR_MAGIC,
            self.secure_version,
            *(text.encode("utf-8") for text in texts),
            self.elf_sha256,
            self.min_efuse_revision,
            self.max_efuse_revision,
            self.page_size_log2,
        )

    @classmethod
    def decode(cls, image: bytes) -> Self | None:
        """Read it out of an image; None where the image has none."""
        raw = image[DESCRIPTOR_OFFSET : DESCRIPTOR_OFFSET + _DESCRIPTOR.size]
        if len(raw) < _DESCRIPTOR.size:
            return None
        magic, secure_version, *texts, digest, low, high, page = _DESCRIPTOR.unpack(raw)
        if magic != DESCRIPTOR_MAGIC:
            return None
        version, project_name, time, date, idf_version = (_text(field) for field in texts)
        return cls(version, project_name, time, date, idf_version, digest, secure_version, low, high, page)


class ImageFlaw(Enum):
    """Why a chip would not start an image, in words for people; in the order in which the chip looks."""

    MAGIC = "no image begins there"
    CHIP = "it is built for another chip"
    REVISION_TOO_LOW = "it needs a newer revision of the chip"
    REVISION_TOO_HIGH = "it needs an older revision of the chip"
    SEGMENT_COUNT = "it claims more segments than there can be"
    SEGMENT_LENGTH = "a segment has a length that there cannot be"
    MAPPING = "a segment does not lie where its address in memory needs it"
    CUT_OFF = "it is cut off"
    CHECKSUM = "its checksum is wrong"
    TOO_LARGE = "it is larger than the partition"
    DIGEST = "its SHA-256 is wrong"


@dataclass(frozen=True, slots=True)
class Esp32Image:
    """An image whose parts are all there; whether it is undamaged is for its properties to say.

    Args:
        header: its first 24 bytes.
        segments: in file order.
        descriptor: what the project says about itself, where it does.
        checksum: the byte that stands in the file.
        true_checksum: the byte that should.
        digest: the appended SHA-256, None where the header announces none.
        true_digest: the SHA-256 of everything up to and with the checksum.
        size: bytes of it all, appended digest included; what ``ESP.getSketchSize()`` returns.
    """

    header: Header
    segments: tuple[Segment, ...]
    descriptor: AppDescriptor | None
    checksum: int
    true_checksum: int
    digest: bytes | None
    true_digest: bytes
    size: ByteCount

    @property
    def checksum_holds(self) -> bool:
        """Whether the checksum is right."""
        return self.checksum == self.true_checksum

    @property
    def digest_holds(self) -> bool:
        """Whether the appended digest is right, or there is none."""
        return self.digest is None or self.digest == self.true_digest

    @property
    def sha256(self) -> Sha256:
        """What ``esp_partition_get_sha256`` returns: it leaves the appended digest out, so it is not the file's own."""
        return Sha256(self.true_digest.hex())


def parse(content: bytes) -> Esp32Image:
    """Read an image; what follows it, such as a signature, is not looked at.

    Raises:
        NotAnImage: it is none, or a part of it is missing. Wrong checksums are not looked for.
    """
    header = Header.decode(content)
    if header is None:
        raise NotAnImage(f"This is no ESP32 image: {_beginning(content)}.")
    found = _walk(content, header, mapped=(), room=None)
    if isinstance(found, ImageFlaw):
        raise NotAnImage(_sentence(found, content))
    return found


def examine(content: bytes, chip: Chip, room: int) -> Esp32Image | ImageFlaw:
    """Check an image as ``esp_image_verify`` does: the image where the chip would start it, else the first flaw.

    Args:
        content: what is there from the beginning of the partition, as far as it is known; what follows the image is
            not looked at.
        chip: where it shall run.
        room: bytes of the partition.
    """
    header = Header.decode(content)
    if header is None:
        return ImageFlaw.MAGIC
    found = _unfit(header, chip) or _walk(content, header, mapped=MAPPED_ADDRESSES[chip.family], room=room)
    if isinstance(found, ImageFlaw):
        return found
    if not found.checksum_holds:
        return ImageFlaw.CHECKSUM
    if found.size > room:
        return ImageFlaw.TOO_LARGE
    return found if found.digest_holds else ImageFlaw.DIGEST


def _unfit(header: Header, chip: Chip) -> ImageFlaw | None:
    """What the header alone says against the chip."""
    if header.family is not chip.family:
        return ImageFlaw.CHIP
    if chip.revision < header.min_revision:
        return ImageFlaw.REVISION_TOO_LOW
    limited = header.max_revision not in (0, ANY_REVISION)
    return ImageFlaw.REVISION_TOO_HIGH if limited and chip.revision > header.max_revision else None


def _walk(
    content: bytes, header: Header, *, mapped: Sequence[tuple[int, int]], room: int | None
) -> Esp32Image | ImageFlaw:
    """Go through the segments to the end."""
    if header.segments > MOST_SEGMENTS:
        return ImageFlaw.SEGMENT_COUNT
    descriptor = AppDescriptor.decode(content)
    page = _page_size(descriptor)
    segments: list[Segment] = []
    position = HEADER_SIZE
    for _ in range(header.segments):
        segment = _read_segment(content, position, mapped, page, room)
        if isinstance(segment, ImageFlaw):
            return segment
        segments.append(segment)
        position += _SEGMENT.size + len(segment.content)
    end_of_digested = round_up(position + 1, ALIGNMENT)
    end = end_of_digested + (DIGEST_SIZE if header.digest_appended else 0)
    if len(content) < end:
        return _missing(end, room)
    return Esp32Image(
        header=header,
        segments=tuple(segments),
        descriptor=descriptor,
        checksum=content[end_of_digested - 1],
        true_checksum=_checksum(segments),
        digest=content[end_of_digested:end] if header.digest_appended else None,
        true_digest=hashlib.sha256(content[:end_of_digested]).digest(),
        size=ByteCount(end),
    )


def _read_segment(
    content: bytes, position: int, mapped: Sequence[tuple[int, int]], page: int, room: int | None
) -> Segment | ImageFlaw:
    start = position + _SEGMENT.size
    if len(content) < start:
        return _missing(start, room)
    address, length = _SEGMENT.unpack_from(content, position)
    if length % 4 or length >= LONGEST_SEGMENT:
        return ImageFlaw.SEGMENT_LENGTH
    if any(low <= address < high for low, high in mapped) and start % page != address % page:
        return ImageFlaw.MAPPING
    end = start + length
    return _missing(end, room) if len(content) < end else Segment(address, content[start:end])


def _missing(end: int, room: int | None) -> ImageFlaw:
    """What it is called that the content ends before the image does."""
    return ImageFlaw.TOO_LARGE if room is not None and end > room else ImageFlaw.CUT_OFF


def _page_size(descriptor: AppDescriptor | None) -> int:
    page = 1 << descriptor.page_size_log2 if descriptor is not None else 0
    return page if SMALLEST_PAGE <= page <= LARGEST_PAGE else LARGEST_PAGE


def build(
    segments: Sequence[Segment],
    *,
    family: ChipFamily,
    entry: int,
    mode: SpiMode = SpiMode.DIO,
    size_and_speed: int = 0x2F,
    min_revision: int = 0,
    max_revision: int = ANY_REVISION,
) -> bytes:
    """Lay out an image as esptool does, checksum and appended SHA-256 included.

    Args:
        segments: in file order; mapped ones must come where their address fits, for nothing is filled in.
        family: the chip it is for.
        entry: where the program begins.
        mode: how the flash is wired.
        size_and_speed: the flash size in the high nibble, its clock in the low one.
        min_revision: the oldest chip revision it runs on.
        max_revision: the newest.

    Raises:
        NotAnImage: no chip of that family would start it, because of the segments' number, lengths or places.
    """
    chip_id = next(number for number, name in CHIP_IDS.items() if name is family)
    header = Header(
        segments=len(segments),
        entry=entry,
        chip_id=chip_id,
        mode=mode,
        size_and_speed=size_and_speed,
        min_revision=min_revision,
        max_revision=max_revision,
    )
    body = header.encode() + b"".join(
        _SEGMENT.pack(segment.address, len(segment.content)) + segment.content for segment in segments
    )
    padded = body.ljust(round_up(len(body) + 1, ALIGNMENT) - 1, b"\0") + bytes((_checksum(segments),))
    image = padded + hashlib.sha256(padded).digest()
    found = _walk(image, header, mapped=MAPPED_ADDRESSES[family], room=None)
    if isinstance(found, ImageFlaw):
        raise NotAnImage(f"No {family} would start an image of these segments: {found.value}.")
    return image


def _checksum(segments: Sequence[Segment]) -> int:
    """The XOR of all bytes of all segments, by folding: a byte-wise loop over a megabyte takes too long."""
    total = CHECKSUM_SEED
    for segment in segments:
        total ^= _folded(segment.content)
    return total


def _folded(content: bytes) -> int:
    width = _LONG_SEGMENT_SHARE
    value = 0
    for offset in range(0, len(content), width):
        value ^= int.from_bytes(content[offset : offset + width], "little")
    while width > 1:
        width //= 2
        value = (value >> 8 * width) ^ (value & ((1 << 8 * width) - 1))
    return value


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _beginning(content: bytes) -> str:
    if not content:
        return "it is empty"
    if content[0] != MAGIC:
        return f"it begins with {content[:4].hex(' ')}, and an image begins with e9"
    return f"it has {len(content)} bytes, and the header alone takes {HEADER_SIZE}"


def _sentence(flaw: ImageFlaw, content: bytes) -> str:
    if flaw is ImageFlaw.CUT_OFF:
        return (
            f"The ESP32 image is cut off: {len(content)} bytes are there and more belong to it. "
            "Build it or fetch it again."
        )
    return f"This is no ESP32 image: {flaw.value}."
