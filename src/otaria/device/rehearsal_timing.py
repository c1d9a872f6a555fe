"""How long a real flash chip takes for what the model does at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["W25Q32JV", "FlashOperation", "FlashPart", "FlashWork", "Span", "flash_work"]

PAGE_SIZE: Final = 256
"""Bytes that a chip programs at once; a longer write is one program after the other."""


@dataclass(frozen=True, slots=True)
class Span:
    """A duration in milliseconds, as data sheets state it.

    Args:
        typical_ms: of a chip that is new and warm.
        maximum_ms: of one that is worn or cold and still within what its maker promises.
    """

    typical_ms: float
    maximum_ms: float


@dataclass(frozen=True, slots=True)
class FlashPart:
    """A flash chip.

    Args:
        name: as its maker calls it.
        sector_erase: one sector of 4 KiB.
        page_program: one page of 256 bytes.
    """

    name: str
    sector_erase: Span
    page_program: Span


W25Q32JV: Final = FlashPart("Winbond W25Q32JV", sector_erase=Span(45, 400), page_program=Span(0.4, 3))
"""A common chip on 4 MiB modules. From its data sheet, revision G, AC electrical characteristics: tSE and tPP."""


@dataclass(frozen=True, slots=True)
class FlashOperation:
    """One erase or write.

    Args:
        offset: where.
        size: bytes written; None for an erase.
    """

    offset: int
    size: int | None

    def duration(self, part: FlashPart) -> Span:
        """How long the chip is busy with it."""
        if self.size is None:
            return part.sector_erase
        pages = -(-self.size // PAGE_SIZE)
        return Span(pages * part.page_program.typical_ms, pages * part.page_program.maximum_ms)


@dataclass(frozen=True, slots=True)
class FlashWork:
    """What the flash chip has to do, and for how long. Reading and unpacking come on top and take less.

    Args:
        operations: erases and writes.
        erases: how many of them are erases.
        written: bytes written.
        duration: how long the chip is busy with all of them.
    """

    operations: int
    erases: int
    written: int
    duration: Span


def flash_work(operations: Iterable[FlashOperation], part: FlashPart = W25Q32JV) -> FlashWork:
    """Add up what a chip is asked to do."""
    listed = list(operations)
    spans = [operation.duration(part) for operation in listed]
    return FlashWork(
        operations=len(listed),
        erases=sum(operation.size is None for operation in listed),
        written=sum(operation.size or 0 for operation in listed),
        duration=Span(
            round(sum(span.typical_ms for span in spans), 1), round(sum(span.maximum_ms for span in spans), 1)
        ),
    )
