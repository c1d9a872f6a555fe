"""The flash chip: NOR cells that an erase sets and a write can only clear (protocols §5.3).

The model is stricter than the part. A real chip takes any write and stores the AND of old and new; code that
relies on it is wrong code that happens to work once. Here such a write raises :class:`FlashMisuse`.

Erases and writes are the *operations*. They are counted, and power can be cut, or the processor reset, at any one
of them: run an update once, take the count, then repeat it on a :meth:`Flash.clone` for every number below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from otaria.units import ByteCount
from otaria.wire.layouts import SECTOR_SIZE

__all__ = [
    "BLANK_SECTOR",
    "ERASED",
    "WORD_SIZE",
    "BadSector",
    "Flash",
    "FlashMisuse",
    "Interruption",
    "PowerLost",
    "ResetStruck",
    "UnreadableSector",
]

WORD_SIZE: Final = 4
"""The SPI driver moves whole words, from and to word boundaries."""

ERASED: Final = 0xFF
BLANK_SECTOR: Final = bytes((ERASED,)) * SECTOR_SIZE

_SCATTER: Final = 157
"""Odd, so that its multiples visit all 256 remainders: scatters the cells that a broken-off erase has reached."""


class FlashMisuse(Exception):
    """The caller asked for what no correct driver asks for: a defect of its code, not a condition to handle."""


class Interruption(Exception):
    """The program on the chip was stopped in the middle of a flash operation."""


class PowerLost(Interruption):
    """The supply failed: nothing works until it is back, and what RTC memory held is lost."""


class ResetStruck(Interruption):
    """Reset pin or watchdog: the supply held, so RTC memory keeps what it has."""


class UnreadableSector(Exception):
    """The chip could not read a sector marked :attr:`BadSector.READ_FAILS`; drivers make a return code of it."""


class BadSector(Enum):
    """What a broken sector does instead of its work."""

    PROGRAM_FAILS = auto()
    """Reports failure and stores nothing."""
    ERASE_FAILS = auto()
    """Reports failure and keeps what was there."""
    READ_FAILS = auto()
    """Reports failure and returns nothing."""
    PROGRAM_IGNORED = auto()
    """Reports success and stores nothing."""
    ERASE_IGNORED = auto()
    """Reports success and keeps what was there; a later write stores the AND, as the part would."""


@dataclass(frozen=True, slots=True)
class _Strike:
    """An interruption that is armed: when, of which kind, and how much of the operation is done by then."""

    operation: int
    kind: type[Interruption]
    share: float


class Flash:
    """One chip.

    ``write`` demands a word-aligned offset and whole words, and every bit that shall be set must still be set:
    erase first. Clearing more bits of a word written before is allowed, as on the part. A chip without power
    performs no operation; its content can be read all the same, as with a clip on the chip.

    Sectors that are all FF take no memory, and a whole sector is kept as the very object that was written and
    handed out as that object again: an image that is copied from one place to another is in memory once.

    Args:
        size: bytes, whole sectors.
        endurance: erases that a sector stands before its erases fail; None for a chip that does not wear out.
        pool: where chips with the same content share it; pass one mapping to all chips of a fleet.

    Attributes:
        before_operation: called before every operation with its offset and what it writes, None for an erase; also
            before one that is interrupted.
        on_change: called after every change with its offset and what stands there now; by interrupted ones, too.
        operations: erases and writes begun so far.
        powered: whether the supply is there; a power cut makes it false.
    """

    __slots__ = (
        "_bad",
        "_erases",
        "_pool",
        "_sectors",
        "_strike",
        "before_operation",
        "endurance",
        "on_change",
        "operations",
        "powered",
        "size",
    )

    def __init__(
        self, size: int, *, endurance: int | None = None, pool: MutableMapping[bytes, bytes] | None = None
    ) -> None:
        if size <= 0 or size % SECTOR_SIZE:
            raise FlashMisuse(f"A flash chip has whole sectors of {SECTOR_SIZE} bytes; {size} bytes are none.")
        self.size = ByteCount(size)
        self.endurance = endurance
        self.before_operation: Callable[[int, bytes | None], None] | None = None
        self.on_change: Callable[[int, bytes], None] | None = None
        self.operations = 0
        self.powered = True
        self._pool = pool
        self._sectors: dict[int, bytes] = {}
        self._bad: dict[int, BadSector] = {}
        self._erases: dict[int, int] = {}
        self._strike: _Strike | None = None

    # what a driver does

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there; needs no alignment.

        Raises:
            FlashMisuse: some of them lie outside the chip.
            UnreadableSector: a sector among them is :attr:`BadSector.READ_FAILS`.
        """
        self._require_inside(offset, length)
        pieces = [
            self._sector_to_read(sector)[start : start + count] for sector, start, count in _pieces(offset, length)
        ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, offset: int, content: bytes) -> bool:
        """Clear the bits that are clear in ``content``.

        Returns:
            False where the chip reports that it failed (:class:`BadSector`).

        Raises:
            FlashMisuse: unaligned, outside the chip, or a bit would have to be set; nothing was changed.
            Interruption: power or processor stopped here; the armed share of the words is written, from the first.
        """
        self._require_inside(offset, len(content))
        if offset % WORD_SIZE or len(content) % WORD_SIZE:
            raise FlashMisuse(f"The driver writes whole words; {len(content)} bytes at {offset:#x} are not aligned.")
        self._require_erased(offset, content)
        strike = self._begin_operation(offset, content)
        if strike is not None:
            done = int(len(content) // WORD_SIZE * strike.share) * WORD_SIZE
            self._program(offset, content[:done])
            self._stop(strike, f"a write of {len(content)} bytes at {offset:#x}")
        return self._program(offset, content)

    def erase(self, sector: int) -> bool:
        """Set all bits of one sector.

        Returns:
            False where the chip reports that it failed (:class:`BadSector`, or worn out).

        Raises:
            FlashMisuse: there is no such sector.
            Interruption: power or processor stopped here; the armed share of the bytes, scattered over the
                sector, is FF, the others are as they were.
        """
        self._require_inside(sector * SECTOR_SIZE, SECTOR_SIZE)
        strike = self._begin_operation(sector * SECTOR_SIZE, None)
        self._erases[sector] = self._erases.get(sector, 0) + 1
        if strike is not None:
            if self._can_erase(sector):
                self._store(sector, _partly_erased(self._content(sector), strike.share))
            self._stop(strike, f"an erase of sector {sector}")
        if self._can_erase(sector):
            self._store(sector, BLANK_SECTOR)
            return True
        return self._bad.get(sector) is BadSector.ERASE_IGNORED

    # what happens to it

    def lose_power_at(self, operation: int, share: float = 0.0) -> None:
        """Arm a power cut.

        Args:
            operation: which one from now on; 0 is the next.
            share: how much of it is done by then, 0.0 nothing to 1.0 all of it.
        """
        self._strike = _Strike(self.operations + operation, PowerLost, share)

    def reset_at(self, operation: int, share: float = 0.0) -> None:
        """Arm a reset of the processor; arguments as in :meth:`lose_power_at`."""
        self._strike = _Strike(self.operations + operation, ResetStruck, share)

    def spoil(self, sector: int, behaviour: BadSector | None) -> None:
        """Make a sector bad, or good again with None."""
        self._require_inside(sector * SECTOR_SIZE, SECTOR_SIZE)
        if behaviour is None:
            self._bad.pop(sector, None)
        else:
            self._bad[sector] = behaviour

    def erase_count(self, sector: int) -> int:
        """How often the sector was erased; its wear."""
        return self._erases.get(sector, 0)

    # what the workbench does

    def load(self, content: bytes) -> None:
        """Set the whole chip at once: ``content`` from its beginning, the rest erased. No operation.

        Raises:
            FlashMisuse: more bytes than the chip has; nothing was changed.
        """
        self._require_inside(0, len(content))
        before = set(self._sectors)
        for sector in range(-(-len(content) // SECTOR_SIZE)):
            piece = content[sector * SECTOR_SIZE : (sector + 1) * SECTOR_SIZE]
            self._store(sector, self._shared(piece.ljust(SECTOR_SIZE, bytes((ERASED,)))))
            before.discard(sector)
        for sector in before:
            self._store(sector, BLANK_SECTOR)

    def dump(self) -> bytes:
        """The whole chip's content."""
        return b"".join(self._content(sector) for sector in range(self.size // SECTOR_SIZE))

    def clone(self) -> Flash:
        """A second chip in the same state, wear and bad sectors included; no hook, and nothing armed.

        Costs a few references, not the content.
        """
        twin = Flash(self.size, endurance=self.endurance, pool=self._pool)
        twin.operations, twin.powered = self.operations, self.powered
        twin._sectors = dict(self._sectors)
        twin._bad = dict(self._bad)
        twin._erases = dict(self._erases)
        return twin

    def _require_inside(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise FlashMisuse(f"{length} bytes at {offset:#x} are not inside a chip of {self.size:#x} bytes.")

    def _require_erased(self, offset: int, content: bytes) -> None:
        position = 0
        for sector, start, count in _pieces(offset, len(content)):
            piece = content[position : position + count]
            position += count
            if sector not in self._sectors or sector in self._bad:
                continue
            there = self._sectors[sector][start : start + count]
            if int.from_bytes(piece) & ~int.from_bytes(there):
                raise FlashMisuse(f"A write at {offset:#x} needs bits set that are clear in sector {sector}: erase it.")

    def _begin_operation(self, offset: int, content: bytes | None) -> _Strike | None:
        if not self.powered:
            raise PowerLost("The flash chip has no power; switch the machine on first.")
        if self.before_operation is not None:
            self.before_operation(offset, content)
        number, self.operations = self.operations, self.operations + 1
        strike = self._strike
        if strike is None or strike.operation != number:
            return None
        self._strike = None
        return strike

    def _stop(self, strike: _Strike, operation: str) -> None:
        if strike.kind is PowerLost:
            self.powered = False
        what = "Power was lost" if strike.kind is PowerLost else "A reset struck"
        raise strike.kind(f"{what} during flash operation {strike.operation}, {operation}.")

    def _can_erase(self, sector: int) -> bool:
        worn = self.endurance is not None and self._erases.get(sector, 0) > self.endurance
        return not worn and self._bad.get(sector) not in (BadSector.ERASE_FAILS, BadSector.ERASE_IGNORED)

    def _program(self, offset: int, content: bytes) -> bool:
        position = 0
        for sector, start, count in _pieces(offset, len(content)):
            piece = content[position : position + count]
            position += count
            behaviour = self._bad.get(sector)
            if behaviour is BadSector.PROGRAM_FAILS:
                return False
            if behaviour is not BadSector.PROGRAM_IGNORED:
                self._store(sector, self._programmed(sector, start, piece), start, count)
        return True

    def _programmed(self, sector: int, start: int, piece: bytes) -> bytes:
        there = self._sectors.get(sector)
        if there is None and len(piece) == SECTOR_SIZE:
            return self._shared(piece)
        there = there or BLANK_SECTOR
        both = int.from_bytes(there[start : start + len(piece)]) & int.from_bytes(piece)
        return there[:start] + both.to_bytes(len(piece)) + there[start + len(piece) :]

    def _shared(self, content: bytes) -> bytes:
        return content if self._pool is None else self._pool.setdefault(content, content)

    def _store(self, sector: int, content: bytes, start: int = 0, count: int = SECTOR_SIZE) -> None:
        if content == BLANK_SECTOR:
            self._sectors.pop(sector, None)
        else:
            self._sectors[sector] = content
        if self.on_change is not None:
            self.on_change(sector * SECTOR_SIZE + start, content[start : start + count])

    def _content(self, sector: int) -> bytes:
        return self._sectors.get(sector, BLANK_SECTOR)

    def _sector_to_read(self, sector: int) -> bytes:
        if self._bad.get(sector) is BadSector.READ_FAILS:
            raise UnreadableSector(f"The chip cannot read sector {sector}.")
        return self._content(sector)


def _pieces(offset: int, length: int) -> Iterator[tuple[int, int, int]]:
    """What a range covers, sector by sector: its number, where in it the range starts, and for how long."""
    end = offset + length
    while offset < end:
        sector, start = divmod(offset, SECTOR_SIZE)
        count = min(end - offset, SECTOR_SIZE - start)
        yield sector, start, count
        offset += count


def _partly_erased(content: bytes, share: float) -> bytes:
    reached = int(share * 256)
    return bytes(ERASED if index * _SCATTER % 256 < reached else byte for index, byte in enumerate(content))
