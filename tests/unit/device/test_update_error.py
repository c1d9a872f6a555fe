from __future__ import annotations

import pytest

from otaria.device.update_error import UpdateError, update_error_text

TEXTS = {
    0: "No Error",
    1: "Flash Write Failed",
    2: "Flash Erase Failed",
    3: "Flash Read Failed",
    4: "Not Enough Space",
    5: "Bad Size Given",
    6: "Stream Read Timeout",
    7: "MD5 verification failed: expected: {as given}, calculated: 0123",
    8: "Flash config wrong: real: 1048576, SDK: 4194304",
    9: "new Flash config wrong, real size: 1048576",
    10: "Magic byte is not 0xE9",
    11: "Invalid bootstrapping state, reset ESP8266 before updating",
    12: "Signature verification failed",
    13: "No data supplied",
    14: "Out of memory",
    15: "Update already running",
    16: "Unknown update command",
}


@pytest.mark.parametrize("error", list(UpdateError))
def test_each_error_has_its_documented_text(error: UpdateError) -> None:
    text = update_error_text(
        error, plain=True, expected="{as given}", calculated="0123", real=1 << 20, configured=4 << 20
    )
    assert text == f"ERROR[{int(error)}]: {TEXTS[error]}"


def test_there_are_seventeen() -> None:
    assert [int(error) for error in UpdateError] == list(range(17))
