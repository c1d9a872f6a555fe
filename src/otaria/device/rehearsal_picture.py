"""What lies where in a device's flash, as areas without gaps: for drawing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from otaria.units import FlashOffset, round_up
from otaria.wire.layouts import SECTOR_SIZE, Layout

__all__ = ["Area", "AreaKind", "flash_areas"]


class AreaKind(StrEnum):
    """What an area holds."""

    SKETCH = "sketch"
    BROKEN = "broken"
    """What was installed and does not start."""
    FREE = "free"
    STAGED = "staged"
    """The file as it was received, waiting to be copied."""
    FILESYSTEM = "filesystem"
    SYSTEM = "system"
    """EEPROM, radio calibration, SDK settings, and the sectors before them that make no whole block of files."""
    UNUSED = "unused"
    """What the chip has beyond the size that the sketch was built for."""


@dataclass(frozen=True, slots=True)
class Area:
    """A piece of flash, whole sectors."""

    kind: AreaKind
    start: FlashOffset
    end: FlashOffset


def flash_areas(
    layout: Layout, chip_size: int, sketch_size: int, *, staged: tuple[int, int] | None = None, starts: bool = True
) -> tuple[Area, ...]:
    """The whole chip from its first sector to its last.

    Args:
        layout: of the sketch.
        chip_size: of the chip itself.
        sketch_size: bytes of the sketch.
        staged: start and end of a file that waits to be copied.
        starts: whether the sketch does.
    """
    sketch = AreaKind.SKETCH if starts else AreaKind.BROKEN
    ends = [(sketch, round_up(sketch_size, SECTOR_SIZE))]
    if staged is not None:
        ends += [(AreaKind.FREE, staged[0]), (AreaKind.STAGED, round_up(staged[1], SECTOR_SIZE))]
    ends += [
        (AreaKind.FREE, layout.file_system_start),
        (AreaKind.FILESYSTEM, layout.file_system_end),
        (AreaKind.SYSTEM, layout.flash_size),
        (AreaKind.UNUSED, chip_size),
    ]
    return tuple(_one_after_the_other(ends))


def _one_after_the_other(ends: list[tuple[AreaKind, int]]) -> Iterator[Area]:
    start = 0
    for kind, end in ends:
        if end > start:
            yield Area(kind, FlashOffset(start), FlashOffset(end))
            start = end
