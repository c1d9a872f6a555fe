from __future__ import annotations

import hashlib

import pytest

from otaria.device.machine import Machine
from otaria.errors import BadInput
from otaria.protocols.exchange import Receive, Send, StreamExchange
from otaria.protocols.http_pull import HttpError, HttpUpdateResult, PullOutcome, Room, Url, fetch_update
from otaria.units import ByteCount, MacAddress, Md5
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode

URL = Url.parse("http://server.example:8700/update/door")

DOCUMENTED_REQUEST = (
    b"GET /update/door HTTP/1.0\r\n"
    b"Host: server.example:8700\r\n"
    b"User-Agent: ESP8266-http-Update\r\n"
    b"Connection: close\r\n"
    b"x-ESP8266-Chip-ID: 11189196\r\n"
    b"x-ESP8266-STA-MAC: 18:FE:34:AA:BB:CC\r\n"
    b"x-ESP8266-AP-MAC: 1A:FE:34:AA:BB:CC\r\n"
    b"x-ESP8266-free-space: 671744\r\n"
    b"x-ESP8266-sketch-size: 373940\r\n"
    b"x-ESP8266-sketch-md5: a56f8ef78a0bebd812f62067daf1408a\r\n"
    b"x-ESP8266-chip-size: 4194304\r\n"
    b"x-ESP8266-sdk-version: 2.2.2-dev(38a443e)\r\n"
    b"x-ESP8266-mode: sketch\r\n"
    b"x-ESP8266-version: DOOR-7-g14f53a19\r\n"
    b"Content-Length: 0\r\n"
    b"\r\n"
)


def check_in(mode: Mode = Mode.SKETCH) -> CheckIn:
    return CheckIn(
        family=ChipFamily.ESP8266,
        mac=MacAddress("18:FE:34:AA:BB:CC"),
        mode=mode,
        free_space=ByteCount(671744),
        sketch_size=ByteCount(373940),
        sketch_md5=Md5("a56f8ef78a0bebd812f62067daf1408a"),
        chip_size=ByteCount(4194304),
        sdk_version="2.2.2-dev(38a443e)",
        version="DOOR-7-g14f53a19",
        ap_mac="1A:FE:34:AA:BB:CC",
    )


def room_of(machine: Machine) -> Room:
    return Room(machine.free_sketch_space, machine.layout.file_system_size, machine.real_size)


def feed(exchange: StreamExchange[PullOutcome], pieces: list[bytes | None]) -> PullOutcome:
    """Answer a poll with these pieces, then the end of the stream."""
    waiting = iter(pieces)
    effect = next(exchange)
    try:
        while True:
            effect = exchange.send(next(waiting, b"") if isinstance(effect, Receive) else None)
    except StopIteration as done:
        outcome: PullOutcome = done.value
        return outcome


def poll(machine: Machine, answer: bytes | list[bytes | None], mode: Mode = Mode.SKETCH) -> PullOutcome:
    pieces: list[bytes | None] = [answer] if isinstance(answer, bytes) else answer
    return feed(fetch_update(URL, check_in(mode), room_of(machine), machine.updater), pieces)


def answer_with(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_the_request_is_the_documented_one_to_the_byte(machine: Machine) -> None:
    exchange = fetch_update(URL, check_in(), room_of(machine), machine.updater)
    assert next(exchange) == Send(DOCUMENTED_REQUEST)


def test_a_200_installs_the_image(machine: Machine, new_image: bytes) -> None:
    digest = hashlib.md5(new_image).hexdigest().upper()  # noqa: S324 - the device's protocol
    outcome = poll(machine, answer_with(new_image, f"x-MD5: {digest}", "x-version: 2"))
    assert outcome == PullOutcome(HttpUpdateResult.OK, version="2")
    machine.reset()
    assert machine.flash.read(0, len(new_image)) == new_image


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1459, 4096, 4097])
def test_an_answer_may_arrive_in_pieces_of_any_size(machine: Machine, new_image: bytes, size: int) -> None:
    whole = answer_with(new_image)
    pieces: list[bytes | None] = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert poll(machine, pieces).result is HttpUpdateResult.OK


@pytest.mark.parametrize(
    ("answer", "result", "error", "text"),
    [
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", HttpUpdateResult.NO_UPDATES, 0, ""),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", HttpUpdateResult.FAILED, -108, "Unauthorized (401)"),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n", HttpUpdateResult.FAILED, -103, "Forbidden (403)"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", HttpUpdateResult.FAILED, -102, "File Not Found (404)"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", HttpUpdateResult.FAILED, -104, "Wrong HTTP Code"),
        (b"HTTP/1.1 206 Partial Content\r\n\r\n", HttpUpdateResult.FAILED, -104, "Wrong HTTP Code"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", HttpUpdateResult.FAILED, -104, "Wrong HTTP Code"),
        (b"HTTP/1.1 200 OK\r\n\r\nbody", HttpUpdateResult.FAILED, -101, "Server Did Not Report Size"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
            HttpUpdateResult.FAILED,
            -101,
            "Server Did Not Report Size",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            HttpUpdateResult.FAILED,
            -9,
            "HTTP error: Transfer-Encoding not supported",
        ),
        (b"SSH-2.0-OpenSSH\r\n", HttpUpdateResult.FAILED, -7, "HTTP error: no HTTP server"),
        (b"", HttpUpdateResult.FAILED, -7, "HTTP error: no HTTP server"),
        (b"HTTP/1.1 200 OK\r\nContent-Len", HttpUpdateResult.FAILED, -7, "HTTP error: no HTTP server"),
    ],
)
def test_each_answer_has_the_clients_own_result(
    machine: Machine, answer: bytes, result: HttpUpdateResult, error: int, text: str
) -> None:
    before = machine.flash.operations
    assert poll(machine, answer) == PullOutcome(result, error, text)
    assert machine.flash.operations == before


def test_silence_is_a_read_time_out(machine: Machine) -> None:
    assert poll(machine, [None]).error == HttpError.READ_TIMEOUT


def test_a_body_longer_than_the_free_space_is_not_begun(machine: Machine) -> None:
    outcome = poll(machine, f"HTTP/1.1 200 OK\r\nContent-Length: {machine.free_sketch_space + 1}\r\n\r\n".encode())
    assert (outcome.error, outcome.message) == (-100, "Not Enough space")


def test_a_body_that_begins_like_no_image_is_not_begun(machine: Machine) -> None:
    before = machine.flash.operations
    assert poll(machine, answer_with(b"<html>")).error == HttpError.BIN_VERIFY_HEADER_FAILED
    assert machine.flash.operations == before


def test_an_image_for_a_larger_flash_is_not_begun(machine: Machine, new_image: bytes) -> None:
    for_16_mib = new_image[:3] + b"\x90" + new_image[4:]
    assert poll(machine, answer_with(for_16_mib)).error == HttpError.BIN_FOR_WRONG_FLASH


def test_a_repeated_md5_header_is_joined_and_so_too_long(machine: Machine, new_image: bytes) -> None:
    digest = "0" * 32
    outcome = poll(machine, answer_with(new_image, f"x-MD5: {digest}", f"x-MD5: {digest}"))
    assert outcome.error == HttpError.FAULTY_MD5


def test_a_wrong_digest_is_the_updaters_error_7(machine: Machine, new_image: bytes) -> None:
    outcome = poll(machine, answer_with(new_image, "x-MD5: " + "0" * 32))
    assert outcome.error == 7
    assert outcome.message.startswith("Update error: ERROR[7]: MD5 verification failed: expected: 000")


def test_a_body_that_breaks_off_is_error_6_and_the_old_sketch_starts_again(
    machine: Machine, old_image: bytes, new_image: bytes
) -> None:
    outcome = poll(machine, answer_with(new_image)[:-5000])
    assert (outcome.error, outcome.message) == (6, "Update error: ERROR[6]: Stream Read Timeout")
    assert machine.reset().running
    assert machine.flash.read(0, len(old_image)) == old_image


def test_a_file_system_is_written_in_place(machine: Machine) -> None:
    files = bytes(range(256)) * 64
    assert poll(machine, answer_with(files), Mode.FILESYSTEM).result is HttpUpdateResult.OK
    assert machine.flash.read(machine.layout.file_system_start, len(files)) == files


def test_asking_for_the_version_reads_the_header_and_no_body(machine: Machine) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-version: DOOR-8\r\n\r\n"
    assert poll(machine, answer, Mode.VERSION) == PullOutcome(HttpUpdateResult.OK, version="DOOR-8")


def test_an_answer_without_a_version_has_an_error_without_a_text(machine: Machine) -> None:
    outcome = poll(machine, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Mode.VERSION)
    assert (outcome.error, outcome.message) == (-109, "")


def test_a_login_in_the_address_becomes_basic_authorization_as_it_stands(machine: Machine) -> None:
    url = Url.parse("http://porch:s%20x@10.0.0.1/update")
    request = next(fetch_update(url, check_in(), room_of(machine), machine.updater))
    assert isinstance(request, Send)
    assert b"\r\nHost: 10.0.0.1\r\n" in request.content
    assert b"\r\nAuthorization: Basic cG9yY2g6cyUyMHg=\r\n" in request.content


@pytest.mark.parametrize("text", ["", "10.0.0.1/update", "https://x/", "ftp://x/", "http://", "http://h:99999/"])
def test_an_address_that_a_device_cannot_poll_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        Url.parse(text)
