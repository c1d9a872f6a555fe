from __future__ import annotations

import io
import re

import pytest

from otaria.server.log import change_log


def line(what: str, **about: object) -> str:
    stream = io.StringIO()
    change_log(stream).info(what, **about)
    return stream.getvalue()


def test_a_change_is_one_line_with_its_time() -> None:
    written = line("delivered", device="18:FE:34:AA:BB:CC", release="1.0")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ delivered device=18:FE:34:AA:BB:CC release=1\.0\n", written)


def test_what_is_not_known_is_left_out() -> None:
    assert line("first seen", application=None, chip="ESP8266").endswith("Z first seen chip=ESP8266\n")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("two words", '"two words"'),
        ("1\n2026-01-01T00:00:00Z delivered", r'"1\n2026-01-01T00:00:00Z delivered"'),
        ("\x1b[2J\x07", r'"\u001b[2J\u0007"'),
        ('a="b"', r'"a=\"b\""'),
        ("ü\u202e", r'"\u00fc\u202e"'),
        ("", '""'),
        ("back\\slash", r'"back\\slash"'),
    ],
)
def test_what_devices_say_stands_escaped(said: str, shown: str) -> None:
    assert line("x", version=said).endswith(f"Z x version={shown}\n")


def test_a_failure_brings_its_trace() -> None:
    stream = io.StringIO()
    change_log(stream).error("failed", path="/", exc_info=ZeroDivisionError("by zero"))
    first, trace = stream.getvalue().splitlines()
    assert first.endswith("Z failed path=/")
    assert trace == "ZeroDivisionError: by zero"
