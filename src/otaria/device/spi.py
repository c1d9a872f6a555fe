"""The flash as the SDK's and the ROM's drivers show it: they say no where the model of the chip would raise."""

from __future__ import annotations

from otaria.device.flash import ERASED, WORD_SIZE, Flash, UnreadableSector
from otaria.units import round_up
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["Spi"]


class Spi:
    """A driver on one chip."""

    __slots__ = ("_flash",)

    def __init__(self, flash: Flash) -> None:
        self._flash = flash

    def read(self, offset: int, length: int) -> bytes | None:
        """The bytes there; None outside the chip or where it cannot read."""
        if not self._is_inside(offset, length):
            return None
        try:
            return self._flash.read(offset, length)
        except UnreadableSector:
            return None

    def write(self, offset: int, content: bytes) -> bool:
        """Program the bytes, filled up to a whole word with FF, which leaves the cells there as they are."""
        if not content:
            return True
        words = content.ljust(round_up(len(content), WORD_SIZE), bytes((ERASED,)))
        return self._is_inside(offset, len(words)) and self._flash.write(offset, words)

    def erase(self, sector: int) -> bool:
        """Erase one sector."""
        return self._is_inside(sector * SECTOR_SIZE, SECTOR_SIZE) and self._flash.erase(sector)

    def _is_inside(self, offset: int, length: int) -> bool:
        return offset >= 0 and length >= 0 and offset + length <= self._flash.size
