"""The ESP32's side of an ArduinoOTA push, where it differs from the ESP8266's (protocols §1.3 to §1.5).

An ESP32 polls: each ``handle()`` first runs an update that was agreed upon, then reads one datagram at most::

    Invitations.handle()   one datagram: challenge it, or say OK at once
    begin_update()         in the next handle(): begin, and say nothing where that fails
    receive_image()        dial back to where the last datagram came from, and take the image

Whatever goes wrong is reported as an :class:`~otaria.protocols.arduino_push.OtaError`, for the sketch's call-back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

from otaria.protocols.arduino_push import Installer, Invited, OtaError
from otaria.protocols.exchange import (
    Address,
    Datagram,
    DatagramExchange,
    Progress,
    Receive,
    Report,
    Send,
    StreamExchange,
)
from otaria.wire.arduino_ota import (
    ESP32_LONGEST_NUMBER,
    Accepted,
    AuthenticationFailed,
    Challenge,
    Command,
    Invitation,
    Scheme,
    encode_reply,
    parse_credentials,
    parse_invitation,
    response_of,
    same_secret,
    stored_password,
    stored_sha256,
)

__all__ = [
    "CLOSE_DELAY_S",
    "AbortableInstaller",
    "Invitations",
    "Protection",
    "begin_update",
    "receive_image",
]

PASS_SIZE: Final = 1460
"""Bytes that the device reads at once."""

LARGEST_NUMBER: Final = 0x7FFFFFFF
"""What the device's atoi makes of anything larger; so nobody can offer an image of unknown size."""

RECEIVE_TIMEOUT_S: Final = 1.0
"""What ``setTimeout`` is before anybody calls it."""

MOST_REMINDERS: Final = 3
"""How often the last count is sent again to a host that has fallen silent."""

CLOSE_DELAY_S: Final = 0.01
"""Between the closing of the connection and ``onEnd``."""

_HASH_LENGTHS: Final = (32, 64)
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")


class AbortableInstaller(Installer, Protocol):
    """What an exchange needs of an ESP32's Updater; ``otaria.device.esp32_updater.Esp32Updater`` has this shape."""

    def abort(self) -> None:
        """Give up."""
        ...


@dataclass(frozen=True, slots=True)
class Protection:
    """What a device demands of who pushes.

    Args:
        stored: the digest of the password that the device keeps.
        scheme: how it is proved: MD5 up to core 3.3.0, PBKDF2 from 3.3.1 on.
    """

    stored: str
    scheme: Scheme

    @classmethod
    def by_password(cls, password: str, scheme: Scheme) -> Self:
        """``setPassword``; an empty password is one, too."""
        stored = stored_password(password) if scheme is Scheme.MD5 else stored_sha256(password)
        return cls(stored, scheme)

    @classmethod
    def by_hash(cls, digest: str, scheme: Scheme) -> Self | None:
        """``setPasswordHash``; None for what sets no password.

        The older cores keep any text but an empty one. The newer ones take the SHA-256 of the password, or its MD5,
        and ignore what is no digest.
        """
        if scheme is Scheme.MD5:
            return cls(digest, scheme) if digest else None
        is_digest = len(digest) in _HASH_LENGTHS and set(digest) <= _HEX_DIGITS
        return cls(digest, scheme) if is_digest else None

    def challenge(self, micros: int) -> Challenge:
        """A challenge made of the microseconds since the start, as the older cores make it.

        Of what the newer ones make theirs is not known; its length is.
        """
        digits = str(micros).encode("ascii")
        if self.scheme is Scheme.MD5:
            return Challenge(hashlib.md5(digits).hexdigest(), self.scheme)  # noqa: S324 - the device's protocol
        return Challenge(hashlib.sha256(digits).hexdigest(), self.scheme)


@dataclass(frozen=True, slots=True)
class _Pending:
    """An invitation whose sender was challenged."""

    invitation: Invitation
    nonce: str


class Invitations:
    """What the device remembers between one ``handle()`` and the next.

    While it waits for credentials there is no time-out, and any other datagram brings it back to idle without being
    read and without a reply, as on an ESP8266.

    Args:
        protection: what it demands; None for a device without a password.
        micros: microseconds since the device started.
        commands: the offers that this core takes.
    """

    def __init__(
        self,
        protection: Protection | None,
        micros: Callable[[], int],
        commands: Collection[int] = (Command.FLASH, Command.FILESYSTEM),
    ) -> None:
        self._protection = protection
        self._micros = micros
        self._commands = commands
        self._pending: _Pending | None = None

    def handle(self, timeout_s: float | None = 0.0) -> DatagramExchange[Invited | None]:
        """Read one datagram if one has come, and answer it; the invitation to follow, once there is one.

        Replies go to where this datagram came from, and so does the connection that follows.

        Args:
            timeout_s: how long to wait for one. The device does not wait.
        """
        heard = yield Receive(timeout_s)
        if not isinstance(heard, Datagram):
            return None
        if self._pending is None or self._protection is None:
            return (yield from self._read_invitation(heard))
        pending, self._pending = self._pending, None
        return (yield from self._read_credentials(heard, pending, self._protection))

    def _read_invitation(self, heard: Datagram) -> DatagramExchange[Invited | None]:
        invitation = parse_invitation(heard.content, commands=self._commands, longest_number=ESP32_LONGEST_NUMBER)
        if invitation is None:
            return None
        invitation = replace(invitation, size=min(invitation.size, LARGEST_NUMBER))
        if self._protection is None:
            return (yield from _accept(invitation, heard.source))
        challenge = self._protection.challenge(self._micros())
        self._pending = _Pending(invitation, challenge.nonce)
        yield Send(encode_reply(challenge), heard.source)
        return None

    def _read_credentials(
        self, heard: Datagram, pending: _Pending, protection: Protection
    ) -> DatagramExchange[Invited | None]:
        credentials = parse_credentials(heard.content, protection.scheme)
        if credentials is None:
            return None
        expected = response_of(protection.scheme, protection.stored, pending.nonce, credentials.cnonce)
        if same_secret(credentials.response, expected):
            return (yield from _accept(pending.invitation, heard.source))
        yield Send(encode_reply(AuthenticationFailed()), heard.source)
        yield Report(OtaError.AUTH)
        return None


def _accept(invitation: Invitation, host: Address) -> DatagramExchange[Invited | None]:
    yield Send(encode_reply(Accepted()), host)
    return Invited(invitation, host)


def begin_update(invited: Invited, updater: Installer) -> DatagramExchange[bool]:
    """What the next ``handle()`` begins with. Where it cannot begin, the host hears nothing and waits in vain."""
    invitation = invited.invitation
    if not updater.begin(invitation.size, invitation.command):
        yield Report(OtaError.BEGIN)
        return False
    updater.set_md5(invitation.md5)
    return True


def receive_image(
    size: int, updater: AbortableInstaller, *, timeout_s: float = RECEIVE_TIMEOUT_S
) -> StreamExchange[bool]:
    """Take the image from the connection to the host; True once it is installed and the host has been told.

    The caller closes the connection as soon as this returns, also after a failure. Errors are reported here, END
    among them.

    Args:
        size: what the invitation announced. Bytes beyond it are read, and refused.
        updater: begun.
        timeout_s: how long the host may be silent before it is reminded, three times, and then left.
    """
    written = reminders = received = 0
    while _wants_more(updater):
        content = yield Receive(timeout_s)
        if content is None:
            if not written or reminders == MOST_REMINDERS:
                yield Report(OtaError.RECEIVE)
                updater.abort()
                return False
            reminders += 1
            yield Send(_count(written))
            continue
        if not isinstance(content, bytes) or content == b"":
            break
        reminders = 0
        for start in range(0, len(content), PASS_SIZE):
            if not _wants_more(updater):
                break
            written = updater.write(content[start : start + PASS_SIZE])
            if written:
                received += written
                yield Send(_count(written))
                yield Report(Progress(received, size))
    return (yield from _conclude(updater))


def _wants_more(updater: Installer) -> bool:
    """Whether bytes are missing; not so after an error, which has reset the Updater."""
    return not updater.is_finished


def _conclude(updater: Installer) -> StreamExchange[bool]:
    """The verdict: glued to the last count, or a bare text with a line end of its own."""
    if updater.end():
        yield Send(b"OK")
        return True
    yield Report(OtaError.END)
    yield Send(updater.error_text().encode("utf-8") + b"\r\n")
    return False


def _count(written: int) -> bytes:
    return str(written).encode("ascii")
