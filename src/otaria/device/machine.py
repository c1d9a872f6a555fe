"""The machine: flash, RTC memory and Updater joined, with power and reset (protocols §5.3, §6.3, §12)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

from otaria.device.core_version import Core
from otaria.device.eboot import CopyResult, EbootRun, Ending, run_eboot
from otaria.device.flash import Flash, PowerLost
from otaria.device.program import app_fingerprint, boot_part_starts, sketch_crc_holds, sketch_runs
from otaria.device.rtc import RtcMemory
from otaria.device.spi import Spi
from otaria.device.updater import UART_BOOT_MODE, SignatureVerifier, Updater, known_flash_mode
from otaria.errors import DoesNotFit, Refused, Unreachable
from otaria.units import ByteCount, MacAddress, Md5, human_size
from otaria.wire.esp_image import MAGIC, FlashMode, flash_size_of, sketch_size
from otaria.wire.layouts import SECTOR_SIZE, Layout

__all__ = ["Boot", "BootOutcome", "Machine", "ResetReason"]

NORMAL_BOOT_MODE: Final = 3
"""The strap value under which the ROM starts from flash."""

TYPICAL_FREE_HEAP: Final = ByteCount(40_000)
"""What a sketch with Wi-Fi and a web server leaves free."""


class ResetReason(IntEnum):
    """Why the processor starts (``rst_info.reason``)."""

    POWER_ON = 0
    HARDWARE_WATCHDOG = 1
    EXCEPTION = 2
    SOFTWARE_WATCHDOG = 3
    SOFTWARE_RESTART = 4
    DEEP_SLEEP_WAKE = 5
    EXTERNAL = 6


_SAMPLES_STRAPS: Final = frozenset({ResetReason.POWER_ON, ResetReason.DEEP_SLEEP_WAKE, ResetReason.EXTERNAL})
"""What comes in by power or by the reset pin looks at the strapping pins again; everything else keeps the latch."""


class BootOutcome(Enum):
    """Where starting the machine led to."""

    RUNS = auto()
    """The sketch runs (see :mod:`otaria.device.program` for what that means)."""
    ROM_REFUSES = auto()
    """The boot part is no boot part, or its checksum is wrong."""
    LOAD_FAILS = auto()
    """eboot could not load the app, and restarts for ever."""
    CRASHES = auto()
    """eboot jumped into something that is no sketch, and the exception restarts it for ever."""
    HANGS = auto()
    """eboot copies for ever, its watchdog off; a power cycle makes it forget the copy."""
    SERIAL_LOADER = auto()
    """The latched boot mode sent the ROM to its serial loader; the reset pin or a power cycle helps."""


_BRICKED: Final = frozenset({BootOutcome.ROM_REFUSES, BootOutcome.LOAD_FAILS, BootOutcome.CRASHES})


@dataclass(frozen=True, slots=True)
class Boot:
    """What starting the machine did.

    A start that ends in a restart with another outcome, as after a failed copy, is followed to its end.

    Args:
        console: what eboot printed, all runs of it one after the other.
        reason: why the processor started.
        outcome: where it led to.
        copy_result: how the copy ended; None where nothing was copied.
        entry: the address at which the sketch was entered; None where none runs.
    """

    console: str
    reason: ResetReason
    outcome: BootOutcome
    copy_result: CopyResult | None = None
    entry: int | None = None

    @property
    def running(self) -> bool:
        """Whether the sketch runs."""
        return self.outcome is BootOutcome.RUNS


class Machine:
    """One ESP8266 module.

    It is made standing still: ``power_on`` starts it. What the sketch in its flash was built with is not in the
    flash's content, so it is told here.

    Args:
        flash: its chip.
        layout: the flash layout that the sketch was built for.
        mac: its station MAC.
        core: the core that the sketch and its boot part were built with.
        real_size: what the flash chip's id claims; by default the truth.
        atomic_file_system: the sketch was built with ATOMIC_FS_UPDATE.
        flash_map: the sketch was built with FLASH_MAP_SUPPORT, an "auto" layout.
        verifier: the key that the sketch was built with; its Updater takes only signed images.

    Attributes:
        free_heap: bytes of memory that the sketch leaves free.
    """

    def __init__(
        self,
        flash: Flash,
        layout: Layout,
        mac: MacAddress,
        *,
        core: Core = Core.V3_1,
        real_size: int | None = None,
        atomic_file_system: bool = False,
        flash_map: bool = False,
        verifier: SignatureVerifier | None = None,
    ) -> None:
        self.flash = flash
        self.layout = layout
        self.mac = mac
        self.core = core
        self.real_size = ByteCount(flash.size if real_size is None else real_size)
        self.atomic_file_system = atomic_file_system
        self.flash_map = flash_map
        self.free_heap = TYPICAL_FREE_HEAP
        self.rtc = RtcMemory()
        self.boot_strap_mode = NORMAL_BOOT_MODE
        self._verifier = verifier
        self._spi = Spi(flash)
        self._printed: list[str] = []
        self._outcome: BootOutcome | None = None
        self._proven_app: int | None = None
        self._updater = Updater(self, self._spi, self.rtc)
        self._sketch_size: ByteCount | None = None
        self._sketch_md5: Md5 | None = None

    # power and reset

    def power_on(self, noise: bytes) -> Boot:
        """Switch it on, or off and on again.

        Args:
            noise: what the cells of RTC memory come up with (:meth:`RtcMemory.power_on`).

        Raises:
            Interruption: an interruption armed in the flash struck during the copy; ``console`` has what was
                printed until then.
        """
        self.flash.powered = True
        self.rtc.power_on(noise)
        return self._boot(ResetReason.POWER_ON)

    def power_off(self) -> None:
        """Take the supply away."""
        self.flash.powered = False
        self._outcome = None

    def reset(self, reason: ResetReason = ResetReason.SOFTWARE_RESTART) -> Boot:
        """Start the processor anew while the supply stays; RTC memory keeps what it has.

        Raises:
            PowerLost: there is no supply; ``power_on`` is the way.
            Interruption: as with :meth:`power_on`.
        """
        return self._boot(reason)

    def flash_over_cable(
        self, image: bytes, *, mode: FlashMode | None = None, size_and_frequency: int | None = None
    ) -> Boot:
        """Flash an image from offset 0 over the serial port and start it, as esptool does without a reset.

        The boot mode stays latched at 1: the sketch runs, but its Updater refuses with error 11, and a restart by
        software ends in the serial loader, until the reset pin or a power cycle (protocols §12).

        Args:
            image: the file.
            mode: what esptool shall put into byte 2, its ``--flash_mode``.
            size_and_frequency: what it shall put into byte 3, its ``--flash_size`` and ``--flash_freq``.

        Raises:
            DoesNotFit: the image is larger than the chip; nothing was changed.
            Refused: the chip did not take it.
            Interruption: as with :meth:`power_on`.
        """
        self._require_power()
        if len(image) > self.flash.size:
            raise DoesNotFit(
                f"The image has {human_size(len(image))} and the flash of {self.mac} {human_size(self.flash.size)}: "
                "build it for this board."
            )
        self._outcome = None
        self._write_over_cable(_patched(image, mode, size_and_frequency))
        self.boot_strap_mode = UART_BOOT_MODE
        return self._run_from_flash(ResetReason.EXTERNAL)

    @property
    def running(self) -> bool:
        """Whether its sketch runs now."""
        return self.flash.powered and self._outcome is BootOutcome.RUNS

    @property
    def bricked(self) -> bool:
        """Whether it is past help from afar: only flashing over the cable brings it back."""
        return self._outcome in _BRICKED

    @property
    def console(self) -> str:
        """What eboot printed since the last power-on or reset, also if that was broken off."""
        return "".join(self._printed)

    def clone(self) -> Machine:
        """A second device in the same state: flash, RTC memory, latched boot mode. It stands still."""
        twin = Machine(
            self.flash.clone(),
            self.layout,
            self.mac,
            core=self.core,
            real_size=self.real_size,
            atomic_file_system=self.atomic_file_system,
            flash_map=self.flash_map,
            verifier=self._verifier,
        )
        twin.rtc, twin._proven_app = self.rtc.clone(), self._proven_app
        twin.boot_strap_mode, twin.free_heap = self.boot_strap_mode, self.free_heap
        return twin

    # what the sketch sees

    @property
    def updater(self) -> Updater:
        """The sketch's ``Update`` object, a new one after every start.

        Raises:
            Unreachable: no sketch runs.
        """
        if not self.running:
            raise Unreachable(f"No sketch runs on {self.mac}: switch it on, or flash it over the cable.")
        return self._updater

    @property
    def chip_id(self) -> int:
        """``ESP.getChipId()``."""
        return self.mac.chip_id

    @property
    def sketch_size(self) -> ByteCount:
        """``ESP.getSketchSize()``: the end of the app part; looked up once while the sketch runs; 0 if unreadable."""
        if self._sketch_size is not None and self.running:
            return self._sketch_size
        self._sketch_size = self._walk_sketch()
        return self._sketch_size

    @property
    def sketch_md5(self) -> Md5 | None:
        """``ESP.getSketchMD5()``: of flash up to the sketch's size; once while it runs, None if unreadable."""
        if self._sketch_md5 is None or not self.running:
            content = self._spi.read(0, self.sketch_size)
            digest = None if content is None else hashlib.md5(content).hexdigest()  # noqa: S324 - the device's protocol
            self._sketch_md5 = None if digest is None else Md5(digest)
        return self._sketch_md5

    @property
    def free_sketch_space(self) -> ByteCount:
        """``ESP.getFreeSketchSpace()``: from the sketch's last sector to the file system."""
        return self.layout.free_sketch_space(self.sketch_size)

    @property
    def flash_mode(self) -> int:
        """``ESP.getFlashChipMode()``: byte 2 of flash; :data:`~otaria.device.updater.UNKNOWN_FLASH_MODE` above 3."""
        return known_flash_mode(self._first_bytes()[2])

    @property
    def flash_chip_size(self) -> ByteCount:
        """``ESP.getFlashChipSize()``: what the running image was built for."""
        return self.real_size if self.flash_map else flash_size_of(self._first_bytes()[3])

    def check_flash_crc(self) -> bool:
        """``ESP.checkFlashCRC()``; false once the Updater or esptool has put another mode into byte 2."""
        return sketch_crc_holds(self._spi)

    def _first_bytes(self) -> bytes:
        return self._spi.read(0, 4) or bytes(4)

    def _walk_sketch(self) -> ByteCount:
        try:
            return sketch_size(self._read_or_give_up)
        except _Unreadable:
            return ByteCount(0)

    def _read_or_give_up(self, offset: int, length: int) -> bytes:
        content = self._spi.read(offset, length)
        if content is None:
            raise _Unreadable
        return content

    def _require_power(self) -> None:
        if not self.flash.powered:
            raise PowerLost(f"{self.mac} has no power; switch it on.")

    def _boot(self, reason: ResetReason) -> Boot:
        self._require_power()
        self._outcome = None
        if reason in _SAMPLES_STRAPS:
            self.boot_strap_mode = NORMAL_BOOT_MODE
        if self.boot_strap_mode == UART_BOOT_MODE:
            self._printed.clear()
            self._outcome = BootOutcome.SERIAL_LOADER
            return Boot("", reason, self._outcome)
        return self._run_from_flash(reason)

    def _run_from_flash(self, reason: ResetReason) -> Boot:
        self._printed.clear()
        self._updater = Updater(self, self._spi, self.rtc)
        if self._verifier is not None:
            self._updater.install_signature(self._verifier)
        self._sketch_size = self._sketch_md5 = None
        boot = self._follow(reason)
        self._outcome = boot.outcome
        return boot

    def _follow(self, reason: ResetReason) -> Boot:
        """Run ROM and eboot until nothing changes any more: a second time only if the first had a command."""
        copy_result = None
        while boot_part_starts(self._spi):
            run = run_eboot(self._spi, self.rtc, self.core.behaviour, self._printed.append)
            copy_result = copy_result if run.copy_result is None else run.copy_result
            outcome = self._judge(run)
            if outcome in (BootOutcome.RUNS, BootOutcome.HANGS) or not run.had_command:
                entry = run.entry if outcome is BootOutcome.RUNS else None
                return Boot(self.console, reason, outcome, copy_result, entry)
        return Boot(self.console, reason, BootOutcome.ROM_REFUSES, copy_result)

    def _judge(self, run: EbootRun) -> BootOutcome:
        if run.ending is Ending.HANGS:
            return BootOutcome.HANGS
        if run.ending is Ending.RESTARTS:
            return BootOutcome.LOAD_FAILS
        if not sketch_runs(self._spi, run, self.core.behaviour.iram_end, self._proven_app):
            return BootOutcome.CRASHES
        self._proven_app = app_fingerprint(self._spi)
        return BootOutcome.RUNS

    def _write_over_cable(self, image: bytes) -> None:
        for offset in range(0, len(image), SECTOR_SIZE):
            piece = image[offset : offset + SECTOR_SIZE]
            erased = self._spi.erase(offset // SECTOR_SIZE)
            if not (erased and self._spi.write(offset, piece) and self._spi.read(offset, len(piece)) == piece):
                raise Refused(f"The flash chip of {self.mac} did not take the image at {offset:#x}; replace the board.")


class _Unreadable(Exception):
    """The sketch's own headers cannot be read."""


def _patched(image: bytes, mode: FlashMode | None, size_and_frequency: int | None) -> bytes:
    """The image as esptool sends it: bytes 2 and 3 replaced where options say so and it is an image."""
    if not image.startswith(bytes((MAGIC,))):
        return image
    second = image[2:3] if mode is None else bytes((mode,))
    third = image[3:4] if size_and_frequency is None else bytes((size_and_frequency,))
    return image[:2] + second + third + image[4:]
