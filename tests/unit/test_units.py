from __future__ import annotations

import pytest

from otaria.errors import BadInput
from otaria.units import KIB, MIB, MacAddress, Md5, Sha256, human_size, round_up


@pytest.mark.parametrize(
    "text", ["18:FE:34:AA:BB:CC", "18:fe:34:aa:bb:cc", "18-FE-34-AA-BB-CC", "18fe34aabbcc", "  18:FE:34:AA:BB:CC\n"]
)
def test_a_mac_has_one_form_however_it_is_written(text: str) -> None:
    assert MacAddress.parse(text) == "18:FE:34:AA:BB:CC"


@pytest.mark.parametrize(
    "text", ["", "18:FE:34:AA:BB", "18:FE:34:AA:BB:CC:DD", "18:FE:34:AA:BB:CG", "1:8FE34AABBCC", "18 FE 34 AA BB CC"]
)
def test_what_is_no_mac_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="write it like 18:FE:34:AA:BB:CC"):
        MacAddress.parse(text)


def test_the_chip_id_is_the_low_three_bytes() -> None:
    assert MacAddress("18:FE:34:AA:BB:CC").chip_id == 11189196
    assert MacAddress("18:FE:34:00:00:0A").chip_id == 10


@pytest.mark.parametrize(("kind", "digits"), [(Md5, 32), (Sha256, 64)])
def test_a_digest_is_kept_in_lower_case(kind: type[Md5 | Sha256], digits: int) -> None:
    assert kind.parse(" " + "A1" * (digits // 2) + "\n") == "a1" * (digits // 2)


@pytest.mark.parametrize(("kind", "digits"), [(Md5, 32), (Sha256, 64)])
def test_what_is_no_digest_is_refused(kind: type[Md5 | Sha256], digits: int) -> None:
    for text in ("", "a" * (digits - 1), "a" * (digits + 1), "g" * digits, "٣" * digits):
        with pytest.raises(BadInput, match=f"is not {digits} hexadecimal digits"):
            kind.parse(text)


@pytest.mark.parametrize(
    ("size", "unit", "rounded"),
    [(0, 4096, 0), (1, 4096, 4096), (4095, 4096, 4096), (4096, 4096, 4096), (4097, 4096, 8192), (33, 16, 48)],
)
def test_sizes_are_rounded_up_to_whole_units(size: int, unit: int, rounded: int) -> None:
    assert round_up(size, unit) == rounded


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 bytes"),
        (512, "512 bytes"),
        (KIB - 1, "1023 bytes"),
        (KIB, "1 KiB"),
        (373940, "365.2 KiB"),
        (MIB - 60, "1023.9 KiB"),
        (MIB - 1, "1 MiB"),
        (MIB, "1 MiB"),
        (4 * MIB, "4 MiB"),
        (4 * MIB + MIB // 2, "4.5 MiB"),
        (16 * MIB, "16 MiB"),
    ],
)
def test_sizes_are_told_in_the_unit_that_reads_best(size: int, text: str) -> None:
    assert human_size(size) == text
