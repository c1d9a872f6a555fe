"""No power cut bricks an ESP32: at every flash operation of an update, and at every pair of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

import pytest
from tests.esp32_bench import (
    APP_0,
    APP_1,
    FACTORY_AND_TWO,
    MAC,
    OTADATA,
    THREE_SLOTS,
    TWO_SLOTS,
    build_app,
    give,
    label_of,
    running_esp32,
)

from otaria.device.esp32_machine import Esp32Machine, as_flashed
from otaria.device.flash import Flash, Interruption
from otaria.units import MIB
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.otadata import OtaState
from otaria.wire.partitions import PartitionTable

Act = Callable[[Esp32Machine], object]

OLD = build_app("old", 4)
NEW = build_app("new", 5)
NEWER = build_app("newer", 3)
SIXTEEN_SECTORS = build_app("sixteen", 16)

NOT_BEGUN, A_LITTLE, TORN, ALMOST, DONE = 0.0, 0.2, 0.5, 0.9, 1.0
SHARES = (NOT_BEGUN, A_LITTLE, TORN, ALMOST, DONE)


class Left(Enum):
    """What runs after the accident."""

    OLD = auto()
    NEW = auto()


@dataclass(frozen=True)
class Cut:
    """Where an act was broken off: at which operation, and with which share of it done."""

    operation: int
    share: float


def update(image: bytes) -> Act:
    """Switch it on, install an image, and restart; built to roll back, the new app then says that it is well."""

    def act(machine: Esp32Machine) -> None:
        machine.power_on()
        assert give(machine, image)
        machine.reset()

    return act


def operations_of(start: Esp32Machine, act: Act) -> int:
    machine = start.clone()
    before = machine.flash.operations
    act(machine)
    return machine.flash.operations - before


def broken_off(start: Esp32Machine, act: Act, cut: Cut, *, by_power: bool = True) -> Esp32Machine:
    machine = start.clone()
    arm = machine.flash.lose_power_at if by_power else machine.flash.reset_at
    arm(cut.operation, cut.share)
    with pytest.raises(Interruption):
        act(machine)
    return machine


def everywhere(start: Esp32Machine, act: Act, shares: tuple[float, ...] = SHARES) -> Iterator[Cut]:
    count = operations_of(start, act)
    assert count > 0
    for operation in range(count):
        for share in shares:
            yield Cut(operation, share)


def started(machine: Esp32Machine, old: str, new: str) -> Left:
    """Switch a machine on, twice: it must run, and the second start must change nothing."""
    boot = machine.power_on()
    assert boot.running, boot.console
    first = label_of(machine)
    assert first in (old, new)
    machine.power_on()
    assert label_of(machine) == first, "a second start changed the outcome"
    return Left.NEW if first == new else Left.OLD


def untouched(rollback: bool, table: PartitionTable = TWO_SLOTS, *, verify_later: bool = False) -> Esp32Machine:
    machine = running_esp32(OLD, table=table, rollback=rollback, verify_later=verify_later)
    machine.power_off()
    return machine


def seasoned(rollback: bool) -> Esp32Machine:
    """A machine that has been updated before: both slots and both entries have been used."""
    machine = running_esp32(build_app("oldest"), rollback=rollback)
    for image in (build_app("older"), OLD):
        assert give(machine, image)
        machine.reset()
    assert label_of(machine) == "old"
    machine.power_off()
    return machine


STARTS: dict[str, Callable[[bool], Esp32Machine]] = {
    "untouched": untouched,
    "seasoned": seasoned,
    "from the factory app": functools.partial(untouched, table=FACTORY_AND_TWO),
    "three slots": functools.partial(untouched, table=THREE_SLOTS),
}


@pytest.fixture(params=[True, False], ids=["rollback", "no rollback"])
def rollback(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=list(STARTS))
def start(request: pytest.FixtureRequest, rollback: bool) -> Esp32Machine:
    return STARTS[request.param](rollback)


def test_no_cut_bricks_and_the_outcome_is_the_old_app_or_the_new_one(start: Esp32Machine) -> None:
    outcomes = []
    for cut in everywhere(start, update(NEW)):
        machine = broken_off(start, update(NEW), cut)
        outcomes.append(started(machine, "old", "new"))
    assert {*outcomes} == {Left.OLD, Left.NEW}
    assert outcomes[0] is Left.OLD
    assert outcomes[-1] is Left.NEW


def test_no_reset_of_the_processor_bricks(start: Esp32Machine) -> None:
    for cut in everywhere(start, update(NEW)):
        machine = broken_off(start, update(NEW), cut, by_power=False)
        assert machine.reset().running, cut
        assert started(machine, "old", "new") in Left, cut


def test_after_any_cut_the_same_update_goes_through(start: Esp32Machine) -> None:
    for cut in everywhere(start, update(NEW), (TORN,)):
        machine = broken_off(start, update(NEW), cut)
        update(NEW)(machine)
        assert started(machine, "old", "new") is Left.NEW, cut


def test_after_any_cut_another_update_goes_through(start: Esp32Machine) -> None:
    for cut in everywhere(start, update(NEW), (TORN,)):
        machine = broken_off(start, update(NEW), cut)
        update(NEWER)(machine)
        assert label_of(machine) == "newer", cut


def test_until_the_slot_is_chosen_the_old_app_starts_and_its_slot_is_not_touched(rollback: bool) -> None:
    before = untouched(rollback)

    def receive(machine: Esp32Machine) -> None:
        machine.power_on()
        machine.updater.begin(len(NEW))
        machine.updater.write(NEW)

    for cut in everywhere(before, receive):
        machine = broken_off(before, receive, cut)
        assert machine.flash.read(APP_0.offset, APP_0.size) == before.flash.read(APP_0.offset, APP_0.size), cut
        assert started(machine, "old", "new") is Left.OLD, cut


def test_without_rollback_the_new_app_starts_as_soon_as_its_entry_is_whole() -> None:
    before = untouched(rollback=False)
    count = operations_of(before, update(NEW))
    for cut in everywhere(before, update(NEW)):
        left = started(broken_off(before, update(NEW), cut), "old", "new")
        chosen = cut == Cut(count - 1, DONE)
        assert left is (Left.NEW if chosen else Left.OLD), cut


def test_with_rollback_an_account_that_breaks_off_goes_back_to_the_old_app() -> None:
    before = untouched(rollback=True)
    machine = before.clone()
    machine.power_on()
    assert give(machine, NEW)
    for cut in everywhere(machine, Esp32Machine.reset):
        after = broken_off(machine, Esp32Machine.reset, cut)
        left = started(after, "old", "new")
        # Its first erase not begun, the entry still says NEW; its last write done, it says VALID.
        whole = cut == Cut(0, NOT_BEGUN) or cut == Cut(3, DONE)
        assert left is (Left.NEW if whole else Left.OLD), cut


def test_an_app_that_has_not_said_that_it_is_well_goes_back_at_the_next_start_whatever_is_cut() -> None:
    before = untouched(rollback=True, verify_later=True)

    def first_start(machine: Esp32Machine) -> None:
        machine.power_on()
        assert give(machine, NEW)
        machine.reset()
        assert machine.ota_state == OtaState.PENDING_VERIFY

    first_start(machine := before.clone())
    for cut in everywhere(machine, Esp32Machine.power_on):
        after = broken_off(machine, Esp32Machine.power_on, cut)
        assert started(after, "old", "new") is Left.OLD, cut


def test_a_cut_while_both_entries_are_rewritten_leaves_one_of_them() -> None:
    before = seasoned(rollback=True)
    for cut in everywhere(before, update(NEW)):
        machine = broken_off(before, update(NEW), cut)
        sectors = [machine.flash.read(OTADATA.offset + index * SECTOR_SIZE, 32) for index in (0, 1)]
        assert any(sector != b"\xff" * 32 for sector in sectors), cut


@pytest.mark.parametrize("name", ["untouched", "seasoned"])
def test_no_pair_of_cuts_bricks(name: str, rollback: bool) -> None:
    """The second cut strikes in the next attempt, at every operation from its first start on."""
    before = STARTS[name](rollback)
    image = build_app("new", 3)
    act = update(image)
    for first in everywhere(before, act, (NOT_BEGUN, TORN)):
        between = broken_off(before, act, first)
        for second in everywhere(between, act, (TORN,)):
            machine = broken_off(between, act, second)
            assert started(machine, "old", "new") in Left, (first, second)


def test_no_pair_of_cuts_bricks_an_update_of_sixteen_sectors(rollback: bool) -> None:
    before = untouched(rollback)
    act = update(SIXTEEN_SECTORS)
    for first in everywhere(before, act, (TORN,)):
        between = broken_off(before, act, first)
        for second in everywhere(between, act, (NOT_BEGUN, TORN)):
            machine = broken_off(between, act, second)
            assert started(machine, "old", "sixteen") in Left, (first, second)


def test_no_cut_bricks_an_update_of_256_kib(rollback: bool) -> None:
    flash = Flash(4 * MIB)
    flash.load(as_flashed(OLD))
    before = Esp32Machine(flash, MAC, rollback=rollback)
    before.power_on()
    before.power_off()
    act = update(build_app("large", 64))
    outcomes = [started(broken_off(before, act, cut), "old", "large") for cut in everywhere(before, act)]
    assert len(outcomes) > 2 * 64 * len(SHARES)
    assert {*outcomes} == {Left.OLD, Left.NEW}


def test_nothing_outside_the_slot_and_otadata_is_ever_written(start: Esp32Machine) -> None:
    written: set[int] = set()
    machine = start.clone()
    machine.flash.on_change = lambda offset, _content: written.add(offset // SECTOR_SIZE)
    update(NEW)(machine)
    target, otadata = machine.partition, OTADATA
    allowed = {*range(target.offset // SECTOR_SIZE, target.end // SECTOR_SIZE)}
    allowed |= {*range(otadata.offset // SECTOR_SIZE, otadata.end // SECTOR_SIZE)}
    assert written <= allowed
    assert target.offset >= APP_1.offset or target == APP_0
