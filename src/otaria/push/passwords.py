"""Where a device's password may come from, other than a prompt. It is never printed and never logged."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import keyring
import keyring.errors

from otaria.errors import UnreadableFile

__all__ = ["KEYRING_SERVICE", "password_from_file", "password_from_keyring"]

KEYRING_SERVICE: Final = "otaria"
"""``keyring set otaria porch.local`` stores the password of the device ``porch.local``."""


def password_from_file(path: Path) -> str:
    """The file's first line, without its end.

    Raises:
        UnreadableFile: it cannot be read as text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"Cannot read the password file {path}: {_why(error)}.") from error
    return text.partition("\n")[0].rstrip("\r")


def _why(error: OSError | UnicodeDecodeError) -> str:
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else (error.strerror or str(error))


def password_from_keyring(device: str) -> str | None:
    """The password kept for that device, None where there is none or no keyring on this machine."""
    try:
        return keyring.get_password(KEYRING_SERVICE, device)
    except keyring.errors.KeyringError:
        return None
