"""The request of protocols §2.1, line by line, and the ESP32's of §2.3."""

from __future__ import annotations

from otaria.units import ByteCount, MacAddress, Md5, round_up
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode, parse_check_in, request_headers
from otaria.wire.layouts import SECTOR_SIZE, layouts_with_file_system_at

OUR_LINES = """\
x-ESP8266-Chip-ID: 11189196
x-ESP8266-STA-MAC: 18:FE:34:AA:BB:CC
x-ESP8266-AP-MAC: 1A:FE:34:AA:BB:CC
x-ESP8266-free-space: 671744
x-ESP8266-sketch-size: 373940
x-ESP8266-sketch-md5: a56f8ef78a0bebd812f62067daf1408a
x-ESP8266-chip-size: 4194304
x-ESP8266-sdk-version: 2.2.2-dev(38a443e)
x-ESP8266-mode: sketch
x-ESP8266-version: DOOR-7-g14f53a19
""".splitlines()

ESP8266_REQUEST = [
    "Host: server.example",
    "User-Agent: ESP8266-http-Update",
    "Connection: close",
    *OUR_LINES,
    "Content-Length: 0",
]

CHECK_IN = CheckIn(
    family=ChipFamily.ESP8266,
    mac=MacAddress("18:FE:34:AA:BB:CC"),
    mode=Mode.SKETCH,
    free_space=ByteCount(671744),
    sketch_size=ByteCount(373940),
    sketch_md5=Md5("a56f8ef78a0bebd812f62067daf1408a"),
    chip_size=ByteCount(4194304),
    sdk_version="2.2.2-dev(38a443e)",
    version="DOOR-7-g14f53a19",
    ap_mac="1A:FE:34:AA:BB:CC",
    chip_id=11189196,
)

ESP32_REQUEST = """\
Host: server.example
User-Agent: ESP32-http-Update
Connection: close
Cache-Control: no-cache
x-ESP32-STA-MAC: 24:6F:28:AA:BB:CC
x-ESP32-AP-MAC: 24:6F:28:AA:BB:CD
x-ESP32-free-space: 1310720
x-ESP32-sketch-size: 873940
x-ESP32-sketch-sha256: 986686AADCB0551023543D2DEA5AF1252F12299B6E90977A774735AD15A0BCC3
x-ESP32-chip-size: 4194304
x-ESP32-sdk-version: v4.4.6
x-ESP32-mode: sketch
""".splitlines()


def headers(lines: list[str]) -> list[tuple[str, str]]:
    pairs = (line.split(": ", 1) for line in lines)
    return [(name, value) for name, value in pairs]


def test_the_esp8266s_request_reads_as_its_check_in() -> None:
    assert parse_check_in(headers(ESP8266_REQUEST)) == CHECK_IN


def test_a_check_in_is_told_in_exactly_the_cores_lines_and_order() -> None:
    assert [f"{name}: {value}" for name, value in request_headers(CHECK_IN)] == OUR_LINES


def test_the_chip_id_is_the_low_half_of_the_mac_in_decimal() -> None:
    assert CHECK_IN.mac.chip_id == CHECK_IN.chip_id == 0xAABBCC


def test_the_figures_of_the_request_lead_to_the_flash_layout() -> None:
    file_system_start = CHECK_IN.free_space + round_up(CHECK_IN.sketch_size, SECTOR_SIZE)
    (layout,) = layouts_with_file_system_at(CHECK_IN.chip_size, file_system_start)
    assert layout.name == "4m3m"


def test_the_esp32s_request_reads_as_its_check_in() -> None:
    assert parse_check_in(headers(ESP32_REQUEST)) == CheckIn(
        family=ChipFamily.ESP32,
        mac=MacAddress("24:6F:28:AA:BB:CC"),
        mode=Mode.SKETCH,
        free_space=ByteCount(1310720),
        sketch_size=ByteCount(873940),
        sketch_md5=None,
        chip_size=ByteCount(4194304),
        sdk_version="v4.4.6",
        ap_mac="24:6F:28:AA:BB:CD",
        sketch_sha256="986686AADCB0551023543D2DEA5AF1252F12299B6E90977A774735AD15A0BCC3",
    )
