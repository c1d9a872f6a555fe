"""openssl is how the ESP8266 core's own tool signs: what one of us signs, the other accepts (protocols §8.1)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.device_bench import app_installed, build_sketch, running, stage

from otaria.cli.keys import new_private_key
from otaria.cli.main import main
from otaria.device.core_version import Core
from otaria.device.machine import Machine
from otaria.device.update_error import UpdateError
from otaria.wire.signed import PrivateKey, PublicKey, SignaturePadding, Verifier, append_signature, split, verify

OPENSSL = shutil.which("openssl") or ""

pytestmark = pytest.mark.skipif(not OPENSSL, reason="openssl is not installed")

OLD = build_sketch("old", 6)
NEW = build_sketch("new", 7)


def openssl(*arguments: str | Path) -> bytes:
    done = subprocess.run([OPENSSL, *map(str, arguments)], check=True, capture_output=True)  # noqa: S603 - a fixed program
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair of keys made as the core's documentation says, and the image."""
    folder = tmp_path_factory.mktemp("sketch")
    openssl("genrsa", "-out", folder / "private.key", "2048")
    openssl("rsa", "-in", folder / "private.key", "-outform", "PEM", "-pubout", "-out", folder / "public.key")
    (folder / "new.bin").write_bytes(NEW)
    return folder


def private_key(folder: Path) -> PrivateKey:
    return PrivateKey.parse((folder / "private.key").read_bytes())


def public_key(folder: Path) -> PublicKey:
    return PublicKey.parse((folder / "public.key").read_bytes())


def signed_by_openssl(folder: Path) -> bytes:
    signature = openssl("dgst", "-sha256", "-sign", folder / "private.key", folder / "new.bin")
    return append_signature(NEW, signature)


def signed_by_openssl_for_old_cores(folder: Path) -> bytes:
    digest = folder / "digest"
    digest.write_bytes(hashlib.sha256(NEW).digest())
    padding = ("-pkeyopt", "rsa_padding_mode:pkcs1")
    signature = openssl("pkeyutl", "-sign", "-inkey", folder / "private.key", "-in", digest, *padding)
    return append_signature(NEW, signature)


def demanding(folder: Path, core: Core) -> Machine:
    """A device whose sketch was built with the public key."""
    machine = running(OLD, core=core)
    machine.updater.install_signature(Verifier(public_key(folder), core.behaviour.signature_padding))
    return machine


def test_a_signature_by_openssl_is_verified(folder: Path) -> None:
    assert verify(signed_by_openssl(folder), public_key(folder)) is SignaturePadding.DIGEST_INFO
    assert verify(signed_by_openssl_for_old_cores(folder), public_key(folder)) is SignaturePadding.LEGACY


def test_we_sign_as_openssl_does_to_the_last_byte(folder: Path, tmp_path: Path) -> None:
    ours = tmp_path / "signed"
    for legacy, theirs in (([], signed_by_openssl(folder)), (["--legacy"], signed_by_openssl_for_old_cores(folder))):
        command = ["image", "sign", folder / "new.bin", "--key", folder / "private.key", "-o", ours, *legacy]
        assert main(list(map(str, command))) == 0
        assert ours.read_bytes() == theirs


@pytest.mark.parametrize("core", [Core.V2_7, Core.V3_1, Core.MASTER])
def test_a_virtual_device_installs_what_openssl_has_signed(folder: Path, core: Core) -> None:
    machine = demanding(folder, core)
    assert stage(machine, signed_by_openssl(folder))
    assert machine.reset().running
    assert app_installed(machine, NEW)


def test_a_virtual_device_of_an_old_core_installs_what_openssl_has_signed_without_digest_info(folder: Path) -> None:
    machine = demanding(folder, Core.V2_5)
    assert stage(machine, signed_by_openssl_for_old_cores(folder))
    assert machine.reset().running
    assert app_installed(machine, NEW)


def test_a_virtual_device_refuses_the_other_generations_signature(folder: Path) -> None:
    for core, content in (
        (Core.V2_5, signed_by_openssl(folder)),
        (Core.V3_1, signed_by_openssl_for_old_cores(folder)),
    ):
        machine = demanding(folder, core)
        assert not stage(machine, content)
        assert machine.updater.error == UpdateError.SIGN
        assert app_installed(machine, OLD)


def test_openssl_verifies_what_we_sign_with_keys_of_ours(tmp_path: Path) -> None:
    image, signature = tmp_path / "new.bin", tmp_path / "signature"
    image.write_bytes(NEW)
    assert main(["keys", "generate", "--out", str(tmp_path)]) == 0
    assert main(["image", "sign", str(image), "--key", str(tmp_path / "private.key")]) == 0
    file = split((tmp_path / "new.bin.signed").read_bytes())
    assert file is not None
    signature.write_bytes(file.signature)
    verified = openssl("dgst", "-sha256", "-verify", tmp_path / "public.key", "-signature", signature, image)
    assert verified == b"Verified OK\n"


def test_openssl_finds_our_keys_consistent(tmp_path: Path) -> None:
    path = tmp_path / "private.key"
    path.write_bytes(new_private_key(3072).pem())
    assert b"Key is valid" in openssl("pkey", "-in", path, "-check", "-noout")
    assert openssl("pkey", "-in", path, "-pubout") == PrivateKey.parse(path.read_bytes()).public_key.pem()
