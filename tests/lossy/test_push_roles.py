"""Host and device of a push, joined by a network that loses, doubles and delays; every run repeats by its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from tests.device_bench import build_sketch, installed, running
from tests.esp32_bench import FACTORY_ONLY, build_app, label_of, running_esp32

from otaria.aio.link import Link
from otaria.device.core_version import Core
from otaria.device.esp32_core_version import Esp32Core
from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.errors import OtariaError, WrongPassword
from otaria.protocols import arduino_push, esp32_push
from otaria.protocols.arduino_push import Invited, OtaError, invite, send_image
from otaria.protocols.esp32_push import Invitations, Protection
from otaria.protocols.exchange import Address, DatagramExchange, Sleep, StreamExchange
from otaria.sim.network import Network, Party
from otaria.wire.arduino_ota import Command, Invitation, Scheme, stored_password

HOST: Address = ("10.0.0.2", 50000)
DEVICE: Address = ("10.0.0.9", 3232)
POLL_S = 0.02
"""How often a sketch's loop comes round."""

BAD = Link(loss=0.2, duplication=0.1, shortest_s=0.001, longest_s=0.4)
SLOW = Link(shortest_s=0.6, longest_s=0.95)
"""An answer takes longer than the second that an ESP32 waits, and the first bytes do not."""
WORST = Link(loss=0.35, duplication=0.3, shortest_s=0.001, longest_s=0.9)

OLD = build_app("old")
NEW = build_app("new", 3)
OLD_SKETCH = build_sketch("old", 3)
NEW_SKETCH = build_sketch("new", 3)

Device = Callable[[], DatagramExchange[Invited]]


def cnonce(scheme: Scheme) -> str:
    return "0123456789abcdef" * (2 if scheme is Scheme.MD5 else 4)


def invitation_for(image: bytes, command: int = Command.FLASH) -> Invitation:
    return Invitation(command, 48266, len(image), hashlib.md5(image).hexdigest())  # noqa: S324 - the device's protocol


def esp32_side(machine: Esp32Machine, protection: Protection | None) -> DatagramExchange[Invited]:
    """The sketch's loop: ``handle()`` again and again, until an update has begun."""
    commands = machine.core.behaviour.push_commands
    invitations = Invitations(protection, lambda: 1234567, commands)
    while True:
        invited = yield from invitations.handle()
        if invited is not None and (yield from esp32_push.begin_update(invited, machine.updater)):
            return invited
        yield Sleep(POLL_S)


def esp8266_side(machine: Machine, password: str | None) -> DatagramExchange[Invited]:
    stored = None if password is None else stored_password(password)
    after = machine.core.behaviour.answers_after_begin
    while True:
        invited = yield from arduino_push.await_invitation(stored, lambda: 1234567)
        if (yield from arduino_push.begin_update(invited, machine.updater, answers_after_begin=after)):
            return invited


def agree(
    network: Network, image: bytes, side: DatagramExchange[Invited], password: str | None, command: int = 0
) -> tuple[Party[None], Party[Invited]]:
    """Let host and device come to an agreement; the device then dials the host."""
    exchange = invite(invitation_for(image, command), DEVICE, name="porch", new_cnonce=cnonce)
    inviting = network.join(HOST, exchange, password=password)
    device = network.join(DEVICE, side, then=lambda _: network.dial((DEVICE[0], 40000), HOST))
    network.run(deadline_s=600)
    return inviting, device


def as_bool(exchange: StreamExchange[None]) -> StreamExchange[bool]:
    yield from exchange
    return True


def transfer(network: Network, image: bytes, taking: StreamExchange[bool]) -> tuple[Party[bool], Party[bool]]:
    sending, receiving = network.connect(as_bool(send_image(image, name="porch")), taking)
    network.run(deadline_s=network.now_s + 3600)
    return sending, receiving


def push_to_esp32(
    machine: Esp32Machine, network: Network, protection: Protection | None, password: str | None
) -> OtariaError | None:
    inviting, device = agree(network, NEW, esp32_side(machine, protection), password)
    if inviting.error is not None:
        return inviting.error
    assert device.result is not None
    assert device.result.host[0] == HOST[0]
    sending, receiving = transfer(network, NEW, esp32_push.receive_image(len(NEW), machine.updater))
    assert (sending.error is None) is (receiving.result is True)
    return sending.error


PROTECTIONS = {
    "open": (None, None),
    "md5": (Protection.by_password("123", Scheme.MD5), "123"),
    "pbkdf2": (Protection.by_password("123", Scheme.PBKDF2_SHA256), "123"),
    "pbkdf2 by an md5 hash": (Protection(stored_password("123"), Scheme.PBKDF2_SHA256), "123"),
}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", PROTECTIONS)
def test_lost_doubled_and_late_datagrams_do_not_stop_a_push_to_an_esp32(name: str, seed: int) -> None:
    protection, password = PROTECTIONS[name]
    machine = running_esp32(OLD)
    assert push_to_esp32(machine, Network(seed=seed, link=BAD), protection, password) is None
    machine.reset()
    assert label_of(machine) == "new"


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", PROTECTIONS)
def test_a_network_however_bad_leaves_the_old_app_or_the_new_one(name: str, seed: int) -> None:
    protection, password = PROTECTIONS[name]
    machine = running_esp32(OLD)
    error = push_to_esp32(machine, Network(seed=seed, link=WORST), protection, password)
    machine.reset()
    assert label_of(machine) == ("new" if error is None else "old"), error


@pytest.mark.parametrize("seed", range(20))
def test_the_reminders_of_an_esp32_on_a_slow_network_do_no_harm(seed: int) -> None:
    machine = running_esp32(OLD)
    assert push_to_esp32(machine, Network(seed=seed, link=SLOW), None, None) is None
    machine.reset()
    assert label_of(machine) == "new"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("scheme", Scheme)
def test_a_wrong_password_is_wrong_on_a_bad_network_too(scheme: Scheme, seed: int) -> None:
    machine = running_esp32(OLD)
    before = machine.flash.operations
    protection = Protection.by_password("123", scheme)
    error = push_to_esp32(machine, Network(seed=seed, link=BAD), protection, "124")
    assert isinstance(error, WrongPassword)
    assert machine.flash.operations == before


def test_an_esp32_that_cannot_begin_accepts_and_never_connects() -> None:
    machine = running_esp32(OLD, table=FACTORY_ONLY)
    network = Network()
    inviting, device = agree(network, NEW, esp32_side(machine, None), None)
    assert (inviting.error, inviting.finished) == (None, True)
    assert OtaError.BEGIN in device.events
    assert not device.finished


@pytest.mark.parametrize("core", Esp32Core)
@pytest.mark.parametrize("seed", range(5))
def test_a_file_system_finds_its_way_to_every_generation(core: Esp32Core, seed: int) -> None:
    machine = running_esp32(OLD, core=core)
    network = Network(seed=seed, link=BAD)
    inviting, device = agree(network, NEW, esp32_side(machine, None), None, Command.FILESYSTEM)
    assert inviting.error is None
    assert device.result is not None
    assert device.result.invitation.command in core.behaviour.file_systems


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("core", Core)
@pytest.mark.parametrize("password", [None, "123"])
def test_every_generation_of_the_esp8266_takes_a_push_over_a_bad_network(
    core: Core, password: str | None, seed: int
) -> None:
    machine = running(OLD_SKETCH, core=core)
    network = Network(seed=seed, link=BAD)
    inviting, device = agree(network, NEW_SKETCH, esp8266_side(machine, password), password)
    assert inviting.error is None
    assert device.finished
    taking = arduino_push.receive_image(
        len(NEW_SKETCH),
        machine.updater,
        pause_before_ok_s=core.behaviour.pause_before_ok_ms / 1000,
        pause_after_ok_s=core.behaviour.pause_after_ok_ms / 1000,
    )
    sending, receiving = transfer(network, NEW_SKETCH, taking)
    assert (sending.error, receiving.result) == (None, True)
    machine.reset()
    assert installed(machine, NEW_SKETCH)


@pytest.mark.parametrize("block_size", [1, 100, 1024, 1460, 4096, 1 << 20])
def test_host_and_device_agree_whatever_the_hosts_blocks(block_size: int) -> None:
    machine = running_esp32(OLD)
    machine.updater.begin(len(NEW))
    network = Network()
    sending, receiving = network.connect(
        as_bool(send_image(NEW, name="porch", block_size=block_size)),
        esp32_push.receive_image(len(NEW), machine.updater),
    )
    network.run(deadline_s=7200)
    assert (sending.error, receiving.result) == (None, True)
