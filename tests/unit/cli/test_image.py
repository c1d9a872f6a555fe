from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fleet_bench import FILE_SYSTEM
from tests.vectors.images import MINIMAL_IMAGE, esp32_image

from otaria.cli.keys import new_private_key, read_public_key
from otaria.cli.main import main
from otaria.wire.signed import SignaturePadding, split, verify


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Ran:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sketch's folder: a pair of keys, and what the build made."""
    key = new_private_key(2048)
    (tmp_path / "private.key").write_bytes(key.pem())
    (tmp_path / "public.key").write_bytes(key.public_key.pem())
    (tmp_path / "valve.bin").write_bytes(MINIMAL_IMAGE)
    return tmp_path


def padding_of(folder: Path, name: str) -> SignaturePadding:
    return verify((folder / name).read_bytes(), read_public_key(folder / "public.key"))


def payload_of(folder: Path, name: str) -> bytes:
    file = split((folder / name).read_bytes())
    assert file is not None
    return file.payload


# sign


def test_a_signed_image_is_the_image_with_its_signature_under_the_cores_own_name(folder: Path, run: Run) -> None:
    ran = run("image", "sign", folder / "valve.bin", "--key", folder / "private.key")
    assert ran.code == 0
    assert payload_of(folder, "valve.bin.signed") == MINIMAL_IMAGE
    assert padding_of(folder, "valve.bin.signed") is SignaturePadding.DIGEST_INFO
    assert "since 2.6.0" in ran.out
    assert "flash mode is QIO" in ran.err
    assert (folder / "valve.bin").read_bytes() == MINIMAL_IMAGE
    assert not list(folder.glob("*.part"))


def test_a_legacy_signature_has_a_name_of_its_own(folder: Path, run: Run) -> None:
    ran = run("image", "sign", folder / "valve.bin", "--key", folder / "private.key", "--legacy")
    assert "up to 2.5.2" in ran.out
    assert padding_of(folder, "valve.bin.legacy_sig") is SignaturePadding.LEGACY


def test_an_image_is_compressed_before_it_is_signed(folder: Path, run: Run) -> None:
    ran = run("image", "sign", folder / "valve.bin", "--key", folder / "private.key", "--gzip")
    assert gzip.decompress(payload_of(folder, "valve.bin.gz.signed")) == MINIMAL_IMAGE
    assert "destroys the bootloader" in ran.err


def test_a_compressed_image_is_signed_as_it_is(folder: Path, run: Run) -> None:
    packed = gzip.compress(MINIMAL_IMAGE)
    (folder / "valve.bin.gz").write_bytes(packed)
    ran = run("image", "sign", folder / "valve.bin.gz", "--key", folder / "private.key")
    assert payload_of(folder, "valve.bin.gz.signed") == packed
    assert "destroys the bootloader" in ran.err


def test_the_same_image_is_always_signed_the_same(folder: Path, run: Run) -> None:
    for name in ("one", "two"):
        output = folder / name
        run("image", "sign", folder / "valve.bin", "--key", folder / "private.key", "--gzip", "-o", output)
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()


def test_a_file_system_is_signed_when_it_is_called_one(folder: Path, run: Run) -> None:
    (folder / "files.bin").write_bytes(FILE_SYSTEM)
    ran = run("image", "sign", folder / "files.bin", "--key", folder / "private.key", "--filesystem")
    assert (ran.code, ran.err) == (0, "")
    assert payload_of(folder, "files.bin.signed") == FILE_SYSTEM


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (esp32_image(), [], "bin_signing.py"),
        (gzip.compress(MINIMAL_IMAGE), ["--gzip"], "compressed already"),
        (MINIMAL_IMAGE, ["--gzip", "--legacy"], "unpack"),
        (gzip.compress(MINIMAL_IMAGE), ["--legacy"], "unpack"),
        (FILE_SYSTEM, ["--gzip", "--filesystem"], "do not unpack"),
        (b"no image", [], "no image"),
        (b"", [], "empty"),
    ],
)
def test_what_no_device_would_install_is_not_signed(
    folder: Path, run: Run, content: bytes, options: list[str], message: str
) -> None:
    (folder / "it").write_bytes(content)
    before = set(folder.iterdir())
    ran = run("image", "sign", folder / "it", "--key", folder / "private.key", *options)
    assert ran.code == 2
    assert message in ran.err
    assert set(folder.iterdir()) == before


def test_a_signed_image_is_not_signed_again(folder: Path, run: Run) -> None:
    run("image", "sign", folder / "valve.bin", "--key", folder / "private.key")
    ran = run("image", "sign", folder / "valve.bin.signed", "--key", folder / "private.key")
    assert ran.code == 2
    assert "signed already" in ran.err


def test_the_image_itself_is_never_overwritten(folder: Path, run: Run) -> None:
    ran = run("image", "sign", folder / "valve.bin", "--key", folder / "private.key", "-o", folder / "valve.bin")
    assert ran.code == 2
    assert (folder / "valve.bin").read_bytes() == MINIMAL_IMAGE


def test_a_place_that_cannot_be_written_is_said_and_nothing_is_left(folder: Path, run: Run) -> None:
    before = set(folder.iterdir())
    target = folder / "nowhere" / "signed"
    ran = run("image", "sign", folder / "valve.bin", "--key", folder / "private.key", "-o", target)
    assert ran.code == 2
    assert "Cannot write" in ran.err
    (folder / "a folder").mkdir()
    assert (
        run("image", "sign", folder / "valve.bin", "--key", folder / "private.key", "-o", folder / "a folder").code == 2
    )
    assert set(folder.iterdir()) == before | {folder / "a folder"}


def test_a_public_key_cannot_sign(folder: Path, run: Run) -> None:
    ran = run("image", "sign", folder / "valve.bin", "--key", folder / "public.key")
    assert ran.code == 2
    assert "takes the private one" in ran.err


# verify


@pytest.fixture
def signed(folder: Path, run: Run) -> Path:
    run("image", "sign", folder / "valve.bin", "--key", folder / "private.key")
    return folder / "valve.bin.signed"


def test_a_good_signature_is_exit_0_and_says_who_accepts_it(folder: Path, run: Run, signed: Path) -> None:
    ran = run("image", "verify", signed, "--key", folder / "public.key")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "valve.bin.signed is signed with this key, RSA-2048. Accepted by cores since 2.6.0.\n"


def test_a_good_signature_is_told_as_json(folder: Path, run: Run, signed: Path) -> None:
    facts: dict[str, Any] = json.loads(run("image", "verify", signed, "--key", folder / "public.key", "--json").out)
    assert facts == {
        "key": "RSA-2048",
        "padding": "digest-info",
        "accepted_by": "cores since 2.6.0",
        "payload_size": 4144,
        "payload_sha256": "f9dca5df6db316a659f2c5a52cc9227cf2a396a5f6506d6366904e3e74de9932",
    }


def test_a_bad_signature_is_exit_4(folder: Path, run: Run, signed: Path) -> None:
    changed = bytearray(signed.read_bytes())
    changed[100] ^= 1
    signed.write_bytes(changed)
    ran = run("image", "verify", signed, "--key", folder / "public.key")
    assert (ran.code, ran.out) == (4, "")
    assert "changed after it was signed" in ran.err
    assert run("image", "verify", folder / "valve.bin", "--key", folder / "public.key").code == 4


def test_what_is_signed_is_inspected_as_signed(run: Run, signed: Path) -> None:
    assert json.loads(run("image", "inspect", signed, "--json").out)["signed"] is True
