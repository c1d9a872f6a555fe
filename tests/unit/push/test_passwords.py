from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest

from otaria.errors import UnreadableFile
from otaria.push.passwords import password_from_file, password_from_keyring


@pytest.mark.parametrize("content", [b"secret", b"secret\n", b"secret\r\nmore\n", b"\xef\xbb\xbfsecret\n"])
def test_the_first_line_is_the_password_without_its_end_or_a_byte_order_mark(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    assert password_from_file(path) == "secret"


def test_spaces_belong_to_a_password(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(" se cret \n")
    assert password_from_file(path) == " se cret "


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "password"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff")
    with pytest.raises(UnreadableFile, match="Cannot read the password file"):
        password_from_file(path)


class Shelf(keyring.backend.KeyringBackend):
    priority = 1

    def __init__(self, kept: dict[tuple[str, str], str] | None) -> None:
        self.kept = kept

    def get_password(self, service: str, username: str) -> str | None:
        if self.kept is None:
            raise keyring.errors.NoKeyringError
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        assert self.kept is not None
        self.kept[service, username] = password


@pytest.fixture
def shelve() -> Iterator[Callable[[Shelf], None]]:
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


def test_the_keyring_is_asked_for_the_device_by_name(shelve: Callable[[Shelf], None]) -> None:
    shelve(Shelf({("otaria", "porch"): "secret"}))
    assert password_from_keyring("porch") == "secret"
    assert password_from_keyring("shed") is None


def test_a_machine_without_a_keyring_has_no_password_there(shelve: Callable[[Shelf], None]) -> None:
    shelve(Shelf(None))
    assert password_from_keyring("porch") is None
