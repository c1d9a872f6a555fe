"""Every flash layout of the ESP8266 core, from the formulas that its linker scripts are made with (protocols §7).

Offsets count from the start of flash; a pointer of the running program is the offset plus 0x40200000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otaria.errors import BadInput
from otaria.units import KIB, MIB, ByteCount, FlashOffset, round_up

__all__ = ["LAYOUTS", "SECTOR_SIZE", "Layout", "find_layout", "layouts_with_file_system_at"]

SECTOR_SIZE: Final = 4096
"""The smallest piece of flash that can be erased."""

_SYSTEM_KIB: Final = 20
"""EEPROM (4), RF calibration (4) and SDK configuration (12) at the end of flash."""

_BOOT_PART_AND_HEADERS: Final = 0x1000 + 0x10
"""What an image holds besides its irom0: the boot part, the app's header and its first segment header."""

_LARGE_FILE_SYSTEM: Final = 512 * KIB
"""From this size on a file system has blocks of 8 KiB instead of 4 KiB."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies in one device's flash.

    Args:
        name: the name of the core's linker script: ``4m1m`` is 4 MiB of flash with a 1 MiB file system.
        flash_size: what the image was built for; the chip may be larger.
        file_system_start: FS_start, the end of the room that sketch and staging area share.
        file_system_end: FS_end, rounded down to a whole block; equal to the start where there is none.
        page: bytes per file-system page, 0 where there is no file system.
        block: bytes per file-system block, 0 where there is no file system.
        irom_max: the largest irom0 segment that the linker allows.
    """

    name: str
    flash_size: ByteCount
    file_system_start: FlashOffset
    file_system_end: FlashOffset
    page: int
    block: int
    irom_max: ByteCount

    @property
    def file_system_size(self) -> ByteCount:
        """Bytes from FS_start to FS_end."""
        return ByteCount(self.file_system_end - self.file_system_start)

    @property
    def eeprom(self) -> FlashOffset:
        """The sector that the EEPROM library uses."""
        return FlashOffset(self.flash_size - _SYSTEM_KIB * KIB)

    @property
    def rf_calibration(self) -> FlashOffset:
        """The sector of the radio's calibration."""
        return FlashOffset(self.flash_size - 16 * KIB)

    @property
    def sdk_configuration(self) -> FlashOffset:
        """The three sectors in which the SDK keeps its settings."""
        return FlashOffset(self.flash_size - 12 * KIB)

    @property
    def same_size_ota(self) -> ByteCount:
        """The largest image that can replace another of its own size over the air."""
        half_in_sectors = self.file_system_start // 2 // SECTOR_SIZE * SECTOR_SIZE
        return ByteCount(min(self.irom_max, half_in_sectors))

    def free_sketch_space(self, sketch_size: int) -> ByteCount:
        """Bytes between the running sketch, rounded up to a sector, and FS_start (protocols §6.3)."""
        return ByteCount(self.file_system_start - round_up(sketch_size, SECTOR_SIZE))

    def staging_start(self, size: int) -> FlashOffset:
        """Where the Updater puts an image of ``size`` bytes: as high as it fits below FS_start (protocols §4.1)."""
        return FlashOffset(max(0, self.file_system_start - round_up(size, SECTOR_SIZE)))


def _layout(name: str, flash_kib: int, file_system_kib: int) -> Layout:
    """One row of the table by the formulas of the core's board generator."""
    end_kib = flash_kib - _SYSTEM_KIB
    small = flash_kib * KIB <= MIB
    if file_system_kib == 0:
        start, page, block = end_kib * KIB, 0, 0
    else:
        start = ((end_kib if small else flash_kib) - file_system_kib) * KIB
        page, block = 256, 8192 if file_system_kib * KIB >= _LARGE_FILE_SYSTEM else 4096
    end = start + (end_kib * KIB - start) // block * block if block else start
    irom_limit = (flash_kib - file_system_kib - _SYSTEM_KIB) * KIB if small else MIB
    return Layout(
        name=name,
        flash_size=ByteCount(flash_kib * KIB),
        file_system_start=FlashOffset(start),
        file_system_end=FlashOffset(end),
        page=page,
        block=block,
        irom_max=ByteCount(irom_limit - _BOOT_PART_AND_HEADERS),
    )


def _all_layouts() -> dict[str, Layout]:
    small = {512: (0, 32, 64, 128), 1024: (0, 64, 128, 144, 160, 192, 256, 512)}
    large = {2048: (0, 64, 128, 256, 512, 1024), 4096: (0, 1024, 2048, 3072)}
    huge = {8192: (6144, 7168), 16384: (14336, 15360)}
    rows = {**small, **large, **huge}
    return {
        layout.name: layout
        for flash, file_systems in rows.items()
        for file_system in file_systems
        for layout in (_layout(_name(flash, file_system), flash, file_system),)
    }


def _name(flash_kib: int, file_system_kib: int) -> str:
    flash = f"{flash_kib}k" if flash_kib < KIB else f"{flash_kib // KIB}m"
    if file_system_kib == 0:
        return flash
    return flash + (f"{file_system_kib}" if file_system_kib < KIB else f"{file_system_kib // KIB}m")


LAYOUTS: Final = _all_layouts()
"""All layouts by name, in the order of the core's own list."""


def find_layout(name: str) -> Layout:
    """The layout of that name, in any case.

    Raises:
        BadInput: there is none; the message lists those that there are.
    """
    layout = LAYOUTS.get(name.lower())
    if layout is None:
        raise BadInput(f"There is no flash layout {name!r}; the core has {', '.join(LAYOUTS)}.")
    return layout


def layouts_with_file_system_at(flash_size: int, file_system_start: int) -> tuple[Layout, ...]:
    """The layouts for that flash size whose FS_start is this one; usually one, at most a few."""
    return tuple(
        layout
        for layout in LAYOUTS.values()
        if layout.flash_size == flash_size and layout.file_system_start == file_system_start
    )
