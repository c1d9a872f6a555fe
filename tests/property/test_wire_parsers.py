"""Any input into any parser either parses or raises our own error. Nothing else ever comes out of one."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import TypeVar

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.vectors.images import MINIMAL_IMAGE, esp32_image

from otaria.errors import BadInput, Denied, NotAnImage, OtariaError, ProtocolViolation
from otaria.units import MacAddress, Md5, Sha256
from otaria.wire.arduino_ota import (
    Credentials,
    Invitation,
    Reply,
    md5_response,
    parse_credentials,
    parse_invitation,
    parse_reply,
    same_secret,
)
from otaria.wire.checksums import crc32_mpeg2
from otaria.wire.eboot import BootCommand
from otaria.wire.esp_image import Esp8266Image, chip_family, parse
from otaria.wire.http_update import CheckIn, parse_check_in
from otaria.wire.layouts import find_layout

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")

RUNS = settings(max_examples=300, deadline=None)

ALMOST_DATAGRAMS = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet="0123456789 \n\0aAfFOKUTHER:", max_size=200).map(str.encode),
    st.builds(
        lambda command, rest: f"{command} ".encode() + rest,
        st.sampled_from([0, 100, 101, 200]),
        st.binary(max_size=150),
    ),
)

HEADER_NAMES = [
    "User-Agent",
    *(
        f"x-{family}-{name}"
        for family in ("ESP8266", "ESP32")
        for name in (
            "Chip-ID",
            "STA-MAC",
            "AP-MAC",
            "free-space",
            "sketch-size",
            "sketch-md5",
            "sketch-sha256",
            "chip-size",
            "sdk-version",
            "mode",
            "version",
        )
    ),
]
HEADER_VALUES = st.one_of(
    st.text(max_size=300),
    st.integers().map(str),
    st.sampled_from(
        ["ESP8266-http-Update", "ESP32-http-Update", "18:FE:34:AA:BB:CC", "0" * 32, "sketch", "spiffs", "version"]
    ),
)
SOUND_HEADERS = [
    ("User-Agent", "ESP8266-http-Update"),
    ("x-ESP8266-STA-MAC", "18:FE:34:AA:BB:CC"),
    ("x-ESP8266-free-space", "671744"),
    ("x-ESP8266-sketch-size", "373940"),
    ("x-ESP8266-chip-size", "4194304"),
    ("x-ESP8266-sdk-version", "2.2.2-dev(38a443e)"),
    ("x-ESP8266-mode", "sketch"),
]
ANY_HEADERS = st.lists(st.tuples(st.sampled_from(HEADER_NAMES) | st.text(max_size=30), HEADER_VALUES), max_size=40)
ALMOST_SOUND_HEADERS = st.builds(
    lambda first, sound: [*first, *sound],
    st.lists(st.tuples(st.sampled_from(HEADER_NAMES), HEADER_VALUES), max_size=2),
    st.permutations(SOUND_HEADERS),
)

BLOCKS_WITH_A_GOOD_CRC = st.builds(
    lambda magic, rest: (
        struct.pack("<I", magic) + rest + struct.pack("<I", crc32_mpeg2(struct.pack("<I", magic) + rest))
    ),
    st.sampled_from([0xEB001000, 0xEB001FFF, 0xEB002000, 0]),
    st.binary(min_size=120, max_size=120),
)


def result_of(parser: Callable[[_Input], _Output], given_to_it: _Input) -> _Output | OtariaError:
    """What a parser returns, or which error of ours it raises."""
    try:
        return parser(given_to_it)
    except OtariaError as refused:
        return refused


def behind_a_boot_part(content: bytes) -> bytes:
    """The content behind a boot part that the ROM would take."""
    return MINIMAL_IMAGE[:0x1000] + content


ALMOST_IMAGES = st.one_of(
    st.binary(max_size=600),
    st.binary(max_size=600).map(lambda content: b"\xe9" + content),
    st.binary(max_size=600).map(lambda content: behind_a_boot_part(b"\xe9" + content)),
    st.builds(
        lambda count, sizes, rest: behind_a_boot_part(
            struct.pack("<BBBBI", 0xE9, count, 2, 0x40, 0)
            + b"".join(struct.pack("<II", 0x40201010, size) + bytes(min(size, 100)) for size in sizes)
            + rest
        ),
        st.integers(0, 20),
        st.lists(st.integers(0, 0xFFFFFFFF) | st.integers(0, 100), max_size=20),
        st.binary(max_size=100),
    ),
)


@RUNS
@given(ALMOST_IMAGES)
@example(esp32_image())
def test_any_bytes_are_an_image_or_a_wrong_file(content: bytes) -> None:
    image = result_of(parse, content)
    assert isinstance(image, Esp8266Image | BadInput)
    if isinstance(image, Esp8266Image):
        assert 0x1000 < image.size <= len(content)
        assert len(image.trailer) == len(content) - image.size
        assert image.signature is None or image.trailer.startswith(image.signature)


@RUNS
@given(st.binary(max_size=100))
def test_any_bytes_are_for_some_chip_or_no_image(content: bytes) -> None:
    with contextlib.suppress(NotAnImage):
        assert chip_family(content)


@RUNS
@given(ALMOST_DATAGRAMS)
def test_any_datagram_is_a_reply_or_a_violation_that_carries_it(datagram: bytes) -> None:
    reply = result_of(parse_reply, datagram)
    assert isinstance(reply, Reply | ProtocolViolation)
    assert not isinstance(reply, ProtocolViolation) or reply.received == datagram


@RUNS
@given(ALMOST_DATAGRAMS)
def test_a_device_reads_any_datagram_without_stumbling(datagram: bytes) -> None:
    invitation = parse_invitation(datagram)
    assert invitation is None or isinstance(invitation, Invitation)
    assert invitation is None or parse_invitation(invitation.encode()) == invitation


@RUNS
@given(ALMOST_DATAGRAMS)
def test_a_device_checks_any_credentials_without_stumbling(datagram: bytes) -> None:
    credentials = parse_credentials(datagram)
    assert credentials is None or isinstance(credentials, Credentials)
    if credentials is not None:
        assert not same_secret(credentials.response, md5_response("stored", "nonce", credentials.cnonce))


@RUNS
@given(st.binary(max_size=200) | BLOCKS_WITH_A_GOOD_CRC)
@example(bytes(128))
@example(b"\xff" * 128)
def test_any_memory_holds_a_boot_command_or_none(block: bytes) -> None:
    command = BootCommand.decode(block)
    assert command is None or BootCommand.decode(command.encode()) == command


@RUNS
@given(ANY_HEADERS | ALMOST_SOUND_HEADERS)
def test_any_headers_are_a_check_in_or_refused(headers: list[tuple[str, str]]) -> None:
    check_in = result_of(parse_check_in, headers)
    assert isinstance(check_in, CheckIn | BadInput | Denied)
    if isinstance(check_in, CheckIn):
        assert MacAddress.parse(check_in.mac) == check_in.mac
        assert 0 <= check_in.free_space < 1 << 32


@RUNS
@given(st.text() | st.text(alphabet="0123456789abcdefABCDEF:- ", max_size=70))
def test_any_text_is_a_value_in_its_one_form_or_refused(text: str) -> None:
    for kind in (MacAddress, Md5, Sha256):
        with contextlib.suppress(BadInput):
            assert kind.parse(kind.parse(text)) == kind.parse(text)


@RUNS
@given(st.text(max_size=10))
def test_any_text_is_a_layout_or_refused(text: str) -> None:
    with contextlib.suppress(OtariaError):
        assert find_layout(text).name == text.lower()
