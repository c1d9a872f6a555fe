from __future__ import annotations

import pytest
from tests.device_bench import SMALL, build_sketch, new_machine, running, stage

from otaria.device.core_version import Core
from otaria.device.flash import Flash, Interruption
from otaria.device.machine import Machine
from otaria.device.rehearsal_cuts import DONE, TORN, Accident, Apps, Left, Moment, Tally, start_again, watch
from otaria.device.rehearsal_timing import FlashOperation
from otaria.wire.layouts import SECTOR_SIZE

OLD = build_sketch("old", 4)
NEW = build_sketch("new", 4)
APPS = Apps(OLD, NEW)
STAGED = SMALL.file_system_start - 4 * SECTOR_SIZE


def staged(*, core: Core = Core.V3_1) -> Machine:
    """A machine that has received the new sketch and has not restarted."""
    machine = running(OLD, core=core)
    assert stage(machine, NEW)
    return machine


def operations(machine: Machine) -> list[FlashOperation]:
    found: list[FlashOperation] = []
    watch(machine, Machine.reset, lambda moment: found.append(moment.operation))
    return found


# watching


def test_a_flash_chip_tells_of_every_operation_before_it_happens() -> None:
    flash = Flash(2 * SECTOR_SIZE)
    flash.load(b"\0" * 8)
    seen: list[tuple[int, bytes | None, bytes]] = []
    flash.before_operation = lambda offset, content: seen.append((offset, content, flash.read(0, 4)))
    flash.erase(0)
    flash.write(0, b"abcd")
    flash.write(SECTOR_SIZE, b"efgh")
    assert seen == [(0, None, b"\0" * 4), (0, b"abcd", b"\xff" * 4), (SECTOR_SIZE, b"efgh", b"abcd")]


def test_a_flash_chip_tells_of_an_operation_that_is_cut_off_too() -> None:
    flash = Flash(SECTOR_SIZE)
    seen: list[int] = []
    flash.before_operation = lambda offset, _content: seen.append(offset)
    flash.lose_power_at(0)
    with pytest.raises(Interruption):
        flash.erase(0)
    assert seen == [0]


def test_watching_visits_each_operation_in_order() -> None:
    first_erased, then_written, *_ = found = operations(staged())
    assert first_erased == FlashOperation(SECTOR_SIZE, None)
    assert then_written == FlashOperation(SECTOR_SIZE, SECTOR_SIZE)
    assert [operation.offset // SECTOR_SIZE for operation in found] == [1, 1, 2, 2, 3, 3]


def test_watching_changes_nothing() -> None:
    watched, unwatched = staged(), staged()
    operations(watched)
    unwatched.reset()
    assert watched.flash.dump() == unwatched.flash.dump()
    assert watched.flash.operations == unwatched.flash.operations
    assert watched.console == unwatched.console


def test_watching_ends_with_the_act_even_where_that_fails() -> None:
    machine = staged()
    machine.flash.lose_power_at(2)
    with pytest.raises(Interruption):
        operations(machine)
    assert machine.flash.before_operation is None


# breaking off


def broken_off_everywhere(machine: Machine, accident: Accident, share: float) -> list[Machine]:
    found: list[Machine] = []
    watch(machine, Machine.reset, lambda moment: found.append(moment.broken_off(accident, share)))
    return found


@pytest.mark.parametrize("accident", Accident)
@pytest.mark.parametrize("share", [0.0, 0.3, TORN, DONE])
@pytest.mark.parametrize("core", [Core.V2_5, Core.V3_1])
def test_a_clone_that_is_stopped_is_what_a_run_that_is_stopped_leaves(
    accident: Accident, share: float, core: Core
) -> None:
    for number, stopped in enumerate(broken_off_everywhere(staged(core=core), accident, share)):
        honest = staged(core=core)
        arm = honest.flash.lose_power_at if accident is Accident.POWER_LOST else honest.flash.reset_at
        arm(number, share)
        with pytest.raises(Interruption):
            honest.reset()
        assert stopped.flash.dump() == honest.flash.dump(), number
        assert stopped.flash.powered is honest.flash.powered, number
        assert stopped.flash.operations == honest.flash.operations, number
        assert stopped.rtc.boot_command() == honest.rtc.boot_command(), number


def test_breaking_a_clone_off_leaves_the_act_alone() -> None:
    machine = staged()
    broken_off_everywhere(machine, Accident.POWER_LOST, TORN)
    assert machine.running
    assert APPS.left(machine) is Left.NEW


# what is left


def test_old_and_new_are_told_by_what_runs() -> None:
    machine = staged()
    assert APPS.left(machine) is Left.OLD
    machine.reset()
    assert APPS.left(machine) is Left.NEW


def test_a_machine_that_does_not_run_is_bricked() -> None:
    assert APPS.left(new_machine(OLD)) is Left.BRICKED


def test_a_machine_that_runs_something_else_is_bricked() -> None:
    assert Apps(NEW, build_sketch("third", 4)).left(running(OLD)) is Left.BRICKED


def test_an_image_that_is_none_is_never_found() -> None:
    for nothing in (b"", b"\xe9", bytes(SMALL.flash_size + SECTOR_SIZE)):
        assert Apps(OLD, nothing).left(running(OLD)) is Left.OLD


def test_a_power_cut_makes_the_device_forget_the_copy_and_a_reset_does_not() -> None:
    left: dict[Accident, set[Left]] = {accident: set() for accident in Accident}

    def look(moment: Moment) -> None:
        for accident in Accident:
            machine = moment.broken_off(accident, TORN)
            start_again(machine, accident)
            left[accident].add(APPS.left(machine))

    watch(staged(), Machine.reset, look)
    assert Left.BRICKED in left[Accident.POWER_LOST]
    assert left[Accident.RESET] == {Left.NEW}


def test_after_a_reset_that_installs_the_power_is_cycled_to_see_whether_it_lasts() -> None:
    machine = staged()
    start_again(machine, Accident.RESET)
    assert APPS.left(machine) is Left.NEW
    assert machine.console.endswith("~ld\n"), "the last start had no command any more"


def test_a_tally_counts_all_accidents() -> None:
    assert Tally(old=1, new=2, bricked=3).total == 6
    assert Tally().total == 0
