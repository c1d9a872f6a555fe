"""What a device's refusal becomes for its owner (protocols §4.1, §4.2)."""

from __future__ import annotations

import pytest

from otaria.device.esp32_update_error import UPDATE_ERROR_TEXTS, Esp32UpdateError
from otaria.device.update_error import UpdateError, update_error_text
from otaria.errors import DoesNotFit, Refused
from otaria.protocols.diagnosis import refusal, remedy

GENERAL = remedy(None)


@pytest.mark.parametrize("error", [each for each in UpdateError if each is not UpdateError.OK])
@pytest.mark.parametrize("plain", [True, False])
def test_each_number_of_an_esp8266_has_a_remedy_of_its_own(error: UpdateError, plain: bool) -> None:
    text = update_error_text(error, plain=plain, expected="0" * 32, calculated="1" * 32, real=1, configured=2)
    found = refusal("lamp", text)
    assert found.code == error
    assert remedy(error) in str(found)
    assert remedy(error) != GENERAL


@pytest.mark.parametrize("error", [each for each in Esp32UpdateError if each is not Esp32UpdateError.OK])
def test_each_text_of_an_esp32_has_a_remedy_of_its_own(error: Esp32UpdateError) -> None:
    text = UPDATE_ERROR_TEXTS[error]
    found = refusal("lamp", text + "\r\n")
    assert found.code is None
    assert str(found).startswith(f"lamp refused the update: {text}. ")
    assert GENERAL not in str(found)


def test_the_texts_of_an_esp32_do_not_share_a_remedy() -> None:
    told = [str(refusal("lamp", text)).partition(text)[2] for text in UPDATE_ERROR_TEXTS.values()]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("text", ["ERROR[4]: Not Enough Space", "Bad Size Given", "Bad Size Given\r\n"])
def test_an_image_too_large_is_an_error_of_its_own(text: str) -> None:
    assert isinstance(refusal("lamp", text), DoesNotFit)


@pytest.mark.parametrize("text", ["ERROR[5]: Bad Size Given", "Not Enough Space", "ERROR[44]: none", ""])
def test_other_refusals_are_not(text: str) -> None:
    found = refusal("lamp", text)
    assert isinstance(found, Refused)
    assert not isinstance(found, DoesNotFit)


def test_an_unknown_text_gets_the_general_advice() -> None:
    assert str(refusal("lamp", "No such luck")) == f"lamp refused the update: No such luck. {GENERAL}"


def test_what_cannot_be_printed_is_not() -> None:
    assert "\x1b" not in str(refusal("lamp", "\x1b[31mred"))
    assert "?[31mred" in str(refusal("lamp", "\x1b[31mred"))


def test_a_long_text_is_cut() -> None:
    assert len(str(refusal("lamp", "x" * 100_000))) < 1000
