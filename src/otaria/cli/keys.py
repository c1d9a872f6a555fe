"""``otaria keys``: the pair of keys with which images are signed and checked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric import rsa
from cyclopts import App

from otaria.cli.files import read_file
from otaria.cli.rendering import print_remark, print_sentence
from otaria.errors import AlreadyThere, BadInput, UnreadableFile
from otaria.wire.signed import PrivateKey, PublicKey

__all__ = ["app", "new_private_key", "read_private_key", "read_public_key"]

app = App(name="keys", help="Keys: with them images are signed, and devices check what they install.")

PRIVATE: Final = "private.key"
PUBLIC: Final = "public.key"
"""The names that the core's build looks for in the sketch's folder."""

PUBLIC_EXPONENT: Final = 65537
"""What everybody takes: devices verify fast with it, and no attack on it is known."""

_ONLY_ITS_OWNER: Final = 0o600
_EVERYBODY_READS: Final = 0o644


@app.command
def generate(*, out: Path, bits: Literal[2048, 3072, 4096] = 2048) -> None:
    """Make a pair of keys in a folder, under the names that the ESP8266 core looks for in a sketch's folder.

    A sketch built there demands images signed with private.key from its next update on. Who has that file can install
    what he likes on every device with the sketch; who loses it can update none of them over the air any more.

    Args:
        out: The folder, made if it is not there. Keys that are in it stay as they are.
        bits: The keys' size. Devices take longer to verify with larger ones.
    """
    private, public = out / PRIVATE, out / PUBLIC
    _require_absent(private, public)
    key = new_private_key(bits)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_new(private, key.pem(), _ONLY_ITS_OWNER)
        with _or_else(private.unlink):
            _write_new(public, key.public_key.pem(), _EVERYBODY_READS)
    except FileExistsError as error:
        raise _is_there(Path(error.filename)) from None
    except OSError as error:
        raise UnreadableFile(f"Cannot write keys into {out}: {error.strerror or error}.") from error
    print_sentence(f"Made {private} and {public}, RSA-{bits}.")
    print_remark(
        f"Keep {PRIVATE} out of version control and have a copy in a safe place: without it no device that was built "
        "with this pair can be updated over the air."
    )


def new_private_key(bits: int) -> PrivateKey:
    """A key that nobody has had before."""
    return PrivateKey(rsa.generate_private_key(PUBLIC_EXPONENT, bits))


def read_private_key(path: Path) -> PrivateKey:
    """The key in a file.

    Raises:
        UnreadableFile: it cannot be read.
        BadInput: it is no key to sign with.
    """
    try:
        return PrivateKey.parse(read_file(path))
    except BadInput as error:
        raise _about(path, error) from error


def read_public_key(path: Path) -> PublicKey:
    """The key in a file.

    Raises:
        UnreadableFile: it cannot be read.
        BadInput: it is no key to verify with.
    """
    try:
        return PublicKey.parse(read_file(path))
    except BadInput as error:
        raise _about(path, error) from error


def _about(path: Path, error: BadInput) -> BadInput:
    """The error with the file's name, unless it says it already."""
    return error if isinstance(error, UnreadableFile) else BadInput(f"{path}: {error}")


def _require_absent(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise _is_there(path)


def _is_there(path: Path) -> AlreadyThere:
    return AlreadyThere(
        f"{path} is there already, and devices may demand signatures of it; nothing was changed. Choose another folder."
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must not exist yet; nobody else can read it even while it is written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with _or_else(path.unlink), os.fdopen(descriptor, "wb") as file:
        file.write(content)


@contextlib.contextmanager
def _or_else(undo: Callable[[], None]) -> Iterator[None]:
    """Undo what came before where the block fails."""
    try:
        yield
    except OSError:
        undo()
        raise
