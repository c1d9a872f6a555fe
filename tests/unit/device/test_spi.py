from __future__ import annotations

from otaria.device.flash import BadSector, Flash
from otaria.device.spi import Spi
from otaria.wire.layouts import SECTOR_SIZE

SIZE = 4 * SECTOR_SIZE


def test_what_lies_outside_the_chip_is_a_no_and_not_an_exception() -> None:
    flash = Flash(SIZE)
    spi = Spi(flash)
    assert spi.read(SIZE - 1, 2) is None
    assert spi.read(-1, 1) is None
    assert not spi.write(SIZE, b"abcd")
    assert not spi.write(SIZE - 4, b"abcde")
    assert not spi.erase(4)
    assert not spi.erase(-1)
    assert flash.operations == 0


def test_a_sector_that_cannot_be_read_is_a_no() -> None:
    flash = Flash(SIZE)
    flash.spoil(1, BadSector.READ_FAILS)
    assert Spi(flash).read(SECTOR_SIZE, 4) is None


def test_half_a_word_is_filled_up_with_what_changes_nothing() -> None:
    flash = Flash(SIZE)
    assert Spi(flash).write(0, b"abcde")
    assert flash.read(0, 9) == b"abcde\xff\xff\xff\xff"


def test_an_empty_write_is_no_operation() -> None:
    flash = Flash(SIZE)
    assert Spi(flash).write(0, b"")
    assert flash.operations == 0
