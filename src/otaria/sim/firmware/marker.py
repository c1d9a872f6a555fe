"""The marker by which a virtual device knows which firmware lies in its flash.

A real sketch tells its own version to the update server. A virtual device executes no machine code; it looks for
this structure in the image that it runs, and tells what stands there::

    offset  size
         0     8  89 "OTARIA" 0A
         8    24  name of the application, printable ASCII, filled with zeros
        32    32  version, printable ASCII, filled with zeros
        64     8  0A "AIRATO" 89

In our own images it stands right behind the length and CRC words, at file offset 0x1018 of the plain image.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

__all__ = ["Marker", "find_marker"]

OPENING: Final = b"\x89OTARIA\n"
CLOSING: Final = b"\nAIRATO\x89"

_MARKER: Final = struct.Struct("<8s24s32s8s")


@dataclass(frozen=True, slots=True)
class Marker:
    """What a firmware calls itself.

    Args:
        name: the application.
        version: a label, not parsed any further.
    """

    name: str
    version: str


def find_marker(content: bytes) -> Marker | None:
    """The first whole marker in a plain image, or in the flash it lies in; None where there is none.

    Flash holds more than what runs, a staged image for one: hand in the running sketch only.
    """
    candidates = (_read(content, found.start()) for found in re.finditer(re.escape(OPENING), content))
    return next((marker for marker in candidates if marker is not None), None)


def _read(content: bytes, offset: int) -> Marker | None:
    if len(content) - offset < _MARKER.size:
        return None
    _, name, version, closing = _MARKER.unpack_from(content, offset)
    texts = [_text(field) for field in (name, version)]
    return Marker(*texts) if closing == CLOSING and all(texts) else None


def _text(field: bytes) -> str:
    """What stands before the zeros; empty where the field holds anything else."""
    text = field.rstrip(b"\0")
    return text.decode("ascii") if text.isascii() and text.decode("ascii").isprintable() else ""
