"""Files that a command is given, and those that it makes."""

from __future__ import annotations

import contextlib
from pathlib import Path

from otaria.errors import UnreadableFile

__all__ = ["read_file", "write_file"]


def read_file(path: Path) -> bytes:
    """The whole content.

    Raises:
        UnreadableFile: it is not there, is a folder, or may not be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"Cannot read {path}: {error.strerror or error}.") from error


def write_file(path: Path, content: bytes) -> None:
    """Make a file or replace it, wholly or not at all.

    Raises:
        UnreadableFile: it cannot be written; what was there is there still.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise UnreadableFile(f"Cannot write {path}: {error.strerror or error}.") from error
