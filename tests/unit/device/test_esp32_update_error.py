from __future__ import annotations

import pytest

from otaria.device.esp32_update_error import UPDATE_ERROR_TEXTS, Esp32UpdateError

SHEET = """\
No Error
Flash Write Failed
Flash Erase Failed
Flash Read Failed
Not Enough Space
Bad Size Given
Stream Read Timeout
MD5 Check Failed
Wrong Magic Byte
Could Not Activate The Firmware
Partition Could Not be Found
Bad Argument
Aborted
Decryption error
Signature Verification Failed
""".splitlines()


@pytest.mark.parametrize(("number", "text"), list(enumerate(SHEET)))
def test_every_number_has_the_text_of_the_sheet(number: int, text: str) -> None:
    assert UPDATE_ERROR_TEXTS[Esp32UpdateError(number)] == text


def test_there_are_no_others() -> None:
    assert [int(error) for error in Esp32UpdateError] == list(range(len(SHEET)))
    assert len(UPDATE_ERROR_TEXTS) == len(SHEET)
