from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from otaria.cli.keys import read_private_key, read_public_key
from otaria.cli.main import main
from otaria.errors import BadInput, UnreadableFile
from otaria.wire.signed import sign, verify

ON_WINDOWS = sys.platform == "win32"


def test_a_pair_is_made_under_the_names_that_the_core_looks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sketch" / "valve"
    assert main(["keys", "generate", "--out", str(folder)]) == 0
    private, public = read_private_key(folder / "private.key"), read_public_key(folder / "public.key")
    assert private.public_key.pem() == public.pem()
    assert public.bits == 2048
    shown = capsys.readouterr()
    assert "RSA-2048" in shown.out
    assert "private.key" in shown.out
    assert "version control" in shown.err


@pytest.mark.skipif(ON_WINDOWS, reason="Windows has other permissions")
def test_only_its_owner_can_read_the_private_key(tmp_path: Path) -> None:
    assert main(["keys", "generate", "--out", str(tmp_path)]) == 0
    assert stat.S_IMODE((tmp_path / "private.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "public.key").stat().st_mode) & 0o044


def test_a_key_may_be_larger(tmp_path: Path) -> None:
    assert main(["keys", "generate", "--bits", "3072", "--out", str(tmp_path)]) == 0
    assert read_public_key(tmp_path / "public.key").bits == 3072


@pytest.mark.parametrize("bits", ["1024", "2047", "many"])
def test_sizes_that_are_weak_or_odd_are_refused(tmp_path: Path, bits: str) -> None:
    assert main(["keys", "generate", "--bits", bits, "--out", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["private.key", "public.key"])
def test_a_key_that_is_there_is_never_overwritten(
    tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / there).write_text("precious")
    assert main(["keys", "generate", "--out", str(tmp_path)]) == 2
    assert "nothing was changed" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


@pytest.mark.skipif(ON_WINDOWS, reason="Windows lets few people make links")
def test_half_a_pair_is_never_left_behind(tmp_path: Path) -> None:
    (tmp_path / "public.key").symlink_to(tmp_path / "nowhere" / "public.key")  # is not there, and cannot be made
    assert main(["keys", "generate", "--out", str(tmp_path)]) == 2
    assert not (tmp_path / "private.key").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["keys", "generate", "--out", str(tmp_path / "file" / "folder")]) == 2
    assert "Cannot write keys into" in capsys.readouterr().err


def test_two_pairs_are_never_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert main(["keys", "generate", "--out", str(tmp_path / name)]) == 0
    signed = sign(b"payload", read_private_key(tmp_path / "one" / "private.key"))
    assert verify(signed, read_public_key(tmp_path / "one" / "public.key"))
    assert (
        read_public_key(tmp_path / "one" / "public.key").pem() != read_public_key(tmp_path / "two" / "public.key").pem()
    )


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    with pytest.raises(UnreadableFile, match=r"letter\.txt"):
        read_public_key(path)
    path.write_text("Dear all")
    with pytest.raises(BadInput, match=r"letter\.txt: This is no key"):
        read_public_key(path)
    with pytest.raises(BadInput, match=r"letter\.txt: This is no key"):
        read_private_key(path)
