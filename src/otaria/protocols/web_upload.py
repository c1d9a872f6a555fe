"""HTTPUpdateServer, the upload by browser: the device's page and who fills in its form (protocols §3.1, §3.2).

``GET`` shows a page with two forms, ``POST`` takes a multipart body whose file parts go to the Updater as they
arrive, ``OPTIONS`` answers what a script of another origin asks first. Success and failure both have status 200: the
text tells. How strictly a form is read is told in :mod:`otaria.protocols.web_request`.

A login is Basic; the Digest that the library understands, too, is not offered and not accepted here.
"""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass
from typing import Final

from otaria.errors import ConnectionBroken, OutcomeUnknown, PasswordNeeded, ProtocolViolation, WrongPassword
from otaria.protocols.arduino_push import Installer
from otaria.protocols.diagnosis import refusal
from otaria.protocols.exchange import Progress, Receive, Report, Send, StreamExchange
from otaria.protocols.inbox import Inbox, StreamEnded, StreamSilent
from otaria.protocols.web_request import WAIT_S, Request, read_body, read_request
from otaria.wire.arduino_ota import Command, same_secret

__all__ = ["ESP32_PAGE", "ESP8266_PAGE", "Login", "PageDialect", "UploadRoom", "WebUpdater", "upload_image"]

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
<input id="filesystem" type="file" accept="{file_system_types}" name="filesystem" required>
<button type="submit">Update file system</button>
</form>
</body>
</html>
"""

WRONG_ORIGIN: Final = "Update error: Wrong origin received!"


@dataclass(frozen=True, slots=True)
class PageDialect:
    """What the cores' pages do differently.

    Args:
        file_system_types: the file names that the second form offers to choose from.
        allows_other_origins: scripts of other pages may use it: ``OPTIONS`` is answered, and the answers say so.
        checks_origin: an upload must come from the page itself: its ``Origin`` must be there and name the ``Host``.
        line_end: behind the text of an error.
    """

    file_system_types: str
    allows_other_origins: bool
    checks_origin: bool
    line_end: str


ESP8266_PAGE: Final = PageDialect(".bin,.bin.gz", allows_other_origins=True, checks_origin=False, line_end="\n")
ESP32_PAGE: Final = PageDialect(".bin,.bin.gz,.image", allows_other_origins=False, checks_origin=True, line_end="\r\n")
"""Of core 3.3; the ones before it did not check the origin."""


@dataclass(frozen=True, slots=True)
class Login:
    """User and password of the page; it is asked for only where both are set."""

    user: str
    password: str

    @property
    def encoded(self) -> str:
        """Both as an ``Authorization`` header has them, in base64."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header."""
        return f"Basic {self.encoded}"


@dataclass(frozen=True, slots=True)
class UploadRoom:
    """What an upload is begun with, in bytes, since the browser does not announce a size."""

    sketch: int
    file_system: int


class WebUpdater:
    """The page and what it remembers between requests.

    Args:
        updater: the device's own.
        name: shown on the page.
        running: what runs now, shown on the page.
        path: where the page is.
        login: who may use it; None for anybody.
        dialect: whose page it is.
    """

    def __init__(
        self,
        updater: Installer,
        *,
        name: str,
        running: str,
        path: str = "/update",
        login: Login | None = None,
        dialect: PageDialect = ESP8266_PAGE,
    ) -> None:
        self._updater = updater
        self._name = name
        self._running = running
        self._path = path
        self._login = login if login is not None and login.user and login.password else None
        self._dialect = dialect
        # Recomputed only when a file part starts, as on the device: a POST without a file meets the last value.
        self._authenticated = False
        self._error_text = ""

    def serve(self, room: UploadRoom) -> StreamExchange[bool]:
        """Answer one request; True where the device must restart now.

        A peer that sends no request, or half of one, or a form that the parser does not take, gets no answer.
        """
        inbox = Inbox(WAIT_S)
        try:
            request = yield from read_request(inbox)
            takes_files = request.path == self._path and request.method == "POST"
            upload = _Upload(self, request, room) if takes_files else None
            complete = yield from read_body(inbox, request, upload)
        except (StreamEnded, StreamSilent):
            return False
        return (yield from self._answer(request)) if complete else False

    def _answer(self, request: Request) -> StreamExchange[bool]:
        if request.path == self._path:
            if request.method == "GET":
                yield from self._show_page(request)
                return False
            if request.method == "POST":
                return (yield from self._conclude(request))
            if request.method == "OPTIONS" and self._dialect.allows_other_origins:
                yield from _respond(request, 200, "y", *_CROSS_ORIGIN)
                return False
        yield from _respond(request, 404, f"Not found: {request.path}", content_type="text/plain")
        return False

    def _show_page(self, request: Request) -> StreamExchange[None]:
        if self._knows_login(request):
            types = self._dialect.file_system_types
            page = _PAGE.format(
                name=html.escape(self._name), running=html.escape(self._running), file_system_types=types
            )
            yield from _respond(request, 200, page)
        else:
            yield from _ask_login(request)

    def _conclude(self, request: Request) -> StreamExchange[bool]:
        """The answer to a form; the Updater's own error decides, whatever this upload was."""
        headers = _CROSS_ORIGIN if self._dialect.allows_other_origins else ()
        if not self._authenticated:
            if self._dialect.checks_origin and self._login is None:
                yield from _respond(request, 200, WRONG_ORIGIN, *headers)
            else:
                yield from _ask_login(request, *headers)
            return False
        if self._updater.error:
            yield from _respond(request, 200, f"Update error: {self._error_text}", *headers)
            return False
        yield from _respond(request, 200, SUCCESS, *headers)
        return True

    def start_upload(self, request: Request, room: UploadRoom, name: str) -> None:
        """A file part begins."""
        self._error_text = ""
        self._authenticated = self._knows_login(request) and self._comes_from_page(request)
        if not self._authenticated:
            return
        is_file_system = name == "filesystem"
        size = room.file_system if is_file_system else room.sketch
        begun = self._updater.begin(size, Command.FILESYSTEM if is_file_system else Command.FLASH)
        if not begun and not is_file_system:
            self._remember_error()

    def write(self, content: bytes) -> None:
        """A piece of the file."""
        if self._may_go_on and self._updater.write(content) != len(content):
            self._remember_error()

    def end_upload(self) -> None:
        """The file was complete; its size is what has arrived."""
        if self._may_go_on and not self._updater.end(even_if_remaining=True):
            self._remember_error()

    def abort_upload(self) -> None:
        """The peer is gone; where the file was complete by then, it stays installed."""
        if self._authenticated:
            self._updater.end()

    @property
    def _may_go_on(self) -> bool:
        return self._authenticated and not self._error_text

    def _remember_error(self) -> None:
        self._error_text = self._updater.error_text() + self._dialect.line_end

    def _knows_login(self, request: Request) -> bool:
        if self._login is None:
            return True
        sent = request.headers.get("authorization", "")
        return sent.startswith("Basic") and same_secret(sent.removeprefix("Basic").strip(), self._login.encoded)

    def _comes_from_page(self, request: Request) -> bool:
        if not self._dialect.checks_origin:
            return True
        return request.headers.get("origin", "") == f"http://{request.headers.get('host', '')}"


class _Upload:
    """One request's files on their way to the page."""

    def __init__(self, page: WebUpdater, request: Request, room: UploadRoom) -> None:
        self._page = page
        self._request = request
        self._room = room

    def start(self, name: str) -> None:
        self._page.start_upload(self._request, self._room, name)

    def write(self, content: bytes) -> None:
        self._page.write(content)

    def end(self) -> None:
        self._page.end_upload()

    def aborted(self) -> None:
        self._page.abort_upload()


_REASONS: Final = {200: "OK", 401: "Unauthorized", 404: "Not Found"}


def _respond(
    request: Request, status: int, body: str, *headers: tuple[str, str], content_type: str = "text/html"
) -> StreamExchange[None]:
    content = body.encode("utf-8")
    lines = [("Content-Type", content_type), *headers, ("Content-Length", str(len(content))), ("Connection", "close")]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    yield Send(f"HTTP/1.{request.minor} {status} {_REASONS[status]}\r\n{head}\r\n".encode("latin-1") + content)


def _ask_login(request: Request, *headers: tuple[str, str]) -> StreamExchange[None]:
    login = ("WWW-Authenticate", 'Basic realm="Login Required"')
    yield from _respond(request, 401, "", *headers, login)


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
    """The ``Origin`` is the page's own, without which newer ESP32 pages refuse; no page answers an ``Expect``."""
    authorization = [] if login is None else [("Authorization", login.basic)]
    lines = [
        ("Host", host),
        ("Origin", f"http://{host}"),
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
