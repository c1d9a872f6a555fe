"""Small values with a unit or a canonical form."""

from __future__ import annotations

import re
from typing import Final, NewType, Self

from otaria.errors import BadInput

__all__ = ["KIB", "MIB", "ByteCount", "FlashOffset", "MacAddress", "Md5", "Sha256", "human_size", "round_up"]

ByteCount = NewType("ByteCount", int)
FlashOffset = NewType("FlashOffset", int)

KIB: Final = 1024
MIB: Final = 1024 * KIB

_SIX_PAIRS: Final = re.compile(r"([0-9A-Fa-f]{2})[:-]?" * 5 + r"([0-9A-Fa-f]{2})")


class MacAddress(str):
    """A station MAC in its canonical form, ``18:FE:34:AA:BB:CC``: upper case, colons."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a MAC with colons, dashes or nothing between its pairs, in either case.

        Raises:
            BadInput: the text is not six pairs of hexadecimal digits.
        """
        pairs = _SIX_PAIRS.fullmatch(text.strip())
        if pairs is None:
            raise BadInput(f"{text!r} is not a MAC address; write it like 18:FE:34:AA:BB:CC.")
        return cls(":".join(pairs.groups()).upper())

    @property
    def chip_id(self) -> int:
        """The ESP8266's chip id: the low three bytes (protocols §6.3)."""
        return int(self.replace(":", "")[6:], 16)


class _HexDigest(str):
    """A digest as lower-case hexadecimal digits."""

    __slots__ = ()
    _digits: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a digest in either case.

        Raises:
            BadInput: the text has another length or another character.
        """
        lowered = text.strip().lower()
        if len(lowered) != cls._digits or not set(lowered) <= set("0123456789abcdef"):
            raise BadInput(f"{text!r} is not {cls._digits} hexadecimal digits.")
        return cls(lowered)


class Md5(_HexDigest):
    """An MD5, 32 digits. The devices' protocols demand it; it guards against accidents only (protocols §11)."""

    __slots__ = ()
    _digits = 32


class Sha256(_HexDigest):
    """A SHA-256, 64 digits."""

    __slots__ = ()
    _digits = 64


def round_up(size: int, unit: int) -> int:
    """The least multiple of ``unit`` that is not below ``size``."""
    return -(-size // unit) * unit


def human_size(size: int) -> str:
    """A size in bytes for people: ``512 bytes``, ``365.2 KiB``, ``4 MiB``."""
    if size < KIB:
        return f"{size} bytes"
    in_kib = round(size / KIB, 1)
    number, name = (in_kib, "KiB") if in_kib < KIB else (size / MIB, "MiB")
    return f"{number:.1f}".removesuffix(".0") + f" {name}"
