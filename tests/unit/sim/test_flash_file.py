from __future__ import annotations

from pathlib import Path

import pytest

from otaria.errors import BadInput, UnreadableFile
from otaria.sim.flash_file import mirrored_flash

SIZE = 512 * 1024


def test_a_new_file_is_an_erased_chip(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    with mirrored_flash(path, SIZE) as flash:
        assert path.read_bytes() == b"\xff" * SIZE
        assert flash.dump() == b"\xff" * SIZE


def test_every_change_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    with mirrored_flash(path, SIZE) as flash:
        flash.write(8192, b"abcd")
        assert path.read_bytes()[8190:8198] == b"\xff\xffabcd\xff\xff"
        flash.erase(2)
        assert path.read_bytes() == flash.dump()


def test_a_chip_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    with mirrored_flash(path, SIZE) as flash:
        flash.write(0, b"kept")
    with mirrored_flash(path, SIZE) as flash:
        assert flash.read(0, 4) == b"kept"
        assert flash.operations == 0


def test_a_file_of_another_size_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    path.write_bytes(b"x" * 1000)
    with (
        pytest.raises(BadInput, match=r"flash\.bin is 1000 bytes and the layout's flash is 512 KiB"),
        mirrored_flash(path, SIZE),
    ):
        pass
    assert path.read_bytes() == b"x" * 1000


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"), mirrored_flash(tmp_path / "no" / "flash.bin", SIZE):
        pass
