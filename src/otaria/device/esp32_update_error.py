"""The ESP32 Updater's fifteen error numbers and their texts (protocols §4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

__all__ = ["UPDATE_ERROR_TEXTS", "Esp32UpdateError"]


class Esp32UpdateError(IntEnum):
    """The constants ``UPDATE_ERROR_…``; up to 7 they mean what they mean on an ESP8266."""

    OK = 0
    WRITE = 1
    ERASE = 2
    READ = 3
    SPACE = 4
    SIZE = 5
    STREAM = 6
    MD5 = 7
    MAGIC_BYTE = 8
    ACTIVATE = 9
    NO_PARTITION = 10
    BAD_ARGUMENT = 11
    ABORT = 12
    DECRYPT = 13
    SIGN = 14


UPDATE_ERROR_TEXTS: Final[Mapping[Esp32UpdateError, str]] = {
    Esp32UpdateError.OK: "No Error",
    Esp32UpdateError.WRITE: "Flash Write Failed",
    Esp32UpdateError.ERASE: "Flash Erase Failed",
    Esp32UpdateError.READ: "Flash Read Failed",
    Esp32UpdateError.SPACE: "Not Enough Space",
    Esp32UpdateError.SIZE: "Bad Size Given",
    Esp32UpdateError.STREAM: "Stream Read Timeout",
    Esp32UpdateError.MD5: "MD5 Check Failed",
    Esp32UpdateError.MAGIC_BYTE: "Wrong Magic Byte",
    Esp32UpdateError.ACTIVATE: "Could Not Activate The Firmware",
    Esp32UpdateError.NO_PARTITION: "Partition Could Not be Found",
    Esp32UpdateError.BAD_ARGUMENT: "Bad Argument",
    Esp32UpdateError.ABORT: "Aborted",
    Esp32UpdateError.DECRYPT: "Decryption error",
    Esp32UpdateError.SIGN: "Signature Verification Failed",
}
"""What ``printError`` prints, without its line end, and ``errorString`` returns: no number."""
