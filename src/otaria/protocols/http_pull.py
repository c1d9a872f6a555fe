"""ESPhttpUpdate, the device's side of a pull: one request, one answer, one decision (protocols §2.1).

The client is HTTP/1.0 through and through: it wants a ``Content-Length``, decodes no chunks and follows no redirect
unless the sketch says so.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from urllib.parse import urlsplit

from otaria.errors import BadInput
from otaria.protocols.arduino_push import Installer
from otaria.protocols.exchange import Address, Progress, Report, Send, StreamExchange
from otaria.protocols.inbox import Inbox, StreamEnded, StreamSilent
from otaria.wire.arduino_ota import Command
from otaria.wire.esp_image import GZIP_MAGIC, MAGIC, flash_size_of
from otaria.wire.http_update import USER_AGENTS, CheckIn, Mode, request_headers

__all__ = ["HttpError", "HttpUpdateResult", "PullOutcome", "Room", "Url", "fetch_update"]

TIMEOUT_S: Final = 8.0
"""The client's default for connecting and for the answer's head."""

BODY_TIMEOUT_S: Final = 60.0
"""How long the Updater waits for the next bytes of the body."""

PEEKED: Final = 4
"""Bytes that the client looks at before the Updater begins: magic byte and flash-size nibble are in them."""


class HttpUpdateResult(IntEnum):
    """What ``ESPhttpUpdate.update`` returns."""

    FAILED = 0
    NO_UPDATES = 1
    OK = 2


class HttpError(IntEnum):
    """What ``getLastError()`` returns where the Updater was not yet asked."""

    CONNECTION_FAILED = -1
    NO_HTTP_SERVER = -7
    ENCODING = -9
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
    NOT_REPORT_VERSION = -109


_TEXTS: Final = {
    HttpError.CONNECTION_FAILED: "HTTP error: connection failed",
    HttpError.NO_HTTP_SERVER: "HTTP error: no HTTP server",
    HttpError.ENCODING: "HTTP error: Transfer-Encoding not supported",
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

_STATUS_ERRORS: Final = {
    401: HttpError.UNAUTHORIZED,
    403: HttpError.FORBIDDEN,
    404: HttpError.FILE_NOT_FOUND,
}


@dataclass(frozen=True, slots=True)
class PullOutcome:
    """What came of a poll.

    Args:
        result: failed, no updates, or installed.
        error: ``getLastError()``: 0, a negative :class:`HttpError`, or a positive error of the Updater.
        message: ``getLastErrorString()``.
        version: the ``x-version`` header of the answer, if any.
    """

    result: HttpUpdateResult
    error: int = 0
    message: str = ""
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """The space that the client compares the answer's length with, in bytes."""

    free_sketch_space: int
    file_system_size: int
    real_flash_size: int


@dataclass(frozen=True, slots=True)
class Url:
    """Where to ask."""

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
        login = f"{parts.username}:{parts.password or ''}" if parts.username else None
        authorization = base64.b64encode(login.encode("utf-8")).decode("ascii") if login else None
        return cls(host, port, target, authorization)

    @property
    def address(self) -> Address:
        """Host and port."""
        return self.host, self.port

    @property
    def host_header(self) -> str:
        """The ``Host`` header: the port only where it is not 80."""
        return self.host if self.port == 80 else f"{self.host}:{self.port}"


def fetch_update(url: Url, check_in: CheckIn, room: Room, updater: Installer) -> StreamExchange[PullOutcome]:
    """Poll once, and install what comes; the caller restarts the device if it should.

    Args:
        url: where the connection goes, and what is asked for there.
        check_in: how the device describes itself; its mode says what it asks for.
        room: how much it can take.
        updater: the device's own.
    """
    yield Send(_request(url, check_in))
    inbox = Inbox(TIMEOUT_S)
    try:
        status, headers = yield from _response_head(inbox)
    except StreamSilent:
        return _failed(HttpError.READ_TIMEOUT)
    except StreamEnded:
        return _failed(HttpError.NO_HTTP_SERVER)
    settled = _settled_by_head(status, headers, check_in.mode, room)
    if settled is not None:
        return settled
    return (yield from _install(inbox, headers, check_in.mode, room, updater))


def _settled_by_head(status: int, headers: dict[str, str], mode: Mode, room: Room) -> PullOutcome | None:
    """What status and headers alone decide; None where the body is wanted."""
    version = headers.get("x-version")
    if status == 304:
        return PullOutcome(HttpUpdateResult.NO_UPDATES, version=version)
    if status != 200:
        return _failed(_STATUS_ERRORS.get(status, HttpError.WRONG_HTTP_CODE))
    if mode is Mode.VERSION:
        known = PullOutcome(HttpUpdateResult.OK, version=version)
        return known if version else _failed(HttpError.NOT_REPORT_VERSION)
    error = _unacceptable_head(headers, mode, room)
    return None if error is None else _failed(error)


def _request(url: Url, check_in: CheckIn) -> bytes:
    authorization = [] if url.authorization is None else [("Authorization", f"Basic {url.authorization}")]
    lines = [
        ("Host", url.host_header),
        ("User-Agent", USER_AGENTS[check_in.family]),
        *authorization,
        ("Connection", "close"),
        *request_headers(check_in),
        ("Content-Length", "0"),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"GET {url.target} HTTP/1.0\r\n{head}\r\n".encode("latin-1", "replace")


def _response_head(inbox: Inbox) -> StreamExchange[tuple[int, dict[str, str]]]:
    """Status and headers; repeated headers are joined by commas, as the client joins them."""
    status_line = yield from inbox.line()
    words = status_line.split()
    if not status_line.startswith("HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise StreamEnded
    headers: dict[str, str] = {}
    while line := (yield from inbox.line()):
        name, _, value = line.partition(":")
        key = name.strip().lower()
        headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    return int(words[1]), headers


def _unacceptable_head(headers: dict[str, str], mode: Mode, room: Room) -> HttpError | None:
    """The checks that the client makes before it reads the body, in its order."""
    if headers.get("transfer-encoding", "identity").lower() not in {"identity", "chunked"}:
        return HttpError.ENCODING
    length = headers.get("content-length", "")
    if not length.isdigit() or int(length) == 0:
        return HttpError.SERVER_NOT_REPORT_SIZE
    limit = room.free_sketch_space if mode is Mode.SKETCH else room.file_system_size
    return HttpError.TOO_LESS_SPACE if int(length) > limit else None


def _install(
    inbox: Inbox, headers: dict[str, str], mode: Mode, room: Room, updater: Installer
) -> StreamExchange[PullOutcome]:
    size = int(headers["content-length"])
    try:
        first = yield from inbox.peek(min(PEEKED, size))
    except (StreamEnded, StreamSilent):
        return _failed(HttpError.BIN_VERIFY_HEADER_FAILED)
    wrong = _unacceptable_body(first, room) if mode is Mode.SKETCH else None
    if wrong is not None:
        return _failed(wrong)
    command = Command.FLASH if mode is Mode.SKETCH else Command.FILESYSTEM
    if not updater.begin(size, command):
        return _update_failed(updater)
    md5 = headers.get("x-md5")
    if md5 and not updater.set_md5(md5):
        return _failed(HttpError.FAULTY_MD5)
    yield from _write_body(inbox, first[0], size, updater)
    if not updater.end():
        return _update_failed(updater)
    return PullOutcome(HttpUpdateResult.OK, version=headers.get("x-version"))


def _unacceptable_body(first: bytes, room: Room) -> HttpError | None:
    """The client's look at the first bytes of a sketch."""
    if first[0] not in {MAGIC, GZIP_MAGIC[0]}:
        return HttpError.BIN_VERIFY_HEADER_FAILED
    if first[0] == MAGIC and (len(first) < PEEKED or flash_size_of(first[3]) > room.real_flash_size):
        return HttpError.BIN_FOR_WRONG_FLASH
    return None


def _write_body(inbox: Inbox, first_byte: int, size: int, updater: Installer) -> StreamExchange[None]:
    """Feed the Updater until all is there, it has given up, or nothing more comes."""
    inbox.timeout_s = BODY_TIMEOUT_S
    taking = updater.write_stream(first_byte)
    received = 0
    piece: bytes | None
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


def _failed(error: HttpError) -> PullOutcome:
    return PullOutcome(HttpUpdateResult.FAILED, error, _TEXTS[error])


def _update_failed(updater: Installer) -> PullOutcome:
    return PullOutcome(HttpUpdateResult.FAILED, updater.error, f"Update error: {updater.error_text()}")
