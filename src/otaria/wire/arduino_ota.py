r"""The datagrams of an ArduinoOTA push and the two authentication schemes (protocols §1.2 to §1.4).

::

    host                                         device
      "<command> <port> <size> <md5>\n"   --->            the invitation
                                          <---   "OK" | "AUTH <nonce>" | "ERR: <text>\n"
      "200 <cnonce> <response>\n"         --->            only after AUTH
                                          <---   "OK" | "Authentication Failed" | "ERR: <text>\n"

After ``OK`` the device opens a TCP connection to the host's port and takes the image from there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, TypeAlias

from otaria.errors import ProtocolViolation
from otaria.units import Md5, Sha256

__all__ = [
    "ESP32_LONGEST_NUMBER",
    "ESP32_PORT",
    "ESP8266_PORT",
    "Accepted",
    "AuthenticationFailed",
    "Challenge",
    "Command",
    "Credentials",
    "Invitation",
    "Refusal",
    "Reply",
    "Scheme",
    "encode_reply",
    "md5_response",
    "parse_credentials",
    "parse_invitation",
    "parse_reply",
    "pbkdf2_response",
    "response_of",
    "stored_password",
    "stored_sha256",
]

ESP8266_PORT: Final = 8266
ESP32_PORT: Final = 3232

PBKDF2_ITERATIONS: Final = 10_000
"""Fixed by the ESP32 core since 3.3.1 (protocols §1.4)."""

WHITE_SPACE: Final = " \t\n\v\f\r"
"""What the device trims off an invitation's digest. It trims nothing off credentials."""

LONGEST_NUMBER: Final = 15
"""The device reads at most this many digits; a longer run of digits counts as zero (protocols §1.3)."""

ESP32_LONGEST_NUMBER: Final = 14
"""On an ESP32 the fifteenth digit is one too many."""

DEVICE_TEXT: Final = "latin-1"
"""A device takes bytes as they come and checks none of them; here each one is a character."""


class Command(IntEnum):
    """The number that opens a datagram."""

    FLASH = 0
    FILESYSTEM = 100
    SPIFFS = 101
    AUTH = 200


class Scheme(StrEnum):
    """How a device checks the password; told apart by the length of its nonce alone."""

    MD5 = "md5"
    PBKDF2_SHA256 = "pbkdf2-sha256"


_NONCE_LENGTHS: Final = {32: Scheme.MD5, 64: Scheme.PBKDF2_SHA256}


@dataclass(frozen=True, slots=True)
class Invitation:
    """The host's first datagram.

    Args:
        command: what is offered, FLASH or one of the file-system numbers.
        port: the TCP port at which the host waits for the device.
        size: bytes of the file as it will be sent.
        md5: digest of the file as it will be sent; the device's own reading keeps what is no hexadecimal.
    """

    command: int
    port: int
    size: int
    md5: str

    def encode(self) -> bytes:
        """The datagram's bytes."""
        return f"{int(self.command)} {self.port} {self.size} {self.md5}\n".encode(DEVICE_TEXT)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The host's answer to a challenge."""

    cnonce: str
    response: str

    def encode(self) -> bytes:
        """The datagram's bytes: 70 of them for the MD5 scheme, 134 for PBKDF2."""
        return f"{int(Command.AUTH)} {self.cnonce} {self.response}\n".encode(DEVICE_TEXT)


@dataclass(frozen=True, slots=True)
class Accepted:
    """``OK``: the device will connect."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """``AUTH <nonce>``: the device wants the password."""

    nonce: str
    scheme: Scheme


@dataclass(frozen=True, slots=True)
class AuthenticationFailed:
    """``Authentication Failed``: the response was wrong."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """``ERR: <text>``: the device's Updater would not begin."""

    text: str


Reply: TypeAlias = Accepted | Challenge | AuthenticationFailed | Refusal


def encode_reply(reply: Reply) -> bytes:
    """The bytes as an ESP8266 sends them: no line end, but for a refusal's own."""
    match reply:
        case Accepted():
            return b"OK"
        case Challenge(nonce):
            return b"AUTH " + nonce.encode("ascii")
        case AuthenticationFailed():
            return b"Authentication Failed"
        case Refusal(text):
            return b"ERR: " + text.encode("utf-8") + b"\n"


def parse_reply(datagram: bytes) -> Reply:
    """Read what a device answers to an invitation or to credentials.

    A nonce that is not 32 or 64 lower-case hexadecimal digits is no device's: answering it would hand the
    proof of the password to whoever made it (protocols §11).

    Raises:
        ProtocolViolation: none of the four replies.
    """
    text = datagram.decode("utf-8", "replace").rstrip("\r\n\0 ")
    if text == "OK":
        return Accepted()
    if text == "Authentication Failed":
        return AuthenticationFailed()
    if text.startswith("AUTH "):
        nonce = text.removeprefix("AUTH ")
        scheme = _NONCE_LENGTHS.get(len(nonce))
        if scheme is not None and set(nonce) <= set("0123456789abcdef"):
            return Challenge(nonce, scheme)
    if text.startswith("ERR:"):
        return Refusal(text.removeprefix("ERR:").strip())
    raise ProtocolViolation(
        f"The device answered {datagram[:64]!r}, which is no reply of ArduinoOTA; "
        "another program may be listening on that port.",
        received=datagram,
    )


class _DeviceReader:
    """Reads a datagram the way the device's own few lines do, quirks included (protocols §1.3)."""

    def __init__(self, datagram: bytes, longest_number: int = LONGEST_NUMBER) -> None:
        self._rest = datagram
        self._longest_number = longest_number

    def number(self) -> int:
        """Skip spaces, take up to 15 digits. Nothing there reads as 0, and so does a 16th digit."""
        rest = self._rest.lstrip(b" ")
        digits = 0
        while digits < len(rest) and rest[digits : digits + 1].isdigit() and digits <= self._longest_number:
            digits += 1
        self._rest = rest[digits:]
        return int(rest[:digits]) if 0 < digits <= self._longest_number else 0

    def skip(self) -> None:
        """Pass over one character, whatever it is."""
        self._rest = self._rest[1:]

    def until(self, *ends: bytes) -> str:
        """Take everything up to the first of the ends, a NUL, or the datagram's own end."""
        stop = min((at for end in (*ends, b"\0") if (at := self._rest.find(end)) >= 0), default=len(self._rest))
        taken, self._rest = self._rest[:stop], self._rest[stop + 1 :]
        return taken.decode(DEVICE_TEXT)


def parse_invitation(
    datagram: bytes,
    *,
    commands: Collection[int] = (Command.FLASH, Command.FILESYSTEM),
    longest_number: int = LONGEST_NUMBER,
) -> Invitation | None:
    """Read an invitation as a device does, by default an ESP8266; None for a datagram that it silently ignores.

    Garbage reads as command 0 with port 0 and size 0, and is dropped because its digest has not 32 characters.

    Args:
        datagram: what came.
        commands: those that this device takes.
        longest_number: how many digits it reads.
    """
    reader = _DeviceReader(datagram, longest_number)
    command = reader.number()
    if command not in commands:
        return None
    port, size = reader.number(), reader.number()
    reader.skip()
    md5 = reader.until(b"\n").strip(WHITE_SPACE)
    return Invitation(command, port & 0xFFFF, size, md5) if len(md5) == 32 else None


def parse_credentials(datagram: bytes, scheme: Scheme = Scheme.MD5) -> Credentials | None:
    """Read the answer to a challenge as a device does; None where it would fall back to idle without a word."""
    length = next(length for length, of_scheme in _NONCE_LENGTHS.items() if of_scheme is scheme)
    reader = _DeviceReader(datagram)
    if reader.number() != Command.AUTH:
        return None
    reader.skip()
    cnonce = reader.until(b" ")
    response = reader.until(b"\n")
    return Credentials(cnonce, response) if len(cnonce) == len(response) == length else None


def stored_password(password: str) -> Md5:
    """What ``setPassword`` keeps on the device; whoever has it can authenticate, so treat it as the password."""
    return Md5(hashlib.md5(password.encode("utf-8")).hexdigest())  # noqa: S324 - the device's protocol


def stored_sha256(password: str) -> Sha256:
    """What ``setPassword`` keeps on an ESP32 from core 3.3.1 on; as good as the password to whoever has it."""
    return Sha256(hashlib.sha256(password.encode("utf-8")).hexdigest())


def response_of(scheme: Scheme, stored: str, nonce: str, cnonce: str) -> str:
    """The proof by either scheme."""
    respond = md5_response if scheme is Scheme.MD5 else pbkdf2_response
    return respond(stored, nonce, cnonce)


def md5_response(stored: str, nonce: str, cnonce: str) -> str:
    """The proof for ESP8266, and for ESP32 up to core 3.3.0; ``stored`` is :func:`stored_password`."""
    proof = f"{stored}:{nonce}:{cnonce}".encode(DEVICE_TEXT)
    return hashlib.md5(proof).hexdigest()  # noqa: S324 - the device's protocol


def pbkdf2_response(stored: str, nonce: str, cnonce: str) -> str:
    """The proof for ESP32 from core 3.3.1 on.

    Args:
        stored: SHA-256 of the password in hexadecimal, or its MD5 for a device that was set up with one.
        nonce: the device's 64 digits.
        cnonce: the host's 64 digits.
    """
    salt = f"{nonce}:{cnonce}".encode(DEVICE_TEXT)
    derived = hashlib.pbkdf2_hmac("sha256", stored.encode(DEVICE_TEXT), salt, PBKDF2_ITERATIONS).hex()
    return hashlib.sha256(f"{derived}:{nonce}:{cnonce}".encode(DEVICE_TEXT)).hexdigest()


def same_secret(left: str, right: str) -> bool:
    """Compare two proofs in constant time."""
    return hmac.compare_digest(left.encode("utf-8"), right.encode("utf-8"))
