from __future__ import annotations

import pytest

from otaria.wire.checksums import crc32_mpeg2


def crc_bit_by_bit(content: bytes) -> int:
    """The definition, written down plainly: most significant bit first, all ones, no final xor."""
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)
            register &= 0xFFFFFFFF
    return register


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\xff", b"123456789", bytes(range(256)), b"\xe9" * 4099],
    ids=["nothing", "zero", "ones", "check", "every-byte", "odd-length"],
)
def test_the_crc_is_the_one_of_the_definition(content: bytes) -> None:
    assert crc32_mpeg2(content) == crc_bit_by_bit(content)


def test_of_nothing_the_crc_is_its_start_value() -> None:
    assert crc32_mpeg2(b"") == 0xFFFFFFFF
