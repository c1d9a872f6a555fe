from __future__ import annotations

import pytest

from otaria.device.esp32_core_version import ESP32_BEHAVIOURS, Esp32Core
from otaria.device.esp32_update_error import Esp32UpdateError
from otaria.wire.arduino_ota import Scheme
from otaria.wire.partitions import DataSubtype

SPIFFS, FAT, LITTLEFS = DataSubtype.SPIFFS, DataSubtype.FAT, DataSubtype.LITTLEFS


def test_every_generation_has_its_row() -> None:
    assert list(ESP32_BEHAVIOURS) == list(Esp32Core)
    assert all(core.behaviour is ESP32_BEHAVIOURS[core] for core in Esp32Core)


@pytest.mark.parametrize(
    ("core", "scheme"),
    [
        (Esp32Core.V2_0, Scheme.MD5),
        (Esp32Core.V3_0, Scheme.MD5),
        (Esp32Core.V3_3, Scheme.MD5),
        (Esp32Core.V3_3_1, Scheme.PBKDF2_SHA256),
    ],
)
def test_the_password_is_proved_by_pbkdf2_from_3_3_1_on(core: Esp32Core, scheme: Scheme) -> None:
    assert core.behaviour.password_scheme is scheme


@pytest.mark.parametrize(
    ("core", "command", "kinds"),
    [
        (Esp32Core.V2_0, 100, (SPIFFS, FAT)),
        (Esp32Core.V3_0, 100, (SPIFFS, FAT)),
        (Esp32Core.V3_3, 100, (SPIFFS, FAT, LITTLEFS)),
        (Esp32Core.V3_3, 101, (SPIFFS,)),
        (Esp32Core.V3_3, 102, (FAT,)),
        (Esp32Core.V3_3_1, 103, (LITTLEFS,)),
    ],
)
def test_each_file_system_command_looks_for_its_partitions(
    core: Esp32Core, command: int, kinds: tuple[DataSubtype, ...]
) -> None:
    assert core.behaviour.file_systems[command] == kinds


@pytest.mark.parametrize("core", [Esp32Core.V2_0, Esp32Core.V3_0])
def test_before_3_3_there_is_one_file_system_command(core: Esp32Core) -> None:
    assert set(core.behaviour.file_systems) == {100}
    assert core.behaviour.push_commands == {0, 100}


def test_a_push_offers_nothing_that_the_updater_does_not_know() -> None:
    for behaviour in ESP32_BEHAVIOURS.values():
        assert behaviour.push_commands == {0, *behaviour.file_systems}


def test_only_the_oldest_generation_calls_a_wrong_magic_byte_by_its_name() -> None:
    named = [core for core in Esp32Core if core.behaviour.wrong_magic is Esp32UpdateError.MAGIC_BYTE]
    assert named == [core for core in Esp32Core if core.behaviour.looks_before_stream] == [Esp32Core.V2_0]


def test_the_page_checks_the_origin_since_3_3() -> None:
    assert [core for core in Esp32Core if core.behaviour.checks_origin] == [Esp32Core.V3_3, Esp32Core.V3_3_1]
