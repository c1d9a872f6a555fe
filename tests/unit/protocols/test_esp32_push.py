from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import pytest
from tests.esp32_bench import FACTORY_ONLY, SLOT, build_app, label_of, running_esp32

from otaria.device.esp32_machine import Esp32Machine
from otaria.device.esp32_updater import UNKNOWN_SIZE
from otaria.protocols.arduino_push import Invited, OtaError
from otaria.protocols.esp32_push import (
    CLOSE_DELAY_S,
    Invitations,
    Protection,
    begin_update,
    receive_image,
)
from otaria.protocols.exchange import (
    Address,
    Connected,
    Datagram,
    DatagramExchange,
    Progress,
    Receive,
    Report,
    Send,
    StreamExchange,
)
from otaria.wire.arduino_ota import (
    Command,
    Credentials,
    Invitation,
    Scheme,
    md5_response,
    pbkdf2_response,
    stored_password,
)

HOST: Address = ("10.0.0.2", 50000)
OTHER_SOCKET: Address = ("10.0.0.2", 50001)
STRANGER: Address = ("10.0.0.66", 6666)

DIGEST = "fecba2a2abb627f34e0e8fa5b298f4f3"
GOOD = f"0 48266 4100 {DIGEST}\n".encode()
OFFERED = Invitation(Command.FLASH, 48266, 4100, DIGEST)
MD5_NONCE = "fcea920f7412b5da7be0cf42b8c93759"
SHA_NONCE = "8bb0cf6eb9b17d0f7d22b456f121257dc1254e1f01665370476383ea776df414"
SHORT, LONG = "70b473d3156fe9e56d4eceb893c8834f", "8bb359ec66b36a44772bbc108b5eaed831c8e0afe534e705c765d20b7498c226"

BY_MD5 = Protection.by_password("123", Scheme.MD5)
BY_PBKDF2 = Protection.by_password("123", Scheme.PBKDF2_SHA256)

OLD = build_app("old")
NEW = build_app("new", 3)


def device(protection: Protection | None = None, commands: Sequence[int] = (0, 100)) -> Invitations:
    return Invitations(protection, lambda: 1234567, commands)


def handle(invitations: Invitations, *arrived: Datagram | Connected | None) -> tuple[Invited | None, list[object]]:
    """Call ``handle()`` once for each arrival; the last result, and everything that was done."""
    done: list[object] = []
    invited = None
    for arrival in arrived:
        exchange: DatagramExchange[Invited | None] = invitations.handle()
        assert next(exchange) == Receive(0.0)
        try:
            effect = exchange.send(arrival)
            while True:
                done.append(effect)
                effect = exchange.send(None)
        except StopIteration as finished:
            invited = finished.value
    return invited, done


def from_host(*contents: bytes, source: Address = HOST) -> Iterator[Datagram]:
    return (Datagram(content, source) for content in contents)


# ------------------------------------------------------------------------------- invitations


def test_each_handle_reads_one_datagram_at_most_and_waits_for_none() -> None:
    exchange = device().handle()
    assert next(exchange) == Receive(0.0)
    with pytest.raises(StopIteration) as finished:
        exchange.send(None)
    assert finished.value.value is None


def test_an_unprotected_device_says_ok_at_once_before_it_begins() -> None:
    assert handle(device(), *from_host(GOOD)) == (Invited(OFFERED, HOST), [Send(b"OK", HOST)])


def test_what_is_no_invitation_gets_no_reply() -> None:
    nonsense = [b"", b"hello", b"7 1 2 3", b"0 1 2 tooshort\n", b"\0" * 50, b"200 " + b"0" * 32 + b" " + b"0" * 32]
    assert handle(device(), *from_host(*nonsense)) == (None, [])
    assert handle(device(), Connected(HOST)) == (None, [])


@pytest.mark.parametrize(("command", "taken"), [(0, True), (100, True), (101, False), (200, False), (1, False)])
def test_only_its_own_commands_are_taken(command: int, taken: bool) -> None:
    invited, _ = handle(device(), *from_host(f"{command} 1 2 {DIGEST}\n".encode()))
    assert (invited is not None) is taken


def test_a_newer_core_takes_the_newer_commands() -> None:
    invited, _ = handle(device(commands=[0, 100, 101]), *from_host(f"101 1 2 {DIGEST}\n".encode()))
    assert invited is not None
    assert invited.invitation.command == 101


@pytest.mark.parametrize(
    ("digits", "size"), [("1" * 14, 0x7FFFFFFF), ("0" * 10 + "4100", 4100), ("0" * 11 + "4100", 0)]
)
def test_a_number_of_fifteen_digits_is_nothing(digits: str, size: int) -> None:
    invited, _ = handle(device(), *from_host(f"0 1 {digits} {DIGEST}\n".encode()))
    read = invited.invitation.size if invited is not None else 0
    assert read == size


def test_nobody_can_offer_an_image_of_unknown_size() -> None:
    invited, _ = handle(device(), *from_host(f"0 1 {UNKNOWN_SIZE} {DIGEST}\n".encode()))
    assert invited is not None
    assert invited.invitation.size != UNKNOWN_SIZE


# ------------------------------------------------------------------------------ the password


def test_the_challenge_is_the_digest_of_the_microseconds_by_either_scheme() -> None:
    assert handle(device(BY_MD5), *from_host(GOOD)) == (None, [Send(f"AUTH {MD5_NONCE}".encode(), HOST)])
    assert handle(device(BY_PBKDF2), *from_host(GOOD)) == (None, [Send(f"AUTH {SHA_NONCE}".encode(), HOST)])


def test_the_md5_proof_of_the_sheet_is_accepted() -> None:
    proof = f"200 {SHORT} 9eb01bc1bd76103e7ae602193a99ee69\n".encode()
    invited, done = handle(device(BY_MD5), *from_host(GOOD, proof))
    assert invited == Invited(OFFERED, HOST)
    assert done[-1] == Send(b"OK", HOST)


@pytest.mark.parametrize(
    ("protection", "response"),
    [
        (BY_PBKDF2, "22a41cb4fc5a46f8641244fa4a1199388414bc5a0fa091196b85fe971a550a7d"),
        (
            Protection(stored_password("123"), Scheme.PBKDF2_SHA256),
            "c27dcfd6d7817f56d38f4549463bc832893acf6aa598b0b435b246f3024af552",
        ),
    ],
    ids=["password", "md5 hash"],
)
def test_the_pbkdf2_proofs_of_the_sheet_are_accepted(protection: Protection, response: str) -> None:
    invited, done = handle(device(protection), *from_host(GOOD, f"200 {LONG} {response}\n".encode()))
    assert invited == Invited(OFFERED, HOST)
    assert done[-1] == Send(b"OK", HOST)


@pytest.mark.parametrize("protection", [BY_MD5, BY_PBKDF2])
def test_a_wrong_proof_is_answered_reported_and_needs_a_new_challenge(protection: Protection) -> None:
    digits = 32 if protection.scheme is Scheme.MD5 else 64
    wrong = b"200 " + b"0" * digits + b" " + b"0" * digits + b"\n"
    invited, done = handle(device(protection), *from_host(GOOD, wrong, wrong, GOOD))
    assert invited is None
    assert done[1:3] == [Send(b"Authentication Failed", HOST), Report(OtaError.AUTH)]
    assert isinstance(done[3], Send)
    assert done[3].content.startswith(b"AUTH ")
    assert len(done) == 4


def test_an_upper_case_proof_is_wrong() -> None:
    proof = f"200 {SHORT} 9EB01BC1BD76103E7AE602193A99EE69\n".encode()
    assert handle(device(BY_MD5), *from_host(GOOD, proof))[1][-1] == Report(OtaError.AUTH)


def test_an_old_host_that_answers_a_long_nonce_by_the_old_scheme_gets_no_reply() -> None:
    response = md5_response(stored_password("123"), SHA_NONCE, SHORT)
    invited, done = handle(device(BY_PBKDF2), *from_host(GOOD, Credentials(SHORT, response).encode()))
    assert (invited, len(done)) == (None, 1)


def test_an_invitation_that_arrives_while_credentials_are_awaited_is_swallowed_and_the_third_is_answered() -> None:
    _, done = handle(device(BY_MD5), *from_host(GOOD, GOOD, GOOD))
    assert len(done) == 2


def test_while_credentials_are_awaited_time_does_not_pass() -> None:
    proof = f"200 {SHORT} 9eb01bc1bd76103e7ae602193a99ee69\n".encode()
    invitations = device(BY_MD5)
    handle(invitations, *from_host(GOOD), *[None] * 1000)
    assert handle(invitations, *from_host(proof))[0] is not None


def test_replies_go_to_where_each_datagram_came_from_and_the_device_dials_the_last_one() -> None:
    proof = f"200 {SHORT} 9eb01bc1bd76103e7ae602193a99ee69\n".encode()
    invited, done = handle(device(BY_MD5), *from_host(GOOD), *from_host(proof, source=OTHER_SOCKET))
    assert [effect.to for effect in done if isinstance(effect, Send)] == [HOST, OTHER_SOCKET]
    assert invited == Invited(OFFERED, OTHER_SOCKET)


def test_credentials_of_a_stranger_who_knows_the_password_lead_the_device_to_the_stranger() -> None:
    proof = f"200 {SHORT} 9eb01bc1bd76103e7ae602193a99ee69\n".encode()
    invited, _ = handle(device(BY_MD5), *from_host(GOOD), *from_host(proof, source=STRANGER))
    assert invited is not None
    assert (invited.host, invited.invitation.port) == (STRANGER, 48266)


# -------------------------------------------------------------------- how the password is set


def test_the_older_cores_keep_the_md5_of_a_password_the_newer_ones_the_sha256() -> None:
    assert BY_MD5.stored == "202cb962ac59075b964b07152d234b70"
    assert BY_PBKDF2.stored == "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3"


def test_an_empty_password_is_demanded_and_an_empty_hash_is_none() -> None:
    assert Protection.by_password("", Scheme.MD5).stored == hashlib.md5(b"").hexdigest()  # noqa: S324 - the protocol
    assert Protection.by_hash("", Scheme.MD5) is None
    assert Protection.by_hash("", Scheme.PBKDF2_SHA256) is None


@pytest.mark.parametrize("digest", ["0" * 32, "a" * 64])
def test_the_newer_cores_take_a_hash_of_either_length_as_it_stands(digest: str) -> None:
    assert Protection.by_hash(digest, Scheme.PBKDF2_SHA256) == Protection(digest, Scheme.PBKDF2_SHA256)


@pytest.mark.parametrize("digest", ["0" * 31, "0" * 33, "0" * 63, "g" * 32, "password"])
def test_the_newer_cores_ignore_what_is_no_hash(digest: str) -> None:
    assert Protection.by_hash(digest, Scheme.PBKDF2_SHA256) is None
    assert Protection.by_hash(digest, Scheme.MD5) == Protection(digest, Scheme.MD5)


def test_a_device_set_up_with_a_sha256_hash_knows_the_same_password() -> None:
    protection = Protection.by_hash(BY_PBKDF2.stored, Scheme.PBKDF2_SHA256)
    assert protection is not None
    response = pbkdf2_response(protection.stored, SHA_NONCE, LONG)
    assert handle(device(protection), *from_host(GOOD, Credentials(LONG, response).encode()))[0] is not None


# ------------------------------------------------------------------------------- the beginning


def effects_of(exchange: DatagramExchange[bool]) -> tuple[bool, list[object]]:
    done: list[object] = []
    try:
        effect = next(exchange)
        while True:
            done.append(effect)
            effect = exchange.send(None)
    except StopIteration as finished:
        return finished.value, done


def invitation_of(image: bytes, md5: str | None = None) -> Invited:
    digest = hashlib.md5(image).hexdigest()  # noqa: S324 - the device's protocol
    return Invited(Invitation(Command.FLASH, 1, len(image), md5 or digest), HOST)


def test_a_begin_that_works_says_nothing_and_sets_the_md5() -> None:
    machine = running_esp32(OLD)
    assert effects_of(begin_update(invitation_of(NEW, "0" * 32), machine.updater)) == (True, [])
    machine.updater.write(NEW)
    assert not machine.updater.end()
    assert machine.updater.error == 7


@pytest.mark.parametrize("size", [0, SLOT + 1])
def test_a_begin_that_fails_is_reported_and_the_host_hears_nothing(size: int) -> None:
    machine = running_esp32(OLD)
    invited = Invited(Invitation(Command.FLASH, 1, size, "0" * 32), HOST)
    assert effects_of(begin_update(invited, machine.updater)) == (False, [Report(OtaError.BEGIN)])
    assert machine.updater.error == 5


def test_a_device_without_a_second_slot_is_silent_too() -> None:
    machine = running_esp32(OLD, table=FACTORY_ONLY)
    assert effects_of(begin_update(invitation_of(NEW), machine.updater)) == (False, [Report(OtaError.BEGIN)])


# ------------------------------------------------------------------------------------ the stream


def begun(image: bytes = NEW) -> Esp32Machine:
    machine = running_esp32(OLD)
    assert effects_of(begin_update(invitation_of(image), machine.updater))[0]
    return machine


def take(
    machine: Esp32Machine, pieces: Sequence[bytes | None], size: int = len(NEW), **options: float
) -> tuple[bool, bytes, list[object]]:
    """Feed pieces to a device that has begun; its result, what it sent and what it reported."""
    exchange: StreamExchange[bool] = receive_image(size, machine.updater, **options)
    sent, reported = b"", []
    waiting = iter(pieces)
    try:
        effect = next(exchange)
        while True:
            if isinstance(effect, Send):
                sent += effect.content
            if isinstance(effect, Report):
                reported.append(effect.event)
            effect = exchange.send(next(waiting, b"") if isinstance(effect, Receive) else None)
    except StopIteration as finished:
        return finished.value, sent, reported


def test_ok_is_glued_to_the_last_count() -> None:
    result, sent, _ = take(begun(), [NEW[:1460], NEW[1460:2000], NEW[2000:3000], NEW[3000:]])
    rest = len(NEW) - 3000
    passes = "".join(["1460"] * (rest // 1460) + [str(rest % 1460)])
    assert (result, sent) == (True, f"14605401000{passes}OK".encode())


def test_a_pass_reads_1460_bytes_at_most() -> None:
    machine = begun()
    _, sent, reported = take(machine, [NEW])
    full, rest = divmod(len(NEW), 1460)
    assert sent == b"1460" * full + str(rest).encode() + b"OK"
    assert [event.done for event in reported if isinstance(event, Progress)] == [
        *range(1460, len(NEW), 1460),
        len(NEW),
    ]


@pytest.mark.parametrize("size", [1, 2, 7, 1459, 1460, 1461, 4096, 100_000])
def test_an_image_may_come_in_pieces_of_any_size(size: int) -> None:
    machine = begun()
    result, _, _ = take(machine, [NEW[at : at + size] for at in range(0, len(NEW), size)])
    assert result
    machine.reset()
    assert label_of(machine) == "new"


def test_a_host_that_falls_silent_hears_the_last_count_three_times_more_and_is_then_left() -> None:
    machine = begun()
    result, sent, reported = take(machine, [NEW[:1000], None, None, None, None])
    assert (result, sent) == (False, b"1000" * 4)
    assert reported == [Progress(1000, len(NEW)), OtaError.RECEIVE]
    assert (machine.updater.error, machine.updater.error_text()) == (12, "Aborted")
    machine.reset()
    assert label_of(machine) == "old"


def test_a_host_that_wakes_up_again_has_three_reminders_anew() -> None:
    silence = [None] * 3
    result, sent, _ = take(begun(), [NEW[:1000], *silence, NEW[1000:2000], *silence, NEW[2000:]])
    assert result
    assert sent.startswith(b"1000" * 8)


def test_a_host_that_never_sends_anything_is_left_at_once() -> None:
    machine = begun()
    assert take(machine, [None]) == (False, b"", [OtaError.RECEIVE])
    assert machine.updater.error == 12


def test_the_time_out_is_the_sketchs_to_set() -> None:
    exchange = receive_image(10, begun().updater, timeout_s=5.0)
    assert next(exchange) == Receive(5.0)
    assert next(receive_image(10, begun().updater)) == Receive(1.0)


def test_a_host_that_closes_early_hears_a_bare_text_with_a_line_end() -> None:
    machine = begun()
    result, sent, reported = take(machine, [NEW[:5000]])
    assert (result, sent) == (False, b"146014601460620Aborted\r\n")
    assert reported[-1] is OtaError.END
    machine.reset()
    assert label_of(machine) == "old"


def test_the_error_is_reported_before_the_host_hears_of_it() -> None:
    exchange = receive_image(len(NEW), begun().updater)
    next(exchange)
    assert exchange.send(b"") == Report(OtaError.END)
    assert exchange.send(None) == Send(b"Aborted\r\n")


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (NEW[:5000] + b"\0\0\0\0" + NEW[5004:], b"MD5 Check Failed\r\n"),
        (b"\0" + NEW[1:], b"Decryption error\r\n"),
    ],
)
def test_a_refusal_is_the_bare_text_without_a_number(image: bytes, text: bytes) -> None:
    machine = begun()
    result, sent, reported = take(machine, [image])
    assert not result
    assert sent.endswith(text)
    assert sent.removesuffix(text).isdigit()
    assert reported[-1] is OtaError.END


def test_an_image_that_the_chip_would_not_start_is_told_at_the_end() -> None:
    damaged = NEW[:5000] + b"\0\0\0\0" + NEW[5004:]
    _, sent, _ = take(begun(damaged), [damaged])
    assert sent.endswith(b"Could Not Activate The Firmware\r\n")


def test_bytes_beyond_the_announced_size_are_taken_into_the_buffer_and_the_update_never_ends() -> None:
    machine = begun()
    result, sent, reported = take(machine, [NEW[:-100], NEW[-100:] + b"more", None, None, None, None])
    assert not result
    assert sent.endswith(b"104" * 4)
    assert reported[-1] is OtaError.RECEIVE


def test_more_than_is_missing_in_flash_is_refused_at_once() -> None:
    machine = running_esp32(OLD)
    machine.updater.begin(4196)
    _, sent, reported = take(machine, [NEW[:4097], NEW[4097:4201]], 4196)
    assert sent == b"146014601177Not Enough Space\r\n"
    assert reported[-1] is OtaError.END


def test_bytes_beyond_the_announced_size_in_a_later_pass_are_never_read() -> None:
    result, sent, _ = take(begun(), [NEW[:-1460], NEW[-1460:] + b"more"])
    assert result
    assert sent.endswith(b"1460OK")


def test_the_pause_before_the_end_call_back_is_a_hundredth_of_a_second() -> None:
    assert pytest.approx(0.01) == CLOSE_DELAY_S
