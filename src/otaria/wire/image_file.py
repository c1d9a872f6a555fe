"""One file as it will be sent to a device, and what is inside it (design §6).

A sketch image comes plain, compressed or signed, and in this order when it is both (protocols §8.1)::

    plain       payload
    signed      payload ‖ signature ‖ u32 length of the signature
    compressed  gzip(payload)
    both        gzip(payload) ‖ signature ‖ u32 length of the signature

A file-system image has no mark of its own; it is one because whoever hands it over says so.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from otaria.errors import NotAnImage
from otaria.units import MIB, ByteCount, FlashOffset, Md5, Sha256, human_size, round_up
from otaria.wire import esp32_image, esp_image
from otaria.wire.chips import ChipFamily
from otaria.wire.esp_image import APP_OFFSET, Esp8266Image, FlashMode, chip_family
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["LARGEST_PAYLOAD", "ImageFile", "ImageKind", "read_image_file"]

LARGEST_PAYLOAD: Final = 16 * MIB
"""Bytes that a compressed file may unpack to: the largest flash an ESP8266 can address. Guards against bombs."""

SIGNATURE_LENGTHS: Final = (128, 256, 384, 512)
"""Bytes of an RSA signature with a key of 1024 to 4096 bits, the kind that works with the stock tools."""

_UNPACKING_STEP: Final = 64
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_WORD: Final = struct.Struct("<I")
_PADDING: Final = frozenset({b"\x00", b"\xff"})


class ImageKind(StrEnum):
    """What an image replaces on the device."""

    SKETCH = "sketch"
    FILESYSTEM = "filesystem"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file as it will be sent and what is inside.

    Args:
        kind: what it replaces.
        family: the chip it runs on; None for a file system, which does not say.
        compressed: the file is a gzip of the payload.
        signed: a signature follows the payload, or the gzip of it.
        size: bytes as sent.
        md5: digest of the file as sent, for ``x-MD5``.
        sha256: digest of the file as sent, by which it is stored.
        payload: what ends up in flash: unpacked, without signature.
        staging_floor: the lowest flash offset at which an ESP8266 may stage the file; 0 where it is not compressed.
        flash_size: the flash size the sketch was built for; None where the file does not say.
        flash_mode: byte 2 of an ESP8266 sketch; None elsewhere.
        has_length_and_crc: the words of core 2.7.0 and later are there and right.
        installed_md5s: every sketch-MD5 that a device can report once this is installed; none for a file system.
    """

    kind: ImageKind
    family: ChipFamily | None
    compressed: bool
    signed: bool
    size: ByteCount
    md5: Md5
    sha256: Sha256
    payload: bytes = field(repr=False)
    staging_floor: FlashOffset
    flash_size: ByteCount | None = None
    flash_mode: FlashMode | None = None
    has_length_and_crc: bool = False
    installed_md5s: frozenset[Md5] = field(default=frozenset(), repr=False)

    @property
    def payload_size(self) -> ByteCount:
        """Bytes that end up in flash."""
        return ByteCount(len(self.payload))


def read_image_file(content: bytes, kind: ImageKind) -> ImageFile:
    """Analyse a file that is to be sent as an image of that kind.

    Raises:
        NotAnImage: it cannot be what a device installs, or it is another kind than declared; the message says why.
    """
    if not content:
        raise NotAnImage("The file is empty. Build it or fetch it again.")
    return _read_file_system(content) if kind is ImageKind.FILESYSTEM else _read_sketch(content)


def _read_file_system(content: bytes) -> ImageFile:
    compressed = content.startswith(esp_image.GZIP_MAGIC)
    payload, trailer = _unpack(content) if compressed else (content, b"")
    if _looks_like_sketch(payload):
        raise NotAnImage(
            "This is a sketch, and it was declared to be a file system; a device would overwrite its files with it. "
            "Declare it a sketch, or take the image that mklittlefs or mkspiffs made."
        )
    return replace(_as_sent(content, ImageKind.FILESYSTEM, payload, compressed=compressed), signed=bool(trailer))


def _looks_like_sketch(payload: bytes) -> bool:
    """Whether it begins as a sketch does, damaged or not: no file system has e9 at the start of two blocks."""
    if payload[0:1] != bytes((esp_image.MAGIC,)):
        return False
    return payload[APP_OFFSET : APP_OFFSET + 1] == payload[0:1] or chip_family(payload) is not ChipFamily.ESP8266


def _read_sketch(content: bytes) -> ImageFile:
    compressed = content.startswith(esp_image.GZIP_MAGIC)
    plain, trailer = _unpack(content) if compressed else (content, b"")
    if chip_family(plain) is ChipFamily.ESP8266:
        return _read_esp8266_sketch(content, plain, trailer, compressed=compressed)
    if compressed:
        raise NotAnImage("This is a compressed ESP32 image, and an ESP32 does not unpack. Send it as it was built.")
    return _read_esp32_sketch(content)


def _read_esp8266_sketch(content: bytes, plain: bytes, trailer: bytes, *, compressed: bool) -> ImageFile:
    image = esp_image.parse(plain)
    _check_undamaged(image)
    mode = image.boot.header.mode
    if mode not in tuple(FlashMode):
        # The Updater takes such a byte for FF when it computes the MD5, so the transfer would always fail
        # (protocols §4.1).
        raise NotAnImage(f"The image's flash mode is {mode}, and there are 0 to 3 only: no device would install it.")
    return replace(
        _as_sent(content, ImageKind.SKETCH, plain[: image.size], compressed=compressed),
        family=ChipFamily.ESP8266,
        signed=bool(trailer) or image.signature is not None,
        flash_size=image.boot.header.flash_size or None,
        flash_mode=FlashMode(mode),
        has_length_and_crc=image.has_length_and_crc,
        installed_md5s=esp_image.installed_md5s(plain, image),
    )


def _check_undamaged(image: Esp8266Image) -> None:
    """Refuse what the image's own words disprove, and a tail that is neither signature nor padding."""
    if image.length_word == image.size and image.crc_word != image.crc:
        raise NotAnImage(
            f"The image says that its CRC is {image.crc_word:08x}, and it is {image.crc:08x}: the file is damaged. "
            "Build it or fetch it again."
        )
    padded = image.trailer.strip(image.trailer[:1]) == b"" and image.trailer[:1] in _PADDING
    if image.trailer and image.signature is None and not padded:
        raise NotAnImage(
            f"After the image come {len(image.trailer)} bytes that are no signature: something was appended to it, "
            "or its signature was cut off. Build it or sign it again."
        )


def _read_esp32_sketch(content: bytes) -> ImageFile:
    image = esp32_image.parse(content)
    if not image.digest_holds:
        raise NotAnImage("The ESP32 image's SHA-256 does not match its content: the file is damaged. Build it again.")
    if not image.checksum_holds:
        raise NotAnImage("The ESP32 image's checksum does not match its content: the file is damaged. Build it again.")
    # An ESP32 installs the file as it is. Whether it counts a trailer as part of the sketch differs (protocols §8.2).
    installed = frozenset(_md5(piece) for piece in (content, content[: image.size]))
    as_sent = _as_sent(content, ImageKind.SKETCH, content[: image.size])
    return replace(as_sent, family=image.header.family, installed_md5s=installed)


def _unpack(content: bytes) -> tuple[bytes, bytes]:
    """Take a compressed file apart into payload and signature trailer.

    Raises:
        NotAnImage: it is damaged, cut off, too large when unpacked, or followed by something unknown.
    """
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        payload = inflater.decompress(content, LARGEST_PAYLOAD + 1)
    except zlib.error as error:
        raise NotAnImage("The compressed file is damaged and does not unpack. Compress or fetch it again.") from error
    if len(payload) > LARGEST_PAYLOAD:
        raise NotAnImage(
            f"The compressed file unpacks to more than {human_size(LARGEST_PAYLOAD)}, which no device can hold."
        )
    if not inflater.eof:
        raise NotAnImage("The compressed file is cut off. Compress or fetch it again.")
    trailer = inflater.unused_data
    if trailer and not _is_signature(trailer):
        # The bootloader reads the unpacked size from the file's last word (protocols §5.2), so a stray byte bricks.
        raise NotAnImage(
            f"After the compressed image come {len(trailer)} bytes that are no signature; a device would unpack it "
            "wrongly and never start again. Compress the image by itself."
        )
    return payload, trailer


def _is_signature(trailer: bytes) -> bool:
    length = len(trailer) - _WORD.size
    return length in SIGNATURE_LENGTHS and _WORD.unpack_from(trailer, length) == (length,)


def _as_sent(content: bytes, kind: ImageKind, payload: bytes, *, compressed: bool = False) -> ImageFile:
    """What every file has; the caller adds what its kind has besides."""
    return ImageFile(
        kind=kind,
        family=None,
        compressed=compressed,
        signed=False,
        size=ByteCount(len(content)),
        md5=_md5(content),
        sha256=Sha256(hashlib.sha256(content).hexdigest()),
        payload=payload,
        staging_floor=_staging_floor(content) if compressed else FlashOffset(0),
    )


def _staging_floor(content: bytes) -> FlashOffset:
    """The lowest offset from which the bootloader can unpack a file in place without overtaking its source.

    It writes whole sectors from offset 0 upwards while it reads the staged file (protocols §5.2). Where ``written``
    bytes are out after ``consumed`` bytes are in, the file must not begin below ``written - consumed``. Progress is
    measured in steps of a few bytes and counted against us within a step.
    """
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    written = floor = 0
    for consumed in range(0, len(content), _UNPACKING_STEP):
        written += len(inflater.decompress(content[consumed : consumed + _UNPACKING_STEP]))
        floor = max(floor, round_up(written, SECTOR_SIZE) - consumed)
    return FlashOffset(round_up(floor, SECTOR_SIZE))


def _md5(content: bytes) -> Md5:
    return Md5(hashlib.md5(content).hexdigest())  # noqa: S324 - the devices' protocols demand it
