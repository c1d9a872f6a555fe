from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest

from otaria.aio.link import Link
from otaria.device.core_version import Core
from otaria.device.flash import BadSector
from otaria.device.machine import Machine
from otaria.errors import (
    ConnectionBroken,
    DoesNotFit,
    OtariaError,
    OutcomeUnknown,
    PasswordNeeded,
    ProtocolViolation,
    Refused,
    Unreachable,
    WrongPassword,
)
from otaria.protocols.arduino_push import (
    Authenticated,
    Invited,
    OtaError,
    await_invitation,
    begin_update,
    invite,
    receive_image,
    send_image,
)
from otaria.protocols.exchange import (
    Address,
    AskPassword,
    Connected,
    Datagram,
    DatagramExchange,
    Progress,
    Receive,
    Report,
    Send,
    Sleep,
    StreamExchange,
)
from otaria.sim.network import Network
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
DEVICE: Address = ("10.0.0.9", 8266)
STRANGER: Address = ("10.0.0.66", 6666)
CNONCE = "0123456789abcdef" * 2


def cnonce(scheme: Scheme) -> str:
    return CNONCE if scheme is Scheme.MD5 else CNONCE * 2


def invitation_for(image: bytes, command: Command = Command.FLASH) -> Invitation:
    return Invitation(command, 48266, len(image), hashlib.md5(image).hexdigest())  # noqa: S324 - the device's protocol


def host_side(invitation: Invitation) -> DatagramExchange[None]:
    return invite(invitation, DEVICE, name="porch", new_cnonce=cnonce)


def device_side(machine: Machine, password: str | None = None) -> DatagramExchange[Invited | None]:
    stored = None if password is None else stored_password(password)
    while True:
        invited = yield from await_invitation(stored, lambda: 1234567)
        if (yield from begin_update(invited, machine.updater)):
            return invited


def push_over_network(
    machine: Machine, image: bytes, network: Network, *, device: str | None, host: str | None
) -> None:
    """Both halves of a push between two simulated parties; raises what the host raises."""
    inviting = network.join(HOST, host_side(invitation_for(image)), password=host)
    network.join(DEVICE, device_side(machine, device), then=lambda _: network.dial((DEVICE[0], 40000), HOST))
    network.run(deadline_s=600)
    if inviting.error is not None:
        raise inviting.error
    assert inviting.finished
    sending, receiving = network.connect(
        as_bool(send_image(image, name="porch")), receive_image(len(image), machine.updater)
    )
    network.run(deadline_s=1200)
    if sending.error is not None:
        raise sending.error
    assert receiving.result is True


def as_bool(exchange: StreamExchange[None]) -> StreamExchange[bool]:
    yield from exchange
    return True


def test_an_image_goes_from_host_to_device_and_the_bootloader_installs_it(machine: Machine, new_image: bytes) -> None:
    push_over_network(machine, new_image, Network(), device=None, host=None)

    boot = machine.reset()

    assert boot.console.split("\n")[1:] == ["@cp:B0", "ld", ""]
    assert machine.flash.read(0, len(new_image)) == new_image


def test_a_protected_device_takes_the_image_with_its_password(machine: Machine, new_image: bytes) -> None:
    push_over_network(machine, new_image, Network(), device="123", host="123")

    machine.reset()

    assert machine.flash.read(0, len(new_image)) == new_image


def test_the_host_says_that_the_password_was_accepted(machine: Machine, new_image: bytes) -> None:
    network = Network()
    inviting = network.join(HOST, host_side(invitation_for(new_image)), password="123")
    network.join(DEVICE, device_side(machine, "123"))
    network.run(deadline_s=60)
    assert any(isinstance(event, Authenticated) for event in inviting.events)


def test_a_wrong_password_is_denied_and_changes_nothing(machine: Machine, old_image: bytes, new_image: bytes) -> None:
    before = machine.flash.operations

    with pytest.raises(WrongPassword, match="porch did not accept the password"):
        push_over_network(machine, new_image, Network(), device="123", host="124")

    assert machine.flash.operations == before
    assert machine.flash.read(0, len(old_image)) == old_image


def test_a_password_that_nobody_has_is_asked_for_in_words(machine: Machine, new_image: bytes) -> None:
    with pytest.raises(PasswordNeeded, match="OTARIA_PASSWORD"):
        push_over_network(machine, new_image, Network(), device="123", host=None)


def test_an_image_larger_than_the_free_space_is_refused_with_the_devices_own_number(machine: Machine) -> None:
    image = bytes(machine.free_sketch_space + 1)
    with pytest.raises(DoesNotFit, match=r"porch refused the update: ERROR\[4\]: Not Enough Space") as refused:
        push_over_network(machine, image, Network(), device=None, host=None)
    assert refused.value.code == 4


def test_silence_ends_in_unreachable_after_ten_invitations() -> None:
    network = Network()
    inviting = network.join(HOST, host_side(invitation_for(b"x")))
    network.run(deadline_s=600)
    assert isinstance(inviting.error, Unreachable)
    assert network.now_s == pytest.approx(15.0)


@pytest.mark.parametrize("seed", range(40))
def test_lost_doubled_and_late_datagrams_do_not_stop_a_push(machine: Machine, new_image: bytes, seed: int) -> None:
    link = Link(loss=0.2, duplication=0.1, shortest_s=0.001, longest_s=0.4)
    push_over_network(machine, new_image, Network(seed=seed, link=link), device="123", host="123")
    machine.reset()
    assert machine.flash.read(0, len(new_image)) == new_image


# --------------------------------------------------- the host and a device of the newer scheme

NONCE = "8bb0cf6eb9b17d0f7d22b456f121257dc1254e1f01665370476383ea776df414"
CHALLENGE = b"AUTH " + NONCE.encode()


def proofs_of(effects: list[object]) -> list[bytes]:
    return [effect.content for effect in effects if isinstance(effect, Send) and effect.content.startswith(b"200 ")]


def converse(answers: list[object], command: Command = Command.FLASH) -> tuple[list[object], BaseException]:
    """Feed answers to an inviting host; everything that it did, and how it ended."""
    exchange = host_side(invitation_for(b"x", command))
    effects: list[object] = []
    waiting = iter(answers)
    try:
        effect = next(exchange)
        while True:
            effects.append(effect)
            answer = next(waiting, None) if isinstance(effect, Receive) else None
            effect = exchange.send("123" if isinstance(effect, AskPassword) else answer)  # type: ignore[arg-type]
    except (StopIteration, OtariaError) as ended:
        return effects, ended


def said(*contents: bytes) -> list[object]:
    return [Datagram(content, DEVICE) for content in contents]


def test_a_long_nonce_is_answered_by_pbkdf2_of_the_passwords_sha256() -> None:
    effects, ended = converse(said(CHALLENGE, b"OK"))
    assert isinstance(ended, StopIteration)
    stored = "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3"
    expected = Credentials(CNONCE * 2, pbkdf2_response(stored, NONCE, CNONCE * 2))
    assert proofs_of(effects) == [expected.encode()]
    assert len(expected.encode()) == 134


def test_a_proof_that_is_not_accepted_is_made_once_more_from_the_passwords_md5() -> None:
    effects, ended = converse(said(CHALLENGE, b"Authentication Failed", CHALLENGE, b"OK"))
    assert isinstance(ended, StopIteration)
    second = Credentials(CNONCE * 2, pbkdf2_response(stored_password("123"), NONCE, CNONCE * 2))
    assert len(proofs_of(effects)) == 2
    assert proofs_of(effects)[1] == second.encode()
    invitations = [e for e in effects if isinstance(e, Send) and e.content.startswith(b"0 ")]
    assert len(invitations) == 2, "the second proof needs an invitation and a challenge of its own"
    assert sum(isinstance(effect, AskPassword) for effect in effects) == 1


def test_a_password_that_is_wrong_either_way_is_wrong() -> None:
    effects, ended = converse(said(*[CHALLENGE, b"Authentication Failed"] * 2))
    assert isinstance(ended, WrongPassword)
    assert len(proofs_of(effects)) == 2


def test_a_device_may_refuse_the_update_after_the_password_was_right() -> None:
    _, ended = converse(said(CHALLENGE, b"ERR: ERROR[4]: Not Enough Space"))
    assert isinstance(ended, DoesNotFit)


def test_a_challenge_that_arrives_twice_is_not_the_answer_to_the_proof() -> None:
    _, ended = converse(said(CHALLENGE, CHALLENGE, b"OK"))
    assert isinstance(ended, StopIteration)


def test_a_short_nonce_is_tried_once() -> None:
    effects, ended = converse(said(b"AUTH " + b"ab" * 16, b"Authentication Failed"))
    assert isinstance(ended, WrongPassword)
    assert len(proofs_of(effects)) == 1


def test_a_device_that_falls_back_to_idle_after_a_challenge_is_invited_again() -> None:
    silence: list[object] = [None] * 6
    _, ended = converse([*said(CHALLENGE), *silence, *said(CHALLENGE, b"OK")])
    assert isinstance(ended, StopIteration)


def test_a_file_system_is_offered_by_the_newer_number_once_the_older_one_has_had_no_answer() -> None:
    effects, ended = converse([], Command.FILESYSTEM)
    assert isinstance(ended, Unreachable)
    commands = [effect.content.split(b" ")[0] for effect in effects if isinstance(effect, Send)]
    assert commands == [b"100"] * 5 + [b"101"] * 5


def test_a_sketch_is_always_offered_by_its_one_number() -> None:
    effects, ended = converse([])
    assert isinstance(ended, Unreachable)
    assert {effect.content.split(b" ")[0] for effect in effects if isinstance(effect, Send)} == {b"0"}


# ----------------------------------------------------------------- the host by hand


def resumed(exchange: DatagramExchange[None], answers: list[object]) -> list[object]:
    """Feed answers to a host's exchange: to each Receive the next one; returns the effects it yielded."""
    effects: list[object] = []
    effect = next(exchange)
    waiting = iter(answers)
    while True:
        effects.append(effect)
        answer = next(waiting, None) if isinstance(effect, Receive) else None
        if isinstance(effect, AskPassword):
            answer = "123"
        effect = exchange.send(answer)  # type: ignore[arg-type]  # a test feeds what a driver would


def test_the_devices_connection_counts_as_acceptance() -> None:
    with pytest.raises(StopIteration):
        resumed(host_side(invitation_for(b"x")), [Connected(("10.0.0.9", 33333))])


def test_strangers_are_not_heard() -> None:
    exchange = host_side(invitation_for(b"x"))
    spoofed = [Datagram(b"OK", STRANGER), Connected(STRANGER), Datagram(b"Authentication Failed", STRANGER)]
    with pytest.raises(Unreachable):
        resumed(exchange, spoofed)


def test_a_flood_of_strangers_cannot_hold_the_host_for_ever() -> None:
    exchange = host_side(invitation_for(b"x"))
    with pytest.raises(Unreachable):
        resumed(exchange, [Datagram(b"OK", STRANGER)] * 10_000)


@pytest.mark.parametrize(
    "answer",
    [
        b"AUTH 00",
        b"AUTH " + b"G" * 32,
        b"AUTH " + b"A" * 32,
        b"HELLO",
        b"",
        b"\xff\xfe",
    ],
)
def test_an_answer_that_no_device_gives_is_a_protocol_violation_and_gets_no_proof(answer: bytes) -> None:
    exchange = host_side(invitation_for(b"x"))
    sent: list[object] = []
    with pytest.raises(ProtocolViolation):
        sent = resumed(exchange, [Datagram(answer, DEVICE)])
    assert not any(isinstance(effect, Send) and effect.content.startswith(b"200 ") for effect in sent)


def test_the_proof_is_the_one_of_the_scheme_that_the_nonce_length_tells() -> None:
    nonce = "ab" * 16
    exchange = host_side(invitation_for(b"x"))
    next(exchange)
    exchange.send(None)
    asked = exchange.send(Datagram(b"AUTH " + nonce.encode(), DEVICE))
    assert asked == AskPassword("porch")
    proof = exchange.send("123")
    expected = Credentials(CNONCE, md5_response(stored_password("123"), nonce, CNONCE))
    assert proof == Send(expected.encode(), DEVICE)


# --------------------------------------------------------------- the device by hand


def step(exchange: DatagramExchange[Invited], *contents: bytes) -> list[Send]:
    """Send datagrams of the host to an idle device; returns its replies."""
    replies: list[Send] = []
    effect = next(exchange)
    for content in contents:
        assert isinstance(effect, Receive)
        effect = exchange.send(Datagram(content, HOST))
        while isinstance(effect, Send) or not isinstance(effect, Receive):
            if isinstance(effect, Send):
                replies.append(effect)
            effect = exchange.send(None)
    return replies


GOOD = b"0 48266 4100 fecba2a2abb627f34e0e8fa5b298f4f3\n"


def test_the_challenge_is_the_md5_of_the_microseconds() -> None:
    replies = step(await_invitation(stored_password("123"), lambda: 1234567), GOOD)
    assert replies == [Send(b"AUTH fcea920f7412b5da7be0cf42b8c93759", HOST)]


def test_an_invitation_that_arrives_while_credentials_are_awaited_is_swallowed_and_the_third_is_answered() -> None:
    replies = step(await_invitation(stored_password("123"), lambda: 1), GOOD, GOOD, GOOD)
    assert len(replies) == 2


def test_a_wrong_response_is_answered_and_needs_a_new_challenge() -> None:
    wrong = b"200 " + b"0" * 32 + b" " + b"0" * 32 + b"\n"
    replies = step(await_invitation(stored_password("123"), lambda: 1), GOOD, wrong, wrong, GOOD)
    assert [reply.content[:4] for reply in replies] == [b"AUTH", b"Auth", b"AUTH"]


def test_credentials_of_a_wrong_length_get_no_reply() -> None:
    short = b"200 abc def\n"
    replies = step(await_invitation(stored_password("123"), lambda: 1), GOOD, short)
    assert len(replies) == 1


def test_what_is_no_invitation_gets_no_reply() -> None:
    nonsense = [b"", b"hello", b"7 1 2 3", b"0 1 2 tooshort\n", b"\0" * 50]
    assert step(await_invitation(None, lambda: 1), *nonsense) == []


def test_the_reply_goes_to_the_sender_of_the_invitation_whoever_sends_the_credentials() -> None:
    exchange = await_invitation(stored_password("123"), lambda: 1)
    next(exchange)
    exchange.send(Datagram(GOOD, HOST))
    exchange.send(None)
    wrong = b"200 " + b"0" * 32 + b" " + b"0" * 32 + b"\n"
    assert exchange.send(Datagram(wrong, STRANGER)) == Send(b"Authentication Failed", HOST)


def effects_of(exchange: DatagramExchange[bool]) -> tuple[bool, list[object]]:
    done: list[object] = []
    try:
        effect = next(exchange)
        while True:
            done.append(effect)
            effect = exchange.send(None)
    except StopIteration as finished:
        return finished.value, done


def test_the_device_says_ok_once_it_has_begun_and_waits_a_tenth_of_a_second(machine: Machine) -> None:
    invited = Invited(Invitation(Command.FLASH, 1, 5000, "0" * 32), HOST)
    assert effects_of(begin_update(invited, machine.updater)) == (True, [Send(b"OK", HOST), Sleep(0.1)])


def test_the_oldest_core_says_ok_before_it_begins_and_nothing_more_where_it_cannot(machine: Machine) -> None:
    good = Invited(Invitation(Command.FLASH, 1, 5000, "0" * 32), HOST)
    exchange = begin_update(good, machine.updater, answers_after_begin=False)
    assert next(exchange) == Send(b"OK", HOST)
    assert machine.updater.size == 0
    assert exchange.send(None) == Sleep(0.1)
    assert machine.updater.size == 5000
    machine.reset()
    bad = Invited(Invitation(Command.FLASH, 1, 0, "0" * 32), HOST)
    result, done = effects_of(begin_update(bad, machine.updater, answers_after_begin=False))
    assert (result, done) == (False, [Send(b"OK", HOST), Report(OtaError.BEGIN)])


@pytest.mark.parametrize("stored", [None, ""])
def test_a_device_without_a_password_or_with_an_empty_hash_asks_for_none(stored: str | None) -> None:
    exchange = await_invitation(stored, lambda: 1)
    next(exchange)
    with pytest.raises(StopIteration):
        exchange.send(Datagram(GOOD, HOST))


def test_while_credentials_are_awaited_there_is_no_time_out() -> None:
    exchange = await_invitation(stored_password("123"), lambda: 1)
    assert next(exchange) == Receive(None)
    exchange.send(Datagram(GOOD, HOST))
    assert exchange.send(None) == Receive(None)


def test_credentials_are_accepted_from_any_source() -> None:
    exchange = await_invitation(stored_password("123"), lambda: 1234567)
    next(exchange)
    exchange.send(Datagram(GOOD, HOST))
    exchange.send(None)
    proof = b"200 70b473d3156fe9e56d4eceb893c8834f 9eb01bc1bd76103e7ae602193a99ee69\n"
    with pytest.raises(StopIteration) as finished:
        exchange.send(Datagram(proof, STRANGER))
    assert finished.value.value.host == HOST


def test_a_wrong_response_is_reported_as_an_authentication_error() -> None:
    exchange = await_invitation(stored_password("123"), lambda: 1)
    next(exchange)
    exchange.send(Datagram(GOOD, HOST))
    exchange.send(None)
    exchange.send(Datagram(b"200 " + b"0" * 32 + b" " + b"0" * 32 + b"\n", HOST))
    assert exchange.send(None) == Report(OtaError.AUTH)


def test_the_error_call_back_has_the_numbers_of_the_library() -> None:
    assert [(error.name, int(error)) for error in OtaError] == [
        ("AUTH", 0),
        ("BEGIN", 1),
        ("CONNECT", 2),
        ("RECEIVE", 3),
        ("END", 4),
    ]


def test_a_begin_that_fails_is_reported_before_the_refusal_leaves(machine: Machine) -> None:
    invited = Invited(Invitation(Command.FLASH, 1, 0, "0" * 32), HOST)
    exchange = begin_update(invited, machine.updater)
    assert next(exchange).event is OtaError.BEGIN  # type: ignore[union-attr]  # it is a Report
    assert exchange.send(None) == Send(b"ERR: ERROR[5]: Bad Size Given\n", HOST)


# ------------------------------------------------------------------------ the verdict


def hear(answers: Sequence[bytes | None], image: bytes = b"x" * 2920) -> None:
    """Send an image to a device that answers so; to each Receive the next answer, then the end of the stream."""
    exchange = send_image(image, name="porch")
    waiting = iter(answers)
    effect = next(exchange)
    try:
        while True:
            answer: bytes | None = next(waiting, b"") if isinstance(effect, Receive) else None
            effect = exchange.send(answer)
    except StopIteration:
        return


@pytest.mark.parametrize(
    "answers",
    [
        [b"1460", b"1460", b"OK"],
        [b"1460", b"1460OK"],
        [b"1460", b"1460O", b"K"],
        [b"14601460", b"O", b"K"],
        [b"14", b"60", b"1460", b"OK"],
    ],
)
def test_success_is_heard_however_the_answer_is_cut(answers: list[bytes | None]) -> None:
    hear(answers)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"ERROR[10]: Magic byte is not 0xE9\n", 10),
        (b"ERROR[7]: MD5 verification failed: expected: a, calculated: b\n", 7),
        (b"MD5 Check Failed\r\n", None),
        (b"Could Not Activate The Firmware\r\n", None),
    ],
)
def test_a_devices_reason_is_told_with_its_number(text: bytes, code: int | None) -> None:
    for answers in ([b"1460", b"1460", text], [b"1460", b"1460" + text], [b"1460" + text[:1], text[1:]]):
        with pytest.raises(Refused, match="porch refused the update") as refused:
            hear(list(answers))
        assert refused.value.code == code


def test_the_host_stops_sending_at_the_first_byte_that_is_no_digit() -> None:
    exchange = send_image(b"x" * 14600, name="porch")
    sent = 0
    effect = next(exchange)
    while not isinstance(effect, Receive):
        sent += isinstance(effect, Send)
        effect = exchange.send(None)
    exchange.send(b"ERROR[1]: Flash Write Failed\n")
    with pytest.raises(Refused):
        exchange.send(None)
    assert sent == 1


def test_closing_without_a_verdict_after_everything_was_sent_is_an_unknown_outcome() -> None:
    with pytest.raises(OutcomeUnknown, match="look whether it runs the new sketch"):
        hear([b"1460", b"1460", b""])


def test_silence_after_everything_was_sent_is_an_unknown_outcome() -> None:
    with pytest.raises(OutcomeUnknown):
        hear([b"1460", b"1460", None])


def test_closing_in_the_middle_says_how_far_it_came() -> None:
    with pytest.raises(ConnectionBroken, match="after 1460 of 2920 bytes"):
        hear([b""])


def test_silence_in_the_middle_says_how_far_it_came() -> None:
    with pytest.raises(Unreachable, match="after 1460 of 2920 bytes"):
        hear([None])


def test_a_device_that_never_stops_talking_is_cut_short() -> None:
    with pytest.raises(Refused) as refused:
        hear([b"1460", b"1460"] + [b"x" * 500] * 10_000)
    assert len(str(refused.value)) < 1000


def test_control_characters_in_a_verdict_do_not_reach_the_terminal() -> None:
    with pytest.raises(Refused) as refused:
        hear([b"\x1b[2J\x07evil\n"])
    assert "\x1b" not in str(refused.value)


# ------------------------------------------------------------ the device's TCP side


def take(machine: Machine, pieces: list[bytes | None], size: int) -> tuple[bool, bytes]:
    """Feed pieces to a device that has begun; its result and everything it sent."""
    exchange = receive_image(size, machine.updater)
    sent = b""
    waiting = iter(pieces)
    effect = next(exchange)
    try:
        while True:
            if isinstance(effect, Send):
                sent += effect.content
            effect = exchange.send(next(waiting, b"") if isinstance(effect, Receive) else None)
    except StopIteration as done:
        return done.value, sent


@pytest.fixture
def begun(machine: Machine) -> Callable[[bytes], Machine]:
    def begin(image: bytes) -> Machine:
        assert machine.updater.begin(len(image))
        machine.updater.set_md5(hashlib.md5(image).hexdigest())  # noqa: S324 - the device's protocol
        return machine

    return begin


def test_counts_are_digits_without_separators_and_ok_follows(
    begun: Callable[[bytes], Machine], new_image: bytes
) -> None:
    machine = begun(new_image)
    pieces: list[bytes | None] = [new_image[:1460], None, new_image[1460:2920], new_image[2920:]]
    result, sent = take(machine, pieces, len(new_image))
    assert result is True
    assert sent == b"14601460" + str(len(new_image) - 2920).encode() + b"OK"


def test_bytes_beyond_the_announced_size_are_never_read(begun: Callable[[bytes], Machine], new_image: bytes) -> None:
    result, sent = take(begun(new_image), [new_image + b"more"], len(new_image))
    assert result is True
    assert sent == str(len(new_image)).encode() + b"OK"


def test_a_host_that_closes_before_anything_reached_flash_hears_error_13(
    begun: Callable[[bytes], Machine], new_image: bytes
) -> None:
    result, sent = take(begun(new_image), [new_image[:100]], len(new_image))
    assert result is False
    assert sent == b"100ERROR[13]: No data supplied\n"


def test_a_host_that_closes_later_hears_no_error_as_the_core_has_it(
    begun: Callable[[bytes], Machine], new_image: bytes
) -> None:
    result, sent = take(begun(new_image), [new_image[:5000]], len(new_image))
    assert result is False
    assert sent == b"5000ERROR[0]: No Error\n"


def test_a_damaged_image_is_refused_at_the_end_and_the_old_one_starts_again(
    begun: Callable[[bytes], Machine], old_image: bytes, new_image: bytes
) -> None:
    machine = begun(new_image)
    damaged = new_image[:6000] + b"\0\0\0\0" + new_image[6004:]
    result, sent = take(machine, [damaged], len(damaged))
    assert result is False
    assert b"ERROR[7]: MD5 verification failed" in sent
    assert machine.reset().running
    assert machine.flash.read(0, len(old_image)) == old_image


def pauses(machine: Machine, image: bytes, **options: float) -> list[object]:
    """The effects from the last count on."""
    exchange = receive_image(len(image), machine.updater, **options)
    effect = next(exchange)
    done: list[object] = []
    try:
        while True:
            done.append(effect)
            effect = exchange.send(image if isinstance(effect, Receive) else None)
    except StopIteration:
        return done[3:]


def test_ok_stands_between_two_pauses_of_a_second(begun: Callable[[bytes], Machine], new_image: bytes) -> None:
    assert pauses(begun(new_image), new_image) == [Sleep(1.0), Send(b"OK"), Sleep(1.0)]


@pytest.mark.parametrize("core", Core)
def test_each_generation_has_pauses_of_its_own(begun: Callable[[bytes], Machine], new_image: bytes, core: Core) -> None:
    before, after = core.behaviour.pause_before_ok_ms / 1000, core.behaviour.pause_after_ok_ms / 1000
    done = pauses(begun(new_image), new_image, pause_before_ok_s=before, pause_after_ok_s=after)
    assert done == [Sleep(before), Send(b"OK"), Sleep(after)]


def test_an_early_error_ends_the_transfer_with_its_text(begun: Callable[[bytes], Machine], new_image: bytes) -> None:
    machine = begun(new_image)
    machine.flash.spoil(machine.layout.staging_start(len(new_image)) // 4096, BadSector.ERASE_FAILS)
    result, sent = take(machine, [new_image[:1460], new_image[1460:6000], new_image[6000:]], len(new_image))
    assert not result
    assert sent == b"1460ERROR[2]: Flash Erase Failed\n"


def test_the_first_byte_is_not_looked_at_before_everything_has_come(
    begun: Callable[[bytes], Machine], new_image: bytes
) -> None:
    wrong = b"\0" + new_image[1:]
    result, sent = take(begun(wrong), [wrong[:9000], wrong[9000:]], len(wrong))
    assert not result
    assert sent == b"9000" + str(len(wrong) - 9000).encode() + b"ERROR[10]: Magic byte is not 0xE9\n"


def test_a_silent_host_keeps_the_device_waiting_for_ever(begun: Callable[[bytes], Machine], new_image: bytes) -> None:
    exchange = receive_image(len(new_image), begun(new_image).updater)
    effect = next(exchange)
    for _ in range(10_000):
        assert effect == Receive(1.0)
        effect = exchange.send(None)


def test_after_a_failed_connection_the_update_cannot_end_so_two_errors_follow(machine: Machine) -> None:
    """The caller reports CONNECT and goes on to ``end()``, as the library does; that fails with error 13."""
    assert machine.updater.begin(5000)
    assert not machine.updater.end()
    assert machine.updater.error == 13


def test_progress_tells_bytes_received_and_announced(begun: Callable[[bytes], Machine], new_image: bytes) -> None:
    exchange = receive_image(len(new_image), begun(new_image).updater)
    next(exchange)
    exchange.send(new_image[:10])
    report = exchange.send(None)
    assert report.event == Progress(10, len(new_image))  # type: ignore[union-attr]  # it is a Report
