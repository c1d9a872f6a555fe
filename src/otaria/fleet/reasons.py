"""Why a device gets what it gets: one word for machines per reason; the sentence for people is the decision's own."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Answer", "Reason"]


class Answer(StrEnum):
    """What a check-in is answered with."""

    SERVE = "serve"
    KEEP = "keep"
    REFUSE = "refuse"


class Reason(StrEnum):
    """The guard that settled it, in the order in which the guards stand (design §7)."""

    UNASSIGNED = "unassigned"
    NO_SUCH_APPLICATION = "no-such-application"
    OTHER_APPLICATION = "other-application"

    NOTHING_RELEASED = "nothing-released"
    OTHER_CHIP = "other-chip"
    AMBIGUOUS_CHIP = "ambiguous-chip"
    OTHER_KIND = "other-kind"

    INSTALLED = "installed"
    SAME_VERSION = "same-version"
    ALREADY_DELIVERED = "already-delivered"

    OLDER = "older"

    FLASH_TOO_SMALL = "flash-too-small"
    NO_ROOM = "no-room"
    NO_FILE_SYSTEM = "no-file-system"
    CANNOT_UNPACK = "cannot-unpack"
    UNPACKS_OVER_ITSELF = "unpacks-over-itself"
    UNVERIFIED_SIGNATURE = "unverified-signature"

    NO_CHANGE = "no-change"

    NEWER = "newer"
