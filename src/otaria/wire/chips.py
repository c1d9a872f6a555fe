"""The chip families, by the names that manifests and people use (protocols §6.4, §9.4)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["CHIP_IDS", "ChipFamily"]


class ChipFamily(StrEnum):
    """A family for which images are built; an image of one never runs on another."""

    ESP8266 = "ESP8266"
    ESP32 = "ESP32"
    ESP32_S2 = "ESP32-S2"
    ESP32_C3 = "ESP32-C3"
    ESP32_S3 = "ESP32-S3"
    ESP32_C2 = "ESP32-C2"
    ESP32_C6 = "ESP32-C6"
    ESP32_H2 = "ESP32-H2"
    ESP32_P4 = "ESP32-P4"
    ESP32_C61 = "ESP32-C61"
    ESP32_C5 = "ESP32-C5"
    ESP32_H21 = "ESP32-H21"
    ESP32_H4 = "ESP32-H4"
    ESP32_S31 = "ESP32-S31"


CHIP_IDS: Final = {
    0x0000: ChipFamily.ESP32,
    0x0002: ChipFamily.ESP32_S2,
    0x0005: ChipFamily.ESP32_C3,
    0x0009: ChipFamily.ESP32_S3,
    0x000C: ChipFamily.ESP32_C2,
    0x000D: ChipFamily.ESP32_C6,
    0x0010: ChipFamily.ESP32_H2,
    0x0012: ChipFamily.ESP32_P4,
    0x0014: ChipFamily.ESP32_C61,
    0x0017: ChipFamily.ESP32_C5,
    0x0019: ChipFamily.ESP32_H21,
    0x001C: ChipFamily.ESP32_H4,
    0x0020: ChipFamily.ESP32_S31,
}
"""The ``chip_id`` word of an ESP32-family image header."""
