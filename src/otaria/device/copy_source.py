"""Where eboot takes the sectors of a copy from: flash as it lies there, or a gzip file unpacked on the way."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

from otaria.device.flash import ERASED
from otaria.device.spi import Spi
from otaria.wire.esp_image import GZIP_MAGIC
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["CopySource", "GzipSource", "Hangs", "RawSource"]

_HEADER_CRC: Final = 2
_EXTRA: Final = 4
_NAME: Final = 8
_COMMENT: Final = 16
_RESERVED: Final = 0xE0
_TIME_AND_SYSTEM: Final = 6
"""Bytes of a gzip header that say when and where it was made."""

MOST_FAILED_READS: Final = 64
"""Failed reads in a row, without a byte unpacked, after which we say that the part hangs.

Behind the end of flash every read fails and leaves the block before it in place; eboot does not look, and it has
switched the watchdog off. The longest header field of a known length takes 17 blocks.
"""


class Hangs(Exception):
    """The part would go on for ever."""


class CopySource(Protocol):
    """Sectors, one after the other."""

    def next_sector(self, wanted: int) -> bytes | None:
        """4096 bytes, of which the copy needs only the first ``wanted``; None where they cannot be had."""
        ...


class RawSource:
    """Sectors as they lie in flash."""

    def __init__(self, spi: Spi, offset: int) -> None:
        self._spi = spi
        self._offset = offset

    def next_sector(self, wanted: int) -> bytes | None:
        """The next sector, whole; None where flash cannot be read."""
        del wanted
        content = self._spi.read(self._offset, SECTOR_SIZE)
        self._offset += SECTOR_SIZE
        return content


class GzipSource:
    """Sectors unpacked from a gzip file in flash; its CRC is not looked at, and only its first member is read.

    It reads 4096 bytes at a time, and not before it needs them: where the copy has overtaken its source, it meets
    what the copy has put there. Where the file ends before the wanted length is reached, a sector keeps what the
    one before it had. (The part would go on and take the trailer for more of the file; and it lets pass some
    damage at which zlib stops.)
    """

    def __init__(self, spi: Spi, offset: int) -> None:
        self._spi = spi
        self._offset = offset
        self._block = bytes(SECTOR_SIZE)
        self._unread = b""
        self._failed_reads = 0
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._sector = bytes(SECTOR_SIZE)

    def skip_header(self) -> bool:
        """Pass over the gzip header; False where the part refuses it.

        Raises:
            Hangs: a name or comment in it does not end before flash does.
        """
        magic, method, flags = self._take(2), self._take(1)[0], self._take(1)[0]
        if magic != GZIP_MAGIC or method != zlib.DEFLATED or flags & _RESERVED:
            return False
        self._take(_TIME_AND_SYSTEM)
        if flags & _EXTRA:
            self._take(int.from_bytes(self._take(2), "little"))
        for text in (_NAME, _COMMENT):
            if flags & text:
                self._skip_text()
        if flags & _HEADER_CRC:
            self._take(2)
        return True

    def next_sector(self, wanted: int) -> bytes | None:
        """The next ``wanted`` bytes, filled up with FF; None where the file is damaged.

        Raises:
            Hangs: the file does not end before flash does, and nothing more comes out of it.
        """
        try:
            unpacked = self._unpack(wanted)
        except zlib.error:
            return None
        kept = self._sector[len(unpacked) : wanted]
        self._sector = (unpacked + kept).ljust(SECTOR_SIZE, bytes((ERASED,)))
        return self._sector

    def _unpack(self, wanted: int) -> bytes:
        unpacked = b""
        while len(unpacked) < wanted and not self._inflater.eof:
            piece = self._inflater.decompress(self._unread, wanted - len(unpacked))
            self._unread = self._inflater.unconsumed_tail
            unpacked += piece
            if piece:
                self._failed_reads = 0
            elif not self._inflater.eof:
                self._read_block()
        return unpacked

    def _skip_text(self) -> None:
        while self._take(1) != b"\0":
            pass

    def _take(self, length: int) -> bytes:
        while len(self._unread) < length:
            rest = self._unread
            self._read_block()
            self._unread = rest + self._unread
        taken, self._unread = self._unread[:length], self._unread[length:]
        return taken

    def _read_block(self) -> None:
        block = self._spi.read(self._offset, SECTOR_SIZE)
        self._offset += SECTOR_SIZE
        if block is not None:
            self._block = block
        else:
            self._failed_reads += 1
            if self._failed_reads > MOST_FAILED_READS:
                raise Hangs
        self._unread = self._block
