"""What a device says when it polls, and what it needs in the answer (protocols §2).

A poll is a plain ``GET`` whose request headers describe the device: ``x-ESP8266-*`` from the ESP8266 core's
ESPhttpUpdate, ``x-ESP32-*`` from the ESP32 core's HTTPUpdate. Read into one value it is a :class:`CheckIn`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from otaria.errors import BadInput, Denied
from otaria.units import ByteCount, MacAddress, Md5
from otaria.wire.chips import ChipFamily

__all__ = [
    "USER_AGENTS",
    "CheckIn",
    "Mode",
    "NotADevice",
    "parse_check_in",
    "request_headers",
    "serve_headers",
]

LONGEST_TEXT: Final = 256
"""Characters kept of a free-text header. The longest version strings seen in the field are below 64."""

_ACCESS_POINT_BIT: Final = 0x02

LARGEST_NUMBER: Final = 1 << 32
"""No size on these chips needs more than 32 bits."""


class NotADevice(Denied):
    """The request does not come from an ESP's update client."""


class Mode(StrEnum):
    """What the device asks for; the word on the wire."""

    SKETCH = "sketch"
    FILESYSTEM = "spiffs"
    VERSION = "version"


USER_AGENTS: Final = {
    ChipFamily.ESP8266: "ESP8266-http-Update",
    ChipFamily.ESP32: "ESP32-http-Update",
}


@dataclass(frozen=True, slots=True)
class CheckIn:
    """One poll of a device.

    Args:
        family: ESP8266, or ESP32 for any chip of that family: its headers do not say which.
        mac: the station MAC, by which the device is known.
        mode: what it asks for.
        free_space: room for a staged sketch (ESP8266), size of the next OTA partition (ESP32).
        sketch_size: bytes of the running sketch, without a signature.
        sketch_md5: digest of the running sketch as it lies in flash; None from cores before 2.4.
        chip_size: real size of the flash chip.
        sdk_version: free text.
        version: what the sketch calls itself; None where it passes no version.
        ap_mac: the access point's MAC, as sent; derived from the station's where it is not given.
        chip_id: decimal chip id; None before core 2.6 and on ESP32.
        sketch_sha256: upper-case digest that ESP32 sends; it leaves out the appended digest, so it is not the
            file's own SHA-256.
    """

    family: ChipFamily
    mac: MacAddress
    mode: Mode
    free_space: ByteCount
    sketch_size: ByteCount
    sketch_md5: Md5 | None
    chip_size: ByteCount
    sdk_version: str
    version: str | None = None
    ap_mac: str | None = None
    chip_id: int | None = None
    sketch_sha256: str | None = None


class _Headers:
    """The headers of one dialect, looked up without regard to case."""

    def __init__(self, prefix: str, values: Mapping[str, str]) -> None:
        self._prefix = prefix
        self._values = values

    def text(self, name: str) -> str | None:
        """The value, at most :data:`LONGEST_TEXT` characters; None where the header is absent or empty."""
        return self._values.get(self._prefix + name, "")[:LONGEST_TEXT] or None

    def required(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise NotADevice(
                f"The request has no {self._prefix}{name} header, which every ESP update client sends; "
                "only devices get updates from this address."
            )
        return value

    def number(self, name: str) -> int:
        value = self.required(name)
        if not (value.isascii() and value.isdigit() and int(value) < LARGEST_NUMBER):
            raise BadInput(f"The {self._prefix}{name} header says {value!r}, which is no size in bytes.")
        return int(value)


def parse_check_in(headers: Iterable[tuple[str, str]]) -> CheckIn:
    """Read a poll from its request headers; their names may be in any case.

    Args:
        headers: names and values in the order received. Of a header that is repeated the first one counts.

    Raises:
        NotADevice: the headers are not those of an ESP update client.
        BadInput: they are, but one says what no device can.
    """
    values: dict[str, str] = {}
    for name, value in headers:
        values.setdefault(name.lower(), value.strip())
    family = ChipFamily.ESP32 if "x-esp32-sta-mac" in values else ChipFamily.ESP8266
    if values.get("user-agent") != USER_AGENTS[family]:
        raise NotADevice(
            "The request does not come from an ESP's update client "
            f"(User-Agent {USER_AGENTS[family]}); only devices get updates from this address."
        )
    return _read_headers(family, _Headers(f"x-{family.lower()}-", values))


def _read_headers(family: ChipFamily, headers: _Headers) -> CheckIn:
    sketch_md5 = headers.text("sketch-md5")
    return CheckIn(
        family=family,
        mac=MacAddress.parse(headers.required("sta-mac")),
        mode=_read_mode(headers.required("mode")),
        free_space=ByteCount(headers.number("free-space")),
        sketch_size=ByteCount(headers.number("sketch-size")),
        sketch_md5=None if sketch_md5 is None else Md5.parse(sketch_md5),
        chip_size=ByteCount(headers.number("chip-size")),
        sdk_version=headers.required("sdk-version"),
        version=headers.text("version"),
        ap_mac=headers.text("ap-mac"),
        chip_id=headers.number("chip-id") if headers.text("chip-id") else None,
        sketch_sha256=headers.text("sketch-sha256"),
    )


def _read_mode(word: str) -> Mode:
    try:
        return Mode(word)
    except ValueError:
        known = ", ".join(Mode)
        raise BadInput(f"The device asks for mode {word!r}; the modes are {known}.") from None


def request_headers(
    check_in: CheckIn, *, sends_chip_id: bool = True, sends_sketch_md5: bool = True
) -> list[tuple[str, str]]:
    """The headers by which a device describes itself, in the order in which its core sends them (protocols §2.1, §2.3).

    Args:
        check_in: what it has to tell.
        sends_chip_id: an ESP8266's core does since 2.6.
        sends_sketch_md5: an ESP8266's core does since 2.4.
    """
    if check_in.family is not ChipFamily.ESP8266:
        return _esp32_headers(check_in)
    optional = [] if check_in.version is None else [("x-ESP8266-version", check_in.version)]
    chip_id = check_in.mac.chip_id if check_in.chip_id is None else check_in.chip_id
    lines = [
        ("x-ESP8266-Chip-ID", str(chip_id) if sends_chip_id else None),
        ("x-ESP8266-STA-MAC", check_in.mac),
        ("x-ESP8266-AP-MAC", check_in.ap_mac or _access_point(check_in.mac)),
        ("x-ESP8266-free-space", str(check_in.free_space)),
        ("x-ESP8266-sketch-size", str(check_in.sketch_size)),
        ("x-ESP8266-sketch-md5", (check_in.sketch_md5 or "") if sends_sketch_md5 else None),
        ("x-ESP8266-chip-size", str(check_in.chip_size)),
        ("x-ESP8266-sdk-version", check_in.sdk_version),
        ("x-ESP8266-mode", check_in.mode.value),
        *optional,
    ]
    return [(name, value) for name, value in lines if value is not None]


def _esp32_headers(check_in: CheckIn) -> list[tuple[str, str]]:
    """An ESP32 leaves out what it cannot tell."""
    lines = [
        ("Cache-Control", "no-cache"),
        ("x-ESP32-STA-MAC", check_in.mac),
        ("x-ESP32-AP-MAC", check_in.ap_mac or _access_point(check_in.mac)),
        ("x-ESP32-free-space", str(check_in.free_space)),
        ("x-ESP32-sketch-size", str(check_in.sketch_size)),
        ("x-ESP32-sketch-md5", check_in.sketch_md5),
        ("x-ESP32-sketch-sha256", check_in.sketch_sha256),
        ("x-ESP32-chip-size", str(check_in.chip_size)),
        ("x-ESP32-sdk-version", check_in.sdk_version),
        ("x-ESP32-mode", check_in.mode.value),
        ("x-ESP32-version", check_in.version),
    ]
    return [(name, value) for name, value in lines if value is not None]


def _access_point(mac: MacAddress) -> str:
    """The station's MAC with the locally-administered bit set."""
    return f"{int(mac[:2], 16) | _ACCESS_POINT_BIT:02X}{mac[2:]}"


def serve_headers(*, file_name: str, size: int, md5: Md5, version: str | None) -> list[tuple[str, str]]:
    """The headers of the 200 that brings an image (protocols §2.2).

    ``Content-Length`` is what a stock client cannot do without: it decodes no chunks. ``no-transform`` keeps
    proxies from compressing what the device would then write to its flash as it came.

    Args:
        file_name: offered to people who download by hand; only its harmless characters are kept.
        size: bytes of the body.
        md5: digest of the body as sent, lower case.
        version: the release's label, for ``getAvailableVersion``; only its printable ASCII is kept.
    """
    harmless = "".join(letter for letter in file_name if letter.isascii() and (letter.isalnum() or letter in "._-"))
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Disposition", f"attachment; filename={harmless or 'image.bin'}"),
        ("Content-Length", str(size)),
        ("Cache-Control", "no-transform"),
        ("x-MD5", md5),
    ]
    if version is not None:
        printable = "".join(letter for letter in version if letter.isascii() and letter.isprintable())
        headers.append(("x-version", printable))
    return headers
