"""What the generations of the ESP32 Arduino core do differently (protocols §1.1, §1.4, §3.2, §4.2).

The table states the oldest generation whole and of every later one what it changed, so it reads as a change log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from otaria.device.esp32_update_error import Esp32UpdateError
from otaria.wire.arduino_ota import Command, Scheme
from otaria.wire.partitions import DataSubtype

__all__ = ["ESP32_BEHAVIOURS", "Esp32Behaviour", "Esp32Core"]

FAT_COMMAND: Final = 102
LITTLEFS_COMMAND: Final = 103


@dataclass(frozen=True, slots=True)
class Esp32Behaviour:
    """One generation's answers.

    Args:
        wrong_magic: the error for a sketch that does not begin with E9. Since core 3.0 the Updater takes it for an
            encrypted one and finds that it has no key.
        looks_before_stream: ``writeStream`` peeks at the first byte before it begins.
        file_systems: for each number of a file-system command the kinds of partition that are tried, in this order.
        push_commands: what ArduinoOTA accepts in an invitation. Whether it takes the new numbers is not known for
            certain (protocols §1.1); here it takes all that its Updater takes.
        password_scheme: how ArduinoOTA checks the password.
        checks_origin: the update page compares the ``Origin`` header with its own address.
        verifies_signatures: ``installSignature`` exists.
    """

    wrong_magic: Esp32UpdateError
    looks_before_stream: bool
    file_systems: Mapping[int, tuple[DataSubtype, ...]]
    push_commands: frozenset[int]
    password_scheme: Scheme
    checks_origin: bool
    verifies_signatures: bool


class Esp32Core(StrEnum):
    """A generation of the core: 2.0.x, 3.0 to 3.2, 3.3.0, and 3.3.1 with what follows it."""

    V2_0 = "2.0"
    V3_0 = "3.0"
    V3_3 = "3.3"
    V3_3_1 = "3.3.1"

    @property
    def behaviour(self) -> Esp32Behaviour:
        """What this generation does."""
        return ESP32_BEHAVIOURS[self]


_V2_0: Final = Esp32Behaviour(
    wrong_magic=Esp32UpdateError.MAGIC_BYTE,
    looks_before_stream=True,
    file_systems={Command.FILESYSTEM: (DataSubtype.SPIFFS, DataSubtype.FAT)},
    push_commands=frozenset({Command.FLASH, Command.FILESYSTEM}),
    password_scheme=Scheme.MD5,
    checks_origin=False,
    verifies_signatures=False,
)
_V3_0: Final = replace(_V2_0, wrong_magic=Esp32UpdateError.DECRYPT, looks_before_stream=False)
_V3_3: Final = replace(
    _V3_0,
    file_systems={
        Command.FILESYSTEM: (DataSubtype.SPIFFS, DataSubtype.FAT, DataSubtype.LITTLEFS),
        Command.SPIFFS: (DataSubtype.SPIFFS,),
        FAT_COMMAND: (DataSubtype.FAT,),
        LITTLEFS_COMMAND: (DataSubtype.LITTLEFS,),
    },
    push_commands=frozenset({Command.FLASH, Command.FILESYSTEM, Command.SPIFFS, FAT_COMMAND, LITTLEFS_COMMAND}),
    checks_origin=True,
)
_V3_3_1: Final = replace(_V3_3, password_scheme=Scheme.PBKDF2_SHA256, verifies_signatures=True)

ESP32_BEHAVIOURS: Final[Mapping[Esp32Core, Esp32Behaviour]] = {
    Esp32Core.V2_0: _V2_0,
    Esp32Core.V3_0: _V3_0,
    Esp32Core.V3_3: _V3_3,
    Esp32Core.V3_3_1: _V3_3_1,
}
