from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace

import pytest
from tests.esp32_bench import FACTORY_ONLY, FILES, ONE_SLOT, build_app, label_of, running_esp32

from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.errors import BadInput
from otaria.protocols.exchange import Progress, Receive, Report, Send, StreamExchange
from otaria.protocols.http_pull import (
    FollowRedirects,
    HttpError,
    HttpUpdateResult,
    ImageOffered,
    PullOutcome,
    PullSettings,
    Room,
    Url,
    fetch_update,
    not_connected,
)
from otaria.units import ByteCount, MacAddress, Md5
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode, request_headers
from otaria.wire.partitions import PartitionTable

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


def feed(
    exchange: StreamExchange[PullOutcome], pieces: list[bytes | None], events: list[object] | None = None
) -> PullOutcome:
    """Answer a poll with these pieces, then the end of the stream; events are put into a list."""
    waiting = iter(pieces)
    effect = next(exchange)
    try:
        while True:
            if events is not None and isinstance(effect, Report):
                events.append(effect.event)
            effect = exchange.send(next(waiting, b"") if isinstance(effect, Receive) else None)
    except StopIteration as done:
        outcome: PullOutcome = done.value
        return outcome


def poll(
    machine: Machine,
    answer: bytes | list[bytes | None],
    mode: Mode = Mode.SKETCH,
    settings: PullSettings | None = None,
    events: list[object] | None = None,
) -> PullOutcome:
    pieces: list[bytes | None] = [answer] if isinstance(answer, bytes) else answer
    exchange = fetch_update(URL, check_in(mode), room_of(machine), machine.updater, settings or PullSettings())
    return feed(exchange, pieces, events)


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
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HttpUpdateResult.FAILED, -101, "Server Did Not Report Size"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", HttpUpdateResult.FAILED, -101, "Server Did Not Report Size"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", HttpUpdateResult.FAILED, -101, "Server Did Not Report Size"),
        (
            b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: gzip\r\n\r\n",
            HttpUpdateResult.FAILED,
            -9,
            "HTTP error: Transfer-Encoding not supported",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            HttpUpdateResult.FAILED,
            -9,
            "HTTP error: Transfer-Encoding not supported",
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", HttpUpdateResult.FAILED, -7, "HTTP error: no HTTP server"),
        (b"HTTP/1.1 ok\r\n\r\n", HttpUpdateResult.FAILED, -7, "HTTP error: no HTTP server"),
        (b"\r\n", HttpUpdateResult.FAILED, -7, "HTTP error: no HTTP server"),
        (b"SSH-2.0-OpenSSH\r\n", HttpUpdateResult.FAILED, -5, "HTTP error: connection lost"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, HttpUpdateResult.FAILED, -5, "HTTP error: connection lost"),
        (b"", HttpUpdateResult.FAILED, -5, "HTTP error: connection lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Len", HttpUpdateResult.FAILED, -5, "HTTP error: connection lost"),
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


@pytest.mark.parametrize("body", [b"\xe9", b"\xe9\x01\x02"])
def test_a_body_of_fewer_than_four_bytes_is_not_begun(machine: Machine, body: bytes) -> None:
    assert poll(machine, answer_with(body)).error == HttpError.BIN_VERIFY_HEADER_FAILED
    assert not machine.updater.is_running


def test_a_body_of_which_nothing_comes_is_not_begun(machine: Machine) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    assert poll(machine, [answer, None]).error == HttpError.BIN_VERIFY_HEADER_FAILED


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


@pytest.mark.parametrize(
    ("address", "header"),
    [
        ("http://h/", "h"),
        ("http://h:80/", "h"),
        ("http://h:443/", "h"),
        ("http://h:8080/", "h:8080"),
        ("http://10.0.0.1:8700/update?x=1", "10.0.0.1:8700"),
    ],
)
def test_the_host_header_leaves_out_both_ports_of_the_web(address: str, header: str) -> None:
    assert Url.parse(address).host_header == header


@pytest.mark.parametrize(
    ("address", "target"),
    [("http://h", "/"), ("http://h/a/b?c=d&e", "/a/b?c=d&e"), ("http://h?x", "/?x"), ("http://h/%20", "/%20")],
)
def test_path_and_query_are_asked_for_as_they_stand(address: str, target: str) -> None:
    assert Url.parse(address).target == target


# ------------------------------------------------------------------------------------ settings


def request_of(machine: Machine, url: Url = URL, settings: PullSettings | None = None) -> str:
    exchange = fetch_update(url, check_in(), room_of(machine), machine.updater, settings or PullSettings())
    effect = next(exchange)
    assert isinstance(effect, Send)
    return effect.content.decode("latin-1")


@pytest.mark.parametrize(
    ("url", "value"),
    [
        (URL.authorized("user", "pass"), "dXNlcjpwYXNz"),
        (URL.authorized_by("raw+base64="), "raw+base64="),
        (Url.parse("http://a:b@h/").authorized("user", "pass"), "dXNlcjpwYXNz"),
        (Url.parse("http://a:b@h/").authorized("user", ""), "YTpi"),
        (Url.parse("http://only@h/"), "b25seQ=="),
    ],
)
def test_there_are_three_ways_to_give_a_login(machine: Machine, url: Url, value: str) -> None:
    assert f"\r\nAuthorization: Basic {value}\r\nConnection: close\r\n" in request_of(machine, url)


def test_without_a_login_nothing_is_said_of_one(machine: Machine) -> None:
    assert "Authorization" not in request_of(machine)
    assert "Authorization" not in request_of(machine, URL.authorized("", "pass"))


def test_the_sketch_may_add_headers_but_not_those_that_the_client_sets(machine: Machine) -> None:
    added = (("X-Key", "secret"), ("Host", "evil"), ("connection", "keep-alive"), ("User-Agent", "me"))
    request = request_of(machine, settings=PullSettings(more_headers=added))
    assert "\r\nX-Key: secret\r\nContent-Length: 0\r\n\r\n" in request
    assert request.count("Host:") == request.count("User-Agent:") == 1
    assert "keep-alive" not in request


def test_an_authorization_of_the_sketchs_own_is_kept_only_where_there_is_no_login(machine: Machine) -> None:
    settings = PullSettings(more_headers=(("Authorization", "Bearer token"),))
    assert "Authorization: Bearer token" in request_of(machine, settings=settings)
    assert "Bearer" not in request_of(machine, URL.authorized("u", "p"), settings)


def test_the_oldest_cores_tell_neither_chip_id_nor_md5(machine: Machine) -> None:
    request = request_of(machine, settings=PullSettings(sends_chip_id=False, sends_sketch_md5=False))
    assert "Chip-ID" not in request
    assert "sketch-md5" not in request
    assert "x-ESP8266-sketch-size" in request


def test_the_sketchs_own_md5_overrides_the_servers(machine: Machine, new_image: bytes) -> None:
    digest = hashlib.md5(new_image).hexdigest()  # noqa: S324 - the device's protocol
    wrong = answer_with(new_image, "x-MD5: " + "0" * 32)
    assert poll(machine, wrong, settings=PullSettings(md5=digest)).result is HttpUpdateResult.OK
    machine.reset()
    assert poll(machine, answer_with(new_image), settings=PullSettings(md5="0" * 32)).error == 7
    assert poll(machine, answer_with(new_image), settings=PullSettings(md5="short")).error == HttpError.FAULTY_MD5


def test_without_any_md5_nothing_is_compared(machine: Machine, new_image: bytes) -> None:
    changed = new_image[:0x1020] + b"\0" + new_image[0x1021:]
    assert poll(machine, answer_with(changed)).result is HttpUpdateResult.OK


def test_an_auto_layout_does_not_look_at_the_flash_size(machine: Machine, new_image: bytes) -> None:
    for_16_mib = new_image[:3] + b"\x90" + new_image[4:]
    outcome = poll(machine, answer_with(for_16_mib), settings=PullSettings(flash_map=True))
    assert outcome.error == 9, "only the Updater refuses it then, at its end"


def test_a_compressed_image_is_taken_unseen_by_the_cores_that_know_it(machine: Machine, new_image: bytes) -> None:
    packed = gzip.compress(new_image, mtime=0)
    old = PullSettings(takes_gzip=False)
    assert poll(machine, answer_with(packed), settings=old).error == HttpError.BIN_VERIFY_HEADER_FAILED
    assert poll(machine, answer_with(packed)).result is HttpUpdateResult.OK


# ------------------------------------------------------------------------------------ the order


def test_the_start_call_back_is_due_after_the_space_check_and_before_the_first_byte(
    machine: Machine, new_image: bytes
) -> None:
    events: list[object] = []
    poll(machine, answer_with(new_image), events=events)
    assert events[0] == ImageOffered(len(new_image))
    assert isinstance(events[1], Progress)
    assert events[-1] == Progress(len(new_image), len(new_image))


def test_where_there_is_no_room_nothing_starts(machine: Machine) -> None:
    events: list[object] = []
    poll(machine, answer_with(bytes(machine.free_sketch_space + 1)), events=events)
    poll(machine, b"HTTP/1.1 304 Not Modified\r\n\r\n", events=events)
    assert events == []


def waits_of(exchange: StreamExchange[PullOutcome], pieces: list[bytes]) -> list[float | None]:
    """How long each wait for more may take."""
    waits = []
    waiting = iter(pieces)
    try:
        effect = next(exchange)
        while True:
            if isinstance(effect, Receive):
                waits.append(effect.timeout_s)
            effect = exchange.send(next(waiting) if isinstance(effect, Receive) else None)
    except StopIteration:
        return waits


def test_a_body_may_take_a_minute_between_its_pieces(machine: Machine, new_image: bytes) -> None:
    answer = answer_with(new_image)
    exchange = fetch_update(URL, check_in(), room_of(machine), machine.updater)
    assert waits_of(exchange, [answer[:10], answer[10:5000], answer[5000:]]) == [8.0, 8.0, 60.0]


def test_header_names_are_found_in_any_case_and_their_values_are_trimmed(machine: Machine, new_image: bytes) -> None:
    digest = hashlib.md5(new_image).hexdigest()  # noqa: S324 - the device's protocol
    head = f"HTTP/1.0 200\r\ncOnTeNt-LeNgTh:   {len(new_image)}  \r\nX-md5:\t{digest}\r\n\r\n"
    assert poll(machine, head.encode() + new_image).result is HttpUpdateResult.OK


def test_lines_may_end_without_a_carriage_return(machine: Machine, new_image: bytes) -> None:
    head = f"HTTP/1.1 200 OK\nContent-Length: {len(new_image)}\n\n"
    assert poll(machine, head.encode() + new_image).result is HttpUpdateResult.OK


def test_a_file_system_larger_than_its_place_is_not_begun(machine: Machine) -> None:
    size = machine.layout.file_system_size + 1
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    assert poll(machine, answer, Mode.FILESYSTEM).error == HttpError.TOO_LESS_SPACE


def test_a_file_system_is_not_looked_at(machine: Machine) -> None:
    assert poll(machine, answer_with(b"x"), Mode.FILESYSTEM).result is HttpUpdateResult.OK


def test_a_connection_that_does_not_open_is_error_1_in_the_cores_own_words() -> None:
    failed = HttpUpdateResult.FAILED
    assert not_connected(ChipFamily.ESP8266) == PullOutcome(failed, -1, "HTTP error: connection failed")
    assert not_connected(ChipFamily.ESP32) == PullOutcome(failed, -1, "HTTP error: connection refused")


def test_the_results_and_errors_have_the_numbers_of_the_library() -> None:
    assert [int(result) for result in HttpUpdateResult] == [0, 1, 2]
    assert [int(error) for error in HttpError] == [*range(-1, -12, -1), *range(-100, -110, -1)]


# ----------------------------------------------------------------------------------- redirects

FOLLOW = PullSettings(follow=FollowRedirects.STRICT)


def redirect(status: int, location: str | None) -> bytes:
    told = "" if location is None else f"Location: {location}\r\n"
    return f"HTTP/1.1 {status} Elsewhere\r\n{told}\r\n".encode()


def redirected(machine: Machine, status: int, location: str | None, followed: int = 0) -> PullOutcome:
    exchange = fetch_update(URL, check_in(), room_of(machine), machine.updater, FOLLOW, followed)
    return feed(exchange, [redirect(status, location)])


@pytest.mark.parametrize("status", [301, 302, 303, 307])
@pytest.mark.parametrize("follow", [FollowRedirects.STRICT, FollowRedirects.FORCE])
def test_a_redirect_is_followed_where_the_sketch_says_so(
    machine: Machine, status: int, follow: FollowRedirects
) -> None:
    outcome = poll(machine, redirect(status, "http://other:81/new"), settings=PullSettings(follow=follow))
    assert outcome.redirect == Url("other", 81, "/new")


@pytest.mark.parametrize("status", [300, 304, 305, 308, 200, 404])
def test_any_other_status_is_not_followed(machine: Machine, status: int) -> None:
    assert redirected(machine, status, "http://other/new").redirect is None


def test_by_default_nothing_is_followed(machine: Machine) -> None:
    outcome = poll(machine, redirect(302, "/new"))
    assert (outcome.redirect, outcome.error) == (None, HttpError.WRONG_HTTP_CODE)


def test_what_it_means_not_to_follow_is_told_as_well(machine: Machine) -> None:
    outcome = redirected(machine, 301, "/new")
    assert (outcome.result, outcome.error, outcome.message) == (HttpUpdateResult.FAILED, -104, "Wrong HTTP Code")


@pytest.mark.parametrize(
    ("location", "there"),
    [
        ("/new?x=1", Url(URL.host, URL.port, "/new?x=1")),
        ("http://other/a", Url("other", 80, "/a")),
        ("https://other/a", None),
        ("other.bin", None),
        ("//other/a", Url(URL.host, URL.port, "//other/a")),
        ("", None),
        (None, None),
        ("http://", None),
        ("http://other:99999/a", None),
        ("http://[::1/a", None),
    ],
)
def test_a_location_is_a_path_or_a_whole_address(machine: Machine, location: str | None, there: Url | None) -> None:
    assert redirected(machine, 302, location).redirect == there


def test_the_limit_counts_redirects(machine: Machine) -> None:
    assert redirected(machine, 302, "/new", followed=9).redirect is not None
    assert redirected(machine, 302, "/new", followed=10).redirect is None


def test_a_login_goes_along_unless_the_new_address_has_its_own() -> None:
    url = URL.authorized("u", "p")
    there = url.redirected("http://other/a")
    assert there is not None
    assert there.authorization == url.authorization
    own = url.redirected("http://x:y@other/a")
    assert own is not None
    assert own.authorization == Url.parse("http://x:y@h/").authorization


# --------------------------------------------------------------------------------- the ESP32

OLD_APP = build_app("old")
NEW_APP = build_app("new", 3)

ESP32_REQUEST = (
    b"GET /update/door HTTP/1.0\r\n"
    b"Host: server.example:8700\r\n"
    b"User-Agent: ESP32-http-Update\r\n"
    b"Connection: close\r\n"
    b"Authorization: Basic dTpw\r\n"
    b"Cache-Control: no-cache\r\n"
    b"x-ESP32-STA-MAC: 24:6F:28:AA:BB:CC\r\n"
    b"x-ESP32-AP-MAC: 24:6F:28:AA:BB:CD\r\n"
    b"x-ESP32-free-space: 65536\r\n"
    b"x-ESP32-sketch-size: %d\r\n"
    b"x-ESP32-sketch-md5: %s\r\n"
    b"x-ESP32-sketch-sha256: %s\r\n"
    b"x-ESP32-chip-size: 393216\r\n"
    b"x-ESP32-sdk-version: v5.5\r\n"
    b"x-ESP32-mode: sketch\r\n"
    b"x-ESP32-version: door-7\r\n"
    b"X-Key: 1\r\n"
    b"\r\n"
)


def esp32_check_in(machine: Esp32Machine, mode: Mode = Mode.SKETCH) -> CheckIn:
    digest = machine.sketch_sha256
    return CheckIn(
        family=ChipFamily.ESP32,
        mac=machine.mac,
        ap_mac=machine.ap_mac,
        mode=mode,
        free_space=machine.free_sketch_space,
        sketch_size=machine.sketch_size,
        sketch_md5=machine.sketch_md5,
        sketch_sha256=None if digest is None else digest.upper(),
        chip_size=machine.flash_chip_size,
        sdk_version="v5.5",
        version="door-7",
    )


def esp32_poll(
    machine: Esp32Machine,
    answer: bytes | list[bytes | None],
    mode: Mode = Mode.SKETCH,
    settings: PullSettings | None = None,
) -> PullOutcome:
    room = Room(machine.free_sketch_space, machine.file_system_size, machine.real_size)
    check = esp32_check_in(machine, mode)
    pieces: list[bytes | None] = [answer] if isinstance(answer, bytes) else answer
    return feed(fetch_update(URL, check, room, machine.updater, settings or PullSettings()), pieces)


def test_the_esp32s_request_has_its_own_headers_in_its_own_order() -> None:
    machine = running_esp32(OLD_APP)
    md5 = hashlib.md5(OLD_APP).hexdigest().encode()  # noqa: S324 - the device's protocol
    sha256 = OLD_APP[-32:].hex().upper().encode()
    settings = PullSettings(more_headers=(("X-Key", "1"),))
    room = Room(0, 0, 0)
    exchange = fetch_update(URL.authorized("u", "p"), esp32_check_in(machine), room, machine.updater, settings)
    assert next(exchange) == Send(ESP32_REQUEST % (len(OLD_APP), md5, sha256))


def test_an_esp32_leaves_out_what_it_cannot_tell() -> None:
    machine = running_esp32(OLD_APP)
    bare = replace(esp32_check_in(machine), sketch_md5=None, sketch_sha256=None, version=None)
    names = [name for name, _ in request_headers(bare)]
    assert names[-1] == "x-ESP32-mode"
    assert not {"x-ESP32-sketch-md5", "x-ESP32-sketch-sha256", "x-ESP32-Chip-ID"} & {*names}


def test_an_access_point_of_which_nobody_says_anything_is_the_locally_administered_station() -> None:
    machine = running_esp32(OLD_APP)
    told = dict(request_headers(replace(esp32_check_in(machine), ap_mac=None)))
    assert told["x-ESP32-AP-MAC"] == "26:6F:28:AA:BB:CC"


def test_an_esp32_installs_and_reports_its_new_digests() -> None:
    machine = running_esp32(OLD_APP)
    digest = hashlib.md5(NEW_APP).hexdigest().upper()  # noqa: S324 - the device's protocol
    outcome = esp32_poll(machine, answer_with(NEW_APP, f"x-MD5: {digest}"))
    assert outcome == PullOutcome(HttpUpdateResult.OK)
    machine.reset()
    assert label_of(machine) == "new"
    assert esp32_check_in(machine).sketch_md5 == digest.lower()


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", -104, "Wrong HTTP Code"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", -103, "Forbidden (403)"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", -102, "File Not Found (404)"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", -104, "Wrong HTTP Code"),
        (b"HTTP/1.1 200 OK\r\n\r\n", -101, "Server Did Not Report Size"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", -100, "Not Enough space"),
        (b"", -5, "HTTP error: connection lost"),
    ],
)
def test_an_esp32_has_the_same_errors_but_none_for_401(answer: bytes, error: int, text: str) -> None:
    outcome = esp32_poll(running_esp32(OLD_APP), answer)
    assert (outcome.result, outcome.error, outcome.message) == (HttpUpdateResult.FAILED, error, text)


def test_an_esp32_counts_304_as_no_updates() -> None:
    machine = running_esp32(OLD_APP)
    assert esp32_poll(machine, b"HTTP/1.1 304 Not Modified\r\n\r\n").result is HttpUpdateResult.NO_UPDATES


@pytest.mark.parametrize(("mode", "table"), [(Mode.SKETCH, FACTORY_ONLY), (Mode.FILESYSTEM, FACTORY_ONLY)])
def test_an_esp32_without_the_partition_says_so(mode: Mode, table: PartitionTable) -> None:
    outcome = esp32_poll(running_esp32(OLD_APP, table=table), answer_with(NEW_APP), mode)
    assert (outcome.error, outcome.message) == (-108, "Partition Could Not be Found")
    assert outcome.error == HttpError.NO_PARTITION


def test_an_esp32_with_one_slot_learns_it_from_the_updater() -> None:
    outcome = esp32_poll(running_esp32(OLD_APP, table=ONE_SLOT), answer_with(NEW_APP))
    assert (outcome.error, outcome.message) == (10, "Update error: Partition Could Not be Found")


@pytest.mark.parametrize("body", [b"\x1f\x8b" + bytes(5000), b"<html>", b"\0"])
def test_an_esp32s_sketch_must_begin_with_e9(body: bytes) -> None:
    machine = running_esp32(OLD_APP)
    assert esp32_poll(machine, answer_with(body)).error == HttpError.BIN_VERIFY_HEADER_FAILED
    assert not machine.updater.is_running


@pytest.mark.parametrize("rest", [[None], []], ids=["silent", "closed"])
def test_an_esp32s_file_system_of_which_nothing_comes_is_error_6(rest: list[bytes | None]) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    outcome = esp32_poll(running_esp32(OLD_APP), [answer, *rest], Mode.FILESYSTEM)
    assert (outcome.error, outcome.message) == (6, "Update error: Stream Read Timeout")


def test_an_esp32_does_not_look_at_the_flash_size_in_the_image() -> None:
    for_16_mib = NEW_APP[:3] + b"\x4f" + NEW_APP[4:]
    outcome = esp32_poll(running_esp32(OLD_APP), answer_with(for_16_mib))
    assert outcome.error == 9, "the digest is wrong now, and nothing else"


def test_an_error_of_an_esp32s_updater_has_no_number_in_its_text() -> None:
    outcome = esp32_poll(running_esp32(OLD_APP), answer_with(NEW_APP, "x-MD5: " + "0" * 32))
    assert (outcome.error, outcome.message) == (7, "Update error: MD5 Check Failed")


def test_of_a_repeated_md5_header_an_esp32_takes_the_last() -> None:
    digest = hashlib.md5(NEW_APP).hexdigest()  # noqa: S324 - the device's protocol
    answer = answer_with(NEW_APP, "x-MD5: " + "0" * 32, f"x-MD5: {digest}")
    assert esp32_poll(running_esp32(OLD_APP), answer).result is HttpUpdateResult.OK


def test_an_esp32s_body_that_breaks_off_is_error_6_and_the_old_app_starts_again() -> None:
    machine = running_esp32(OLD_APP)
    outcome = esp32_poll(machine, answer_with(NEW_APP)[:-1000])
    assert (outcome.error, outcome.message) == (6, "Update error: Stream Read Timeout")
    machine.reset()
    assert label_of(machine) == "old"


def test_an_esp32_waits_half_a_minute_between_the_pieces_of_a_body() -> None:
    machine = running_esp32(OLD_APP)
    room = Room(machine.free_sketch_space, machine.file_system_size, machine.real_size)
    exchange = fetch_update(URL, esp32_check_in(machine), room, machine.updater)
    answer = answer_with(NEW_APP)
    assert waits_of(exchange, [answer[:6000], answer[6000:]]) == [8.0, 30.0]


def test_an_esp32_writes_a_file_system_into_its_partition() -> None:
    machine = running_esp32(OLD_APP)
    files = bytes(range(256)) * 8
    assert esp32_poll(machine, answer_with(files), Mode.FILESYSTEM).result is HttpUpdateResult.OK
    assert machine.flash.read(FILES.offset, len(files)) == files
