"""Every error that Otaria raises on purpose, grouped by what the caller can do about it.

::

    OtariaError
      BadInput             the caller's mistake: a file, an option, a manifest   exit 2   400
        NotAnImage           the bytes cannot be what a device installs
        WrongChip            an image, but for another chip family
        UnreadableFile       a file that cannot be opened or written
        NoSuchThing          a name that nothing here has                        exit 2   404
        AlreadyThere         a name that is taken                                exit 2   409
      Unreachable          nobody answered; retrying may help                    exit 3   504
        PortTaken            another program listens where we should
        DatabaseBusy         another program holds the database
      Denied               password, signature, permission                       exit 4   403
        WrongPassword        the device did not accept the password
        PasswordNeeded       the device asks for one and none was given
        WrongSignature       no signature, or not by this key, or not of this content
      Refused              the device or the policy said no, with its code       exit 5   409
        DoesNotFit           the image is larger than the space there is for it
      ProtocolViolation    the peer broke the protocol; carries the bytes        exit 6   502
        ConnectionBroken     the peer was gone before the exchange was over
      OutcomeUnknown       everything was sent and no verdict came               exit 7   502

A message says what happened, to which device, and what to do next. Two kinds of exception stand outside
the tree: misuse of the flash model (``device.flash.FlashMisuse``), which is a defect of the caller's code and
not a condition to handle, and the loss of power in a rehearsal (``device.flash.PowerLost``), which is an event.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyThere",
    "BadInput",
    "ConnectionBroken",
    "DatabaseBusy",
    "Denied",
    "DoesNotFit",
    "NoSuchThing",
    "NotAnImage",
    "OtariaError",
    "OutcomeUnknown",
    "PasswordNeeded",
    "PortTaken",
    "ProtocolViolation",
    "Refused",
    "Unreachable",
    "UnreadableFile",
    "WrongChip",
    "WrongPassword",
    "WrongSignature",
]


class OtariaError(Exception):
    """The root. Every leaf has an exit code and an HTTP status, its own or its group's."""

    exit_code: ClassVar[int]
    http_status: ClassVar[int]


class BadInput(OtariaError):
    """The caller's mistake: a file, an option, a manifest."""

    exit_code = 2
    http_status = 400


class NotAnImage(BadInput):
    """The bytes cannot be what a device installs."""


class WrongChip(BadInput):
    """An image, but for another chip family than the device's."""


class UnreadableFile(BadInput):
    """A file that cannot be opened, read or written."""


class NoSuchThing(BadInput):
    """A name that nothing here has."""

    http_status = 404


class AlreadyThere(BadInput):
    """A name that is taken."""

    http_status = 409


class Unreachable(OtariaError):
    """Nobody answered, or something is in the way; retrying may help."""

    exit_code = 3
    http_status = 504


class PortTaken(Unreachable):
    """Another program listens on the address and port that we were told to use."""


class DatabaseBusy(Unreachable):
    """Another program holds the database."""


class Denied(OtariaError):
    """Password, signature or permission."""

    exit_code = 4
    http_status = 403


class WrongPassword(Denied):
    """The device did not accept the password."""


class PasswordNeeded(Denied):
    """The device asks for a password and none was given."""


class WrongSignature(Denied):
    """A file without a signature, or with one that is not by this key or not of this content."""


class Refused(OtariaError):
    """The device or the policy said no.

    Args:
        message: what happened, to which device, and what to do next.
        code: the device's own error number (protocols §4.1), if it gave one.
    """

    exit_code = 5
    http_status = 409

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class DoesNotFit(Refused):
    """The image is larger than the space there is for it."""


class ProtocolViolation(OtariaError):
    """The peer broke the protocol.

    Args:
        message: what happened, to which device, and what to do next.
        received: the bytes that broke it, whole or their beginning.
    """

    exit_code = 6
    http_status = 502

    def __init__(self, message: str, *, received: bytes = b"") -> None:
        super().__init__(message)
        self.received = received


class ConnectionBroken(ProtocolViolation):
    """The peer was gone before the exchange was over."""


class OutcomeUnknown(OtariaError):
    """Everything was sent and no verdict came: look at the device before you try again."""

    exit_code = 7
    http_status = 502
