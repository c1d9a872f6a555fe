"""The sparse chip behaves as a plain array of bytes does, whatever is done to it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from otaria.device.flash import Flash, FlashMisuse, ResetStruck
from otaria.wire.layouts import SECTOR_SIZE

SECTORS = 4
SIZE = SECTORS * SECTOR_SIZE

sectors = st.integers(0, SECTORS - 1)
offsets = st.integers(0, SIZE // 4 - 1).map(lambda word: word * 4)
contents = st.one_of(
    st.binary(min_size=4, max_size=64),
    st.builds(lambda seed, length: (seed * length)[:length], st.binary(min_size=1, max_size=8), st.integers(1, 9000)),
)


class AgainstAnArray(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.flash = Flash(SIZE)
        self.array = bytearray(b"\xff" * SIZE)
        self.mirror = bytearray(self.array)
        self.flash.on_change = self._mirror

    def _mirror(self, offset: int, content: bytes) -> None:
        self.mirror[offset : offset + len(content)] = content

    @rule(sector=sectors)
    def erase(self, sector: int) -> None:
        assert self.flash.erase(sector)
        self.array[sector * SECTOR_SIZE : (sector + 1) * SECTOR_SIZE] = b"\xff" * SECTOR_SIZE

    @rule(offset=offsets, content=contents)
    def write(self, offset: int, content: bytes) -> None:
        there = self.array[offset : offset + len(content)]
        fits = len(there) == len(content) and len(content) % 4 == 0
        if fits and all(old & new == new for old, new in zip(there, content, strict=True)):
            assert self.flash.write(offset, content)
            self.array[offset : offset + len(content)] = content
        else:
            with pytest.raises(FlashMisuse):
                self.flash.write(offset, content)

    @rule(sector=sectors, share=st.floats(0, 1))
    def break_off_an_erase(self, sector: int, share: float) -> None:
        self.flash.reset_at(0, share)
        with pytest.raises(ResetStruck):
            self.flash.erase(sector)
        here = slice(sector * SECTOR_SIZE, (sector + 1) * SECTOR_SIZE)
        after = self.flash.read(here.start, SECTOR_SIZE)
        assert all(new in (old, 0xFF) for old, new in zip(self.array[here], after, strict=True))
        self.array[here] = after

    @rule(content=st.binary(max_size=SIZE))
    def load(self, content: bytes) -> None:
        self.flash.load(content)
        self.array[:] = content.ljust(SIZE, b"\xff")

    @rule()
    def clone(self) -> None:
        self.flash = self.flash.clone()
        self.flash.on_change = self._mirror

    @invariant()
    def holds_the_same(self) -> None:
        assert self.flash.dump() == self.array == self.mirror

    @invariant()
    def erased_sectors_take_no_memory(self) -> None:
        blank = bytes(b"\xff" * SECTOR_SIZE)
        assert blank not in self.flash._sectors.values()


AgainstAnArray.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestAgainstAnArray = AgainstAnArray.TestCase
