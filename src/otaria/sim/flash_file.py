"""A virtual flash chip's twin on disk, written through with every erase and write."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from otaria.device.flash import BLANK_SECTOR, Flash
from otaria.errors import BadInput, UnreadableFile
from otaria.units import human_size
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["mirrored_flash"]


@contextlib.contextmanager
def mirrored_flash(path: Path, size: int, pool: MutableMapping[bytes, bytes] | None = None) -> Iterator[Flash]:
    """A chip with the content of the file; a file that is not there yet is made, erased all over.

    Every change reaches the file at once, so a virtual device that is killed comes back as a real one would after
    its power was cut.

    Args:
        path: the file; its folder must exist.
        size: bytes of the chip.
        pool: where chips that hold the same content share it in memory.

    Raises:
        UnreadableFile: the file cannot be read or written.
        BadInput: it is there and has another size.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UnreadableFile(f"Cannot open the flash file {path}: {error.strerror or error}.") from error
    try:
        yield _mirror(descriptor, path, Flash(size, pool=pool))
    finally:
        os.close(descriptor)


def _mirror(descriptor: int, path: Path, flash: Flash) -> Flash:
    size = flash.size
    present = os.fstat(descriptor).st_size
    if present == 0:
        for offset in range(0, size, SECTOR_SIZE):
            os.pwrite(descriptor, BLANK_SECTOR, offset)
    elif present != size:
        raise BadInput(
            f"The flash file {path} is {human_size(present)} and the layout's flash is {human_size(size)}. "
            "Choose the layout that it was made with, or another file."
        )
    else:
        flash.load(os.pread(descriptor, size, 0))

    def write_through(offset: int, content: bytes) -> None:
        os.pwrite(descriptor, content, offset)

    flash.on_change = write_through
    return flash
