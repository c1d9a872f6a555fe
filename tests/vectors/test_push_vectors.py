"""Every number of protocols §1.4, from the invitation to both proofs."""

from __future__ import annotations

import hashlib

import pytest

from otaria.wire.arduino_ota import (
    Accepted,
    AuthenticationFailed,
    Challenge,
    Command,
    Credentials,
    Invitation,
    Refusal,
    Reply,
    Scheme,
    encode_reply,
    md5_response,
    parse_credentials,
    parse_invitation,
    parse_reply,
    pbkdf2_response,
    stored_password,
)

FIRMWARE = bytes(range(256)) * 16 + b"tail"
FIRMWARE_MD5 = "fecba2a2abb627f34e0e8fa5b298f4f3"
MICROSECONDS = b"1234567"
CNONCE_TEXT = b"firmware.bin4100fecba2a2abb627f34e0e8fa5b298f4f3192.168.4.1"

MD5_NONCE = "fcea920f7412b5da7be0cf42b8c93759"
MD5_CNONCE = "70b473d3156fe9e56d4eceb893c8834f"
MD5_STORED = "202cb962ac59075b964b07152d234b70"
MD5_RESPONSE = "9eb01bc1bd76103e7ae602193a99ee69"

SHA_NONCE = "8bb0cf6eb9b17d0f7d22b456f121257dc1254e1f01665370476383ea776df414"
SHA_CNONCE = "8bb359ec66b36a44772bbc108b5eaed831c8e0afe534e705c765d20b7498c226"
SHA_STORED = "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3"
SHA_RESPONSE = "22a41cb4fc5a46f8641244fa4a1199388414bc5a0fa091196b85fe971a550a7d"


def test_the_common_input_is_the_one_of_the_sheet() -> None:
    assert len(FIRMWARE) == 4100
    assert hashlib.md5(FIRMWARE).hexdigest() == FIRMWARE_MD5  # noqa: S324 - the device's protocol
    assert hashlib.md5(MICROSECONDS).hexdigest() == MD5_NONCE  # noqa: S324 - the device's protocol
    assert hashlib.md5(CNONCE_TEXT).hexdigest() == MD5_CNONCE  # noqa: S324 - the device's protocol
    assert hashlib.sha256(MICROSECONDS).hexdigest() == SHA_NONCE
    assert hashlib.sha256(CNONCE_TEXT).hexdigest() == SHA_CNONCE


def test_the_invitation_is_46_bytes() -> None:
    datagram = b"0 48266 4100 fecba2a2abb627f34e0e8fa5b298f4f3\n"
    invitation = Invitation(Command.FLASH, 48266, 4100, FIRMWARE_MD5)
    assert len(datagram) == 46
    assert invitation.encode() == datagram
    assert parse_invitation(datagram) == invitation


@pytest.mark.parametrize(
    ("datagram", "length", "reply"),
    [
        (b"OK", 2, Accepted()),
        (b"AUTH " + MD5_NONCE.encode(), 37, Challenge(MD5_NONCE, Scheme.MD5)),
        (b"AUTH " + SHA_NONCE.encode(), 69, Challenge(SHA_NONCE, Scheme.PBKDF2_SHA256)),
        (b"Authentication Failed", 21, AuthenticationFailed()),
        (b"ERR: ERROR[4]: Not Enough Space\n", 32, Refusal("ERROR[4]: Not Enough Space")),
    ],
    ids=["ok", "auth-md5", "auth-sha256", "authentication-failed", "err"],
)
def test_each_reply_has_the_bytes_of_the_sheet(datagram: bytes, length: int, reply: Reply) -> None:
    assert len(datagram) == length
    assert encode_reply(reply) == datagram
    assert parse_reply(datagram) == reply


def test_the_md5_scheme_proves_the_password_in_70_bytes() -> None:
    assert stored_password("123") == MD5_STORED
    assert md5_response(MD5_STORED, MD5_NONCE, MD5_CNONCE) == MD5_RESPONSE
    credentials = Credentials(MD5_CNONCE, MD5_RESPONSE)
    datagram = b"200 70b473d3156fe9e56d4eceb893c8834f 9eb01bc1bd76103e7ae602193a99ee69\n"
    assert len(datagram) == 70
    assert credentials.encode() == datagram
    assert parse_credentials(datagram) == credentials


def test_the_pbkdf2_scheme_proves_the_password_in_134_bytes() -> None:
    assert hashlib.sha256(b"123").hexdigest() == SHA_STORED
    assert pbkdf2_response(SHA_STORED, SHA_NONCE, SHA_CNONCE) == SHA_RESPONSE
    datagram = Credentials(SHA_CNONCE, SHA_RESPONSE).encode()
    assert len(datagram) == 134
    assert datagram == f"200 {SHA_CNONCE} {SHA_RESPONSE}\n".encode("ascii")


def test_the_pbkdf2_scheme_also_proves_an_md5_password_hash() -> None:
    response = pbkdf2_response(stored_password("123"), SHA_NONCE, SHA_CNONCE)
    assert response == "c27dcfd6d7817f56d38f4549463bc832893acf6aa598b0b435b246f3024af552"


def test_the_pbkdf2_scheme_agrees_with_an_independent_project() -> None:
    stored = hashlib.sha256(b"a-real-password").hexdigest()
    assert stored == "980061b57e53c2de71a544b88d868652220a5f638b654459743bc497df202f9e"
    response = pbkdf2_response(stored, "ab" * 32, "cd" * 32)
    assert response == "4d63ba8b1efa8949a0c5caefe7e8bc77db582e5531bdf2667c663394b4551b93"
