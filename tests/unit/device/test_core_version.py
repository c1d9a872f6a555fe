from __future__ import annotations

import dataclasses

import pytest

from otaria.device.core_version import BEHAVIOURS, Behaviour, Core, SignaturePadding
from otaria.device.update_error import UpdateError


def answers(name: str) -> list[object]:
    """One behaviour over all generations, oldest first."""
    return [getattr(core.behaviour, name) for core in Core]


def test_every_generation_has_its_behaviour() -> None:
    assert set(BEHAVIOURS) == set(Core)


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("checks_boot_mode", Core.V2_5),
        ("answers_after_begin", Core.V2_5),
        ("sends_sketch_md5", Core.V2_5),
        ("verifies_signatures", Core.V2_5),
        ("sends_chip_id", Core.V2_7),
        ("takes_gzip", Core.V2_7),
        ("has_length_and_crc", Core.V2_7),
        ("keeps_equal_boot_sector", Core.V3_1),
        ("has_callbacks", Core.V3_1),
        ("cuts_signature", Core.V3_1),
        ("begin_breaks_running_update", Core.MASTER),
        ("asks_version", Core.MASTER),
    ],
)
def test_what_came_with_a_generation_stays(name: str, since: Core) -> None:
    cores = list(Core)
    assert answers(name) == [cores.index(core) >= cores.index(since) for core in cores]


@pytest.mark.parametrize(
    ("name", "until"),
    [("clears_command_first", Core.V2_5), ("erases_first", Core.V2_7), ("patches_file_system", Core.V2_5)],
)
def test_what_was_mended_does_not_come_back(name: str, until: Core) -> None:
    cores = list(Core)
    assert not any(answers(name)[cores.index(until) + 1 :])
    assert getattr(until.behaviour, name)


def test_error_numbers_were_added_and_never_taken_away() -> None:
    assert answers("last_error") == [
        UpdateError.MAGIC_BYTE,
        UpdateError.SIGN,
        UpdateError.SIGN,
        UpdateError.NO_DATA,
        UpdateError.UNKNOWN_COMMAND,
    ]


def test_signatures_are_padded_by_the_standard_since_2_6() -> None:
    assert answers("signature_padding") == [SignaturePadding.LEGACY] * 2 + [SignaturePadding.DIGEST_INFO] * 3


def test_the_pauses_around_ok_grew() -> None:
    assert answers("pause_before_ok_ms") == [0, 0, 1000, 1000, 1000]
    assert answers("pause_after_ok_ms") == [0, 10, 1000, 1000, 1000]


def test_every_behaviour_differs_somewhere_and_is_documented() -> None:
    for field in dataclasses.fields(Behaviour):
        assert len(set(answers(field.name))) > 1, field.name
        assert f"{field.name}:" in (Behaviour.__doc__ or "")
