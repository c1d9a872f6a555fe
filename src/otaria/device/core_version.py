"""What the generations of the ESP8266 Arduino core do differently (protocols §1.8, §4.1, §5.2, §8.1, §12).

The table states the oldest generation whole and of every later one what it changed, so it reads as a change log.
A generation stands for its last release: 2.3.0, 2.5.2, 2.7.4, 3.1.2, and what has gone into git since. On a real
device the Updater is as old as the running sketch and eboot as old as the boot part in flash; the virtual boot
part has no code of its own, so here one generation speaks for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from otaria.device.update_error import UpdateError
from otaria.wire.signed import SignaturePadding

__all__ = ["BEHAVIOURS", "Behaviour", "Core", "SignaturePadding"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One generation's answers.

    Args:
        last_error: the highest error number that its Updater knows; what has no number is refused without one.
        checks_boot_mode: ``begin`` refuses while the UART boot mode is latched.
        saves_memory: the buffer shrinks to 256 bytes when the heap is low.
        begin_breaks_running_update: ``begin`` during an update is error 15 and ends that update; before, it
            returned false and left it alone.
        has_callbacks: onStart, onEnd and onError exist.
        plain_texts: error texts as ``getErrorString`` gives them; before, four of them read otherwise.
        patches_flash_mode: byte 2 of a sketch is replaced by the device's own flash mode.
        patches_file_system: byte 2 of a file-system image, too (a bug, upstream #6880).
        verifies_signatures: ``installSignature`` exists.
        signature_padding: what its verifier accepts.
        cuts_signature: the boot command's size leaves the signature out; before, a signed .gz was not unpacked.
        takes_gzip: the Updater accepts compressed sketches, and eboot unpacks them.
        clears_command_first: eboot clears the command before it copies; since, after.
        erases_first: eboot erases each sector before it reads what goes there; since, after.
        keeps_equal_boot_sector: eboot leaves sector 0 alone when it would write the same again.
        iram_end: where eboot takes instruction RAM to end.
        has_length_and_crc: images carry their length and CRC, and ``checkFlashCRC`` exists.
        sends_sketch_md5: a poll has the ``sketch-md5`` header.
        sends_chip_id: a poll has the ``Chip-ID`` header.
        asks_version: ``getAvailableVersion`` exists (mode ``version``).
        answers_after_begin: an invitation is answered after ``begin``, with ``ERR:`` where that failed; before,
            ``OK`` came first.
        pause_before_ok_ms: between the last count and the final ``OK`` of a push.
        pause_after_ok_ms: between that ``OK`` and the closing of the connection.
    """

    last_error: UpdateError
    checks_boot_mode: bool
    saves_memory: bool
    begin_breaks_running_update: bool
    has_callbacks: bool
    plain_texts: bool
    patches_flash_mode: bool
    patches_file_system: bool
    verifies_signatures: bool
    signature_padding: SignaturePadding
    cuts_signature: bool
    takes_gzip: bool
    clears_command_first: bool
    erases_first: bool
    keeps_equal_boot_sector: bool
    iram_end: int
    has_length_and_crc: bool
    sends_sketch_md5: bool
    sends_chip_id: bool
    asks_version: bool
    answers_after_begin: bool
    pause_before_ok_ms: int
    pause_after_ok_ms: int


class Core(StrEnum):
    """A generation of the core."""

    V2_3 = "2.3"
    V2_5 = "2.5"
    V2_7 = "2.7"
    V3_1 = "3.1"
    MASTER = "master"

    @property
    def behaviour(self) -> Behaviour:
        """What this generation does."""
        return BEHAVIOURS[self]


_V2_3: Final = Behaviour(
    last_error=UpdateError.MAGIC_BYTE,
    checks_boot_mode=False,
    saves_memory=False,
    begin_breaks_running_update=False,
    has_callbacks=False,
    plain_texts=False,
    patches_flash_mode=False,
    patches_file_system=False,
    verifies_signatures=False,
    signature_padding=SignaturePadding.LEGACY,
    cuts_signature=False,
    takes_gzip=False,
    clears_command_first=True,
    erases_first=True,
    keeps_equal_boot_sector=False,
    iram_end=0x40108000,
    has_length_and_crc=False,
    sends_sketch_md5=False,
    sends_chip_id=False,
    asks_version=False,
    answers_after_begin=False,
    pause_before_ok_ms=0,
    pause_after_ok_ms=0,
)
_V2_5: Final = replace(
    _V2_3,
    last_error=UpdateError.SIGN,
    checks_boot_mode=True,
    saves_memory=True,
    patches_flash_mode=True,
    patches_file_system=True,
    verifies_signatures=True,
    sends_sketch_md5=True,
    answers_after_begin=True,
    pause_after_ok_ms=10,
)
_V2_7: Final = replace(
    _V2_5,
    patches_file_system=False,
    signature_padding=SignaturePadding.DIGEST_INFO,
    takes_gzip=True,
    clears_command_first=False,
    has_length_and_crc=True,
    sends_chip_id=True,
    pause_before_ok_ms=1000,
    pause_after_ok_ms=1000,
)
_V3_1: Final = replace(
    _V2_7,
    last_error=UpdateError.NO_DATA,
    has_callbacks=True,
    plain_texts=True,
    cuts_signature=True,
    erases_first=False,
    keeps_equal_boot_sector=True,
    iram_end=0x4010C000,
)
_MASTER: Final = replace(
    _V3_1,
    last_error=UpdateError.UNKNOWN_COMMAND,
    begin_breaks_running_update=True,
    asks_version=True,
)

BEHAVIOURS: Final[Mapping[Core, Behaviour]] = {
    Core.V2_3: _V2_3,
    Core.V2_5: _V2_5,
    Core.V2_7: _V2_7,
    Core.V3_1: _V3_1,
    Core.MASTER: _MASTER,
}
