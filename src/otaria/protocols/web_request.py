"""How the devices' web server reads a request and a multipart form: as strictly as its few lines do (protocols §3.1).

Some of what it does not understand it skips, and some makes it drop the connection without a word. Where it would
wait for ever on a connection that is closed, this reader gives up.

What a form brings goes to an :class:`UploadHandler`, in the calls that the library makes::

    start -> write… -> end -> [aborted: the peer was gone right after the file]
    start -> write… -> aborted
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from otaria.protocols.exchange import Progress, Report, StreamExchange
from otaria.protocols.inbox import Inbox, StreamEnded

__all__ = ["WAIT_S", "Headers", "Request", "UploadHandler", "read_body", "read_request"]

WAIT_S: Final = 5.0
"""The server's wait for a request and for form data; for the content of a file it waits as long as it takes."""

BUFFER_SIZE: Final = 2048
"""File data are handed to the sketch in pieces of this size, and what is left over at the end."""

EMPTY_LINES: Final = 2
"""How many may precede the first delimiter."""

_CRLF: Final = b"\r\n"
_MINOR_AT: Final = len("HTTP/1.")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NAME_LENGTH: Final = len("content-disposition")
_LEADING_NUMBER: Final = re.compile(r"\d+")

Headers: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request.

    Args:
        method: one that the server knows; it takes any other for GET.
        path: the target without its query.
        minor: the HTTP version's last digit, which the answer repeats.
        headers: by their names in lower case; of those that are repeated the last one counts.
    """

    method: str
    path: str
    minor: str
    headers: Headers


class UploadHandler(Protocol):
    """The sketch's upload call-back."""

    def start(self, name: str) -> None:
        """A file begins, in the form's field of that name."""
        ...

    def write(self, content: bytes) -> None:
        """Its next piece; of an empty file one that is empty."""
        ...

    def end(self) -> None:
        """It was complete."""
        ...

    def aborted(self) -> None:
        """The peer is gone."""
        ...


def read_request(inbox: Inbox) -> StreamExchange[Request]:
    """Read a request's head.

    Raises:
        StreamEnded: the peer closed before it was complete, or its first line is none.
        StreamSilent: nothing more came.
    """
    method, _, rest = (yield from inbox.line(_CRLF)).partition(" ")
    target, space, version = rest.partition(" ")
    if not space:
        raise StreamEnded
    method = method if method in _METHODS else "GET"
    headers: Headers = {}
    while line := (yield from inbox.line(_CRLF)):
        name, colon, value = line.partition(":")
        if not colon:
            break  # the server takes such a line for the end of the head
        # Only for methods with a body the value is trimmed; for the others one character is skipped, whatever it is.
        headers[name.lower()] = value.strip() if method in _WITH_BODY else value[1:]
    minor = version[_MINOR_AT : _MINOR_AT + 1]
    return Request(method, target.partition("?")[0], minor if minor.isdigit() else "0", headers)


def read_body(inbox: Inbox, request: Request, upload: UploadHandler | None) -> StreamExchange[bool]:
    """Read what follows the head; False where the server drops the connection without an answer.

    Args:
        inbox: after the head.
        request: the head.
        upload: takes the files of a form; None where the request's handler takes none.

    Raises:
        StreamEnded: the peer closed before everything was there.
        StreamSilent: nothing more came.
    """
    content_type = request.headers.get("content-type", "")
    if request.method not in _WITH_BODY:
        return True
    if content_type.startswith("multipart/"):
        boundary = content_type[content_type.find("=") + 1 :].replace('"', "")
        return (yield from _read_form(inbox, boundary, upload))
    length = _LEADING_NUMBER.match(request.headers.get("content-length", ""))
    missing = int(length[0][:10]) if length else 0
    while missing:
        missing -= len((yield from inbox.some(missing)))
    return True


def _read_form(inbox: Inbox, boundary: str, upload: UploadHandler | None) -> StreamExchange[bool]:
    delimiter = f"--{boundary}"
    if not (yield from _opens(inbox, delimiter)):
        return False
    while True:
        part = _part((yield from inbox.line(_CRLF)))
        if part is None:
            continue  # anything else is passed over, until a part begins
        second = yield from inbox.line(_CRLF)
        if second[:12].lower() == "content-type" and len(second) > 12:
            yield from inbox.line(_CRLF)
        if not part.is_file:
            if (yield from _skip_text(inbox, delimiter)) == f"{delimiter}--":
                return True
            continue
        yield from _read_file(inbox, part.name, delimiter, upload)
        if (yield from _after_file(inbox, upload)) == "--":
            return True


def _opens(inbox: Inbox, delimiter: str) -> StreamExchange[bool]:
    """Whether the form begins with its delimiter, behind a few empty lines perhaps."""
    line = yield from inbox.line(_CRLF)
    for _ in range(EMPTY_LINES):
        if not line:
            line = yield from inbox.line(_CRLF)
    return line == delimiter


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    is_file: bool


def _part(line: str) -> _Part | None:
    """Read a part's first line: the name is what follows the first ``=`` and a quote, whatever parameter that is."""
    if line[:_NAME_LENGTH].lower() != "content-disposition" or len(line) == _NAME_LENGTH or "=" not in line:
        return None
    rest = line.partition("=")[2][1:]
    is_file = "=" in rest
    return _Part(rest.partition('"')[0] if is_file else rest[:-1], is_file)


def _skip_text(inbox: Inbox, delimiter: str) -> StreamExchange[str]:
    """Pass over a text argument; the line that ends it."""
    while not (line := (yield from inbox.line(_CRLF))).startswith(delimiter):
        pass
    return line


def _read_file(inbox: Inbox, name: str, delimiter: str, upload: UploadHandler | None) -> StreamExchange[None]:
    """Hand over one file, in pieces of the server's own size."""
    if upload is not None:
        upload.start(name)
    received, ended = 0, False
    pending = bytearray()
    inbox.timeout_s = None
    try:
        while not ended:
            piece, ended = yield from inbox.until(_CRLF + delimiter.encode("latin-1"))
            received += len(piece)
            pending += piece
            while len(pending) > BUFFER_SIZE:
                _write(upload, pending[:BUFFER_SIZE])
                del pending[:BUFFER_SIZE]
            yield Report(Progress(received, received))
    except StreamEnded:
        _abort(upload)
        raise
    finally:
        inbox.timeout_s = WAIT_S
    _write(upload, pending)
    if upload is not None:
        upload.end()


def _after_file(inbox: Inbox, upload: UploadHandler | None) -> StreamExchange[str]:
    """What stands behind a file's delimiter; a peer that is gone by now has the finished upload aborted."""
    try:
        return (yield from inbox.line(_CRLF))
    except StreamEnded:
        _abort(upload)
        raise


def _write(upload: UploadHandler | None, content: bytearray) -> None:
    if upload is not None:
        upload.write(bytes(content))


def _abort(upload: UploadHandler | None) -> None:
    if upload is not None:
        upload.aborted()
