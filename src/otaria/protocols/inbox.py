"""Reading a stream piecewise, inside an exchange."""

from __future__ import annotations

from typing import Final

from otaria.protocols.exchange import Receive, StreamExchange

__all__ = ["Inbox", "StreamEnded", "StreamSilent"]

LONGEST_LINE: Final = 4096
"""Bytes. Longer than any request or header line that these devices and their users' browsers send."""


class StreamEnded(Exception):
    """The peer closed before what was awaited had come. Caught inside the exchange that reads."""


class StreamSilent(Exception):
    """Nothing came in time. Caught inside the exchange that reads."""


class Inbox:
    """What has been received and not been used yet.

    Args:
        timeout_s: how long one wait for more may take; None for ever.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self._buffer = b""

    def more(self) -> StreamExchange[None]:
        """Wait for further bytes.

        Raises:
            StreamEnded: the peer closed.
            StreamSilent: nothing came in time.
        """
        content = yield Receive(self.timeout_s)
        if content is None:
            raise StreamSilent
        if not isinstance(content, bytes) or content == b"":
            raise StreamEnded
        self._buffer += content

    def some(self, limit: int) -> StreamExchange[bytes]:
        """At least one byte and at most ``limit`` of them."""
        if not self._buffer:
            yield from self.more()
        return self._take(min(limit, len(self._buffer)))

    def peek(self, length: int) -> StreamExchange[bytes]:
        """The next bytes, which stay to be read."""
        while len(self._buffer) < length:
            yield from self.more()
        return self._buffer[:length]

    def line(self, end: bytes = b"\n") -> StreamExchange[str]:
        """One line without its end, of which a CR before a lone LF is part.

        Raises:
            StreamEnded: the peer closed, or the line is too long.
            StreamSilent: nothing came in time.
        """
        while end not in self._buffer:
            if len(self._buffer) > LONGEST_LINE:
                raise StreamEnded
            yield from self.more()
        line = self._take(self._buffer.index(end) + len(end)).removesuffix(end)
        return (line.removesuffix(b"\r") if end == b"\n" else line).decode("latin-1")

    def until(self, delimiter: bytes) -> StreamExchange[tuple[bytes, bool]]:
        """A piece of what precedes the delimiter, and whether the delimiter came and was passed over.

        Pieces come as bytes arrive, so that what is long need not be held.
        """
        while True:
            at = self._buffer.find(delimiter)
            if at >= 0:
                piece = self._take(at)
                self._take(len(delimiter))
                return piece, True
            safe = len(self._buffer) - len(delimiter) + 1
            if safe > 0:
                return self._take(safe), False
            yield from self.more()

    def _take(self, length: int) -> bytes:
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken
