"""ESPhttpUpdate and HTTPUpdate, the device's side of a pull: one request, one answer, one decision (protocols §2).

The clients are HTTP/1.0 through and through: they want a ``Content-Length``, decode no chunks, and follow a redirect
only where the sketch says so. Following one takes another connection, so it is for the caller: the outcome says where
to ask next.

::

    url, followed = Url.parse(text), 0
    while True:
        outcome = <run fetch_update(url, …, followed=followed) over a connection to url.address>
        if outcome.redirect is None: break
        url, followed = outcome.redirect, followed + 1
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, auto
from typing import Final
from urllib.parse import urlsplit

from otaria.errors import BadInput
from otaria.protocols.arduino_push import Installer
from otaria.protocols.exchange import Address, Progress, Report, Send, StreamExchange
from otaria.protocols.inbox import Inbox, StreamEnded, StreamSilent
from otaria.wire.arduino_ota import Command
from otaria.wire.chips import ChipFamily
from otaria.wire.esp_image import GZIP_MAGIC, MAGIC, flash_size_of
from otaria.wire.http_update import USER_AGENTS, CheckIn, Mode, request_headers

__all__ = [
    "FollowRedirects",
    "HttpError",
    "HttpUpdateResult",
    "ImageOffered",
    "PullOutcome",
    "PullSettings",
    "Room",
    "Url",
    "fetch_update",
    "not_connected",
]

TIMEOUT_S: Final = 8.0
"""The client's default for connecting and for the answer's head."""

PEEKED: Final = 4
"""Bytes that an ESP8266 looks at before the Updater begins: magic byte and flash-size nibble are in them."""

REDIRECT_LIMIT: Final = 10
"""What the clients follow before anybody says otherwise."""

LARGEST_NUMBER: Final = 0x7FFFFFFF
"""What the clients' ``toInt`` makes of anything larger."""

_WEB_PORTS: Final = (80, 443)
"""Left out of the ``Host`` header, whichever of the two protocols it is."""

_REDIRECTS: Final = (301, 302, 303, 307)
"""Statuses that are followed where that is switched on; 308 is not among them."""

_LEADING_NUMBER: Final = re.compile(r"\s*([+-]?\d+)")
_SET_BY_THE_CLIENT: Final = frozenset({"connection", "user-agent", "host"})


class HttpUpdateResult(IntEnum):
    """What ``ESPhttpUpdate.update`` returns."""

    FAILED = 0
    NO_UPDATES = 1
    OK = 2


class HttpError(IntEnum):
    """What ``getLastError()`` returns where the Updater was not yet asked."""

    CONNECTION_FAILED = -1
    SEND_HEADER_FAILED = -2
    SEND_PAYLOAD_FAILED = -3
    NOT_CONNECTED = -4
    CONNECTION_LOST = -5
    NO_STREAM = -6
    NO_HTTP_SERVER = -7
    TOO_LESS_RAM = -8
    ENCODING = -9
    STREAM_WRITE = -10
    READ_TIMEOUT = -11
    TOO_LESS_SPACE = -100
    SERVER_NOT_REPORT_SIZE = -101
    FILE_NOT_FOUND = -102
    FORBIDDEN = -103
    WRONG_HTTP_CODE = -104
    FAULTY_MD5 = -105
    BIN_VERIFY_HEADER_FAILED = -106
    BIN_FOR_WRONG_FLASH = -107
    UNAUTHORIZED = -108
    NO_PARTITION = -108  # what an ESP32 means by the number by which an ESP8266 means the other
    NOT_REPORT_VERSION = -109


_TEXTS: Final[Mapping[int, str]] = {
    HttpError.CONNECTION_FAILED: "HTTP error: connection failed",
    HttpError.SEND_HEADER_FAILED: "HTTP error: send header failed",
    HttpError.SEND_PAYLOAD_FAILED: "HTTP error: send payload failed",
    HttpError.NOT_CONNECTED: "HTTP error: not connected",
    HttpError.CONNECTION_LOST: "HTTP error: connection lost",
    HttpError.NO_STREAM: "HTTP error: no stream",
    HttpError.NO_HTTP_SERVER: "HTTP error: no HTTP server",
    HttpError.TOO_LESS_RAM: "HTTP error: not enough ram",
    HttpError.ENCODING: "HTTP error: Transfer-Encoding not supported",
    HttpError.STREAM_WRITE: "HTTP error: Stream write error",
    HttpError.READ_TIMEOUT: "HTTP error: read Timeout",
    HttpError.TOO_LESS_SPACE: "Not Enough space",
    HttpError.SERVER_NOT_REPORT_SIZE: "Server Did Not Report Size",
    HttpError.FILE_NOT_FOUND: "File Not Found (404)",
    HttpError.FORBIDDEN: "Forbidden (403)",
    HttpError.WRONG_HTTP_CODE: "Wrong HTTP Code",
    HttpError.FAULTY_MD5: "Wrong MD5",
    HttpError.BIN_VERIFY_HEADER_FAILED: "Verify Bin Header Failed",
    HttpError.BIN_FOR_WRONG_FLASH: "New Binary Does Not Fit Flash Size",
    HttpError.UNAUTHORIZED: "Unauthorized (401)",
    HttpError.NOT_REPORT_VERSION: "",
}

_ESP32_TEXTS: Final[Mapping[int, str]] = {
    **_TEXTS,
    HttpError.CONNECTION_FAILED: "HTTP error: connection refused",
    HttpError.TOO_LESS_RAM: "HTTP error: too less ram",
    HttpError.NO_PARTITION: "Partition Could Not be Found",
}


@dataclass(frozen=True, slots=True)
class _Client:
    """What the two cores' clients do differently.

    Args:
        status_errors: the statuses that have an error of their own.
        texts: what ``getLastErrorString()`` says.
        joins_headers: of a header that is repeated the values are joined by commas; else the last one counts.
        announces_no_body: the request says ``Content-Length: 0``.
        authorization_first: ``Authorization`` stands before ``Connection``, not behind it.
        misses_partitions: no room at all is an error of its own.
        body_timeout_s: how long its Updater waits for the next bytes.
    """

    status_errors: Mapping[int, HttpError]
    texts: Mapping[int, str]
    joins_headers: bool
    announces_no_body: bool
    authorization_first: bool
    misses_partitions: bool
    body_timeout_s: float


_ESP8266: Final = _Client(
    status_errors={401: HttpError.UNAUTHORIZED, 403: HttpError.FORBIDDEN, 404: HttpError.FILE_NOT_FOUND},
    texts=_TEXTS,
    joins_headers=True,
    announces_no_body=True,
    authorization_first=True,
    misses_partitions=False,
    body_timeout_s=60.0,
)
_ESP32: Final = _Client(
    status_errors={403: HttpError.FORBIDDEN, 404: HttpError.FILE_NOT_FOUND},
    texts=_ESP32_TEXTS,
    joins_headers=False,
    announces_no_body=False,
    authorization_first=False,
    misses_partitions=True,
    body_timeout_s=30.0,
)


class FollowRedirects(Enum):
    """What ``setFollowRedirects`` is given; the two that follow differ only for requests that nobody makes here."""

    DISABLED = auto()
    STRICT = auto()
    FORCE = auto()


@dataclass(frozen=True, slots=True)
class PullSettings:
    """What the sketch has set, and what its core can, before it polls.

    Args:
        md5: ``setMD5sum``: expected instead of what the answer's ``x-MD5`` says.
        follow: whether redirects are followed.
        redirect_limit: how many of them.
        more_headers: what the sketch's request call-back has added.
        flash_map: the sketch was built with FLASH_MAP_SUPPORT, so the image's flash size is not looked at.
        takes_gzip: the core takes compressed sketches, since 2.7.
        sends_chip_id: the core tells the chip id, since 2.6.
        sends_sketch_md5: the core tells the sketch's MD5, since 2.4.
    """

    md5: str | None = None
    follow: FollowRedirects = FollowRedirects.DISABLED
    redirect_limit: int = REDIRECT_LIMIT
    more_headers: tuple[tuple[str, str], ...] = ()
    flash_map: bool = False
    takes_gzip: bool = True
    sends_chip_id: bool = True
    sends_sketch_md5: bool = True


@dataclass(frozen=True, slots=True)
class PullOutcome:
    """What came of a poll.

    Args:
        result: failed, no updates, or installed.
        error: ``getLastError()``: 0, a negative :class:`HttpError`, or a positive error of the Updater.
        message: ``getLastErrorString()``.
        version: the ``x-version`` header of the answer, if any.
        redirect: where the server sends the device, and it may follow; the rest then says what it means to stop here.
    """

    result: HttpUpdateResult
    error: int = 0
    message: str = ""
    version: str | None = None
    redirect: Url | None = None


@dataclass(frozen=True, slots=True)
class ImageOffered:
    """An event: an image is on its way, and there is room for it; the start call-back is due.

    Args:
        size: its bytes.
    """

    size: int


@dataclass(frozen=True, slots=True)
class Room:
    """The space that the client compares the answer's length with, in bytes; 0 on an ESP32 for a missing partition."""

    free_sketch_space: int
    file_system_size: int
    real_flash_size: int


@dataclass(frozen=True, slots=True)
class Url:
    """Where to ask.

    Args:
        host: a name or an address.
        port: a TCP port.
        target: path and query.
        authorization: base64 of user and password, where a login is sent.
    """

    host: str
    port: int
    target: str
    authorization: str | None = None

    @classmethod
    def parse(cls, text: str) -> Url:
        """Read an ``http://`` URL, with ``user:password@`` if need be.

        Raises:
            BadInput: it is not such a URL.
        """
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port or 80
        except ValueError as error:
            raise BadInput(f"{text!r} is no address: {error}.") from None
        if parts.scheme != "http" or not host:
            raise BadInput(f"{text!r} is no address that a virtual device can poll; write http://host:port/update.")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        login = parts.netloc.rpartition("@")[0]
        return cls(host, port, target, _base64(login) if login else None)

    def authorized(self, user: str, password: str) -> Url:
        """``setAuthorization(user, password)``: the same place, with this login; without effect where one is empty."""
        return self.authorized_by(_base64(f"{user}:{password}")) if user and password else self

    def authorized_by(self, encoded: str) -> Url:
        """``setAuthorization(auth)``: the same place, with base64 that was made elsewhere."""
        return replace(self, authorization=encoded) if encoded else self

    def redirected(self, location: str) -> Url | None:
        """Where a ``Location`` leads from here; None where the client does not go: it knows paths and whole URLs only.

        A login goes along, to whatever host.
        """
        if location.startswith("/"):
            return replace(self, target=location)
        try:
            there = Url.parse(location)
        except BadInput:
            return None
        return there if there.authorization is not None else replace(there, authorization=self.authorization)

    @property
    def address(self) -> Address:
        """Host and port."""
        return self.host, self.port

    @property
    def host_header(self) -> str:
        """The ``Host`` header: the port only where it is neither 80 nor 443."""
        return self.host if self.port in _WEB_PORTS else f"{self.host}:{self.port}"


def not_connected(family: ChipFamily) -> PullOutcome:
    """What comes of a poll whose connection does not even open."""
    return _failed(_client_of(family), HttpError.CONNECTION_FAILED)


def fetch_update(
    url: Url,
    check_in: CheckIn,
    room: Room,
    updater: Installer,
    settings: PullSettings = PullSettings(),
    followed: int = 0,
) -> StreamExchange[PullOutcome]:
    """Poll once, and install what comes; the caller restarts the device if it should.

    Args:
        url: where the connection goes, and what is asked for there.
        check_in: how the device describes itself; its family says whose client this is, its mode what it asks for.
        room: how much it can take.
        updater: the device's own.
        settings: what the sketch has set.
        followed: how many redirects have led here.
    """
    client = _client_of(check_in.family)
    yield Send(_request(url, check_in, client, settings))
    inbox = Inbox(TIMEOUT_S)
    try:
        status, headers = yield from _response_head(inbox, client)
    except StreamSilent:
        return _failed(client, HttpError.READ_TIMEOUT)
    except StreamEnded:
        return _failed(client, HttpError.CONNECTION_LOST)
    settled = _settled_by_head(status, headers, check_in.mode, client)
    if settled is not None:
        there = url.redirected(headers["location"]) if status in _REDIRECTS and "location" in headers else None
        follows = settings.follow is not FollowRedirects.DISABLED and followed < settings.redirect_limit
        return replace(settled, redirect=there) if follows else settled
    size = _leading_number(headers.get("content-length", ""))
    error = _no_room(size, check_in.mode, room, client)
    if error is not None:
        return _failed(client, error)
    yield Report(ImageOffered(size))
    return (yield from _install(inbox, headers, size, _Task(check_in, room, updater, settings, client)))


@dataclass(frozen=True, slots=True)
class _Task:
    """What is needed to install what comes."""

    check_in: CheckIn
    room: Room
    updater: Installer
    settings: PullSettings
    client: _Client


def _client_of(family: ChipFamily) -> _Client:
    return _ESP8266 if family is ChipFamily.ESP8266 else _ESP32


def _request(url: Url, check_in: CheckIn, client: _Client, settings: PullSettings) -> bytes:
    authorization = [] if url.authorization is None else [("Authorization", f"Basic {url.authorization}")]
    connection = [("Connection", "close")]
    described = request_headers(
        check_in, sends_chip_id=settings.sends_chip_id, sends_sketch_md5=settings.sends_sketch_md5
    )
    lines = [
        ("Host", url.host_header),
        ("User-Agent", USER_AGENTS[check_in.family]),
        *(authorization + connection if client.authorization_first else connection + authorization),
        *described,
        *_added(settings.more_headers, has_login=bool(authorization)),
        *([("Content-Length", "0")] if client.announces_no_body else []),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"GET {url.target} HTTP/1.0\r\n{head}\r\n".encode("latin-1", "replace")


def _added(headers: tuple[tuple[str, str], ...], *, has_login: bool) -> list[tuple[str, str]]:
    """The sketch's own headers, without those that the client keeps to itself."""
    kept = _SET_BY_THE_CLIENT | {"authorization"} if has_login else _SET_BY_THE_CLIENT
    return [(name, value) for name, value in headers if name.lower() not in kept]


def _response_head(inbox: Inbox, client: _Client) -> StreamExchange[tuple[int, dict[str, str]]]:
    """Status and headers; the status is 0 where no status line came before the empty line."""
    status = 0
    headers: dict[str, str] = {}
    while (line := (yield from inbox.line())).strip():
        if line.startswith("HTTP/1."):
            status = _leading_number(line[len("HTTP/1.x ") :])
            continue
        name, colon, value = line.partition(":")
        key, text = name.lower(), value.strip()
        if colon and client.joins_headers and headers.get(key):
            headers[key] += f",{text}"
        elif colon:
            headers[key] = text
    return status, headers


def _settled_by_head(status: int, headers: dict[str, str], mode: Mode, client: _Client) -> PullOutcome | None:
    """What status and headers alone decide; None where the body is wanted."""
    version = headers.get("x-version")
    if headers.get("transfer-encoding", "identity").lower() not in {"", "identity", "chunked"}:
        return _failed(client, HttpError.ENCODING)
    if status <= 0:
        return _failed(client, HttpError.NO_HTTP_SERVER)
    if status == 304:
        return PullOutcome(HttpUpdateResult.NO_UPDATES, version=version)
    if status != 200:
        return _failed(client, client.status_errors.get(status, HttpError.WRONG_HTTP_CODE))
    if mode is Mode.VERSION:
        known = PullOutcome(HttpUpdateResult.OK, version=version)
        return known if version else _failed(client, HttpError.NOT_REPORT_VERSION)
    return None


def _no_room(size: int, mode: Mode, room: Room, client: _Client) -> HttpError | None:
    """What speaks against a body of that size."""
    if size <= 0:
        return HttpError.SERVER_NOT_REPORT_SIZE
    limit = room.free_sketch_space if mode is Mode.SKETCH else room.file_system_size
    if limit == 0 and client.misses_partitions:
        return HttpError.NO_PARTITION
    return HttpError.TOO_LESS_SPACE if size > limit else None


def _install(inbox: Inbox, headers: dict[str, str], size: int, task: _Task) -> StreamExchange[PullOutcome]:
    is_sketch, updater = task.check_in.mode is Mode.SKETCH, task.updater
    wrong = (yield from _look_at_sketch(inbox, task)) if is_sketch else None
    if wrong is not None:
        return _failed(task.client, wrong)
    if not updater.begin(size, Command.FLASH if is_sketch else Command.FILESYSTEM):
        return _update_failed(updater)
    md5 = task.settings.md5 or headers.get("x-md5")
    if md5 and not updater.set_md5(md5):
        return _failed(task.client, HttpError.FAULTY_MD5)
    yield from _write_body(inbox, size, updater, task.client)
    if not updater.end():
        return _update_failed(updater)
    return PullOutcome(HttpUpdateResult.OK, version=headers.get("x-version"))


def _look_at_sketch(inbox: Inbox, task: _Task) -> StreamExchange[HttpError | None]:
    """The client's look at the first bytes of a sketch, before it begins."""
    is_esp8266 = task.client is _ESP8266
    try:
        first = yield from inbox.peek(PEEKED if is_esp8266 else 1)
    except (StreamEnded, StreamSilent):
        return HttpError.BIN_VERIFY_HEADER_FAILED
    if is_esp8266 and task.settings.takes_gzip and first[0] == GZIP_MAGIC[0]:
        return None
    if first[0] != MAGIC:
        return HttpError.BIN_VERIFY_HEADER_FAILED
    looks_at_size = is_esp8266 and not task.settings.flash_map
    too_large = looks_at_size and flash_size_of(first[3]) > task.room.real_flash_size
    return HttpError.BIN_FOR_WRONG_FLASH if too_large else None


def _write_body(inbox: Inbox, size: int, updater: Installer, client: _Client) -> StreamExchange[None]:
    """Feed the Updater until all is there, it has given up, or nothing more comes."""
    inbox.timeout_s = client.body_timeout_s
    received = 0
    piece: bytes | None
    try:
        first = yield from inbox.peek(1)
    except (StreamEnded, StreamSilent):
        first = b"\0"
    taking = updater.write_stream(first[0])
    try:
        wanted = next(taking)
        while True:
            try:
                piece = yield from inbox.some(wanted)
                received += len(piece)
                yield Report(Progress(received, size))
            except (StreamEnded, StreamSilent):
                piece = None
            wanted = taking.send(piece)
    except StopIteration:
        return


def _leading_number(text: str) -> int:
    """What ``toInt`` makes of a text: the number that it begins with, or 0."""
    number = _LEADING_NUMBER.match(text)
    return min(int(number[1]), LARGEST_NUMBER) if number and len(number[1]) < 20 else 0


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def _failed(client: _Client, error: HttpError) -> PullOutcome:
    return PullOutcome(HttpUpdateResult.FAILED, error, client.texts[error])


def _update_failed(updater: Installer) -> PullOutcome:
    return PullOutcome(HttpUpdateResult.FAILED, updater.error, f"Update error: {updater.error_text()}")
