"""What a rehearsal cannot show, and the causes behind what it shows: combinations that go wrong.

Each rule looks at the case and has a sentence for the owner, or nothing to say (protocols §4.1, §5.2, §8.1, §12).
The gravest come first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from otaria.device.core_version import SignaturePadding
from otaria.device.rehearsal_scene import Candidate, CopyPlan, Encoding, Space, Specimen
from otaria.device.rehearsal_ways import Way
from otaria.device.update_error import UpdateError
from otaria.errors import WrongSignature
from otaria.units import ByteCount, Md5, human_size
from otaria.wire.chips import ChipFamily
from otaria.wire.esp_image import FlashMode
from otaria.wire.image_file import ImageFile
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.signed import verify

__all__ = ["Case", "Hazard", "HazardKind", "hazards_of"]


class HazardKind(StrEnum):
    """What is dangerous, or good to know before it surprises."""

    FLAWED = "flawed"
    OTHER_CHIP = "other-chip"
    GZIP_AND_SIGNED = "gzip-and-signed"
    OVERTAKES = "overtakes"
    OVER_FILE_SYSTEM = "over-file-system"
    COMPRESSED_FLASH_MODE = "compressed-flash-mode"
    CANNOT_UNPACK = "cannot-unpack"
    NOT_SIGNED = "not-signed"
    WRONG_SIGNATURE = "wrong-signature"
    SIGNED_FLASH_MODE = "signed-flash-mode"
    OTHER_FLASH_SIZE = "other-flash-size"
    SMALL_UPLOAD = "small-upload"
    RESET_BRICKS = "reset-bricks"
    BOOT_PART = "boot-part"
    SIGNATURE_IGNORED = "signature-ignored"
    LAST_OF_ITS_SIZE = "last-of-its-size"
    OTHER_DIGEST = "other-digest"
    FLASH_CRC = "flash-crc"
    ALREADY_THERE = "already-there"

    @property
    def grave(self) -> bool:
        """Whether it should keep the owner from sending the file; the others are good to know."""
        return self not in _GOOD_TO_KNOW


_GOOD_TO_KNOW: Final = frozenset(
    {
        HazardKind.RESET_BRICKS,
        HazardKind.BOOT_PART,
        HazardKind.SIGNATURE_IGNORED,
        HazardKind.LAST_OF_ITS_SIZE,
        HazardKind.OTHER_DIGEST,
        HazardKind.FLASH_CRC,
        HazardKind.ALREADY_THERE,
    }
)


@dataclass(frozen=True, slots=True)
class Hazard:
    """One of them, and a sentence for the owner."""

    kind: HazardKind
    explanation: str


@dataclass(frozen=True, slots=True)
class Case:
    """What the rules look at.

    Args:
        candidate: the file.
        specimen: the device.
        way: how the file reached it.
        space: the room there was.
        flash_mode: the running sketch's.
        built_for: the flash size that the running sketch was built for.
        md5_before: what the device reported before.
        md5_after: what it reports now; None where nothing runs.
        copy: what the bootloader did; None where the file was refused.
        crc_holds: what ``ESP.checkFlashCRC()`` returns now.
        limit_after: the largest file that this way takes once the image is installed.
    """

    candidate: Candidate
    specimen: Specimen
    way: Way
    space: Space
    flash_mode: int
    built_for: ByteCount
    md5_before: Md5 | None
    md5_after: Md5 | None
    copy: CopyPlan | None
    crc_holds: bool
    limit_after: int

    @property
    def image(self) -> ImageFile | None:
        """What is in the file, where it can be told."""
        return self.candidate.image

    @property
    def encoding(self) -> Encoding:
        """What the file is wrapped in."""
        return self.candidate.encoding


_Rule: TypeAlias = Callable[[Case], str | None]


def hazards_of(case: Case) -> tuple[Hazard, ...]:
    """What there is to say about a case."""
    found = ((kind, rule(case)) for kind, rule in _RULES.items())
    return tuple(Hazard(kind, explanation) for kind, explanation in found if explanation is not None)


def _flawed(case: Case) -> str | None:
    return None if case.candidate.flaw is None else f"The file is no image that can be published. {case.candidate.flaw}"


def _other_chip(case: Case) -> str | None:
    if case.image is None or case.image.family in (None, ChipFamily.ESP8266):
        return None
    return (
        f"The image is for the {case.image.family}. An ESP8266 looks only at its first byte and at its flash size: "
        "where both happen to suit, it installs the image and never starts again. Build the sketch for the ESP8266."
    )


def _gzip_and_signed(case: Case) -> str | None:
    behaviour = case.specimen.core.behaviour
    if case.encoding is not Encoding.GZIP_SIGNED or not behaviour.takes_gzip:
        return None
    if case.specimen.verifies and behaviour.cuts_signature:
        return None
    who = f"core {case.specimen.core}" if case.specimen.verifies else "a sketch that verifies no signature"
    return (
        "The file is compressed and signed, and the bootloader takes its last word, the signature's length, for the "
        f"unpacked size, because {who} does not cut the signature off. It destroys the boot part: the old sketch may "
        "start once more, and after that nothing does. Send it signed and uncompressed, or compressed and not signed."
    )


def _overtakes(case: Case) -> str | None:
    if case.copy is None or case.copy.margin >= 0:
        return None
    happens = "stays just behind" if case.md5_after is not None else "overtakes"
    return (
        f"Unpacking {happens} the file it reads: the file begins at {case.copy.source:#x}, and only from "
        f"{case.copy.floor:#x} on is it sure to be read before it is overwritten. Push it or let the device pull it, "
        "which puts it higher, or send it uncompressed."
    )


def _over_file_system(case: Case) -> str | None:
    start = case.specimen.layout.file_system_start
    if case.copy is None or case.copy.end <= start:
        return None
    return (
        f"Unpacked, the image ends at {case.copy.end:#x} and the file system begins at {start:#x}: the bootloader does "
        "not look and overwrites the files. Make the image smaller."
    )


def _mode_differs(case: Case) -> bool:
    return case.image is not None and case.image.flash_mode is not None and case.image.flash_mode != case.flash_mode


def _compressed_flash_mode(case: Case) -> str | None:
    if not (case.encoding.compressed and _mode_differs(case)):
        return None
    return (
        f"The image has flash mode {_mode_name(case)}, and the running sketch {_name_of_mode(case.flash_mode)}. The "
        "device corrects that only in an uncompressed image; with a mode for which it is not wired the board never "
        "starts again. Build for the mode that runs, or send the image uncompressed."
    )


def _signed_flash_mode(case: Case) -> str | None:
    if case.encoding is not Encoding.SIGNED or not case.specimen.verifies or not _mode_differs(case):
        return None
    return (
        f"The image has flash mode {_mode_name(case)}, and the running sketch {_name_of_mode(case.flash_mode)}. The "
        "device puts its own into flash before it verifies, so the signature cannot hold. Build for the mode that "
        "runs, or compress the image before you sign it."
    )


def _mode_name(case: Case) -> str:
    return "unknown" if case.image is None or case.image.flash_mode is None else _name_of_mode(case.image.flash_mode)


def _name_of_mode(mode: int) -> str:
    return FlashMode(mode).name if mode in tuple(FlashMode) else f"{mode:#x}"


def _cannot_unpack(case: Case) -> str | None:
    if not case.encoding.compressed or case.specimen.core.behaviour.takes_gzip:
        return None
    return (
        f"Core {case.specimen.core} cannot unpack; that came with 2.7.0. Send the image uncompressed, and the next one "
        "may be compressed."
    )


def _not_signed(case: Case) -> str | None:
    if not case.specimen.verifies or case.encoding.signed:
        return None
    return "The running sketch takes only signed images. Sign this one with `otaria image sign`."


def _wrong_signature(case: Case) -> str | None:
    if not case.specimen.verifies or case.specimen.key is None or not case.encoding.signed:
        return None
    try:
        padding = verify(case.candidate.content, case.specimen.key)
    except WrongSignature as error:
        return str(error)
    if padding is case.specimen.core.behaviour.signature_padding:
        return None
    remedy = "without --legacy" if padding is SignaturePadding.LEGACY else "with --legacy"
    return (
        f"The signature's padding is {padding}, and core {case.specimen.core} accepts the other one only. "
        f"Sign it {remedy}."
    )


def _other_flash_size(case: Case) -> str | None:
    if case.image is None or case.image.flash_size in (None, case.built_for) or case.specimen.flash_map:
        return None
    return (
        f"The image was built for {human_size(case.image.flash_size or 0)} of flash, and the running sketch for "
        f"{human_size(case.built_for)}: the new one looks for file system and settings at other places. Choose the "
        "board's flash size in the build."
    )


def _small_upload(case: Case) -> str | None:
    knows = case.specimen.core.behaviour.last_error >= UpdateError.NO_DATA
    if case.way is not Way.WEB or len(case.candidate.content) > SECTOR_SIZE or not knows:
        return None
    return (
        f"A file of {SECTOR_SIZE} bytes or less cannot be uploaded by browser: nothing of it has reached flash when "
        "the device looks. Push it instead."
    )


def _reset_bricks(case: Case) -> str | None:
    if case.copy is None:
        return None
    if case.specimen.core.behaviour.clears_command_first:
        return (
            f"The bootloader of core {case.specimen.core} forgets what it was told before it begins to copy: a reset "
            "during the copy bricks as a power cut does."
        )
    if not case.copy.overlap:
        return None
    return (
        f"From {case.copy.source:#x} on the copy overwrites the file that it reads. After that a reset, which starts "
        "the copy over, bricks as a power cut does."
    )


def _boot_part(case: Case) -> str | None:
    if case.copy is None or not case.copy.rewrites_boot_part:
        return None
    return (
        "The boot part is rewritten: if power fails, or a reset strikes, during its sector, not even the bootloader "
        "starts any more."
    )


def _signature_ignored(case: Case) -> str | None:
    if case.encoding is not Encoding.SIGNED or case.specimen.verifies or case.copy is None:
        return None
    return "The running sketch verifies no signature: it installs the image whoever signed it."


def _last_of_its_size(case: Case) -> str | None:
    if case.md5_after is None or case.copy is None or case.space.needed <= case.limit_after:
        return None
    return (
        f"It will be the last: once it runs, there is room for {human_size(case.limit_after)}, and a file of this size "
        "does not fit beside it any more. Only a smaller or a compressed one will."
    )


def _other_digest(case: Case) -> str | None:
    if (
        case.way is not Way.PULL
        or case.md5_after is None
        or case.copy is None
        or case.md5_after == _md5(case.candidate.content)
    ):
        return None
    return (
        f"The device will report sketch-MD5 {case.md5_after}, and the file's own MD5 is "
        f"{_md5(case.candidate.content)}: a server that compares the two, as the documentation's PHP script does, "
        "sends it again and again. Otaria knows both."
    )


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - the devices' protocol


def _flash_crc(case: Case) -> str | None:
    if case.image is None or not case.image.has_length_and_crc or case.md5_after is None or case.crc_holds:
        return None
    return (
        "ESP.checkFlashCRC() will return false, because the device has replaced the flash mode. A sketch that asks "
        "should not take it for damage."
    )


def _already_there(case: Case) -> str | None:
    if case.image is None or case.md5_before not in case.image.installed_md5s:
        return None
    return "The device runs this image already; a server answers it 304."


_RULES: Final[dict[HazardKind, _Rule]] = {
    HazardKind.FLAWED: _flawed,
    HazardKind.OTHER_CHIP: _other_chip,
    HazardKind.GZIP_AND_SIGNED: _gzip_and_signed,
    HazardKind.OVERTAKES: _overtakes,
    HazardKind.OVER_FILE_SYSTEM: _over_file_system,
    HazardKind.COMPRESSED_FLASH_MODE: _compressed_flash_mode,
    HazardKind.CANNOT_UNPACK: _cannot_unpack,
    HazardKind.NOT_SIGNED: _not_signed,
    HazardKind.WRONG_SIGNATURE: _wrong_signature,
    HazardKind.SIGNED_FLASH_MODE: _signed_flash_mode,
    HazardKind.OTHER_FLASH_SIZE: _other_flash_size,
    HazardKind.SMALL_UPLOAD: _small_upload,
    HazardKind.RESET_BRICKS: _reset_bricks,
    HazardKind.BOOT_PART: _boot_part,
    HazardKind.SIGNATURE_IGNORED: _signature_ignored,
    HazardKind.LAST_OF_ITS_SIZE: _last_of_its_size,
    HazardKind.OTHER_DIGEST: _other_digest,
    HazardKind.FLASH_CRC: _flash_crc,
    HazardKind.ALREADY_THERE: _already_there,
}
