"""Signed files: the trailer, its two paddings, and what a device's verifier makes of it (protocols §8.1).

::

    payload ‖ signature ‖ u32 length of the signature

The payload is a plain image or a gzip of one. The signature is RSA over its SHA-256: with the DigestInfo of
PKCS #1 v1.5 since core 2.6, which is what ``openssl dgst -sha256 -sign`` makes, and over the bare digest before.
A device accepts one of the two and never the other.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed

from otaria.errors import BadInput, WrongSignature

__all__ = [
    "KEY_SIZES",
    "PrivateKey",
    "PublicKey",
    "SignaturePadding",
    "SignedFile",
    "Verifier",
    "append_signature",
    "sign",
    "split",
    "verify",
]

KEY_SIZES: Final = (1024, 2048, 3072, 4096)
"""Bits. 4096 are the most that the device's BearSSL takes, and below 1024 no library of today lends a hand."""

_WORD: Final = struct.Struct("<I")
_SIGNATURE_LENGTHS: Final = frozenset(bits // 8 for bits in KEY_SIZES)
_PEM_START: Final = b"-----BEGIN "
_DIGEST_SIZE: Final = hashlib.sha256().digest_size

_DIGEST_INFOS: Final = (
    bytes.fromhex("3031300d060960864801650304020105000420"),
    bytes.fromhex("302f300b06096086480165030402010420"),
)
"""What stands before a SHA-256 digest. The second lacks the NULL parameter, which BearSSL lets pass."""


class SignaturePadding(StrEnum):
    """How the digest is padded inside an RSA signature (protocols §8.1)."""

    LEGACY = "legacy"
    """The bare digest."""
    DIGEST_INFO = "digest-info"
    """With the DigestInfo of PKCS #1 v1.5, as openssl signs."""


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A signed file, taken apart."""

    payload: bytes
    signature: bytes


class PublicKey:
    """An RSA public key, as ``installSignature`` is given one."""

    __slots__ = ("_key",)

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    @classmethod
    def parse(cls, content: bytes) -> PublicKey:
        """Read a key in PEM or DER, with or without the algorithm's name around it.

        Raises:
            BadInput: it is no RSA public key of a size that a device takes.
        """
        if _PEM_START in content and b"PRIVATE KEY-----" in content:
            raise BadInput("This is a private key, and the public one is meant. It is the file public.key beside it.")
        key = _load(content, serialization.load_pem_public_key, serialization.load_der_public_key)
        if not isinstance(key, RSAPublicKey):
            raise BadInput(
                "This is no RSA public key, and the stock tools of the ESP8266 core sign with RSA only. "
                "Make a pair with `otaria keys generate`."
            )
        _require_size(key.key_size)
        return cls(key)

    @property
    def bits(self) -> int:
        """The size of the modulus."""
        return self._key.key_size

    @property
    def length(self) -> int:
        """Bytes of a signature: those of the modulus."""
        return self._key.key_size // 8

    def recover(self, signature: bytes) -> tuple[SignaturePadding, bytes] | None:
        """The padding and the SHA-256 that were signed; None where the signature is not by this key.

        As strict and as lax as BearSSL's ``br_rsa_pkcs1_vrfy``: the signature is as long as the modulus, at least
        eight FF bytes stand before the digest, and the NULL parameter may be absent.
        """
        if len(signature) != self.length:
            return None
        try:
            content = self._key.recover_data_from_signature(signature, PKCS1v15(), NoDigestInfo())
        except InvalidSignature:
            return None
        beginning, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
        if len(digest) != _DIGEST_SIZE:
            return None
        if not beginning:
            return SignaturePadding.LEGACY, digest
        return (SignaturePadding.DIGEST_INFO, digest) if beginning in _DIGEST_INFOS else None

    def pem(self) -> bytes:
        """The key as a text file, as the core wants its ``public.key``."""
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class PrivateKey:
    """An RSA private key, with which images are signed."""

    __slots__ = ("_key",)

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key

    @classmethod
    def parse(cls, content: bytes) -> PrivateKey:
        """Read a key in PEM or DER, without a pass phrase.

        Raises:
            BadInput: it is no RSA private key of a size that a device takes, or it is encrypted.
        """
        if b"PUBLIC KEY-----" in content:
            raise BadInput("This is a public key, and it takes the private one to sign. It is the file private.key.")
        key = _load(
            content,
            lambda text: serialization.load_pem_private_key(text, password=None),
            lambda text: serialization.load_der_private_key(text, password=None),
        )
        if not isinstance(key, RSAPrivateKey):
            raise BadInput(
                "This is no RSA private key, and the devices' verifiers need RSA. "
                "Make a pair with `otaria keys generate`."
            )
        _require_size(key.key_size)
        return cls(key)

    @property
    def public_key(self) -> PublicKey:
        """The other half."""
        return PublicKey(self._key.public_key())

    def sign(self, digest: bytes, padding: SignaturePadding) -> bytes:
        """Sign a SHA-256. The same digest always gives the same signature."""
        algorithm = NoDigestInfo() if padding is SignaturePadding.LEGACY else Prehashed(hashes.SHA256())
        return self._key.sign(digest, PKCS1v15(), algorithm)

    def pem(self) -> bytes:
        """The key as a text file, not encrypted."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True, slots=True)
class Verifier:
    """A device's signature check; satisfies ``otaria.device.updater.SignatureVerifier``.

    Args:
        key: what the sketch was built with.
        padding: what its core accepts.
    """

    key: PublicKey
    padding: SignaturePadding

    @property
    def length(self) -> int:
        """Bytes of a signature."""
        return self.key.length

    def verify(self, digest: bytes, signature: bytes) -> bool:
        """Whether the signature is right for the payload's SHA-256."""
        return self.key.recover(signature) == (self.padding, digest)


def append_signature(payload: bytes, signature: bytes) -> bytes:
    """The file as it is sent."""
    return payload + signature + _WORD.pack(len(signature))


def split(content: bytes) -> SignedFile | None:
    """Take a signed file apart; None where its last word is no signature's length."""
    end = len(content) - _WORD.size
    length = int.from_bytes(content[max(0, end) :], "little")
    if length not in _SIGNATURE_LENGTHS or end <= length:
        return None
    return SignedFile(content[: end - length], content[end - length : end])


def sign(payload: bytes, key: PrivateKey, padding: SignaturePadding = SignaturePadding.DIGEST_INFO) -> bytes:
    """The payload with its signature, ready to be sent."""
    return append_signature(payload, key.sign(hashlib.sha256(payload).digest(), padding))


def verify(content: bytes, key: PublicKey) -> SignaturePadding:
    """Check a signed file; returns which devices accept it.

    Raises:
        WrongSignature: it is not signed, or not by this key, or was changed afterwards.
    """
    file = split(content)
    if file is None:
        raise WrongSignature("The file has no signature. Sign it with `otaria image sign`.")
    recovered = key.recover(file.signature)
    if recovered is None:
        raise WrongSignature(
            f"The file is signed with an RSA-{len(file.signature) * 8} key, and not with this one. Take the public "
            "key that belongs to the private key, or sign the image again."
        )
    padding, digest = recovered
    if digest != hashlib.sha256(file.payload).digest():
        raise WrongSignature(
            "The signature is by this key, but not for this content: the file was changed after it was signed. "
            "Build it and sign it again."
        )
    return padding


def _load(content: bytes, from_pem: Callable[[bytes], object], from_der: Callable[[bytes], object]) -> object:
    try:
        return (from_pem if _PEM_START in content else from_der)(content)
    except TypeError:
        raise BadInput(
            "The key is protected by a pass phrase, and is wanted without: `openssl pkey -in FILE -out private.key`."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadInput("This is no key in PEM or DER. `otaria keys generate` makes a pair.") from None


def _require_size(bits: int) -> None:
    if bits not in KEY_SIZES:
        sizes = ", ".join(map(str, KEY_SIZES))
        raise BadInput(
            f"The key has {bits} bits, and a device takes keys of {sizes}. `otaria keys generate` makes one."
        )
