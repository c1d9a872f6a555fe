"""The three ways of a sketch into the Updater, as the device's own libraries take it in (protocols §1.5, §2.1, §3.1).

They differ in the size that the Updater is told, in what is looked at first, and in what is checked at the end:

======  ==========================  ========================================  ===============
way     size told                   looked at first                           digest checked
======  ==========================  ========================================  ===============
push    the file's                  nothing                                   MD5
web     all free space less 4 KiB   nothing                                   none
pull    the file's                  room, first byte, flash-size nibble       MD5
======  ==========================  ========================================  ===============
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otaria.device.machine import Machine
from otaria.device.updater import Updater
from otaria.units import ByteCount
from otaria.wire.esp_image import GZIP_MAGIC, MAGIC, flash_size_of
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["TOO_LESS_SPACE", "Refusal", "Way", "declared_size", "receive"]

TCP_PIECE: Final = 1460
"""Bytes of a full segment on Ethernet and Wi-Fi, the piece in which a push mostly arrives."""

UPLOAD_PIECE: Final = 2048
"""The web server's buffer: the piece in which an upload reaches the Updater."""

NIBBLE_OFFSET: Final = 3
_WORD_RANGE: Final = 1 << 32

TOO_LESS_SPACE: Final = -100
SERVER_NOT_REPORT_SIZE: Final = -101
BIN_VERIFY_HEADER_FAILED: Final = -106
BIN_FOR_WRONG_FLASH: Final = -107

_CLIENT_TEXTS: Final = {
    TOO_LESS_SPACE: "Not Enough space",
    SERVER_NOT_REPORT_SIZE: "Server Did Not Report Size",
    BIN_VERIFY_HEADER_FAILED: "Verify Bin Header Failed",
    BIN_FOR_WRONG_FLASH: "New Binary Does Not Fit Flash Size",
}
"""What ESPhttpUpdate says before it asks the Updater (protocols §2.1)."""


class Way(StrEnum):
    """How the file reaches the device."""

    PUSH = "push"
    """ArduinoOTA, from the developer's machine."""
    WEB = "web"
    """The device's own page, from a browser."""
    PULL = "pull"
    """ESPhttpUpdate, from a server."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A device's no, before anything was installed.

    Args:
        code: positive from the Updater, negative from ESPhttpUpdate, 0 where the Updater gives no reason.
        text: as the device says it.
    """

    code: int
    text: str


def declared_size(machine: Machine, way: Way, size: int) -> ByteCount:
    """What ``begin`` is told of a file of that size.

    The page does not know the size and asks for everything it may; with less than a sector free, the subtraction
    runs below zero, which in the core's unsigned numbers is nearly 4 GiB (protocols §3.1).
    """
    if way is not Way.WEB:
        return ByteCount(size)
    room = (machine.free_sketch_space - SECTOR_SIZE) % _WORD_RANGE
    return ByteCount(room // SECTOR_SIZE * SECTOR_SIZE)


def receive(machine: Machine, content: bytes, way: Way) -> Refusal | None:
    """Give a running machine the file; None where it takes it, and the boot command waits for a reset."""
    return _WAYS[way](machine, content)


def _push(machine: Machine, content: bytes) -> Refusal | None:
    updater = machine.updater
    if not updater.begin(len(content)):
        return _refused_by(updater)
    updater.set_md5(_md5(content))
    _write(updater, content, TCP_PIECE)
    return None if updater.end() else _refused_by(updater)


def _upload(machine: Machine, content: bytes) -> Refusal | None:
    updater = machine.updater
    if not updater.begin(declared_size(machine, Way.WEB, len(content))):
        return _refused_by(updater)
    taken = _write(updater, content, UPLOAD_PIECE)
    return None if taken and updater.end(even_if_remaining=True) else _refused_by(updater)


def _pull(machine: Machine, content: bytes) -> Refusal | None:
    objection = _objection_of_client(machine, content)
    if objection is not None:
        return Refusal(objection, _CLIENT_TEXTS[objection])
    updater = machine.updater
    if not updater.begin(len(content)):
        return _refused_by(updater)
    updater.set_md5(_md5(content))
    _stream(updater, content)
    return None if updater.end() else _refused_by(updater)


def _objection_of_client(machine: Machine, content: bytes) -> int | None:
    """What ESPhttpUpdate sees by itself, in the order in which it looks."""
    if not content:
        return SERVER_NOT_REPORT_SIZE
    if len(content) > machine.free_sketch_space:
        return TOO_LESS_SPACE
    packed = machine.core.behaviour.takes_gzip and content[0] == GZIP_MAGIC[0]
    if content[0] != MAGIC and not packed:
        return BIN_VERIFY_HEADER_FAILED
    third = content[NIBBLE_OFFSET : NIBBLE_OFFSET + 1]
    too_large = not third or flash_size_of(third[0]) > machine.real_size
    return BIN_FOR_WRONG_FLASH if content[0] == MAGIC and too_large and not machine.flash_map else None


def _write(updater: Updater, content: bytes, piece_size: int) -> bool:
    """Write piece by piece until one is not taken whole."""
    pieces = (content[offset : offset + piece_size] for offset in range(0, len(content), piece_size))
    return all(updater.write(piece) == len(piece) for piece in pieces)


def _stream(updater: Updater, content: bytes) -> None:
    taking = updater.write_stream(content[0])
    offset = 0
    try:
        wanted = next(taking)
        while True:
            piece = content[offset : offset + wanted]
            offset += len(piece)
            wanted = taking.send(piece)
    except StopIteration:
        return


def _refused_by(updater: Updater) -> Refusal:
    return Refusal(updater.error, updater.error_text())


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - the devices' protocol


_WAYS: Final[Mapping[Way, Callable[[Machine, bytes], Refusal | None]]] = {
    Way.PUSH: _push,
    Way.WEB: _upload,
    Way.PULL: _pull,
}
