"""The Updater's seventeen error numbers and their texts (protocols §4.1)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["UpdateError", "update_error_text"]


class UpdateError(IntEnum):
    """The constants ``UPDATE_ERROR_…``."""

    OK = 0
    WRITE = 1
    ERASE = 2
    READ = 3
    SPACE = 4
    SIZE = 5
    STREAM = 6
    MD5 = 7
    FLASH_CONFIG = 8
    NEW_FLASH_CONFIG = 9
    MAGIC_BYTE = 10
    BOOTSTRAP = 11
    SIGN = 12
    NO_DATA = 13
    OOM = 14
    RUNNING_ALREADY = 15
    UNKNOWN_COMMAND = 16


_TEXTS: Final = {
    UpdateError.OK: "No Error",
    UpdateError.WRITE: "Flash Write Failed",
    UpdateError.ERASE: "Flash Erase Failed",
    UpdateError.READ: "Flash Read Failed",
    UpdateError.SPACE: "Not Enough Space",
    UpdateError.SIZE: "Bad Size Given",
    UpdateError.STREAM: "Stream Read Timeout",
    UpdateError.MD5: "MD5 verification failed: expected: {expected}, calculated: {calculated}",
    UpdateError.FLASH_CONFIG: "Flash config wrong: real: {real}, SDK: {configured}",
    UpdateError.NEW_FLASH_CONFIG: "new Flash config wrong, real size: {real}",
    UpdateError.MAGIC_BYTE: "Magic byte is not 0xE9",
    UpdateError.BOOTSTRAP: "Invalid bootstrapping state, reset ESP8266 before updating",
    UpdateError.SIGN: "Signature verification failed",
    UpdateError.NO_DATA: "No data supplied",
    UpdateError.OOM: "Out of memory",
    UpdateError.RUNNING_ALREADY: "Update already running",
    UpdateError.UNKNOWN_COMMAND: "Unknown update command",
}

_TEXTS_BEFORE_3_1: Final = {
    **_TEXTS,
    UpdateError.MD5: "MD5 Failed: expected:{expected}, calculated:{calculated}",
    UpdateError.FLASH_CONFIG: "Flash config wrong real: {real} IDE: {configured}",
    UpdateError.NEW_FLASH_CONFIG: "new Flash config wrong real: {real}",
    UpdateError.MAGIC_BYTE: "Magic byte is wrong, not 0xE9",
}
"""As the released sources up to 3.0 print them."""


def update_error_text(
    error: UpdateError, *, plain: bool, expected: str, calculated: str, real: int, configured: int
) -> str:
    """The line that ``printError`` prints, without its end: ``ERROR[n]: text``.

    Args:
        error: which.
        plain: the texts since core 3.1; otherwise the older ones.
        expected: the MD5 as it was given.
        calculated: the MD5 that was found.
        real: bytes of the flash chip.
        configured: bytes that the running image was built for.
    """
    text = (_TEXTS if plain else _TEXTS_BEFORE_3_1)[error]
    filled = text.format(expected=expected, calculated=calculated, real=real, configured=configured)
    return f"ERROR[{int(error)}]: {filled}"
