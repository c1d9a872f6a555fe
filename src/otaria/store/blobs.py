"""The images' files, each under the SHA-256 of its content; satisfies ``service.ports.Blobs``."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from otaria.errors import UnreadableFile
from otaria.units import Sha256

__all__ = ["FileBlobs"]


class FileBlobs:
    """Files in a directory, in 256 folders by the first two digits of their digest.

    A file appears under its name only once it is wholly on disk, so what is there is whole. What a crash leaves
    behind is a temporary file that nothing refers to.

    Args:
        directory: made if it is not there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, content: bytes) -> Sha256:
        """Keep a file; it is wholly on disk when this returns.

        Raises:
            UnreadableFile: it cannot be written; nothing is left of it.
        """
        sha256 = Sha256(hashlib.sha256(content).hexdigest())
        path = self._path(sha256)
        try:
            if not path.exists():
                self._write(path, content)
        except OSError as error:
            raise UnreadableFile(f"Cannot store the image in {path.parent}: {error.strerror or error}.") from error
        return sha256

    def open(self, sha256: Sha256) -> BinaryIO:
        """Open a file that was put.

        Raises:
            UnreadableFile: it is not there any more, or may not be read.
        """
        path = self._path(sha256)
        try:
            return path.open("rb")
        except OSError as error:
            raise UnreadableFile(
                f"The stored image {path} cannot be read: {error.strerror or error}. Restore it from a backup, or "
                "publish the image again under another version."
            ) from error

    def remove(self, sha256: Sha256) -> None:
        """Forget a file; no matter if it is not there."""
        self._path(sha256).unlink(missing_ok=True)

    def _path(self, sha256: Sha256) -> Path:
        return self._directory / sha256[:2] / sha256

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
            # The names must be on disk, too: the file's in its folder and the folder's in the directory.
            for folder in (path.parent, self._directory):
                _flush_directory(folder)
        except BaseException:
            for remains in (Path(name), path):
                remains.unlink(missing_ok=True)
            raise


def _flush_directory(path: Path) -> None:
    if os.name == "nt":  # Windows has no handle for it, and flushes names with their files.
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
