from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.vectors.images import MINIMAL_IMAGE

from otaria.device.updater import SignatureVerifier
from otaria.errors import BadInput, WrongSignature
from otaria.wire.signed import (
    KEY_SIZES,
    PrivateKey,
    PublicKey,
    SignaturePadding,
    Verifier,
    append_signature,
    sign,
    split,
    verify,
)

PAYLOAD = b"some payload"
DIGEST = hashlib.sha256(PAYLOAD).digest()
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
WITHOUT_NULL = bytes.fromhex("302f300b06096086480165030402010420")
SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
NO_PASS_PHRASE = serialization.NoEncryption()


@pytest.fixture(scope="module")
def pair() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def key(pair: rsa.RSAPrivateKey) -> PrivateKey:
    return PrivateKey(pair)


def made(bits: int) -> PrivateKey:
    return PrivateKey(rsa.generate_private_key(65537, bits))


def raw_signature(pair: rsa.RSAPrivateKey, content: bytes, *, length: int = 256) -> bytes:
    """RSA over bytes that no library would sign, padded as told."""
    numbers = pair.private_numbers()
    return pow(int.from_bytes(content), numbers.d, numbers.public_numbers.n).to_bytes(length)


def padded(tail: bytes, *, length: int = 256) -> bytes:
    return b"\0\1" + b"\xff" * (length - 3 - len(tail)) + b"\0" + tail


def unlocked(signature: bytes, key: PrivateKey, pair: rsa.RSAPrivateKey) -> bytes:
    """What the public exponent makes of a signature."""
    numbers = pair.public_key().public_numbers()
    return pow(int.from_bytes(signature), numbers.e, numbers.n).to_bytes(key.public_key.length)


# the vector of protocols §8.1


def test_the_vector_has_its_digest_and_becomes_4404_bytes(key: PrivateKey) -> None:
    payload = MINIMAL_IMAGE
    assert hashlib.sha256(payload).hexdigest() == "f9dca5df6db316a659f2c5a52cc9227cf2a396a5f6506d6366904e3e74de9932"
    for padding in SignaturePadding:
        signed = sign(payload, key, padding)
        assert len(signed) == 4404
        assert signed[:4144] == payload
        assert signed[-4:] == bytes.fromhex("00010000")


@pytest.mark.parametrize(
    ("padding", "filling", "before_digest"),
    [(SignaturePadding.DIGEST_INFO, 202, DIGEST_INFO), (SignaturePadding.LEGACY, 221, b"")],
)
def test_the_public_exponent_yields_exactly_the_padding_of_the_specification(
    key: PrivateKey, pair: rsa.RSAPrivateKey, padding: SignaturePadding, filling: int, before_digest: bytes
) -> None:
    payload = MINIMAL_IMAGE
    file = split(sign(payload, key, padding))
    assert file is not None
    expected = b"\0\1" + b"\xff" * filling + b"\0" + before_digest + hashlib.sha256(payload).digest()
    assert unlocked(file.signature, key, pair) == expected


# the trailer


@pytest.mark.parametrize("bits", KEY_SIZES)
def test_a_file_is_split_into_what_it_was_put_together_from(bits: int) -> None:
    signature = bytes(range(256)) * (bits // 8 // 128)
    file = split(append_signature(PAYLOAD, signature[: bits // 8]))
    assert file is not None
    assert (file.payload, file.signature) == (PAYLOAD, signature[: bits // 8])


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\0\1\0\0", bytes(300), bytes(300) + b"\1\1\0\0", bytes(256) + b"\0\1\0\0", MINIMAL_IMAGE],
    ids=["empty", "a byte", "only a length", "zeros", "odd length", "no payload", "unsigned"],
)
def test_what_has_no_signature_is_not_split(content: bytes) -> None:
    assert split(content) is None


# verification


@pytest.mark.parametrize("padding", SignaturePadding)
@pytest.mark.parametrize("bits", [1024, 2048, 3072])
def test_a_signed_file_verifies_and_tells_its_padding(bits: int, padding: SignaturePadding) -> None:
    key = made(bits)
    assert verify(sign(PAYLOAD, key, padding), key.public_key) is padding


def test_a_file_without_signature_is_told_so(key: PrivateKey) -> None:
    with pytest.raises(WrongSignature, match="has no signature"):
        verify(PAYLOAD, key.public_key)


def test_another_keys_signature_is_told_from_a_changed_file(key: PrivateKey) -> None:
    other = made(2048)
    with pytest.raises(WrongSignature, match="not with this one"):
        verify(sign(PAYLOAD, other), key.public_key)
    changed = b"X" + sign(PAYLOAD, key)[1:]
    with pytest.raises(WrongSignature, match="changed after it was signed"):
        verify(changed, key.public_key)


def test_a_key_of_another_size_is_not_the_key(key: PrivateKey) -> None:
    shorter = made(1024)
    with pytest.raises(WrongSignature, match="RSA-1024"):
        verify(sign(PAYLOAD, shorter), key.public_key)


def test_the_null_parameter_may_be_absent(key: PrivateKey, pair: rsa.RSAPrivateKey) -> None:
    signature = raw_signature(pair, padded(WITHOUT_NULL + DIGEST))
    assert key.public_key.recover(signature) == (SignaturePadding.DIGEST_INFO, DIGEST)


@pytest.mark.parametrize(
    "content",
    [
        padded(DIGEST_INFO + DIGEST + b"\0"),
        padded(DIGEST + b"\0"),
        padded(b"\0" + DIGEST),
        padded(DIGEST[1:]),
        padded(b""),
        padded(SHA1_INFO + DIGEST[:20]),
        padded(DIGEST_INFO[:-1] + b"\x21" + DIGEST),
        b"\0\2" + padded(DIGEST)[2:],
        b"\0\1\xff\xff\xff\0" + DIGEST_INFO + DIGEST + bytes(256 - 6 - 19 - 32),
    ],
    ids=["tail", "tail of bare", "zero", "short", "nothing", "SHA-1", "length", "block type", "short filling"],
)
def test_a_padding_that_bearssl_refuses_is_refused(key: PrivateKey, pair: rsa.RSAPrivateKey, content: bytes) -> None:
    assert key.public_key.recover(raw_signature(pair, content)) is None


@pytest.mark.parametrize("change", [lambda good: good + b"\0", lambda good: good[1:], lambda _: b"\xff" * 256])
def test_a_signature_is_as_long_as_the_modulus_and_smaller(key: PrivateKey, change: Callable[[bytes], bytes]) -> None:
    good = key.sign(DIGEST, SignaturePadding.DIGEST_INFO)
    assert key.public_key.recover(good) is not None
    assert key.public_key.recover(change(good)) is None


# what a device is given


@pytest.mark.parametrize("accepted", SignaturePadding)
def test_a_device_accepts_its_own_padding_and_not_the_other(key: PrivateKey, accepted: SignaturePadding) -> None:
    verifier: SignatureVerifier = Verifier(key.public_key, accepted)
    assert verifier.length == 256
    for padding in SignaturePadding:
        assert verifier.verify(DIGEST, key.sign(DIGEST, padding)) is (padding is accepted)
    assert not verifier.verify(hashlib.sha256(b"other").digest(), key.sign(DIGEST, accepted))


# keys


def test_public_keys_are_read_in_every_usual_form(pair: rsa.RSAPrivateKey, key: PrivateKey) -> None:
    public = pair.public_key()
    for encoding in (PEM, DER):
        for form in (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1):
            read = PublicKey.parse(public.public_bytes(encoding, form))
            assert (read.bits, read.length) == (2048, 256)
            assert read.recover(key.sign(DIGEST, SignaturePadding.LEGACY)) == (SignaturePadding.LEGACY, DIGEST)


def test_private_keys_are_read_in_every_usual_form(pair: rsa.RSAPrivateKey, key: PrivateKey) -> None:
    for encoding in (PEM, DER):
        for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
            read = PrivateKey.parse(pair.private_bytes(encoding, form, NO_PASS_PHRASE))
            assert read.sign(DIGEST, SignaturePadding.LEGACY) == key.sign(DIGEST, SignaturePadding.LEGACY)


def test_a_pair_survives_being_written_and_read(key: PrivateKey) -> None:
    again = PrivateKey.parse(key.pem())
    assert PublicKey.parse(key.public_key.pem()).pem() == again.public_key.pem()


def test_the_wrong_half_of_the_pair_is_told_by_name(key: PrivateKey) -> None:
    with pytest.raises(BadInput, match="private key, and the public one is meant"):
        PublicKey.parse(key.pem())
    with pytest.raises(BadInput, match="public key, and it takes the private one"):
        PrivateKey.parse(key.public_key.pem())


def test_keys_that_no_device_takes_are_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    public = curve.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = curve.private_bytes(PEM, serialization.PrivateFormat.PKCS8, NO_PASS_PHRASE)
    with pytest.raises(BadInput, match="no RSA public key"):
        PublicKey.parse(public)
    with pytest.raises(BadInput, match="no RSA private key"):
        PrivateKey.parse(private)
    odd = made(1536)
    with pytest.raises(BadInput, match="has 1536 bits"):
        PrivateKey.parse(odd.pem())
    with pytest.raises(BadInput, match="has 1536 bits"):
        PublicKey.parse(odd.public_key.pem())


def test_a_key_with_a_pass_phrase_is_refused_with_a_remedy(pair: rsa.RSAPrivateKey) -> None:
    locked = pair.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pass phrase")
    )
    with pytest.raises(BadInput, match="openssl pkey"):
        PrivateKey.parse(locked)


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nno\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_refused(content: bytes) -> None:
    with pytest.raises(BadInput, match="no key in PEM or DER"):
        PublicKey.parse(content)
    with pytest.raises(BadInput, match=r"no key in PEM or DER|public key"):
        PrivateKey.parse(content)
