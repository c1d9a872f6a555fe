"""The boot commands of protocols §5.1, which were checked against eboot's own C."""

from __future__ import annotations

import pytest

from otaria.wire.checksums import crc32_mpeg2
from otaria.wire.eboot import BootCommand

VECTORS = [
    (BootCommand.copy_raw(0xA4000, 0, 373940), "001000eb 01000000 00400a00 00000000 b4b40500", "298cd142", 0x42D18C29),
    (BootCommand.copy_raw(0x1A4000, 0, 373940), "001000eb 01000000 00401a00 00000000 b4b40500", "4b573b01", 0x013B574B),
]


def block(words: str, crc: str) -> bytes:
    return bytes.fromhex(words) + bytes(26 * 4) + bytes.fromhex(crc)


def test_the_crc_has_its_published_check_value() -> None:
    assert crc32_mpeg2(b"123456789") == 0x0376E6E7


@pytest.mark.parametrize(("command", "words", "crc", "crc_value"), VECTORS)
def test_a_command_has_exactly_these_bytes(command: BootCommand, words: str, crc: str, crc_value: int) -> None:
    encoded = command.encode()
    assert len(encoded) == 128
    assert encoded == block(words, crc)
    assert crc32_mpeg2(encoded[:124]) == crc_value


@pytest.mark.parametrize(("command", "words", "crc", "_crc_value"), VECTORS)
def test_these_bytes_are_exactly_that_command(command: BootCommand, words: str, crc: str, _crc_value: int) -> None:
    decoded = BootCommand.decode(block(words, crc))
    assert decoded == command
    assert decoded is not None
    assert [decoded.argument(index) for index in (2, 3, 28)] == [373940, 0, 0]
