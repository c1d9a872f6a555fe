"""Files that a command is given."""

from __future__ import annotations

from pathlib import Path

from otaria.errors import UnreadableFile

__all__ = ["read_file"]


def read_file(path: Path) -> bytes:
    """The whole content.

    Raises:
        UnreadableFile: it is not there, is a folder, or may not be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"Cannot read {path}: {error.strerror or error}.") from error
