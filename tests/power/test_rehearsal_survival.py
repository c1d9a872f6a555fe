"""The survival table of protocols §5.3 as a rehearsal finds it: everywhere once, and at every pair of places."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from tests.device_bench import NOISE, SMALL, boot_part, build_sketch
from tests.power.cuts import Left as Found
from tests.power.cuts import lose_power_everywhere, reset_everywhere, switched_on, what_is_left

from otaria.device.core_version import Core
from otaria.device.machine import Machine
from otaria.device.rehearsal import Rehearsal, rehearse
from otaria.device.rehearsal_cuts import SHARES, Accident, Apps, Left, Moment, Tally, start_again, watch
from otaria.device.rehearsal_scene import Candidate, Specimen
from otaria.device.rehearsal_ways import Way, receive
from otaria.wire.layouts import LAYOUTS, SECTOR_SIZE

LARGE = LAYOUTS["4m1m"]


def packed(image: bytes) -> bytes:
    return gzip.compress(image, mtime=0)


def plain(image: bytes) -> bytes:
    return image


WRAPPINGS = pytest.mark.parametrize("wrap", [plain, packed])
Wrapping = Callable[[bytes], bytes]


# ---------------------------------------------------------------- every single cut, against runs from the start


def counted(machines: list[Machine], old: bytes, new: bytes) -> Tally:
    found = Counter(what_is_left(machine, old, new) for machine in machines)
    return Tally(found[Found.OLD], found[Found.NEW], found[Found.BRICK])


def honest_tallies(old: bytes, sent: bytes, new: bytes, core: Core) -> tuple[Tally, Tally, Tally]:
    """The same by running the whole act anew for each cut."""
    specimen = Specimen(SMALL, old, core)

    def take(machine: Machine) -> None:
        assert receive(switched_on(machine), sent, Way.PUSH) is None

    staged = specimen.switched_on()
    assert receive(staged, sent, Way.PUSH) is None
    receiving = [
        switched_on(machine)
        for cut, machine in lose_power_everywhere(specimen.switched_on(), take)
        if cut.share in SHARES
    ]
    copying = [
        switched_on(machine) for cut, machine in lose_power_everywhere(staged, Machine.reset) if cut.share in SHARES
    ]
    resets = [machine for cut, machine in reset_everywhere(staged, Machine.reset) if cut.share in SHARES]
    for machine in resets:
        machine.reset()
    return counted(receiving, old, new), counted(copying, old, new), counted(resets, old, new)


UPDATES = {
    "larger": build_sketch("larger", 9),
    "smaller": build_sketch("smaller", 3),
    "other boot part": build_sketch("other boot part", 6, boot=boot_part("eboot 2")),
    "over its source": build_sketch("over its source", 56),
}


@WRAPPINGS
@pytest.mark.parametrize(
    ("update", "core"),
    [("larger", Core.V2_7), ("other boot part", Core.V2_7), *((update, Core.V3_1) for update in UPDATES)],
)
def test_breaking_clones_off_finds_what_running_anew_finds(update: str, core: Core, wrap: Wrapping) -> None:
    old, new = build_sketch("old", 6), UPDATES[update]
    survival = rehearse(Candidate.of(wrap(new)), Specimen(SMALL, old, core), Way.PUSH, cuts=None).survival
    assert survival is not None
    assert (survival.receiving, survival.copying, survival.resets) == honest_tallies(old, wrap(new), new, core)


# --------------------------------------------------------------------- every single cut of a real image's size


@pytest.fixture(scope="module", params=[plain, packed])
def rehearsal(request: pytest.FixtureRequest) -> Rehearsal:
    """256 KiB over 256 KiB, broken off at every flash operation."""
    old, new = (build_sketch(label, 64, size_and_frequency=0x40) for label in ("old", "new"))
    return rehearse(Candidate.of(request.param(new)), Specimen(LARGE, old), Way.PUSH, cuts=None)


def test_each_of_the_operations_of_256_kib_is_broken_off_in_the_middle_and_after_it(rehearsal: Rehearsal) -> None:
    survival = rehearsal.survival
    assert survival is not None
    assert (survival.operations, survival.of) == (254, 254)
    assert (survival.receiving.total, survival.copying.total, survival.resets.total) == (256, 252, 252)


def test_power_lost_while_256_kib_are_received_always_leaves_the_old_sketch(rehearsal: Rehearsal) -> None:
    assert rehearsal.survival is not None
    assert rehearsal.survival.receiving == Tally(old=256)


def test_power_lost_while_256_kib_are_copied_bricks_until_the_last_operation_is_done(rehearsal: Rehearsal) -> None:
    assert rehearsal.survival is not None
    assert rehearsal.survival.copying == Tally(new=1, bricked=251)


def test_a_reset_while_256_kib_are_copied_only_delays_the_copy(rehearsal: Rehearsal) -> None:
    assert rehearsal.survival is not None
    assert rehearsal.survival.resets == Tally(new=252)


# ------------------------------------------------------------------------------------------ every pair of cuts


def two_accidents(
    first: Machine, first_act: Callable[[Machine], object], accident: Accident, second: Callable[[Machine], None]
) -> None:
    """Break an act off everywhere, and hand on each machine that came up again."""

    def break_off(moment: Moment) -> None:
        for share in SHARES:
            machine = moment.broken_off(accident, share)
            second(machine)

    watch(first, first_act, break_off)


@WRAPPINGS
def test_every_pair_of_power_cuts_while_an_update_is_received_and_tried_again_leaves_the_old_sketch(
    wrap: Wrapping,
) -> None:
    old, new = build_sketch("old", 16), build_sketch("new", 16)
    apps, sent, found = Apps(old, new), wrap(new), Counter[Left]()

    def take(machine: Machine) -> None:
        assert receive(machine, sent, Way.PUSH) is None

    def try_again(machine: Machine) -> None:
        start_again(machine, Accident.POWER_LOST)
        assert apps.left(machine) is Left.OLD
        two_accidents(machine, take, Accident.POWER_LOST, look)

    def look(machine: Machine) -> None:
        start_again(machine, Accident.POWER_LOST)
        found[apps.left(machine)] += 1

    two_accidents(Specimen(SMALL, old).switched_on(), take, Accident.POWER_LOST, try_again)
    operations = 2 * -(-len(sent) // SECTOR_SIZE)
    assert found == {Left.OLD: (operations * len(SHARES)) ** 2}


@pytest.mark.slow
@WRAPPINGS
def test_every_pair_of_a_cut_while_receiving_and_one_while_the_second_try_is_copied(wrap: Wrapping) -> None:
    """Whatever the first one left in the staging area, the second try copies as if it had been the first."""
    old, new = build_sketch("old", 16), build_sketch("new", 16)
    apps, sent = Apps(old, new), wrap(new)
    found = {accident: Counter[Left]() for accident in Accident}
    tries = 0

    def take(machine: Machine) -> None:
        assert receive(machine, sent, Way.PUSH) is None

    def try_again(machine: Machine) -> None:
        nonlocal tries
        tries += 1
        start_again(machine, Accident.POWER_LOST)
        take(machine)
        for accident in Accident:
            copying = machine.clone()
            two_accidents(copying, Machine.reset, accident, partial(look, accident))

    def look(accident: Accident, machine: Machine) -> None:
        start_again(machine, accident)
        found[accident][apps.left(machine)] += 1

    two_accidents(Specimen(SMALL, old).switched_on(), take, Accident.POWER_LOST, try_again)
    stops = 2 * 15 * len(SHARES)  # the boot part is equal and skipped
    assert found[Accident.POWER_LOST] == {Left.BRICKED: tries * (stops - 1), Left.NEW: tries}
    assert found[Accident.RESET] == {Left.NEW: tries * stops}


@pytest.mark.slow
@WRAPPINGS
@pytest.mark.parametrize("second", Accident)
def test_every_pair_of_a_reset_during_the_copy_and_an_accident_during_the_next(
    wrap: Wrapping, second: Accident
) -> None:
    """A copy that starts over is as safe, and as unsafe, as the first one."""
    old, new = build_sketch("old", 16), build_sketch("new", 16)
    apps, found, rounds = Apps(old, new), Counter[Left](), 0
    staged = Specimen(SMALL, old).switched_on()
    assert receive(staged, wrap(new), Way.PUSH) is None

    def start_over(machine: Machine) -> None:
        nonlocal rounds
        rounds += 1
        two_accidents(machine, Machine.reset, second, look)

    def look(machine: Machine) -> None:
        start_again(machine, second)
        found[apps.left(machine)] += 1

    two_accidents(staged, Machine.reset, Accident.RESET, start_over)
    stops = 2 * 15 * len(SHARES)
    assert rounds == stops
    if second is Accident.RESET:
        assert found == {Left.NEW: rounds * stops}
    else:
        # Where the first copy was stopped right after its last operation, all is in place already, and a cut after any
        # of the second one's writes leaves the new sketch, not only after its last.
        survived = rounds + 14
        assert found == {Left.BRICKED: rounds * stops - survived, Left.NEW: survived}


def test_a_brick_stays_one_whatever_happens_to_its_power() -> None:
    old, new = build_sketch("old", 16), build_sketch("new", 16)
    apps, bricks = Apps(old, new), 0
    staged = Specimen(SMALL, old).switched_on()
    assert receive(staged, new, Way.PUSH) is None

    def look(machine: Machine) -> None:
        nonlocal bricks
        start_again(machine, Accident.POWER_LOST)
        if apps.left(machine) is Left.BRICKED:
            bricks += 1
            before = machine.flash.operations
            assert machine.power_on(NOISE).outcome is machine.power_on(NOISE).outcome
            assert apps.left(machine) is Left.BRICKED
            assert machine.flash.operations == before

    two_accidents(staged, Machine.reset, Accident.POWER_LOST, look)
    assert bricks
