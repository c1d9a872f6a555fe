"""ESP8266HTTPUpdateServer, the upload by browser: the device's page and who fills in its form (protocols §3.1).

``GET`` shows a page with two forms, ``POST`` takes a multipart body whose file parts go to the Updater as they
arrive, ``OPTIONS`` answers what a script of another origin asks first. Success and failure both have status 200: the
text tells.

The multipart reader is as strict as the core's: the boundary is everything after the first ``=`` of the content type,
a part's name stands two characters behind the first ``=`` of its first line and the file name behind the next.
"""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from otaria.errors import ConnectionBroken, OutcomeUnknown, PasswordNeeded, ProtocolViolation, WrongPassword
from otaria.protocols.arduino_push import Installer
from otaria.protocols.diagnosis import refusal
from otaria.protocols.exchange import Progress, Receive, Report, Send, StreamExchange
from otaria.protocols.inbox import Inbox, StreamEnded, StreamSilent
from otaria.wire.arduino_ota import Command, same_secret

__all__ = ["Login", "UploadRoom", "WebUpdater", "upload_image"]

REQUEST_TIMEOUT_S: Final = 5.0
"""The core's wait for a request or for form data."""

BUFFER_SIZE: Final = 2048
"""The core hands file data to the sketch in pieces of this size."""

SUCCESS: Final = '<META http-equiv="refresh" content="15;URL=/">Update Success! Rebooting...'

_CROSS_ORIGIN: Final = (("Access-Control-Allow-Headers", "*"), ("Access-Control-Allow-Origin", "*"))

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Update {name}</title>
<style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:2rem auto;padding:0 1rem}}
body{{color:#1c2b33;background:#fbfaf7}}
form{{border:1px solid #cfd8dc;border-radius:.5rem;padding:1rem;margin:1rem 0;background:#fff}}
label{{display:block;font-weight:600;margin-bottom:.5rem}}
input[type=file]{{width:100%;margin-bottom:.75rem}}
button{{font:inherit;padding:.4rem 1rem;border:0;border-radius:.35rem;background:#0b5d74;color:#fff}}
@media(prefers-color-scheme:dark){{body{{color:#e4ecef;background:#12191d}}form{{background:#1a2429;border-color:#33434b}}
button{{background:#4fb3cf;color:#08242d}}}}
</style>
</head>
<body>
<h1>Update {name}</h1>
<p>Running: {running}</p>
<form method="POST" action="" enctype="multipart/form-data">
<label for="firmware">Firmware</label>
<input id="firmware" type="file" accept=".bin,.bin.gz" name="firmware" required>
<button type="submit">Update firmware</button>
</form>
<form method="POST" action="" enctype="multipart/form-data">
<label for="filesystem">File system</label>
<input id="filesystem" type="file" accept=".bin,.bin.gz" name="filesystem" required>
<button type="submit">Update file system</button>
</form>
</body>
</html>
"""

Headers: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True)
class Login:
    """User and password of the page; it is asked for only where both are set."""

    user: str
    password: str

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


@dataclass(frozen=True, slots=True)
class UploadRoom:
    """What an upload is begun with, in bytes, since the browser does not announce a size."""

    sketch: int
    file_system: int


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    minor: str
    headers: Headers


class _BadForm(Exception):
    """The body is not a form that the core's parser takes."""


class WebUpdater:
    """The page and what it remembers between requests.

    Args:
        updater: the device's own.
        name: shown on the page.
        running: what runs now, shown on the page.
        path: where the page is.
        login: who may use it; None for anybody.
    """

    def __init__(
        self,
        updater: Installer,
        *,
        name: str,
        running: str,
        path: str = "/update",
        login: Login | None = None,
    ) -> None:
        self._updater = updater
        self._name = name
        self._running = running
        self._path = path
        self._login = login
        # Recomputed only when a file part starts, as on the device: a POST without a file meets the last value.
        self._authenticated = False
        self._error_text = ""

    def serve(self, room: UploadRoom) -> StreamExchange[bool]:
        """Answer one request; True where the device must restart now.

        A peer that sends no request, or half of one, gets no answer.
        """
        inbox = Inbox(REQUEST_TIMEOUT_S)
        try:
            request = yield from _read_request(inbox)
            return (yield from self._answer(request, inbox, room))
        except _BadForm:
            yield from _respond(_Request("POST", "", "1", {}), 400, "Bad form.")
            return False
        except (StreamEnded, StreamSilent):
            return False

    def _answer(self, request: _Request, inbox: Inbox, room: UploadRoom) -> StreamExchange[bool]:
        if request.path != self._path:
            yield from _respond(request, 404, f"Not found: {request.path}", content_type="text/plain")
        elif request.method == "GET":
            yield from self._show_page(request)
        elif request.method == "OPTIONS":
            yield from _respond(request, 200, "y", *_CROSS_ORIGIN)
        elif request.method == "POST":
            return (yield from self._take_form(request, inbox, room))
        else:
            yield from _respond(request, 404, f"Not found: {request.path}", content_type="text/plain")
        return False

    def _show_page(self, request: _Request) -> StreamExchange[None]:
        if self._admits(request):
            page = _PAGE.format(name=html.escape(self._name), running=html.escape(self._running))
            yield from _respond(request, 200, page)
        else:
            yield from _ask_login(request)

    def _take_form(self, request: _Request, inbox: Inbox, room: UploadRoom) -> StreamExchange[bool]:
        yield from self._read_parts(request, inbox, room)
        if not self._authenticated:
            yield from _ask_login(request)
            return False
        if self._error_text:
            yield from _respond(request, 200, f"Update error: {self._error_text}\n", *_CROSS_ORIGIN)
            return False
        yield from _respond(request, 200, SUCCESS, *_CROSS_ORIGIN)
        return True

    def _read_parts(self, request: _Request, inbox: Inbox, room: UploadRoom) -> StreamExchange[None]:
        content_type = request.headers.get("content-type", "")
        if not content_type.startswith("multipart/") or "=" not in content_type:
            return
        delimiter = b"--" + content_type.partition("=")[2].replace('"', "").encode("latin-1")
        yield from _expect_opening(inbox, delimiter)
        while True:
            name, is_file = yield from _part_head(inbox)
            if is_file:
                yield from self._take_file(request, inbox, room, name, delimiter)
            else:
                yield from _skip_value(inbox, delimiter)
            closing = yield from inbox.line()
            if closing.startswith("--"):
                return

    def _take_file(
        self, request: _Request, inbox: Inbox, room: UploadRoom, name: str, delimiter: bytes
    ) -> StreamExchange[None]:
        self._start_upload(request, room, name)
        received, ended = 0, False
        inbox.timeout_s = None  # The core reads file data without a time-out while the client stays connected.
        try:
            while not ended:
                piece, ended = yield from inbox.until(b"\r\n" + delimiter)
                received += len(piece)
                self._write(piece)
                yield Report(Progress(received, received))
        except StreamEnded:
            self._updater.end()
            raise
        finally:
            inbox.timeout_s = REQUEST_TIMEOUT_S
        if self._may_write and not self._updater.end(even_if_remaining=True):
            self._error_text = self._updater.error_text()

    def _start_upload(self, request: _Request, room: UploadRoom, name: str) -> None:
        self._error_text = ""
        self._authenticated = self._admits(request)
        if not self._authenticated:
            return
        is_file_system = name == "filesystem"
        size = room.file_system if is_file_system else room.sketch
        if not self._updater.begin(size, Command.FILESYSTEM if is_file_system else Command.FLASH):
            self._error_text = self._updater.error_text()

    @property
    def _may_write(self) -> bool:
        return self._authenticated and not self._error_text

    def _write(self, content: bytes) -> None:
        for offset in range(0, len(content), BUFFER_SIZE):
            piece = content[offset : offset + BUFFER_SIZE]
            if self._may_write and self._updater.write(piece) != len(piece):
                self._error_text = self._updater.error_text()

    def _admits(self, request: _Request) -> bool:
        if self._login is None or not (self._login.user and self._login.password):
            return True
        return same_secret(request.headers.get("authorization", ""), self._login.basic)


def _read_request(inbox: Inbox) -> StreamExchange[_Request]:
    words = (yield from inbox.line()).split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise StreamEnded
    headers: Headers = {}
    while line := (yield from inbox.line()):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return _Request(words[0], words[1].partition("?")[0], words[2][-1], headers)


def _expect_opening(inbox: Inbox, delimiter: bytes) -> StreamExchange[None]:
    """The first line is the delimiter; up to two empty lines before it are tolerated."""
    for _ in range(3):
        line = yield from inbox.line()
        if line.encode("latin-1") == delimiter:
            return
        if line:
            break
    raise _BadForm


def _part_head(inbox: Inbox) -> StreamExchange[tuple[str, bool]]:
    """Read a part's header lines: its name, and whether it is a file."""
    disposition = yield from inbox.line()
    if not disposition.lower().startswith("content-disposition:") or "=" not in disposition:
        raise _BadForm
    first, _, second = disposition.partition("=")[2].partition("=")
    name = first[1:].partition('"')[0]
    while (yield from inbox.line()):
        pass
    return name, bool(second)


def _skip_value(inbox: Inbox, delimiter: bytes) -> StreamExchange[None]:
    ended = False
    while not ended:
        _, ended = yield from inbox.until(b"\r\n" + delimiter)


_REASONS: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


def _respond(
    request: _Request, status: int, body: str, *headers: tuple[str, str], content_type: str = "text/html"
) -> StreamExchange[None]:
    content = body.encode("utf-8")
    lines = [("Content-Type", content_type), *headers, ("Content-Length", str(len(content))), ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    yield Send(f"HTTP/1.{request.minor} {status} {_REASONS[status]}\r\n{head}\r\n".encode("latin-1") + content)


def _ask_login(request: _Request) -> StreamExchange[None]:
    login = ("WWW-Authenticate", 'Basic realm="Login Required"')
    yield from _respond(request, 401, "401 Unauthorized", login)


# -------------------------------------------------------------------------------------------- the browser

UPLOAD_BLOCK_SIZE: Final = 4096
"""Bytes sent at once, so that progress shows."""

ANSWER_TIMEOUT_S: Final = 60.0
"""From the last byte to the answer: the device checks the image in between."""

LONGEST_ANSWER: Final = 16 * 1024
"""Bytes. The device's answers are below 300; a login page of something else may be longer."""

_SUCCESS_MARK: Final = b"Update Success!"
_FAILURE: Final = re.compile(rb"Update error: ?([^<\r\n]*)")


def upload_image(
    image: bytes,
    *,
    name: str,
    host: str,
    boundary: str,
    path: str = "/update",
    file_system: bool = False,
    login: Login | None = None,
) -> StreamExchange[None]:
    """Fill in the device's form as a browser does, and return once the page says that all is well.

    The text decides: a failure has status 200 too. The file name that is sent is always the same, so that no local
    name can confuse the device's parser.

    Args:
        image: the file.
        name: how the user calls the device, for messages.
        host: what goes into the ``Host`` header.
        boundary: a random string that the image does not hold.
        path: where the page is.
        file_system: use the form's second field.
        login: user and password, where the page asks for them.

    Raises:
        PasswordNeeded: the page asks for a login and none was given.
        WrongPassword: the page did not accept the login.
        Refused: the device said why it did not install the image.
        ProtocolViolation: what answered is no such page.
        ConnectionBroken: it closed before all was sent.
        OutcomeUnknown: everything was sent and no verdict came.
    """
    head, tail = _form_around("filesystem" if file_system else "firmware", boundary)
    yield Send(_upload_request(host, path, boundary, len(head) + len(image) + len(tail), login) + head)
    for offset in range(0, len(image), UPLOAD_BLOCK_SIZE):
        block = image[offset : offset + UPLOAD_BLOCK_SIZE]
        yield Send(block)
        yield Report(Progress(offset + len(block), len(image)))
        early = yield Receive(0)
        if early == b"":
            raise ConnectionBroken(
                f"{name} closed the connection after {offset} of {len(image)} bytes. It still has its old sketch; "
                "upload again when it is back."
            )
        if isinstance(early, bytes):
            return _judge(early + (yield from _answer_until_end()), name, login)
    yield Send(tail)
    return _judge((yield from _answer_until_end()), name, login)


def _form_around(field: str, boundary: str) -> tuple[bytes, bytes]:
    """What precedes and follows the file, in the only order that the core's parser reads."""
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="image.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode("ascii"), f"\r\n--{boundary}--\r\n".encode("ascii")


def _upload_request(host: str, path: str, boundary: str, length: int, login: Login | None) -> bytes:
    """No ``Origin``, which newer ESP32 pages compare, and no ``Expect``, which no page answers."""
    authorization = [] if login is None else [("Authorization", login.basic)]
    lines = [
        ("Host", host),
        ("User-Agent", "otaria"),
        *authorization,
        ("Content-Type", f"multipart/form-data; boundary={boundary}"),
        ("Content-Length", str(length)),
        ("Connection", "close"),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1", "replace")


def _answer_until_end() -> StreamExchange[bytes]:
    answer = b""
    while len(answer) < LONGEST_ANSWER and _SUCCESS_MARK not in answer:
        heard = yield Receive(ANSWER_TIMEOUT_S)
        if not isinstance(heard, bytes) or heard == b"":
            break
        answer += heard
    return answer


def _judge(answer: bytes, name: str, login: Login | None) -> None:
    """Return for success, raise for anything else."""
    if _SUCCESS_MARK in answer:
        return
    failure = _FAILURE.search(answer)
    if failure is not None:
        raise refusal(name, failure.group(1).decode("utf-8", "replace"))
    status = answer.split(b" ", 2)[1:2]
    if status == [b"401"]:
        raise _login_error(name, login)
    if not answer:
        raise OutcomeUnknown(
            f"{name} took the form and gave no answer. It may have installed the image: look whether it runs the new "
            "sketch before you upload again."
        )
    raise ProtocolViolation(
        f"{name} answered the upload with {answer[:60]!r}, which is no answer of an update page. Is the path right?",
        received=answer,
    )


def _login_error(name: str, login: Login | None) -> PasswordNeeded | WrongPassword:
    if login is None:
        return PasswordNeeded(f"The update page of {name} asks for a user and a password.")
    return WrongPassword(f"The update page of {name} did not accept the user and password.")
