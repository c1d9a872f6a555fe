"""What a rehearsal is made of: the device, the file's encoding, the room there is, and the copy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from otaria.device.core_version import Core
from otaria.device.flash import Flash
from otaria.device.machine import Machine
from otaria.device.rehearsal_cuts import POWER_ON_NOISE
from otaria.device.rehearsal_timing import FlashWork, Span
from otaria.device.rehearsal_ways import Way, declared_size
from otaria.errors import BadInput, DoesNotFit, NotAnImage
from otaria.units import ByteCount, FlashOffset, MacAddress, human_size, round_up
from otaria.wire.esp_image import GZIP_MAGIC
from otaria.wire.image_file import ImageFile, ImageKind, read_image_file
from otaria.wire.layouts import SECTOR_SIZE, Layout
from otaria.wire.signed import PublicKey, Verifier, split

__all__ = ["Candidate", "CopyPlan", "Encoding", "Space", "Specimen", "space_for"]

SPECIMEN_MAC: Final = MacAddress("5E:CF:7F:00:00:00")
"""Of the range that nobody sells; no step of an update looks at it."""


class Encoding(StrEnum):
    """What a file is wrapped in."""

    PLAIN = "plain"
    GZIP = "gzip"
    SIGNED = "signed"
    GZIP_SIGNED = "gzip-signed"
    """Compressed first, then signed."""

    @classmethod
    def of(cls, content: bytes) -> Encoding:
        """What a file is, by its first and its last bytes."""
        compressed, signed = content.startswith(GZIP_MAGIC), split(content) is not None
        if compressed:
            return cls.GZIP_SIGNED if signed else cls.GZIP
        return cls.SIGNED if signed else cls.PLAIN

    @property
    def compressed(self) -> bool:
        """Whether a bootloader has to unpack it."""
        return self in (Encoding.GZIP, Encoding.GZIP_SIGNED)

    @property
    def signed(self) -> bool:
        """Whether a signature follows."""
        return self in (Encoding.SIGNED, Encoding.GZIP_SIGNED)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The file that is to be sent, whatever it is: a device takes things that nobody should send.

    Args:
        content: its bytes.
        image: what is inside; None where it cannot be told.
        flaw: why it cannot be told.
    """

    content: bytes = field(repr=False)
    image: ImageFile | None
    flaw: str | None = None

    @classmethod
    def of(cls, content: bytes) -> Candidate:
        """Analyse a file; that takes longer than to rehearse it."""
        try:
            return cls(content, read_image_file(content, ImageKind.SKETCH))
        except NotAnImage as error:
            return cls(content, None, str(error))

    @property
    def size(self) -> ByteCount:
        """Bytes as sent."""
        return ByteCount(len(self.content))

    @property
    def encoding(self) -> Encoding:
        """What it is wrapped in."""
        return Encoding.of(self.content)

    @property
    def plain(self) -> bytes:
        """The image, unpacked and without signature; the bytes themselves where there is none."""
        return self.content if self.image is None else self.image.payload


@dataclass(frozen=True, slots=True)
class Specimen:
    """The device on which an image is rehearsed.

    Args:
        layout: the flash layout of the sketch that runs.
        running: that sketch as it lies in flash, plain.
        core: the core that it and its boot part were built with.
        key: the key that it was built with, where it takes only signed images.
        chip_size: bytes of the flash chip; None for those of the layout.
        flash_map: it was built with FLASH_MAP_SUPPORT, an "auto" layout.
    """

    layout: Layout
    running: bytes
    core: Core = Core.V3_1
    key: PublicKey | None = None
    chip_size: ByteCount | None = None
    flash_map: bool = False

    @property
    def verifies(self) -> bool:
        """Whether it takes only signed images: it has a key, and a core that can use it."""
        return self.key is not None and self.core.behaviour.verifies_signatures

    def switched_on(self) -> Machine:
        """The device, fresh, with its sketch running.

        Raises:
            DoesNotFit: the sketch reaches into the file system.
            BadInput: it does not start.
        """
        if len(self.running) > self.layout.file_system_start:
            raise DoesNotFit(
                f"The running sketch has {human_size(len(self.running))}, and layout {self.layout.name} has "
                f"{human_size(self.layout.file_system_start)} for sketches: it is another device's."
            )
        flash = Flash(self.chip_size or self.layout.flash_size)
        flash.load(self.running)
        machine = Machine(
            flash,
            self.layout,
            SPECIMEN_MAC,
            core=self.core,
            flash_map=self.flash_map,
            verifier=None if self.key is None else Verifier(self.key, self.core.behaviour.signature_padding),
        )
        if not machine.power_on(POWER_ON_NOISE).running:
            raise BadInput(
                "The image that is said to run on the device does not start there. Give the plain .bin that it was "
                "flashed with, neither compressed nor signed."
            )
        return machine


@dataclass(frozen=True, slots=True)
class Space:
    """The room for a file from when it is received until it is copied (protocols §7).

    Args:
        free: from the running sketch's last sector to the file system; what the device reports as free space.
        declared: what the Updater is told.
        limit: the largest file that this way takes, in whole sectors.
        needed: what the file takes, in whole sectors.
        staging_start: where its first byte goes, or would go if there were room.
    """

    free: ByteCount
    declared: ByteCount
    limit: ByteCount
    needed: ByteCount
    staging_start: FlashOffset

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.needed <= self.limit

    @property
    def spare(self) -> int:
        """Bytes that are left over; below zero, bytes that are lacking."""
        return self.limit - self.needed


def space_for(machine: Machine, way: Way, size: int) -> Space:
    """What a running machine has for a file of that size."""
    free = machine.free_sketch_space
    declared = declared_size(machine, way, size)
    limit = free if way is not Way.WEB else declared if declared <= free else 0
    needed = round_up(size, SECTOR_SIZE)
    return Space(free, declared, ByteCount(limit), ByteCount(needed), machine.layout.staging_start(declared))


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What the bootloader does after the restart.

    Args:
        work: for the flash chip.
        source: where the received file begins.
        end: where what is written ends.
        floor: where the file had to begin, at least, for a proof that unpacking cannot overtake it (protocols §5.2).
        rewrites_boot_part: whether the first sector is written, too.
    """

    work: FlashWork
    source: FlashOffset
    end: FlashOffset
    floor: FlashOffset
    rewrites_boot_part: bool

    @property
    def brick_window(self) -> Span:
        """As long as the copy lasts, a power cut bricks."""
        return self.work.duration

    @property
    def margin(self) -> int:
        """Bytes between the proven floor and the file; below zero there is no proof."""
        return self.source - self.floor

    @property
    def overlap(self) -> ByteCount:
        """Bytes of the received file that the copy overwrites, after it has read them."""
        return ByteCount(max(0, self.end - self.source))
