"""A virtual ESP8266 or ESP32: the silicon of ``otaria.device``, a sketch, and real sockets.

It does not execute Xtensa instructions. Its bootloader copies and loads what lies in flash by the chip's own rules,
and where a chip would now jump into the sketch, a sketch written in Python runs; the version that it reports is read
from the image in flash. So "it runs v2" means: v2 lies in its flash, whole, and the bootloader loaded it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from otaria.device.core_version import Core
from otaria.device.esp32_core_version import Esp32Core
from otaria.device.esp32_machine import Esp32Boot, Esp32Machine, as_flashed
from otaria.device.flash import BLANK_SECTOR, Flash
from otaria.device.machine import Boot, Machine
from otaria.device.rtc import RTC_SIZE
from otaria.sim.faults import SiliconFaults
from otaria.sim.firmware.marker import find_marker
from otaria.sim.stock_sketch import StockSettings, StockSketch
from otaria.sketch.board import Board, Network, Sketch, run
from otaria.sketch.restart import Restart
from otaria.units import MIB, ByteCount, MacAddress
from otaria.wire.esp_image import FLASH_SIZES
from otaria.wire.layouts import SECTOR_SIZE, Layout
from otaria.wire.partitions import TABLE_OFFSET

__all__ = ["DeviceSettings", "VirtualDevice"]

ESP32_FLASH_SIZE: Final = ByteCount(4 * MIB)
"""What most ESP32 modules have."""

UNKNOWN_VERSION: Final = "unknown"
"""What a device reports whose image holds no marker of ours."""


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """What tells one device from another.

    Args:
        name: its host name.
        mac: its station MAC.
        layout: how its flash is divided.
        network: its place on the network.
        sketch: what the stock sketch was written with, or another sketch to run.
        core: the generation of the core that its sketch was built with.
        esp32: this generation of the ESP32's core instead: then it is an ESP32, and has no layout but the partition
            table of its first image.
        faults: what is wrong with its silicon.
        time_scale: real seconds per second of the libraries' own delays.
    """

    name: str
    mac: MacAddress
    layout: Layout
    network: Network
    sketch: StockSettings | type[Sketch] = field(default_factory=StockSettings)
    core: Core = Core.V3_1
    esp32: Esp32Core | None = None
    faults: SiliconFaults = field(default_factory=SiliconFaults)
    time_scale: float = 1.0

    @property
    def flash_size(self) -> ByteCount:
        """Bytes of its flash chip."""
        return self.layout.flash_size if self.esp32 is None else ESP32_FLASH_SIZE


class VirtualDevice:
    """One device.

    Args:
        settings: who it is.
        flash: its chip; an image must lie in it for anything to run.
        serial: called with what its serial port says.
        on_boot: called after each run of the bootloader.
    """

    def __init__(
        self,
        settings: DeviceSettings,
        flash: Flash,
        *,
        serial: Callable[[str], None],
        on_boot: Callable[[Boot | Esp32Boot], None] = lambda _boot: None,
    ) -> None:
        self.settings = settings
        self.machine: Machine | Esp32Machine = (
            Machine(flash, settings.layout, settings.mac, core=settings.core)
            if settings.esp32 is None
            else Esp32Machine(flash, settings.mac, core=settings.esp32)
        )
        settings.faults.afflict(self.machine)
        self._serial = serial
        self._on_boot = on_boot

    @property
    def version(self) -> str:
        """What the image in flash calls itself."""
        if isinstance(self.machine, Esp32Machine):
            descriptor = self.machine.descriptor
            return UNKNOWN_VERSION if descriptor is None else descriptor.version
        marker = find_marker(self.machine.flash.read(0, self.machine.sketch_size))
        return marker.version if marker else UNKNOWN_VERSION

    def put_in_if_blank(self, image: bytes) -> None:
        """Put an image into a chip that is erased where sketches begin; any other keeps what it has.

        The header's flash size becomes the layout's, as esptool sees to when it flashes over the cable.
        """
        flash = self.machine.flash
        esp32 = self.settings.esp32 is not None
        if flash.read(TABLE_OFFSET if esp32 else 0, SECTOR_SIZE) == BLANK_SECTOR:
            flash.load(as_flashed(image) if esp32 else _built_for(self.settings.layout, image))

    async def run(self) -> None:
        """Switch it on, and run it through all its restarts until cancelled.

        Raises:
            PortTaken: another program has one of its ports.
        """
        boot: Boot | Esp32Boot = self.machine.power_on(os.urandom(RTC_SIZE))
        while True:
            self._serial(boot.console)
            self._on_boot(boot)
            if not boot.running:
                self._serial("(the chip does not start what is in its flash; only a cable helps)\n")
                await asyncio.Event().wait()
            boot = await self._run_until_restart()

    async def _run_until_restart(self) -> Boot | Esp32Boot:
        settings = self.settings
        board = Board(
            self.machine,
            name=settings.name,
            version=self.version,
            network=settings.network,
            serial=self._serial,
            time_scale=settings.time_scale,
        )
        try:
            await run(_sketch(board, settings.sketch))
        except Restart as restart:
            machine = self.machine
            return machine.reset(restart.reason) if isinstance(machine, Machine) else machine.reset()
        raise AssertionError("a sketch runs until it restarts the board")


def _sketch(board: Board, sketch: StockSettings | type[Sketch]) -> Sketch:
    return StockSketch(board, sketch) if isinstance(sketch, StockSettings) else sketch(board)


def _built_for(layout: Layout, image: bytes) -> bytes:
    nibble = next(nibble for nibble, size in FLASH_SIZES.items() if size == layout.flash_size)
    return image[:3] + bytes((nibble << 4 | image[3] & 0x0F,)) + image[4:]
