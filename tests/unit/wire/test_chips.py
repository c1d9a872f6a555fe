from __future__ import annotations

from otaria.wire.chips import CHIP_IDS, ChipFamily


def test_every_chip_id_stands_for_one_family() -> None:
    assert len(set(CHIP_IDS.values())) == len(CHIP_IDS)


def test_the_esp8266_has_no_chip_id_because_its_header_has_no_room_for_one() -> None:
    assert ChipFamily.ESP8266 not in CHIP_IDS.values()


def test_a_family_is_written_as_people_and_manifests_write_it() -> None:
    assert str(ChipFamily.ESP32_C3) == "ESP32-C3"
    assert ChipFamily("ESP8266") is ChipFamily.ESP8266
