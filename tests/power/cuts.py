"""Break an act off at every single flash operation, and see what is left.

Run the act once on a clone and count; then, for every operation and for several shares of it, run it on a fresh clone
that is stopped there. Nothing is drawn by chance, so every failure names its operation and repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

import pytest
from tests.device_bench import NOISE, app_installed

from otaria.device.flash import Interruption
from otaria.device.machine import Machine

Act = Callable[[Machine], object]

NOT_BEGUN, TORN, DONE = 0.0, 0.5, 1.0
SHARES = (NOT_BEGUN, TORN, DONE)


class Left(Enum):
    """What a machine is after the accident, once it was started again, twice."""

    OLD = auto()
    NEW = auto()
    BRICK = auto()


@dataclass(frozen=True)
class Cut:
    """Where an act was broken off.

    Args:
        operation: the number of the flash operation, 0 for the act's first.
        share: how much of that operation was done.
        last: the number of the act's last operation.
    """

    operation: int
    share: float
    last: int

    @property
    def moment(self) -> tuple[int, float]:
        """Operation and share, to compare."""
        return self.operation, self.share

    @property
    def before_everything(self) -> bool:
        return self.operation == 0 and self.share == NOT_BEGUN

    @property
    def after_everything(self) -> bool:
        return self.operation == self.last and self.share == DONE


def operations_of(start: Machine, act: Act) -> int:
    """How many flash operations the act takes."""
    machine = start.clone()
    before = machine.flash.operations
    act(machine)
    return machine.flash.operations - before


def _broken_off(start: Machine, act: Act, cut: Cut, *, by_power: bool) -> Machine:
    machine = start.clone()
    arm = machine.flash.lose_power_at if by_power else machine.flash.reset_at
    arm(cut.operation, cut.share)
    with pytest.raises(Interruption):
        act(machine)
    return machine


def _everywhere(start: Machine, act: Act, *, by_power: bool) -> Iterator[tuple[Cut, Machine]]:
    count = operations_of(start, act)
    assert count > 0
    for operation in range(count):
        for share in SHARES:
            cut = Cut(operation, share, count - 1)
            yield cut, _broken_off(start, act, cut, by_power=by_power)


def lose_power_everywhere(start: Machine, act: Act) -> Iterator[tuple[Cut, Machine]]:
    """For every cut, a machine that lost its power there and has not been switched on again."""
    return _everywhere(start, act, by_power=True)


def reset_everywhere(start: Machine, act: Act) -> Iterator[tuple[Cut, Machine]]:
    """For every cut, a machine whose processor was stopped there and has not started again."""
    return _everywhere(start, act, by_power=False)


def what_is_left(machine: Machine, old: bytes, new: bytes) -> Left:
    """Look at a machine that has been started; then start it again, which must change nothing."""
    first = _look(machine, old, new)
    machine.power_on(NOISE)
    assert _look(machine, old, new) is first, "a second start changed the outcome"
    return first


def _look(machine: Machine, old: bytes, new: bytes) -> Left:
    if not machine.running:
        assert machine.bricked
        return Left.BRICK
    assert app_installed(machine, new) or app_installed(machine, old), "something else runs"
    return Left.NEW if app_installed(machine, new) else Left.OLD


def switched_on(machine: Machine) -> Machine:
    machine.power_on(NOISE)
    return machine
