"""The built images, as they are committed beside this module; each is checked against the digest list first.

``python -m otaria.sim.firmware.build`` makes files and list anew.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Final

from otaria.errors import NoSuchThing, UnreadableFile

__all__ = ["DIGESTS", "PREBUILT", "Prebuilt", "check", "load", "names", "prebuilt"]

PREBUILT: Final = "prebuilt"
DIGESTS: Final = "digests.toml"


@dataclass(frozen=True, slots=True)
class Prebuilt:
    """The digest list.

    Args:
        compiler: the compiler that built the images, as it names itself.
        sha256: digest of each image by its name.
    """

    compiler: str
    sha256: dict[str, str]


def names() -> tuple[str, ...]:
    """The images that there are."""
    return tuple(prebuilt().sha256)


def load(name: str) -> bytes:
    """One image, whole.

    Raises:
        NoSuchThing: there is no image of that name; the message lists those that there are.
        UnreadableFile: the file is not the one that the digest list tells of.
    """
    digest = prebuilt().sha256.get(name)
    if digest is None:
        raise NoSuchThing(f"There is no demo image {name!r}; there are {', '.join(names())}.")
    content = _read(f"{name}.bin")
    return check(name, content, digest)


def check(name: str, content: bytes, digest: str) -> bytes:
    """The content, once its SHA-256 is the expected one."""
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise UnreadableFile(
            f"The demo image {name!r} is damaged: its SHA-256 is {found} and should be {digest}. "
            "Install Otaria again, or build the images anew with 'python -m otaria.sim.firmware.build'."
        )
    return content


@functools.cache
def prebuilt() -> Prebuilt:
    """The digest list that was made with the images."""
    listed = tomllib.loads(_read(DIGESTS).decode("utf-8"))
    return Prebuilt(compiler=listed["compiler"], sha256=listed["sha256"])


def _read(file_name: str) -> bytes:
    file = resources.files(__package__) / PREBUILT / file_name
    try:
        return file.read_bytes()
    except OSError as trouble:
        raise UnreadableFile(
            f"{file_name} of the demo firmware cannot be read ({trouble}). Install Otaria again."
        ) from trouble
