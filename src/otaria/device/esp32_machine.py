"""An ESP32: flash with its partition table, bootloader and Updater joined, with power and reset (protocols §6.5, §6.6).

Its members have the names of those of :class:`~otaria.device.machine.Machine` where they mean the same.

No instruction is executed here. An app *runs* when the bootloader found its image sound, with the chip's own checks;
unlike an ESP8266's they leave no doubt, as the image's SHA-256 is among them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final

from otaria.device.esp32_bootloader import Started, run_bootloader
from otaria.device.esp32_core_version import Esp32Core
from otaria.device.esp32_slots import EspError, Slots
from otaria.device.esp32_updater import Esp32SignatureVerifier, Esp32Updater
from otaria.device.flash import ERASED, Flash, PowerLost
from otaria.device.spi import Spi
from otaria.errors import DoesNotFit, Refused, Unreachable
from otaria.units import ByteCount, MacAddress, Md5, Sha256, human_size
from otaria.wire.arduino_ota import Command
from otaria.wire.chips import ChipFamily
from otaria.wire.esp32_image import AppDescriptor, Chip
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.otadata import OtaState, SelectEntry
from otaria.wire.partitions import TABLE_OFFSET, TABLES, Partition, PartitionTable

__all__ = ["Esp32Boot", "Esp32BootOutcome", "Esp32Machine", "Esp32ResetReason", "as_flashed"]

COMMON_CHIP: Final = Chip(ChipFamily.ESP32, 301)
"""ESP32 v3.1, what is sold today."""


class Esp32ResetReason(IntEnum):
    """Why the processor starts (``esp_reset_reason``)."""

    POWER_ON = 1
    EXTERNAL = 2
    SOFTWARE = 3
    PANIC = 4
    INTERRUPT_WATCHDOG = 5
    TASK_WATCHDOG = 6
    OTHER_WATCHDOG = 7
    DEEP_SLEEP = 8
    BROWN_OUT = 9


class Esp32BootOutcome(Enum):
    """Where starting the machine led to."""

    RUNS = auto()
    """An app runs."""
    NOTHING_STARTS = auto()
    """The partition table is damaged, or no slot holds a sound image; the bootloader restarts for ever."""


@dataclass(frozen=True, slots=True)
class Esp32Boot:
    """What starting the machine did.

    Args:
        console: what the bootloader printed.
        reason: why the processor started.
        outcome: where it led to.
        partition: what runs; None where nothing does.
    """

    console: str
    reason: Esp32ResetReason
    outcome: Esp32BootOutcome
    partition: Partition | None = None

    @property
    def running(self) -> bool:
        """Whether an app runs."""
        return self.outcome is Esp32BootOutcome.RUNS


def as_flashed(image: bytes, table: PartitionTable = TABLES["default"]) -> bytes:
    """What lies in flash from its beginning once a cable has brought table and image; the bootloader's place is blank.

    The image goes where a first image goes: into the factory app, else into the first slot, with the entry in otadata
    that chooses it.

    Raises:
        DoesNotFit: the image is larger than its partition, or there is none for it.
    """
    pieces = _brought_by_cable(image, table)
    content = bytearray((ERASED,)) * max(offset + len(piece) for offset, piece in pieces)
    for offset, piece in pieces:
        content[offset : offset + len(piece)] = piece
    return bytes(content)


@dataclass(frozen=True, slots=True)
class _App:
    """The app that runs, and what it works with."""

    started: Started
    slots: Slots
    updater: Esp32Updater


class Esp32Machine:
    """One ESP32 module.

    It is made standing still: ``power_on`` starts it. Its partition table is read from flash; what the app there was
    built with is not in the flash's content, so it is told here.

    Args:
        flash: its flash chip.
        mac: its station MAC.
        chip: the part.
        core: the core that the app was built with.
        rollback: bootloader and app were built to go back, as Arduino's are.
        verify_later: the app overrides ``verifyRollbackLater`` and calls :meth:`mark_app_valid` itself; by default a
            new app says that it is well as soon as it starts, as Arduino's start code does.
        real_size: what the flash chip's id claims; by default the truth.
        verifier: the key that the app was built with; its Updater takes only signed images.
    """

    def __init__(
        self,
        flash: Flash,
        mac: MacAddress,
        *,
        chip: Chip = COMMON_CHIP,
        core: Esp32Core = Esp32Core.V3_3_1,
        rollback: bool = True,
        verify_later: bool = False,
        real_size: int | None = None,
        verifier: Esp32SignatureVerifier | None = None,
    ) -> None:
        self.flash = flash
        self.mac = mac
        self.chip = chip
        self.core = core
        self.rollback = rollback
        self.verify_later = verify_later
        self.real_size = ByteCount(flash.size if real_size is None else real_size)
        self._verifier = verifier
        self._spi = Spi(flash)
        self._printed: list[str] = []
        self._outcome: Esp32BootOutcome | None = None
        self._app: _App | None = None
        self._sketch_md5: Md5 | None = None

    # power and reset

    def power_on(self, noise: bytes = b"") -> Esp32Boot:
        """Switch it on, or off and on again.

        Args:
            noise: what volatile memory comes up with; an ESP32 keeps nothing there that matters.

        Raises:
            Interruption: an interruption armed in the flash struck while otadata was rewritten; ``console`` has what
                was printed until then.
        """
        del noise
        self.flash.powered = True
        return self._boot(Esp32ResetReason.POWER_ON)

    def power_off(self) -> None:
        """Take the supply away."""
        self.flash.powered = False
        self._outcome = None

    def reset(self, reason: Esp32ResetReason = Esp32ResetReason.SOFTWARE) -> Esp32Boot:
        """Start the processor anew while the supply stays.

        Raises:
            PowerLost: there is no supply; ``power_on`` is the way.
            Interruption: as with :meth:`power_on`.
        """
        return self._boot(reason)

    def flash_over_cable(self, image: bytes, table: PartitionTable = TABLES["default"]) -> Esp32Boot:
        """Flash table and image over the serial port and start them, as the Arduino IDE does.

        Raises:
            DoesNotFit: the image is larger than its partition, or the table is for a larger chip; nothing was changed.
            Refused: the chip did not take it.
            Interruption: as with :meth:`power_on`.
        """
        self._require_power()
        pieces = _brought_by_cable(image, table)
        if max(each.end for each in table.partitions) > self.flash.size:
            raise DoesNotFit(f"The flash of {self.mac} has {human_size(self.flash.size)}: choose a table for it.")
        self._outcome = None
        for offset, piece in pieces:
            self._write_over_cable(offset, piece)
        return self._boot(Esp32ResetReason.EXTERNAL)

    @property
    def running(self) -> bool:
        """Whether an app runs now."""
        return self.flash.powered and self._outcome is Esp32BootOutcome.RUNS

    @property
    def bricked(self) -> bool:
        """Whether it is past help from afar: only flashing over the cable brings it back."""
        return self._outcome is Esp32BootOutcome.NOTHING_STARTS

    @property
    def console(self) -> str:
        """What the bootloader printed since the last power-on or reset, also if that was broken off."""
        return "".join(self._printed)

    def clone(self) -> Esp32Machine:
        """A second device whose flash has the same content. It stands still."""
        return Esp32Machine(
            self.flash.clone(),
            self.mac,
            chip=self.chip,
            core=self.core,
            rollback=self.rollback,
            verify_later=self.verify_later,
            real_size=self.real_size,
            verifier=self._verifier,
        )

    # what the app sees

    @property
    def updater(self) -> Esp32Updater:
        """The app's ``Update`` object, a new one after every start.

        Raises:
            Unreachable: no app runs.
        """
        return self._running_app().updater

    @property
    def partition(self) -> Partition:
        """Where the app runs.

        Raises:
            Unreachable: no app runs.
        """
        return self._running_app().started.partition

    @property
    def partition_table(self) -> PartitionTable:
        """The table by which the app was started.

        Raises:
            Unreachable: no app runs.
        """
        return self._running_app().started.table

    @property
    def sketch_content(self) -> bytes:
        """The running image as it lies in flash; nothing where no app runs."""
        if not self.running:
            return b""
        return self._spi.read(self.partition.offset, self.sketch_size) or b""

    @property
    def sketch_size(self) -> ByteCount:
        """``ESP.getSketchSize()``: bytes of the image, appended digest included; 0 where no app runs."""
        return self._running_app().started.size if self.running else ByteCount(0)

    @property
    def sketch_md5(self) -> Md5 | None:
        """``ESP.getSketchMD5()``: of the image as it lies in flash; looked up once while the app runs."""
        if self._sketch_md5 is None and self.running:
            self._sketch_md5 = Md5(hashlib.md5(self.sketch_content).hexdigest())  # noqa: S324 - the device's protocol
        return self._sketch_md5 if self.running else None

    @property
    def sketch_sha256(self) -> Sha256 | None:
        """``esp_partition_get_sha256``: of the image without its appended digest; polls send it in upper case."""
        return self._running_app().started.sha256 if self.running else None

    @property
    def free_sketch_space(self) -> ByteCount:
        """``ESP.getFreeSketchSpace()``: the size of the next slot; 0 where there is none."""
        app = self._running_app()
        slot = app.slots.next_update(app.started.partition)
        return ByteCount(0) if slot is None else slot.size

    @property
    def file_system_size(self) -> ByteCount:
        """Bytes of the partition that a file-system update is written to; 0 where there is none."""
        partition = self.updater.target_of(Command.FILESYSTEM)
        return ByteCount(0) if partition is None else partition.size

    @property
    def descriptor(self) -> AppDescriptor | None:
        """What the running app says about itself; None where it says nothing, or no app runs."""
        return self._running_app().started.descriptor if self.running else None

    @property
    def flash_chip_size(self) -> ByteCount:
        """``ESP.getFlashChipSize()``: on an ESP32 what the chip's id states."""
        return self.real_size

    @property
    def ap_mac(self) -> MacAddress:
        """The access point's MAC: the station's and one more, as an ESP32 with four addresses has it."""
        last = (int(self.mac[-2:], 16) + 1) % 256
        return MacAddress(f"{self.mac[:-2]}{last:02X}")

    @property
    def ota_state(self) -> int | None:
        """What otadata says of the running app (:class:`~otaria.wire.otadata.OtaState`); None where it says nothing."""
        app = self._running_app()
        return app.slots.state_of(app.started.partition)

    def mark_app_valid(self) -> EspError:
        """``esp_ota_mark_app_valid_cancel_rollback``: the app is well and stays.

        Raises:
            Unreachable: no app runs.
            Interruption: an interruption armed in the flash struck.
        """
        return self._running_app().slots.mark_valid()

    def mark_app_invalid(self) -> EspError:
        """``esp_ota_mark_app_invalid_rollback_and_reboot``; where it returns OK, the caller resets the machine.

        Raises:
            Unreachable: no app runs.
            Interruption: an interruption armed in the flash struck.
        """
        return self._running_app().slots.mark_invalid()

    def _boot(self, reason: Esp32ResetReason) -> Esp32Boot:
        self._require_power()
        self._outcome, self._app, self._sketch_md5 = None, None, None
        self._printed.clear()
        started = run_bootloader(self._spi, self.chip, self.real_size, rollback=self.rollback, put=self._printed.append)
        if started is None:
            self._outcome = Esp32BootOutcome.NOTHING_STARTS
            return Esp32Boot(self.console, reason, self._outcome)
        self._app = self._start_app(started)
        self._outcome = Esp32BootOutcome.RUNS
        return Esp32Boot(self.console, reason, self._outcome, started.partition)

    def _start_app(self, started: Started) -> _App:
        """What happens before ``setup``."""
        slots = Slots(self._spi, started.table, self.chip, rollback=self.rollback)
        if self.rollback and not self.verify_later and slots.state_of(started.partition) == OtaState.PENDING_VERIFY:
            slots.mark_valid()
        updater = Esp32Updater(self._spi, slots, started.partition, self.core.behaviour, self._verifier)
        return _App(started, slots, updater)

    def _running_app(self) -> _App:
        if self._app is None or not self.running:
            raise Unreachable(f"No app runs on {self.mac}: switch it on, or flash it over the cable.")
        return self._app

    def _require_power(self) -> None:
        if not self.flash.powered:
            raise PowerLost(f"{self.mac} has no power; switch it on.")

    def _write_over_cable(self, offset: int, content: bytes) -> None:
        erased = all(self._spi.erase(sector) for sector in _sectors(offset, len(content)))
        if not (erased and self._spi.write(offset, content) and self._spi.read(offset, len(content)) == content):
            raise Refused(f"The flash chip of {self.mac} did not take what belongs to {offset:#x}; replace the board.")


def _sectors(offset: int, length: int) -> range:
    return range(offset // SECTOR_SIZE, -(-(offset + length) // SECTOR_SIZE))


def _brought_by_cable(image: bytes, table: PartitionTable) -> list[tuple[int, bytes]]:
    """What the Arduino IDE writes, and where; the bootloader is not modelled."""
    app = next((each for each in (table.factory, *table.ota_slots.values()) if each is not None), None)
    if app is None or len(image) > app.size:
        room = "no app partition" if app is None else f"{human_size(app.size)} for it"
        raise DoesNotFit(f"The image has {human_size(len(image))} and the table {room}: choose another table.")
    pieces: list[tuple[int, bytes]] = [(TABLE_OFFSET, table.encode()), (app.offset, image)]
    if table.otadata is not None:
        chosen = SelectEntry.made(1, OtaState.UNDEFINED).encode() if app.ota_slot is not None else b""
        pieces.append((table.otadata.offset, chosen.ljust(table.otadata.size, bytes((ERASED,)))))
    return pieces
