r"""The ArduinoOTA push, host and device (protocols §1.2 to §1.6).

Two exchanges in a row on each side. On UDP the host invites and, if asked, proves that it knows the password; on
TCP, which the device opens towards the host, the image flows and the device says how it went::

    host: invite()        <-- datagrams -->   device: await_invitation(), begin_update()
    host: send_image()    <--  stream   -->   device: receive_image()

The device acknowledges with the count of bytes it took, as decimal digits without separators: "14601460" is two
acknowledgements or one. So the host never reads them as numbers; it takes any answer as "go on" and the first
character that is no digit as the beginning of the verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, auto
from typing import Final, Protocol

from otaria.errors import ConnectionBroken, OutcomeUnknown, PasswordNeeded, Unreachable, WrongPassword
from otaria.protocols.diagnosis import refusal
from otaria.protocols.exchange import (
    Address,
    AskPassword,
    Connected,
    Datagram,
    DatagramExchange,
    Progress,
    Receive,
    Report,
    Send,
    Sleep,
    StreamExchange,
)
from otaria.wire.arduino_ota import (
    Accepted,
    AuthenticationFailed,
    Challenge,
    Command,
    Credentials,
    Invitation,
    Refusal,
    Reply,
    Scheme,
    encode_reply,
    md5_response,
    parse_credentials,
    parse_invitation,
    parse_reply,
    response_of,
    same_secret,
    stored_password,
    stored_sha256,
)

__all__ = [
    "Authenticated",
    "Installer",
    "Invited",
    "OtaError",
    "await_invitation",
    "begin_update",
    "invite",
    "receive_image",
    "send_image",
]

# ---------------------------------------------------------------------------------------------- the host

INVITATION_ATTEMPTS: Final = 10
"""A repeat can be swallowed by a device that waits for credentials; the third one is always answered."""

INVITATION_INTERVAL_S: Final = 1.5
"""Long enough for a device on a sleepy radio, short enough that ten attempts stay bearable."""

CREDENTIALS_ATTEMPTS: Final = 6
CREDENTIALS_INTERVAL_S: Final = 2.0
"""The device answers from its loop(), which may be busy for ten seconds and more. Sending again is safe."""

MOST_STRAYS: Final = 64
"""Datagrams of strangers that are passed over in one wait, so that a flood of them cannot prolong it for ever."""

BLOCK_SIZE: Final = 1460
"""One TCP segment on Ethernet, what the device's receive window is made for."""

ACKNOWLEDGEMENT_TIMEOUT_S: Final = 10.0
"""Erasing and writing take milliseconds; ten seconds of silence is a lost connection."""

VERDICT_TIMEOUT_S: Final = 60.0
"""Checking a signature and writing the last sectors can take seconds; the core's own tool waits as long."""

LONGEST_VERDICT: Final = 1024
"""Bytes. The longest text of a device is below 150."""


class Authenticated:
    """An event: the device accepted the password."""


def invite(
    invitation: Invitation,
    device: Address,
    *,
    name: str,
    new_cnonce: Callable[[Scheme], str],
) -> DatagramExchange[None]:
    """Invite a device until it accepts; prove the password if it asks.

    A TCP connection of the device counts as acceptance: its ``OK`` may have been lost. A device with the newer scheme
    may have been set up with the MD5 of its password, so a proof that it does not accept is made once more from that.

    Args:
        invitation: what to offer.
        device: where the device listens.
        name: how the user calls it, for messages.
        new_cnonce: makes a fresh random nonce, 32 hexadecimal digits for MD5, 64 for PBKDF2.

    Raises:
        Unreachable: it never answered.
        PasswordNeeded: it asks for a password and none is to be had.
        WrongPassword: it did not accept the password.
        Refused: it said that it will not begin, and why.
        ProtocolViolation: it answered what no device answers.
    """
    keyring = _Keyring(name, new_cnonce)
    refused = yield from _invite(invitation, device, name, keyring)
    if refused is Scheme.PBKDF2_SHA256:
        keyring.has_md5_only = True
        refused = yield from _invite(invitation, device, name, keyring)
    if refused is not None:
        raise WrongPassword(f"{name} did not accept the password. Check it and push again.")


def _invite(invitation: Invitation, device: Address, name: str, keyring: _Keyring) -> DatagramExchange[Scheme | None]:
    """Invite until the device accepts; the scheme by which it did not accept the password, None where all is well."""
    for attempt in range(INVITATION_ATTEMPTS):
        yield Send(_numbered(invitation, attempt).encode(), device)
        reply = yield from _reply(device, INVITATION_INTERVAL_S)
        match reply:
            case Accepted():
                return None
            case Challenge():
                proved = yield from _authenticate(reply, device, name, keyring)
                if proved is _Proved.NOT_ACCEPTED:
                    return reply.scheme
                if proved is _Proved.ACCEPTED:
                    yield Report(Authenticated())
                    return None
            case Refusal(text):
                raise refusal(name, text)
            case AuthenticationFailed() | None:
                pass
    raise Unreachable(
        f"{name} did not answer {INVITATION_ATTEMPTS} invitations to UDP port {device[1]}. Is it switched on, on this "
        "network, and running a sketch that calls ArduinoOTA.handle()?"
    )


def _numbered(invitation: Invitation, attempt: int) -> Invitation:
    """The later attempts offer a file system by the number that the newest ESP32 cores have for it."""
    if invitation.command == Command.FILESYSTEM and attempt >= INVITATION_ATTEMPTS // 2:
        return replace(invitation, command=Command.SPIFFS)
    return invitation


class _Proved(Enum):
    """What came of credentials."""

    ACCEPTED = auto()
    NOT_ACCEPTED = auto()
    NOT_HEARD = auto()
    """The device went back to waiting for invitations."""


def _authenticate(challenge: Challenge, device: Address, name: str, keyring: _Keyring) -> DatagramExchange[_Proved]:
    """Answer a challenge."""
    credentials = yield from keyring.prove(challenge)
    for _ in range(CREDENTIALS_ATTEMPTS):
        yield Send(credentials.encode(), device)
        reply = yield from _reply(device, CREDENTIALS_INTERVAL_S)
        match reply:
            case Accepted():
                return _Proved.ACCEPTED
            case AuthenticationFailed():
                return _Proved.NOT_ACCEPTED
            case Refusal(text):
                raise refusal(name, text)
            case Challenge() | None:
                pass
    return _Proved.NOT_HEARD


class _Keyring:
    """The password, asked for once, and how it is proved.

    Attributes:
        has_md5_only: the device knows the MD5 of its password and not the password's own digest.
    """

    def __init__(self, name: str, new_cnonce: Callable[[Scheme], str]) -> None:
        self.has_md5_only = False
        self._name = name
        self._new_cnonce = new_cnonce
        self._password: str | None = None

    def prove(self, challenge: Challenge) -> DatagramExchange[Credentials]:
        password = yield from self._ask()
        by_md5 = challenge.scheme is Scheme.MD5 or self.has_md5_only
        stored = stored_password(password) if by_md5 else stored_sha256(password)
        cnonce = self._new_cnonce(challenge.scheme)
        return Credentials(cnonce, response_of(challenge.scheme, stored, challenge.nonce, cnonce))

    def _ask(self) -> DatagramExchange[str]:
        if self._password is None:
            answer = yield AskPassword(self._name)
            if not isinstance(answer, str):
                raise PasswordNeeded(
                    f"{self._name} asks for a password. Give it in OTARIA_PASSWORD, with --password-file, or at the "
                    "prompt."
                )
            self._password = answer
        return self._password


def _reply(device: Address, timeout_s: float) -> DatagramExchange[Reply | None]:
    """The device's next answer; None where none came in time. Strangers are not heard."""
    for _ in range(MOST_STRAYS):
        heard = yield Receive(timeout_s)
        if heard is None:
            return None
        if isinstance(heard, Connected) and heard.source[0] == device[0]:
            return Accepted()
        if isinstance(heard, Datagram) and heard.source[0] == device[0]:
            return parse_reply(heard.content)
    return None


def send_image(image: bytes, *, name: str, block_size: int = BLOCK_SIZE) -> StreamExchange[None]:
    """Send an image over the device's connection and return once it says that all is well.

    Args:
        image: the file as it was announced in the invitation.
        name: how the user calls the device, for messages.
        block_size: bytes sent before an answer is awaited.

    Raises:
        Refused: the device said why it did not install the image.
        Unreachable: it stopped answering in mid-transfer; the old sketch still runs.
        ConnectionBroken: it closed in mid-transfer without a word; the old sketch still runs.
        OutcomeUnknown: everything was sent and no verdict came.
    """
    verdict = _Verdict(name, len(image))
    for offset in range(0, len(image), block_size):
        block = image[offset : offset + block_size]
        yield Send(block)
        verdict.sent += len(block)
        answer = yield Receive(ACKNOWLEDGEMENT_TIMEOUT_S)
        verdict.hear(answer)
        yield Report(Progress(verdict.sent, len(image)))
        if verdict.begun or verdict.ended:
            break
        if answer is None and verdict.sent < len(image):
            return verdict.judge()
    while not verdict.complete:
        answer = yield Receive(VERDICT_TIMEOUT_S)
        verdict.hear(answer)
        if answer is None:
            break
    return verdict.judge()


class _Verdict:
    """What the device has said so far, and what follows from it."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._heard = b""
        self.sent = 0
        self.ended = False

    def hear(self, answer: bytes | str | None) -> None:
        """Take in what came; the end of the stream is an event like any other."""
        if answer == b"":
            self.ended = True
        elif isinstance(answer, bytes):
            self._heard = (self._heard + answer).lstrip(b"0123456789")[:LONGEST_VERDICT]

    @property
    def begun(self) -> bool:
        """Whether something other than acknowledgements has come."""
        return bool(self._heard)

    @property
    def complete(self) -> bool:
        """Whether nothing more needs to come."""
        return (
            self.ended
            or self._heard.startswith(b"OK")
            or self._heard.endswith(b"\n")
            or len(self._heard) == LONGEST_VERDICT
        )

    def judge(self) -> None:
        """Return for success, raise for anything else."""
        if self._heard.startswith(b"OK"):
            return
        if self._heard:
            raise refusal(self._name, self._heard.decode("utf-8", "replace"))
        if self.sent == self._size:
            raise OutcomeUnknown(
                f"{self._name} took the whole image and said nothing more. It may have installed it: look whether it "
                "runs the new sketch before you push again."
            )
        where = f"after {self.sent} of {self._size} bytes"
        if self.ended:
            raise ConnectionBroken(
                f"{self._name} closed the connection {where}. It still has its old sketch; push again when it is back."
            )
        raise Unreachable(
            f"{self._name} stopped answering {where}. It still has its old sketch; restart it, then push again."
        )


# -------------------------------------------------------------------------------------------- the device


class OtaError(IntEnum):
    """What ``onError`` is called with (protocols §1.3)."""

    AUTH = 0
    BEGIN = 1
    CONNECT = 2
    RECEIVE = 3
    END = 4


class Installer(Protocol):
    """What an exchange needs of the device's Updater; ``otaria.device.Updater`` has this shape."""

    @property
    def error(self) -> int:
        """The error's number, 0 for none."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether every announced byte is in flash, or an error has reset the Updater."""
        ...

    def begin(self, size: int, command: int = 0) -> bool:
        """Start an update of ``size`` bytes."""
        ...

    def set_md5(self, text: str) -> bool:
        """Expect this digest."""
        ...

    def write(self, content: bytes) -> int:
        """Take bytes; fewer than given after an error."""
        ...

    def write_stream(self, first_byte: int) -> Generator[int, bytes | None, int]:
        """Take a whole image: yields how many bytes it can take, is sent at most as many, None after silence."""
        ...

    def end(self, even_if_remaining: bool = False) -> bool:  # noqa: FBT001, FBT002 - the Arduino library's own signature
        """Check the image and leave the boot command."""
        ...

    def error_text(self) -> str:
        """``ERROR[n]: text``."""
        ...


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that the device will follow, and the socket it came from."""

    invitation: Invitation
    host: Address


CONNECT_DELAY_S: Final = 0.1
"""Between the device's ``OK`` and its connection."""

VERDICT_DELAY_S: Final = 1.0
"""Before and after the device's last ``OK``, since core 2.7: older hosts lost one that was glued to the last count."""

RECEIVE_INTERVAL_S: Final = 1.0
"""The device's receive time-out, which never ends anything: its countdown runs past zero (protocols §1.5)."""


def await_invitation(stored: str | None, micros: Callable[[], int]) -> DatagramExchange[Invited]:
    """The device's UDP side, as far as its receive call-back does it: from idle to a good invitation.

    While it waits for credentials there is no time-out, and any other datagram is swallowed: it brings the device
    back to idle without being read and without a reply.

    Args:
        stored: :func:`~otaria.wire.arduino_ota.stored_password`, None or empty for a device without a password.
        micros: microseconds since the device started; its nonce is made of them.
    """
    while True:
        heard = yield Receive(None)
        invitation = parse_invitation(heard.content) if isinstance(heard, Datagram) else None
        if invitation is None or not isinstance(heard, Datagram):
            continue
        if not stored:
            return Invited(invitation, heard.source)
        nonce = hashlib.md5(str(micros()).encode("ascii")).hexdigest()  # noqa: S324 - the device's protocol
        yield Send(encode_reply(Challenge(nonce, Scheme.MD5)), heard.source)
        answer = yield Receive(None)
        credentials = parse_credentials(answer.content) if isinstance(answer, Datagram) else None
        if credentials is None:
            continue
        if same_secret(credentials.response, md5_response(stored, nonce, credentials.cnonce)):
            return Invited(invitation, heard.source)
        # The reply goes to where the invitation came from, whoever sent the credentials (protocols §1.2).
        yield Send(encode_reply(AuthenticationFailed()), heard.source)
        yield Report(OtaError.AUTH)


def begin_update(invited: Invited, updater: Installer, *, answers_after_begin: bool = True) -> DatagramExchange[bool]:
    """What ``handle()`` does with an invitation: begin, answer, and wait a moment; False if it could not begin.

    Args:
        invited: the invitation.
        updater: the device's own.
        answers_after_begin: the core says ``ERR:`` where it cannot begin; up to 2.3 it said ``OK`` before it tried,
            and nothing more.
    """
    invitation = invited.invitation
    if not answers_after_begin:
        yield Send(encode_reply(Accepted()), invited.host)
    if not updater.begin(invitation.size, invitation.command):
        yield Report(OtaError.BEGIN)
        if answers_after_begin:
            yield Send(encode_reply(Refusal(updater.error_text())), invited.host)
        return False
    if answers_after_begin:
        yield Send(encode_reply(Accepted()), invited.host)
    yield Sleep(CONNECT_DELAY_S)
    updater.set_md5(invitation.md5)
    return True


def receive_image(
    size: int,
    updater: Installer,
    *,
    pause_before_ok_s: float = VERDICT_DELAY_S,
    pause_after_ok_s: float = VERDICT_DELAY_S,
) -> StreamExchange[bool]:
    """Take the image from the connection to the host; True once it is installed and the host has been told.

    A host that falls silent leaves the device waiting for as long as the connection lasts (protocols §1.5). Where it
    returns False, the library calls ``onError(END)``; the caller does that here.

    Args:
        size: what the invitation announced; bytes beyond it are never read.
        updater: begun.
        pause_before_ok_s: what this core waits before its last ``OK``.
        pause_after_ok_s: what it waits before it closes.
    """
    received = 0
    while not updater.is_finished:
        content = yield Receive(RECEIVE_INTERVAL_S)
        if content is None:
            continue
        if not isinstance(content, bytes) or content == b"":
            break
        written = updater.write(content[: size - received])
        received += written
        if written:
            yield Send(str(written).encode("ascii"))
            yield Report(Progress(received, size))
    if not updater.end():
        yield Send(updater.error_text().encode("utf-8") + b"\n")
        return False
    yield Sleep(pause_before_ok_s)
    yield Send(b"OK")
    yield Sleep(pause_after_ok_s)
    return True
