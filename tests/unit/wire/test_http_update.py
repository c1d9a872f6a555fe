from __future__ import annotations

from dataclasses import replace

import pytest

from otaria.errors import BadInput, Denied
from otaria.units import ByteCount, MacAddress, Md5
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import (
    CheckIn,
    Mode,
    NotADevice,
    parse_check_in,
    request_headers,
    serve_headers,
)

DIGEST = Md5("a56f8ef78a0bebd812f62067daf1408a")
HEADERS = {
    "User-Agent": "ESP8266-http-Update",
    "x-ESP8266-Chip-ID": "11189196",
    "x-ESP8266-STA-MAC": "18:FE:34:AA:BB:CC",
    "x-ESP8266-AP-MAC": "1A:FE:34:AA:BB:CC",
    "x-ESP8266-free-space": "671744",
    "x-ESP8266-sketch-size": "373940",
    "x-ESP8266-sketch-md5": DIGEST,
    "x-ESP8266-chip-size": "4194304",
    "x-ESP8266-sdk-version": "2.2.2-dev(38a443e)",
    "x-ESP8266-mode": "sketch",
    "x-ESP8266-version": "DOOR-7-g14f53a19",
}
REQUIRED = [
    "x-ESP8266-STA-MAC",
    "x-ESP8266-free-space",
    "x-ESP8266-sketch-size",
    "x-ESP8266-chip-size",
    "x-ESP8266-sdk-version",
    "x-ESP8266-mode",
]
SIZES = ["x-ESP8266-free-space", "x-ESP8266-sketch-size", "x-ESP8266-chip-size", "x-ESP8266-Chip-ID"]


def read(**changed: str | None) -> CheckIn:
    """Parse the headers with some replaced, or left out where the new value is None; _ stands for a dash."""
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changed.items()}
    return parse_check_in((name, value) for name, value in headers.items() if value is not None)


def change(name: str, value: str | None) -> CheckIn:
    return read(**{name: value})


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_header_names_may_be_in_any_case(spelling: type[str]) -> None:
    assert parse_check_in((spelling(name), value) for name, value in HEADERS.items()) == read()


def test_white_space_around_values_is_no_part_of_them() -> None:
    assert parse_check_in((name, f" {value}\t") for name, value in HEADERS.items()) == read()


def test_of_a_repeated_header_the_first_one_counts() -> None:
    check_in = parse_check_in([*HEADERS.items(), ("x-ESP8266-version", "another")])
    assert check_in.version == "DOOR-7-g14f53a19"


@pytest.mark.parametrize("agent", [None, "", "Mozilla/5.0", "ESP8266-http-Update/1.0", "esp8266-http-update"])
def test_another_user_agent_is_no_device(agent: str | None) -> None:
    with pytest.raises(NotADevice, match="ESP8266-http-Update"):
        change("User-Agent", agent)


def test_the_esp32s_agent_with_the_esp8266s_headers_is_no_device() -> None:
    with pytest.raises(NotADevice):
        change("User-Agent", "ESP32-http-Update")


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, "", "   "])
def test_a_request_without_a_header_that_every_core_sends_is_no_device(name: str, value: str | None) -> None:
    with pytest.raises(NotADevice, match=name.lower()):
        change(name, value)


def test_who_is_no_device_is_forbidden() -> None:
    assert issubclass(NotADevice, Denied)
    assert NotADevice.http_status == 403


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", ["-1", "1.5", "0x10", "1e6", "many", "٣", "4294967296", "9" * 200])
def test_a_size_that_no_device_can_have_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=name.lower()):
        change(name, value)


@pytest.mark.parametrize("value", ["0", "4294967295", "007"])
def test_any_size_of_32_bits_is_believed(value: str) -> None:
    assert change("x-ESP8266-free-space", value).free_space == int(value)


@pytest.mark.parametrize("mac", ["18:FE:34:AA:BB", "18:FE:34:AA:BB:CG", "device"])
def test_a_mac_that_is_none_is_refused(mac: str) -> None:
    with pytest.raises(BadInput, match="MAC address"):
        change("x-ESP8266-STA-MAC", mac)


@pytest.mark.parametrize("digest", ["a56f", DIGEST + "0", "g" * 32])
def test_a_digest_that_is_none_is_refused(digest: str) -> None:
    with pytest.raises(BadInput, match="32 hexadecimal digits"):
        change("x-ESP8266-sketch-md5", digest)


@pytest.mark.parametrize(
    ("word", "mode"), [("sketch", Mode.SKETCH), ("spiffs", Mode.FILESYSTEM), ("version", Mode.VERSION)]
)
def test_the_three_modes_are_known(word: str, mode: Mode) -> None:
    assert change("x-ESP8266-mode", word).mode is mode


@pytest.mark.parametrize("word", ["SKETCH", "flash", "littlefs"])
def test_another_mode_is_refused_with_those_that_there_are(word: str) -> None:
    with pytest.raises(BadInput, match="sketch, spiffs, version"):
        change("x-ESP8266-mode", word)


def test_a_device_of_before_2016_reports_no_digest_and_no_chip_id() -> None:
    check_in = read(**{"x-ESP8266-sketch-md5": None, "x-ESP8266-Chip-ID": None})
    assert (check_in.sketch_md5, check_in.chip_id) == (None, None)


@pytest.mark.parametrize("version", [None, "", "  "])
def test_a_sketch_may_pass_no_version(version: str | None) -> None:
    assert change("x-ESP8266-version", version).version is None


def test_a_version_is_any_text_and_its_end_is_cut_off() -> None:
    assert change("x-ESP8266-version", "<script>" + "ä" * 300).version == "<script>" + "ä" * 248


def test_an_esp32_reports_in_a_dialect_of_its_own() -> None:
    headers = {name.replace("8266", "32"): value for name, value in HEADERS.items()}
    headers["User-Agent"] = "ESP32-http-Update"
    del headers["x-ESP32-Chip-ID"]
    headers["x-ESP32-sketch-sha256"] = "AB" * 32
    expected = replace(read(), family=ChipFamily.ESP32, chip_id=None, sketch_sha256="AB" * 32)
    assert parse_check_in(headers.items()) == expected


def test_no_headers_at_all_are_no_device() -> None:
    with pytest.raises(NotADevice):
        parse_check_in([])


def test_what_a_device_tells_reads_as_what_it_told() -> None:
    check_in = read()
    agent = ("User-Agent", "ESP8266-http-Update")
    assert parse_check_in([agent, *request_headers(check_in)]) == check_in


def test_a_sketch_without_a_version_sends_no_version_header() -> None:
    assert [name for name, _ in request_headers(change("x-ESP8266-version", None))][-1] == "x-ESP8266-mode"


def test_chip_id_and_access_point_are_derived_from_the_mac_where_they_are_not_given() -> None:
    check_in = CheckIn(
        family=ChipFamily.ESP8266,
        mac=MacAddress("5E:CF:7F:00:01:02"),
        mode=Mode.SKETCH,
        free_space=ByteCount(1),
        sketch_size=ByteCount(2),
        sketch_md5=DIGEST,
        chip_size=ByteCount(3),
        sdk_version="sdk",
    )
    told = dict(request_headers(check_in))
    assert told["x-ESP8266-Chip-ID"] == "258"
    assert told["x-ESP8266-AP-MAC"] == "5E:CF:7F:00:01:02"


def test_an_image_is_served_with_length_digest_and_version() -> None:
    headers = serve_headers(file_name="door-1.0.bin", size=4144, md5=DIGEST, version="1.0")
    assert headers == [
        ("Content-Type", "application/octet-stream"),
        ("Content-Disposition", "attachment; filename=door-1.0.bin"),
        ("Content-Length", "4144"),
        ("Cache-Control", "no-transform"),
        ("x-MD5", DIGEST),
        ("x-version", "1.0"),
    ]


def test_without_a_version_there_is_no_version_header() -> None:
    assert "x-version" not in dict(serve_headers(file_name="a.bin", size=1, md5=DIGEST, version=None))


@pytest.mark.parametrize(
    ("file_name", "offered"),
    [
        ('a"b\r\nSet-Cookie: c.bin', "abSet-Cookiec.bin"),
        ("../../etc/passwd", "....etcpasswd"),
        ("Tür.bin", "Tr.bin"),
        ("日本", "image.bin"),
        ("", "image.bin"),
    ],
)
def test_a_file_name_cannot_break_out_of_its_header(file_name: str, offered: str) -> None:
    headers = dict(serve_headers(file_name=file_name, size=1, md5=DIGEST, version=None))
    assert headers["Content-Disposition"] == f"attachment; filename={offered}"


def test_a_version_cannot_break_out_of_its_header() -> None:
    headers = dict(serve_headers(file_name="a", size=1, md5=DIGEST, version="1.0\r\nSet-Cookie: a=b\0ü"))
    assert headers["x-version"] == "1.0Set-Cookie: a=b"
