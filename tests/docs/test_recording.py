"""The README's recording of the demo is what the demo shows, less the lines that it says are left out."""

from __future__ import annotations

import itertools
import re
import subprocess
from functools import cache

from tests.docs.markdown import ROOT, Page

DEVICES = ("porch", "shed", "garden")

VARYING = re.compile(r":\d{4,5}\b|\b\d+\.\d(?= {3,})")
"""Ports, and the seconds in the summary."""


def shape(text: str) -> list[str]:
    """Lines without padding, ports and seconds, and without those that are empty."""
    lines = (" ".join(VARYING.sub("<number>", line).split()) for line in text.splitlines())
    return [line for line in lines if line]


def recording() -> list[str]:
    (block,) = (block for block in Page(ROOT / "README.md").blocks if "recording" in block.options)
    return shape(block.content)


@cache
def demo() -> tuple[list[str], list[str]]:
    """What a real run shows on stderr and on stdout."""
    ran = subprocess.run(  # noqa: S603 - our own script
        [ROOT / "scripts" / "serve", "--demo", "--once"], capture_output=True, text=True, timeout=100, check=True
    )
    return shape(ran.stderr), shape(ran.stdout)


def test_the_summary_is_the_one_that_the_demo_prints() -> None:
    _, summary = demo()
    assert recording()[-len(summary) :] == summary
    assert [line.split()[0] for line in summary[2:]] == list(DEVICES)


def test_every_line_of_the_recording_is_shown_by_the_demo_in_its_device_s_order() -> None:
    console, summary = demo()
    told = recording()[: -len(summary)]
    for device in DEVICES:
        left = iter(of(device, console))
        assert [line for line in of(device, told) if line not in left] == []


def test_the_headlines_are_those_of_the_demo() -> None:
    console, summary = demo()
    told = [line for line in recording()[: -len(summary)] if "|" not in line and line != "…"]
    assert [line for line in console if line in told] == told


def test_what_is_left_out_is_said() -> None:
    """Where the recording has no ``…``, the demo has no line between its neighbours of the same device."""
    console, summary = demo()
    told = recording()[: -len(summary)]
    for device in DEVICES:
        lines = [line for line in told if line == "…" or line.startswith(device)]
        shown = of(device, console)
        pairs = [(one, other) for one, other in itertools.pairwise(lines) if "…" not in (one, other)]
        following = list(itertools.pairwise(shown))
        assert [pair for pair in pairs if pair not in following] == []


def of(device: str, lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(device)]
