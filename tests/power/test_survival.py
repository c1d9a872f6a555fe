"""The survival table of protocols §5.3, at every flash operation."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator

import pytest
from tests.device_bench import NOISE, SMALL, app_installed, boot_part, build_sketch, new_machine, noise, running, stage
from tests.power.cuts import (
    DONE,
    NOT_BEGUN,
    Left,
    lose_power_everywhere,
    operations_of,
    reset_everywhere,
    switched_on,
    what_is_left,
)

from otaria.device.core_version import Core
from otaria.device.flash import BadSector, Interruption
from otaria.device.machine import BootOutcome, Machine, ResetReason
from otaria.wire.arduino_ota import Command
from otaria.wire.esp_image import Segment
from otaria.wire.layouts import SECTOR_SIZE

OLD = build_sketch("old", 6)
TEXT = noise("words", 3000) * 20

UPDATES = {
    "larger": build_sketch("larger", 9),
    "smaller": build_sketch("smaller", 3),
    "other boot part": build_sketch("other boot part", 6, boot=boot_part("eboot 2")),
    "compressible": build_sketch("compressible", 14, content=TEXT),
}


def packed(image: bytes) -> bytes:
    return gzip.compress(image, mtime=0)


def rewrites_boot_part(new: bytes) -> bool:
    return new[:SECTOR_SIZE] != OLD[:SECTOR_SIZE]


@pytest.fixture(params=list(UPDATES))
def new(request: pytest.FixtureRequest) -> bytes:
    return UPDATES[request.param]


@pytest.fixture(params=["raw", "gzip"])
def sent(request: pytest.FixtureRequest, new: bytes) -> bytes:
    return packed(new) if request.param == "gzip" else new


def staged(image: bytes, *, core: Core = Core.V3_1) -> Machine:
    """A machine that has received everything and has not restarted."""
    machine = running(OLD, core=core)
    assert stage(machine, image)
    return machine


def test_power_lost_while_receiving_leaves_the_old_sketch(sent: bytes, new: bytes) -> None:
    def act(machine: Machine) -> None:
        switched_on(machine)
        assert stage(machine, sent)

    for cut, machine in lose_power_everywhere(new_machine(OLD), act):
        assert switched_on(machine).console.endswith("~ld\n"), cut
        assert what_is_left(machine, OLD, new) is Left.OLD, cut


def test_a_reset_while_receiving_leaves_the_old_sketch(sent: bytes, new: bytes) -> None:
    def act(machine: Machine) -> None:
        switched_on(machine)
        assert stage(machine, sent)

    for cut, machine in reset_everywhere(new_machine(OLD), act):
        assert machine.reset(ResetReason.SOFTWARE_WATCHDOG).console.endswith("~ld\n"), cut
        assert what_is_left(machine, OLD, new) is Left.OLD, cut


def test_power_lost_after_the_end_and_before_the_restart_forgets_the_staged_image(sent: bytes, new: bytes) -> None:
    machine = staged(sent)
    machine.power_off()
    assert what_is_left(switched_on(machine), OLD, new) is Left.OLD


def test_power_lost_during_the_copy_bricks(sent: bytes, new: bytes) -> None:
    intact = {(0, NOT_BEGUN)}
    if rewrites_boot_part(new):
        intact |= {(1, DONE), (2, NOT_BEGUN)}  # the new boot part is there and the app not yet touched
    for cut, machine in lose_power_everywhere(staged(sent), Machine.reset):
        assert machine.console.partition("@cp:")[1], cut
        left = what_is_left(switched_on(machine), OLD, new)
        if cut.moment in intact:
            assert left is Left.OLD, cut
        else:
            assert left is (Left.NEW if cut.after_everything else Left.BRICK), cut


def test_a_brick_comes_back_over_the_cable(sent: bytes, new: bytes) -> None:
    for cut, machine in lose_power_everywhere(staged(sent), Machine.reset):
        switched_on(machine).flash_over_cable(new)
        machine.reset(ResetReason.EXTERNAL)
        assert what_is_left(machine, OLD, new) is Left.NEW, cut


def test_power_lost_while_the_boot_part_is_rewritten_leaves_nothing_that_the_rom_starts() -> None:
    for cut, machine in lose_power_everywhere(staged(UPDATES["other boot part"]), Machine.reset):
        refused = machine.power_on(NOISE).outcome is BootOutcome.ROM_REFUSES
        assert refused is ((0, NOT_BEGUN) < cut.moment < (1, DONE)), cut


def test_an_equal_boot_part_is_never_touched_so_the_rom_always_starts() -> None:
    for cut, machine in lose_power_everywhere(staged(UPDATES["larger"]), Machine.reset):
        assert machine.power_on(NOISE).outcome is not BootOutcome.ROM_REFUSES, cut


def test_boot_parts_before_3_0_rewrite_an_equal_boot_part_and_can_lose_it() -> None:
    image = UPDATES["larger"]
    outcomes = {
        machine.power_on(NOISE).outcome
        for _, machine in lose_power_everywhere(staged(image, core=Core.V2_7), Machine.reset)
    }
    assert BootOutcome.ROM_REFUSES in outcomes


def test_a_reset_during_the_copy_starts_it_over_unless_the_boot_part_is_half_written(sent: bytes, new: bytes) -> None:
    for cut, machine in reset_everywhere(staged(sent), Machine.reset):
        boot = machine.reset(ResetReason.EXTERNAL)
        if rewrites_boot_part(new) and (0, NOT_BEGUN) < cut.moment < (1, DONE):
            assert boot.outcome is BootOutcome.ROM_REFUSES, cut
        else:
            assert "@cp:" in boot.console, cut
            assert what_is_left(machine, OLD, new) is Left.NEW, cut


def test_a_reset_during_the_copy_bricks_where_the_command_was_cleared_first() -> None:
    image = UPDATES["larger"]
    intact = {(0, NOT_BEGUN), (1, DONE), (2, NOT_BEGUN)}  # these boot parts rewrite sector 0 always
    for cut, machine in reset_everywhere(staged(image, core=Core.V2_5), Machine.reset):
        boot = machine.reset(ResetReason.EXTERNAL)
        assert "@" not in boot.console, cut
        left = what_is_left(machine, OLD, image)
        if cut.moment in intact:
            assert left is Left.OLD, cut
        else:
            assert left is (Left.NEW if cut.after_everything else Left.BRICK), cut


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("packing", [bytes, packed], ids=["raw", "gzip"])
def test_resets_one_after_the_other_only_delay_the_copy(seed: int, packing: Callable[[bytes], bytes]) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    new = UPDATES["larger"]
    machine = staged(packing(new))
    count = operations_of(machine, Machine.reset)
    for _ in range(5):
        machine.flash.reset_at(chance.randrange(count), chance.random())
        with pytest.raises(Interruption):
            machine.reset(ResetReason.HARDWARE_WATCHDOG)
    machine.reset()
    assert what_is_left(machine, OLD, new) is Left.NEW


def test_power_lost_after_the_copy_leaves_the_new_sketch(sent: bytes, new: bytes) -> None:
    machine = staged(sent)
    assert machine.reset().running
    machine.power_off()
    assert what_is_left(switched_on(machine), OLD, new) is Left.NEW


# where the unpacked image runs over its own source


PLAIN_BOOT = Segment(0x4010F000, bytes(range(256)) * 10)
BELOW = build_sketch("below", 6, boot=PLAIN_BOOT)
FLAT = build_sketch("flat", 24, boot=PLAIN_BOOT, content=noise("busy at first", 6000))


def staged_low(image: bytes) -> tuple[Machine, int]:
    """A machine to which the image came through the browser: right above the sketch. And where it lies."""
    machine = running(BELOW)
    room = (machine.free_sketch_space - SECTOR_SIZE) // SECTOR_SIZE * SECTOR_SIZE
    assert machine.updater.begin(room)
    machine.updater.write(packed(image))
    assert machine.updater.end(even_if_remaining=True)
    return machine, SMALL.file_system_start - room


def test_a_copy_that_runs_over_a_source_already_read_succeeds() -> None:
    machine, source = staged_low(FLAT)
    assert source < len(FLAT)
    machine.reset()
    assert what_is_left(machine, BELOW, FLAT) is Left.NEW


def test_a_reset_is_safe_until_the_copy_reaches_its_source_and_fatal_from_there_on() -> None:
    machine, source = staged_low(FLAT)
    # sector 0 is equal and skipped, each further one takes an erase and a write
    reaches_source = ((source // SECTOR_SIZE - 1) * 2, NOT_BEGUN)
    for cut, stopped in reset_everywhere(machine, Machine.reset):
        stopped.reset(ResetReason.EXTERNAL)
        left = what_is_left(stopped, BELOW, FLAT)
        assert left is (Left.NEW if cut.moment <= reaches_source else Left.BRICK), cut


# file systems


FILES_BEFORE = noise("files before", SMALL.file_system_size)
FILES_AFTER = noise("files after", SMALL.file_system_size)


def with_files(*, atomic: bool = False) -> Machine:
    machine = new_machine(OLD.ljust(SMALL.file_system_start, b"\xff") + FILES_BEFORE, atomic_file_system=atomic)
    machine.power_on(NOISE)
    return machine


def receive_files(machine: Machine) -> None:
    switched_on(machine)
    assert stage(machine, FILES_AFTER, Command.FILESYSTEM)


def runs_old_sketch(machine: Machine) -> bool:
    return machine.running and app_installed(machine, OLD)


def files(machine: Machine) -> bytes:
    return machine.flash.read(SMALL.file_system_start, SMALL.file_system_size)


def test_power_lost_during_a_file_system_update_breaks_the_files_and_not_the_sketch() -> None:
    for cut, machine in lose_power_everywhere(with_files(), receive_files):
        assert runs_old_sketch(switched_on(machine)), cut
        assert (files(machine) == FILES_BEFORE) is cut.before_everything, cut
        assert (files(machine) == FILES_AFTER) is cut.after_everything, cut


def test_power_lost_while_an_atomic_file_system_is_received_leaves_the_old_files() -> None:
    for cut, machine in lose_power_everywhere(with_files(atomic=True), receive_files):
        assert runs_old_sketch(switched_on(machine)), cut
        assert files(machine) == FILES_BEFORE, cut


def copies_of_files() -> Machine:
    machine = with_files(atomic=True)
    receive_files(machine)
    return machine


def test_power_lost_while_an_atomic_file_system_is_copied_breaks_the_files_and_not_the_sketch() -> None:
    for cut, machine in lose_power_everywhere(copies_of_files(), Machine.reset):
        assert runs_old_sketch(switched_on(machine)), cut
        assert (files(machine) == FILES_BEFORE) is cut.before_everything, cut
        assert (files(machine) == FILES_AFTER) is cut.after_everything, cut


def test_a_reset_while_an_atomic_file_system_is_copied_starts_it_over() -> None:
    for cut, machine in reset_everywhere(copies_of_files(), Machine.reset):
        machine.reset(ResetReason.EXTERNAL)
        assert runs_old_sketch(machine), cut
        assert files(machine) == FILES_AFTER, cut


# bad sectors


def bad_sectors() -> Iterator[tuple[int, BadSector]]:
    for sector in range(1, 9):
        for behaviour in BadSector:
            yield sector, behaviour


@pytest.mark.parametrize(("sector", "behaviour"), list(bad_sectors()))
def test_a_bad_sector_under_the_new_sketch_never_lets_a_mixture_run(sector: int, behaviour: BadSector) -> None:
    new = UPDATES["larger"]
    machine = staged(new)
    machine.flash.spoil(sector, behaviour)
    machine.reset()
    if machine.running:
        untouched = behaviour is BadSector.ERASE_FAILS and sector == 1
        nothing_to_erase = behaviour is BadSector.ERASE_IGNORED and sector * SECTOR_SIZE >= len(OLD)
        assert untouched or nothing_to_erase
        assert what_is_left(machine, OLD, new) is (Left.OLD if untouched else Left.NEW)
    else:
        assert machine.bricked


@pytest.mark.parametrize("behaviour", list(BadSector))
def test_a_bad_sector_in_the_staging_area_is_found_by_error_or_by_md5_or_by_the_crash(behaviour: BadSector) -> None:
    image = UPDATES["larger"]
    machine = running(OLD)
    machine.flash.spoil(SMALL.file_system_start // SECTOR_SIZE - 4, behaviour)
    if stage(machine, image):
        machine.reset()
        silently = behaviour is BadSector.PROGRAM_IGNORED
        assert machine.running is (behaviour is BadSector.ERASE_IGNORED)
        assert silently or behaviour in (BadSector.READ_FAILS, BadSector.ERASE_IGNORED)
    else:
        assert machine.updater.error in (1, 2)
        machine.reset()
        assert machine.running
