"""Any bytes into any exchange: it ends, it waits, or it raises our own error; and no device ever runs half of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.device_bench import build_sketch, installed, running
from tests.esp32_bench import build_app, label_of, running_esp32

from otaria.device.core_version import Core
from otaria.device.esp32_core_version import Esp32Core
from otaria.errors import OtariaError
from otaria.protocols import arduino_push, esp32_push
from otaria.protocols.arduino_push import Invited, invite, send_image
from otaria.protocols.esp32_push import Invitations, Protection
from otaria.protocols.exchange import (
    AskPassword,
    Connected,
    Datagram,
    Receive,
    Report,
    Send,
    Sleep,
)
from otaria.protocols.http_pull import (
    FollowRedirects,
    HttpUpdateResult,
    PullOutcome,
    PullSettings,
    Room,
    Url,
    fetch_update,
)
from otaria.protocols.web_upload import (
    ESP32_PAGE,
    ESP8266_PAGE,
    Login,
    PageDialect,
    UploadRoom,
    WebUpdater,
    upload_image,
)
from otaria.units import ByteCount, MacAddress, Md5
from otaria.wire.arduino_ota import Invitation, Scheme, stored_password
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode, parse_check_in, request_headers

RUNS = settings(max_examples=200, deadline=None)
MOST_STEPS = 20_000
"""Effects in a row; an exchange that is fed less than 100 KiB needs fewer."""

HOST, OTHER = ("10.0.0.2", 50000), ("10.0.0.66", 6)
DEVICE = ("10.0.0.9", 8266)
DIGEST = "fecba2a2abb627f34e0e8fa5b298f4f3"

OLD_SKETCH, NEW_SKETCH = build_sketch("old", 2), build_sketch("new", 2)
OLD_APP, NEW_APP = build_app("old", 1), build_app("new", 2)

WAITS = object()
"""It has taken in everything and waits for more."""


def drive(exchange: Generator[Any, Any, Any], arrivals: list[Any], last: Any = WAITS) -> object:
    """Feed arrivals to an exchange: its result, our error, or :data:`WAITS`.

    Args:
        exchange: the exchange.
        arrivals: to each Receive the next one.
        last: what comes to every Receive after that, where anything does.
    """
    waiting = iter(arrivals)
    try:
        effect = next(exchange)
        for _ in range(MOST_STEPS):
            assert isinstance(effect, Send | Receive | Sleep | Report | AskPassword)
            answer: Any = None
            if isinstance(effect, AskPassword):
                answer = "123"
            elif isinstance(effect, Receive):
                answer = next(waiting, last)
                if answer is WAITS:
                    return WAITS
            effect = exchange.send(answer)
    except StopIteration as finished:
        return finished.value
    except OtariaError as refused:
        return refused
    raise AssertionError("it goes on and on without asking for anything")


# ------------------------------------------------------------------------------- datagrams

almost_datagrams = st.one_of(
    st.binary(max_size=150),
    st.text(alphabet="0123456789 \n\0aAOKUTHER:", max_size=150).map(str.encode),
    st.sampled_from(
        [
            b"OK",
            b"AUTH " + b"ab" * 16,
            b"AUTH " + b"ab" * 32,
            b"Authentication Failed",
            b"ERR: ERROR[4]: Not Enough Space\n",
            f"0 48266 4100 {DIGEST}\n".encode(),
            f"100 48266 4100 {DIGEST}\n".encode(),
            b"200 " + b"0" * 32 + b" " + b"0" * 32 + b"\n",
            b"200 " + b"0" * 64 + b" " + b"0" * 64 + b"\n",
        ]
    ),
)
arrivals = st.lists(
    st.one_of(
        st.none(),
        st.builds(Datagram, almost_datagrams, st.sampled_from([HOST, DEVICE, OTHER])),
        st.builds(Connected, st.sampled_from([HOST, DEVICE, OTHER])),
    ),
    max_size=30,
)


@RUNS
@given(arrivals, st.sampled_from([0, 100]))
def test_a_host_that_invites_gives_up_or_comes_to_terms(heard: list[Any], command: int) -> None:
    invitation = Invitation(command, 48266, 4100, DIGEST)
    exchange = invite(
        invitation, DEVICE, name="porch", new_cnonce=lambda scheme: "0" * (32 if scheme is Scheme.MD5 else 64)
    )
    outcome = drive(exchange, heard, last=None)
    assert outcome is None or isinstance(outcome, OtariaError)


@RUNS
@given(arrivals, st.sampled_from([None, "", stored_password("123")]))
def test_an_idle_esp8266_follows_nobody_without_the_password(heard: list[Any], stored: str | None) -> None:
    outcome = drive(arduino_push.await_invitation(stored, lambda: 7), heard)
    assert outcome is WAITS or isinstance(outcome, Invited)
    assert outcome is WAITS or not stored


@RUNS
@given(arrivals, st.sampled_from([None, *Scheme]))
def test_an_idle_esp32_follows_nobody_without_the_password(heard: list[Any], scheme: Scheme | None) -> None:
    protection = None if scheme is None else Protection.by_password("123", scheme)
    invitations = Invitations(protection, lambda: 7)
    for arrival in heard:
        outcome = drive(invitations.handle(), [arrival])
        assert outcome is None or isinstance(outcome, Invited)
        assert outcome is None or protection is None


# ---------------------------------------------------------------------------------- streams

almost_answers = st.one_of(
    st.none(),
    st.binary(max_size=200),
    st.sampled_from([b"1460", b"OK", b"O", b"K", b"ERROR[7]: MD5", b"MD5 Check Failed\r\n", b"1460OK", b"\n", b""]),
)


@RUNS
@given(st.lists(almost_answers, max_size=20), st.integers(1, 3000))
def test_a_host_that_sends_has_a_verdict_in_the_end(heard: list[bytes | None], block: int) -> None:
    outcome = drive(send_image(b"x" * 5000, name="porch", block_size=block), heard, last=b"")
    assert outcome is None or isinstance(outcome, OtariaError)


@RUNS
@given(st.lists(st.binary(max_size=5000) | st.none(), max_size=12), st.integers(0, 9000), st.sampled_from(Core))
@example([NEW_SKETCH], len(NEW_SKETCH), Core.V3_1)
def test_an_esp8266_that_receives_anything_runs_a_whole_sketch_after_a_restart(
    heard: list[bytes | None], size: int, core: Core
) -> None:
    machine = running(OLD_SKETCH, core=core)
    if machine.updater.begin(size):
        outcome = drive(arduino_push.receive_image(size, machine.updater), heard, last=b"")
        assert outcome in (True, False)
        machine.power_on(b"")
        assert installed(machine, OLD_SKETCH)


@RUNS
@given(st.lists(st.binary(max_size=5000) | st.none(), max_size=12), st.integers(0, 9000), st.sampled_from(Esp32Core))
@example([NEW_APP], len(NEW_APP), Esp32Core.V3_3_1)
@example([NEW_APP[:100], None, None, NEW_APP[100:], b"more"], len(NEW_APP), Esp32Core.V2_0)
def test_an_esp32_that_receives_anything_runs_a_whole_app_after_a_restart(
    heard: list[bytes | None], size: int, core: Esp32Core
) -> None:
    machine = running_esp32(OLD_APP, core=core)
    if machine.updater.begin(size):
        outcome = drive(esp32_push.receive_image(size, machine.updater), heard, last=None)
        assert outcome in (True, False)
        assert not machine.updater.is_running
        machine.reset()
        assert label_of(machine) == ("new" if outcome is True else "old")


# ------------------------------------------------------------------------------------- pulls

header_lines = st.one_of(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0 304\r\n",
            b"HTTP/1.1 302 Found\r\n",
            b"HTTP/1.1 401 no\r\n",
            b"Location: http://other:1/x\r\n",
            b"Location: http://[::1\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"x-MD5: 00000000000000000000000000000000\r\n",
            b"x-MD5: short\r\n",
            b"x-version: 2\r\n",
            b"\r\n",
            b"\n",
        ]
    ),
    st.integers(-5, 1 << 70).map(lambda number: f"Content-Length: {number}\r\n".encode()),
    st.binary(max_size=60),
)
http_answers = st.one_of(
    st.lists(header_lines, max_size=8).map(b"".join),
    st.builds(
        lambda lines, body: b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"\r\n" + body,
        st.lists(header_lines, max_size=4),
        st.binary(max_size=300) | st.sampled_from([NEW_SKETCH, NEW_APP, b"\xe9" * 5000]),
    ),
    st.sampled_from([NEW_SKETCH, NEW_APP]).map(
        lambda image: f"HTTP/1.1 200 OK\r\nContent-Length: {len(image)}\r\n\r\n".encode() + image
    ),
)


def split(content: bytes, piece: int) -> list[Any]:
    return [content[at : at + piece] for at in range(0, len(content), piece)]


def check_in_of(family: ChipFamily, mode: Mode) -> CheckIn:
    return CheckIn(
        family=family,
        mac=MacAddress("24:6F:28:AA:BB:CC"),
        mode=mode,
        free_space=ByteCount(1),
        sketch_size=ByteCount(2),
        sketch_md5=None,
        chip_size=ByteCount(3),
        sdk_version="sdk",
    )


SETTINGS = [PullSettings(), PullSettings(follow=FollowRedirects.FORCE, md5="0" * 32, takes_gzip=False, flash_map=True)]


@RUNS
@given(
    http_answers,
    st.sampled_from([1, 3, 100, 1460, 1 << 20]).filter(bool),
    st.sampled_from(Mode),
    st.sampled_from(SETTINGS),
    st.sampled_from([b"", None]),
)
def test_any_answer_to_a_poll_has_an_outcome(
    answer: bytes, piece: int, mode: Mode, chosen: PullSettings, last: bytes | None
) -> None:
    piece = max(piece, len(answer) // 500 + 1)
    url = Url.parse("http://10.0.0.2/")
    old = running(OLD_SKETCH)
    room = Room(old.free_sketch_space, old.layout.file_system_size, old.real_size)
    outcome = drive(
        fetch_update(url, check_in_of(ChipFamily.ESP8266, mode), room, old.updater, chosen), split(answer, piece), last
    )
    assert isinstance(outcome, PullOutcome)
    old.power_on(b"")
    assert installed(old, OLD_SKETCH)

    app = running_esp32(OLD_APP)
    room = Room(app.free_sketch_space, app.file_system_size, app.real_size)
    outcome = drive(
        fetch_update(url, check_in_of(ChipFamily.ESP32, mode), room, app.updater, chosen), split(answer, piece), last
    )
    assert isinstance(outcome, PullOutcome)
    app.reset()
    is_new = mode is Mode.SKETCH and outcome.result is HttpUpdateResult.OK
    assert label_of(app) == ("new" if is_new else "old")


@RUNS
@given(
    st.builds(
        CheckIn,
        family=st.just(ChipFamily.ESP32),
        mac=st.binary(min_size=6, max_size=6).map(lambda raw: MacAddress.parse(raw.hex())),
        mode=st.sampled_from(Mode),
        free_space=st.integers(0, 0xFFFFFFFF).map(ByteCount),
        sketch_size=st.integers(0, 0xFFFFFFFF).map(ByteCount),
        sketch_md5=st.none() | st.binary(min_size=16, max_size=16).map(lambda raw: Md5(raw.hex())),
        chip_size=st.integers(0, 0xFFFFFFFF).map(ByteCount),
        sdk_version=st.just("v5.5"),
        version=st.none() | st.just("door-7"),
        ap_mac=st.just("26:6F:28:AA:BB:CC"),
        sketch_sha256=st.none() | st.binary(min_size=32, max_size=32).map(lambda raw: raw.hex().upper()),
    )
)
def test_an_esp32s_check_in_reads_as_it_was_told(check_in: CheckIn) -> None:
    agent = ("User-Agent", "ESP32-http-Update")
    assert parse_check_in([agent, *request_headers(check_in)]) == check_in


# ------------------------------------------------------------------------------------ the page

EDGE = b"--edge"
form_pieces = st.one_of(
    st.sampled_from(
        [
            b"POST /update HTTP/1.1\r\n",
            b"GET /update HTTP/1.1\r\n",
            b"OPTIONS /update HTTP/1.0\r\n",
            b"Content-Type: multipart/form-data; boundary=edge\r\n",
            b"Content-Type: multipart/\r\n",
            b"Content-Length: 99999999999999999999\r\n",
            b"Origin: http://porch\r\nHost: porch\r\n",
            b"\r\n",
            EDGE + b"\r\n",
            EDGE + b"--\r\n",
            EDGE,
            b"--",
            b'Content-Disposition: form-data; name="firmware"; filename="x"\r\n',
            b'Content-Disposition: form-data; name="filesystem"; filename="x"\r\n',
            b'Content-Disposition: form-data; name="note"\r\n',
            b"Content-Disposition=\r\n",
            b"Content-Type: x\r\n",
            NEW_SKETCH,
            NEW_APP,
            b"\xe9" * 3000,
        ]
    ),
    st.binary(max_size=80),
)
FORM_HEAD = (
    b"POST /update HTTP/1.1\r\nHost: porch\r\nOrigin: http://porch\r\n"
    b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
)
requests = st.one_of(
    st.lists(form_pieces, max_size=12).map(b"".join),
    st.lists(form_pieces, max_size=12).map(lambda pieces: FORM_HEAD + EDGE + b"\r\n" + b"".join(pieces)),
)


@RUNS
@given(
    st.lists(requests, min_size=1, max_size=3),
    st.sampled_from([1, 7, 500, 1 << 20]),
    st.sampled_from([b"", None]),
    st.sampled_from([None, Login("admin", "secret")]),
)
def test_any_request_to_the_page_is_answered_or_dropped(
    contents: list[bytes], piece: int, last: bytes | None, login: Login | None
) -> None:
    def serve_all(page: WebUpdater, room: UploadRoom) -> None:
        for content in contents:
            size = max(piece, len(content) // 500 + 1)
            outcome = drive(page.serve(room), split(content, size), last=last)
            # Nothing ends the wait for a file's content but the peer.
            assert outcome in (True, False)

    def page_of(updater: Any, dialect: PageDialect) -> WebUpdater:
        return WebUpdater(updater, name="porch", running="old", login=login, dialect=dialect)

    serve: Callable[[WebUpdater, UploadRoom], None] = serve_all
    if last is None:
        serve = serve_until_silence(contents, piece)
    old = running(OLD_SKETCH)
    before = old.flash.operations
    serve(page_of(old.updater, ESP8266_PAGE), UploadRoom(old.free_sketch_space, old.layout.file_system_size))
    assert login is None or old.flash.operations == before
    old.power_on(b"")
    assert old.running

    app = running_esp32(OLD_APP)
    serve(page_of(app.updater, ESP32_PAGE), UploadRoom(app.free_sketch_space, app.file_system_size))
    assert app.reset().running


def serve_until_silence(contents: list[bytes], piece: int) -> Callable[[WebUpdater, UploadRoom], None]:
    """Peers that fall silent: a stalled upload is waited for without end, so the first one of them is the last."""

    def serve(page: WebUpdater, room: UploadRoom) -> None:
        size = max(piece, len(contents[0]) // 500 + 1)
        assert drive(page.serve(room), split(contents[0], size)) in (True, False, WAITS)

    return serve


@RUNS
@given(st.lists(st.none() | st.binary(max_size=300) | st.just(b"Update error: x"), max_size=10))
def test_a_browser_that_uploads_has_a_verdict_in_the_end(heard: list[bytes | None]) -> None:
    exchange = upload_image(b"x" * 9000, name="porch", host="porch", boundary="edge")
    outcome = drive(exchange, heard, last=b"")
    assert outcome is None or isinstance(outcome, OtariaError)


@RUNS
@given(st.text(max_size=60) | st.text(alphabet="htp:/@[]x1.?%", max_size=40).map(lambda rest: "http://" + rest))
def test_any_location_leads_somewhere_or_nowhere(location: str) -> None:
    there = Url.parse("http://u:p@10.0.0.2/a").redirected(location)
    assert there is None or (there.host and there.target.startswith("/"))
