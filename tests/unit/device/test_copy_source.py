from __future__ import annotations

import struct
import zlib

import pytest
from tests.device_bench import noise

from otaria.device.copy_source import MOST_FAILED_READS, GzipSource, Hangs, RawSource
from otaria.device.flash import BadSector, Flash
from otaria.device.spi import Spi
from otaria.wire.layouts import SECTOR_SIZE

SIZE = 16 * SECTOR_SIZE


def flash_with(content: bytes) -> Flash:
    flash = Flash(SIZE)
    flash.load(content)
    return flash


def stored_gzip(content: bytes, first: int) -> bytes:
    """A gzip of ``content`` without compression, whose first 4096 bytes end with its first ``first`` bytes."""
    padding = SECTOR_SIZE - 12 - 5 - first
    head = b"\x1f\x8b\x08\x04" + bytes(6) + struct.pack("<H", padding) + bytes(padding)
    block = b"\x01" + struct.pack("<HH", len(content), len(content) ^ 0xFFFF) + content
    return head + block + struct.pack("<II", zlib.crc32(content), len(content))


def test_a_raw_source_gives_whole_sectors_whatever_is_wanted() -> None:
    content = noise("raw", 3 * SECTOR_SIZE)
    source = RawSource(Spi(flash_with(content)), SECTOR_SIZE)
    assert source.next_sector(10) == content[SECTOR_SIZE : 2 * SECTOR_SIZE]
    assert source.next_sector(SECTOR_SIZE) == content[2 * SECTOR_SIZE :]


def test_a_gzip_is_read_only_when_more_of_it_is_needed() -> None:
    content, changed = noise("content", 300), noise("changed", 200)
    packed = stored_gzip(content, 100)
    flash = flash_with(packed)
    source = GzipSource(Spi(flash), 0)
    assert source.skip_header()
    assert source.next_sector(100) == content[:100].ljust(SECTOR_SIZE, b"\xff")
    flash.load(packed[:SECTOR_SIZE] + changed)
    assert source.next_sector(200) == changed.ljust(SECTOR_SIZE, b"\xff")


def test_a_block_once_read_is_not_read_again() -> None:
    content = noise("content", 300)
    flash = flash_with(stored_gzip(content, 300))
    source = GzipSource(Spi(flash), 0)
    assert source.skip_header()
    flash.load(b"")
    assert source.next_sector(300) == content.ljust(SECTOR_SIZE, b"\xff")


def test_a_block_that_cannot_be_read_is_the_one_before_it_again() -> None:
    content = noise("content", 300)
    flash = flash_with(stored_gzip(content, 100))
    flash.spoil(1, BadSector.READ_FAILS)
    source = GzipSource(Spi(flash), 0)
    source.skip_header()
    again = flash.read(0, 200)
    assert source.next_sector(300) == (content[:100] + again).ljust(SECTOR_SIZE, b"\xff")


def test_a_source_that_goes_on_behind_the_end_of_flash_and_brings_nothing_hangs() -> None:
    empty_stored = b"\x00\x00\x00\xff\xff"
    two_empty = b"\x02\x00\x00\x00\xff\xff"  # one with fixed codes and one stored, together six bytes
    first = b"\x1f\x8b\x08\x00" + bytes(6) + two_empty + empty_stored * 816
    others = two_empty + empty_stored * 818
    source = GzipSource(Spi(flash_with(first + others * 15)), 0)
    assert source.skip_header()
    with pytest.raises(Hangs):
        source.next_sector(SECTOR_SIZE)


def test_the_longest_field_of_known_length_is_passed_over_even_behind_the_end_of_flash() -> None:
    flash = flash_with(b"")
    start = SIZE - SECTOR_SIZE
    flash.load(b"\xff" * start + b"\x1f\x8b\x08\x04" + bytes(6) + b"\xff\xff")
    assert GzipSource(Spi(flash), start).skip_header()
    assert MOST_FAILED_READS > 0x10000 // SECTOR_SIZE
