r"""eboot, the second-stage bootloader: does what RTC memory tells it, then loads the sketch (protocols §5.2).

What it prints::

    v<word at 0x1010>\n
    @ or ~              a valid boot command, or none
    cp:[B]<result>\n    COPY_RAW; B where sector 0 was the same already and was left alone
    ld\n                now it loads the app …
    e:<result>\n        … and could not

It checks nothing: neither that a copy fits, nor what it copied, nor what it loads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, auto
from typing import Final

from otaria.device.copy_source import CopySource, GzipSource, Hangs, RawSource
from otaria.device.core_version import Behaviour
from otaria.device.rtc import RtcMemory
from otaria.device.spi import Spi
from otaria.units import round_up
from otaria.wire.eboot import Action, BootCommand
from otaria.wire.esp_image import APP_OFFSET, GZIP_MAGIC, HEADER_SIZE
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["CopyResult", "EbootRun", "Ending", "LoadResult", "LoadedSegment", "run_eboot"]

LENGTH_OFFSET: Final = 0x1010
"""The length word of images since core 2.7.0; in older ones something else, printed all the same."""

ISIZE_SIZE: Final = 4
"""The last word of a gzip file: its unpacked size."""

DATA_RAM_END: Final = 0x40000000
IRAM_START: Final = 0x40100000
REGISTERS_START: Final = 0x60000000
"""From here on eboot copies, too. Erased flash reads as such an address."""

_WORD_RANGE: Final = 1 << 32
_SEGMENT: Final = struct.Struct("<II")


class CopyResult(IntEnum):
    """What follows ``cp:``."""

    OK = 0
    UNALIGNED = 1
    ERASE_FAILED = 2
    READ_FAILED = 3
    WRITE_FAILED = 4
    GZIP_HEADER = 5
    INFLATE = 6


class LoadResult(IntEnum):
    """What follows ``e:``; nothing does for OK, because eboot is gone by then."""

    OK = 0
    HEADER = 1
    SEGMENT_HEADER = 2
    SEGMENT = 3


class Ending(Enum):
    """How a run of eboot ends."""

    JUMPED = auto()
    """Into what it loaded, whatever that is."""
    RESTARTS = auto()
    """By a software reset."""
    HANGS = auto()
    """In a copy that never ends."""


@dataclass(frozen=True, slots=True)
class LoadedSegment:
    """A segment of the app.

    Args:
        address: where it belongs.
        size: its bytes.
        position: the flash offset of its first byte.
        copied: whether eboot copied it to its address; the others are left to the flash mapping.
    """

    address: int
    size: int
    position: int
    copied: bool


@dataclass(frozen=True, slots=True)
class EbootRun:
    """What one run did.

    Args:
        ending: how it ended.
        had_command: whether a valid boot command stood in RTC memory.
        copy_result: of the copy; None where there was none, or none that ended.
        load_result: of the load; None where there was none.
        app_offset: the flash offset of the image that was loaded.
        entry: the address that it jumped to.
        segments: what it loaded.
    """

    ending: Ending
    had_command: bool
    copy_result: CopyResult | None = None
    load_result: LoadResult | None = None
    app_offset: int = 0
    entry: int = 0
    segments: tuple[LoadedSegment, ...] = ()


def run_eboot(spi: Spi, rtc: RtcMemory, behaviour: Behaviour, put: Callable[[str], None]) -> EbootRun:
    """Run it once.

    Args:
        spi: the flash.
        rtc: where the command is.
        behaviour: of the core whose boot part it is.
        put: takes what is printed when it is printed, so that it is there even if power fails.

    Raises:
        Interruption: power or processor stopped in the middle of the copy.
    """
    return _Eboot(spi, rtc, behaviour, put).run()


class _Eboot:
    def __init__(self, spi: Spi, rtc: RtcMemory, behaviour: Behaviour, put: Callable[[str], None]) -> None:
        self._spi = spi
        self._rtc = rtc
        self._behaviour = behaviour
        self._put = put

    def run(self) -> EbootRun:
        self._print_length()
        command = self._rtc.boot_command()
        if command is None:
            self._put("~")
            return self._load(0, EbootRun(Ending.RESTARTS, had_command=False))
        self._put("@")
        if self._behaviour.clears_command_first:
            self._rtc.clear_boot_command()
        try:
            result = self._copy_if_told(command)
        except Hangs:
            return EbootRun(Ending.HANGS, had_command=True)
        self._rtc.clear_boot_command()
        run = EbootRun(Ending.RESTARTS, had_command=True, copy_result=result)
        if result is CopyResult.OK:
            return self._load(command.argument(1), run)
        return self._load(command.argument(0), run) if command.action == Action.LOAD_APP else run

    def _print_length(self) -> None:
        word = self._spi.read(LENGTH_OFFSET, 4)
        if word is not None:
            self._put(f"v{int.from_bytes(word, 'little'):08x}\n")

    def _copy_if_told(self, command: BootCommand) -> CopyResult | None:
        if command.action != Action.COPY_RAW:
            return None
        self._put("cp:")
        result = self._copy_raw(command.argument(0), command.argument(1), command.argument(2))
        self._put(f"{int(result)}\n")
        return result

    def _copy_raw(self, source: int, destination: int, size: int) -> CopyResult:
        if source % SECTOR_SIZE or destination % SECTOR_SIZE:
            return CopyResult.UNALIGNED
        if self._behaviour.takes_gzip and self._bytes(source, len(GZIP_MAGIC)) == GZIP_MAGIC:
            unpacked_size = int.from_bytes(self._bytes(source + size - ISIZE_SIZE, ISIZE_SIZE), "little")
            gzip = GzipSource(self._spi, source)
            if not gzip.skip_header():
                return CopyResult.GZIP_HEADER
            return self._copy_sectors(gzip, CopyResult.INFLATE, destination, _signed(unpacked_size))
        raw = RawSource(self._spi, source)
        return self._copy_sectors(raw, CopyResult.READ_FAILED, destination, _signed(round_up(size, SECTOR_SIZE)))

    def _copy_sectors(self, source: CopySource, no_sector: CopyResult, destination: int, left: int) -> CopyResult:
        while left > 0:
            if self._behaviour.erases_first and not self._spi.erase(destination // SECTOR_SIZE):
                return CopyResult.ERASE_FAILED
            content = source.next_sector(min(left, SECTOR_SIZE))
            if content is None:
                return no_sector
            result = self._put_sector(destination, content)
            if result is not CopyResult.OK:
                return result
            destination += SECTOR_SIZE
            left -= SECTOR_SIZE
        return CopyResult.OK

    def _put_sector(self, destination: int, content: bytes) -> CopyResult:
        if destination == 0 and self._behaviour.keeps_equal_boot_sector and self._spi.read(0, SECTOR_SIZE) == content:
            self._put("B")
            return CopyResult.OK
        if not self._behaviour.erases_first and not self._spi.erase(destination // SECTOR_SIZE):
            return CopyResult.ERASE_FAILED
        return CopyResult.OK if self._spi.write(destination, content) else CopyResult.WRITE_FAILED

    def _bytes(self, offset: int, length: int) -> bytes:
        """Bytes of flash one by one; what cannot be read is whatever the stack held, zero here."""
        offsets = ((offset + index) % _WORD_RANGE for index in range(length))
        return b"".join(self._spi.read(each, 1) or b"\0" for each in offsets)

    def _load(self, offset: int, run: EbootRun) -> EbootRun:
        self._put("ld\n")
        segments: list[LoadedSegment] = []
        position = (offset + APP_OFFSET) % _WORD_RANGE
        header = self._spi.read(position, HEADER_SIZE)
        if header is None:
            result = LoadResult.HEADER
        else:
            result = self._load_segments(position + HEADER_SIZE, header[1], segments)
        loaded = replace(run, load_result=result, app_offset=offset, segments=tuple(segments))
        if header is None or result is not LoadResult.OK:
            self._put(f"e:{int(result)}\n")
            return loaded
        return replace(loaded, ending=Ending.JUMPED, entry=int.from_bytes(header[4:], "little"))

    def _load_segments(self, position: int, count: int, segments: list[LoadedSegment]) -> LoadResult:
        for _ in range(count):
            header = self._spi.read(position, _SEGMENT.size)
            if header is None:
                return LoadResult.SEGMENT_HEADER
            address, size = _SEGMENT.unpack(header)
            position += _SEGMENT.size
            copied = self._belongs_in_ram(address)
            if copied and self._spi.read(position, size) is None:
                return LoadResult.SEGMENT
            segments.append(LoadedSegment(address, size, position, copied))
            position = (position + size) % _WORD_RANGE
        return LoadResult.OK

    def _belongs_in_ram(self, address: int) -> bool:
        in_iram = IRAM_START <= address < self._behaviour.iram_end
        return address < DATA_RAM_END or in_iram or address >= REGISTERS_START


def _signed(word: int) -> int:
    """The number in the C code's int32_t: from 2 GiB on it is negative, and nothing is copied."""
    word %= _WORD_RANGE
    return word - _WORD_RANGE if word >= _WORD_RANGE // 2 else word
