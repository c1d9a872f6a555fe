"""The device's own way of reading datagrams, one quirk of protocols §1.3 at a time, and what a host accepts."""

from __future__ import annotations

import pytest

from otaria.errors import ProtocolViolation
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
    same_secret,
    stored_password,
)

DIGEST = "fecba2a2abb627f34e0e8fa5b298f4f3"
NONCE = "fcea920f7412b5da7be0cf42b8c93759"
TAIL = DIGEST.encode() + b"\n"


def test_an_invitation_is_read_as_it_was_meant() -> None:
    assert parse_invitation(b"0 48266 4100 " + TAIL) == Invitation(Command.FLASH, 48266, 4100, DIGEST)
    assert parse_invitation(b"100 48266 4100 " + TAIL) == Invitation(Command.FILESYSTEM, 48266, 4100, DIGEST)


def test_more_spaces_before_a_number_do_not_matter() -> None:
    assert parse_invitation(b"   0    48266   4100 " + TAIL) == Invitation(0, 48266, 4100, DIGEST)


def test_only_the_space_separates_numbers() -> None:
    assert parse_invitation(b"0\t48266 4100 " + TAIL) is None


def test_a_number_ends_where_its_digits_end() -> None:
    assert parse_invitation(b"0 48266 4100x" + TAIL) == Invitation(0, 48266, 4100, DIGEST)


def test_a_number_that_is_missing_reads_as_zero() -> None:
    assert parse_invitation(b" x" + TAIL) == Invitation(0, 0, 0, DIGEST)


def test_fifteen_digits_are_a_number() -> None:
    invitation = parse_invitation(b"0 1 000000000004100 " + TAIL)
    assert invitation is not None
    assert invitation.size == 4100


def test_sixteen_digits_read_as_zero_and_are_gone() -> None:
    assert parse_invitation(b"0 1 1000000000000000 " + TAIL) == Invitation(0, 1, 0, DIGEST)


def test_a_seventeenth_digit_is_taken_for_what_stands_before_the_digest() -> None:
    assert parse_invitation(b"0 1 10000000000000007" + TAIL) == Invitation(0, 1, 0, DIGEST)


def test_a_minus_sign_is_no_digit() -> None:
    assert parse_invitation(b"0 1 -5 " + TAIL) is None


def test_exactly_one_character_is_skipped_before_the_digest_whatever_it_is() -> None:
    assert parse_invitation(b"0 1 2Z" + TAIL) == Invitation(0, 1, 2, DIGEST)
    assert parse_invitation(b"0 1 2\n" + TAIL) == Invitation(0, 1, 2, DIGEST)
    assert parse_invitation(b"0 1 2\0" + TAIL) == Invitation(0, 1, 2, DIGEST)
    assert parse_invitation(b"0 1 2ZZ" + TAIL) is None


def test_a_digest_that_follows_without_a_gap_loses_its_first_character() -> None:
    assert parse_invitation(b"0 1 2" + b"a" * 32) is None
    assert parse_invitation(b"0 1 2" + b"a" * 33) == Invitation(0, 1, 2, "a" * 32)


@pytest.mark.parametrize("end", [b"\n", b"\0", b"", b"\n another line", b"\0 rubbish\n"])
def test_the_digest_ends_at_a_line_end_a_nul_or_the_datagrams_end(end: bytes) -> None:
    assert parse_invitation(b"0 1 2 " + DIGEST.encode() + end) == Invitation(0, 1, 2, DIGEST)


@pytest.mark.parametrize(("before", "after"), [(b" ", b""), (b"", b" "), (b"\t\r", b"\v\f \r")])
def test_white_space_around_the_digest_is_trimmed(before: bytes, after: bytes) -> None:
    datagram = b"0 1 2 " + before + DIGEST.encode() + after + b"\n"
    assert parse_invitation(datagram) == Invitation(0, 1, 2, DIGEST)


def test_only_c_white_space_is_trimmed() -> None:
    assert parse_invitation(b"0 1 2 " + DIGEST.encode() + b"\xa0\n") is None
    assert parse_invitation(b"0 1 2 " + DIGEST.encode() + b"\x1c\n") is None


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_digest_of_another_length_is_ignored_silently(length: int) -> None:
    assert parse_invitation(b"0 1 2 " + b"a" * length + b"\n") is None


def test_what_the_digest_is_made_of_is_not_checked() -> None:
    invitation = parse_invitation(b"0 1 2 " + b"\xff" * 32 + b"\n")
    assert invitation == Invitation(0, 1, 2, "\xff" * 32)
    assert invitation is not None
    assert invitation.encode() == b"0 1 2 " + b"\xff" * 32 + b"\n"


@pytest.mark.parametrize("command", [1, 99, 101, 102, 103, 200, 4294967296])
def test_any_other_command_is_ignored_silently(command: int) -> None:
    assert parse_invitation(f"{command} 1 2 ".encode() + TAIL) is None


@pytest.mark.parametrize("datagram", [b"", b"\n", b"\0", b"hello", b"\xff" * 1500, b"OK"])
def test_garbage_reads_as_command_zero_and_is_dropped_by_the_length_of_its_digest(datagram: bytes) -> None:
    assert parse_invitation(datagram) is None


def test_a_port_is_sixteen_bits() -> None:
    assert parse_invitation(b"0 65537 2 " + TAIL) == Invitation(0, 1, 2, DIGEST)


def test_credentials_are_read_as_they_were_meant() -> None:
    assert parse_credentials(f"200 {NONCE} {DIGEST}\n".encode()) == Credentials(NONCE, DIGEST)


@pytest.mark.parametrize("end", [b"\n", b"\0", b""])
def test_the_response_ends_like_a_digest(end: bytes) -> None:
    assert parse_credentials(f"200 {NONCE} {DIGEST}".encode() + end) == Credentials(NONCE, DIGEST)


@pytest.mark.parametrize(
    "datagram",
    [
        f"201 {NONCE} {DIGEST}\n",
        f"0 48266 4100 {DIGEST}\n",
        f"200 {NONCE[1:]} {DIGEST}\n",
        f"200 {NONCE} {DIGEST[1:]}\n",
        f"200 {NONCE} {DIGEST}0\n",
        f"200 {NONCE}\n",
        "200",
        "",
    ],
)
def test_an_answer_of_other_lengths_sends_the_device_back_to_idle(datagram: str) -> None:
    assert parse_credentials(datagram.encode()) is None


@pytest.mark.parametrize(
    "datagram",
    [f"200  {NONCE} {DIGEST}\n", f"200 {NONCE}  {DIGEST}\n", f"200 {NONCE} {DIGEST} \n", f"200 {NONCE} {DIGEST}\r\n"],
)
def test_nothing_is_trimmed_off_credentials(datagram: str) -> None:
    assert parse_credentials(datagram.encode()) is None


def test_an_answer_made_for_the_other_scheme_sends_the_device_back_to_idle() -> None:
    assert parse_credentials(Credentials("a" * 64, "b" * 64).encode()) is None


def test_a_device_digests_the_bytes_of_a_cnonce_as_they_came() -> None:
    credentials = parse_credentials(b"200 " + b"\xfe" * 32 + b" " + b"\xff" * 32 + b"\n")
    assert credentials is not None
    response = md5_response(stored_password("123"), NONCE, credentials.cnonce)
    assert len(response) == 32
    assert not same_secret(credentials.response, response)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\0", " "])
@pytest.mark.parametrize(
    "reply",
    [Accepted(), AuthenticationFailed(), Challenge(NONCE, Scheme.MD5), Challenge("0" * 64, Scheme.PBKDF2_SHA256)],
    ids=["accepted", "failed", "md5", "pbkdf2"],
)
def test_a_reply_is_read_with_and_without_a_line_end(reply: Reply, end: str) -> None:
    assert parse_reply(encode_reply(reply) + end.encode()) == reply


@pytest.mark.parametrize(
    ("datagram", "text"),
    [
        (b"ERR: ERROR[11]: Invalid bootstrapping state\n", "ERROR[11]: Invalid bootstrapping state"),
        (b"ERR:", ""),
        (b"ERR: \xff\n", "�"),
    ],
)
def test_a_refusal_carries_the_devices_words(datagram: bytes, text: str) -> None:
    assert parse_reply(datagram) == Refusal(text)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0",
        b"ok",
        b"OKAY",
        b"OK AUTH",
        b"AUTH",
        b"AUTH ",
        b"AUTH " + b"a" * 31,
        b"AUTH " + b"a" * 33,
        b"AUTH " + b"a" * 63,
        b"AUTH " + b"A" * 32,
        b"AUTH " + b"g" * 32,
        b"AUTH  " + b"a" * 32,
        b"authentication failed",
        b"HTTP/1.1 400 Bad Request",
    ],
)
def test_anything_else_is_no_reply_and_is_shown_in_the_error(datagram: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="no reply of ArduinoOTA") as caught:
        parse_reply(datagram)
    assert caught.value.received == datagram


def test_a_long_answer_is_cut_in_the_message_but_kept_in_the_error() -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_reply(b"x" * 1000)
    assert len(str(caught.value)) < 300
    assert len(caught.value.received) == 1000


def test_an_empty_password_is_still_one() -> None:
    assert stored_password("") == "d41d8cd98f00b204e9800998ecf8427e"


def test_a_password_is_digested_as_utf_8_without_a_mark() -> None:
    assert stored_password("Grüße") == "49c5f675b49037b6044b803ac9d1a6d7"


def test_a_proof_depends_on_each_of_its_three_parts() -> None:
    proofs = {md5_response(*parts) for parts in (("a", "b", "c"), ("x", "b", "c"), ("a", "x", "c"), ("a", "b", "x"))}
    assert len(proofs) == 4
    slow = {pbkdf2_response(*parts) for parts in (("a", "b", "c"), ("x", "b", "c"), ("a", "x", "c"), ("a", "b", "x"))}
    assert len(slow) == 4


def test_a_response_in_upper_case_is_another_one() -> None:
    assert same_secret("abc", "abc")
    assert not same_secret("abc", "ABC")
    assert not same_secret("ü", "u")
