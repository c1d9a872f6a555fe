"""Any sequence of calls leaves an Updater consistent, and the running sketch alone."""

from __future__ import annotations

import gzip
import hashlib
import re

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.device_bench import SMALL, build_sketch, noise, running

from otaria.device.core_version import Core
from otaria.units import ByteCount
from otaria.wire.arduino_ota import Command
from otaria.wire.layouts import SECTOR_SIZE

SKETCH = build_sketch("running", 3)
OFFERED = build_sketch("offered", 3)
STREAMS = (OFFERED, gzip.compress(OFFERED, mtime=0), noise("garbage", 2 * SECTOR_SIZE), b"\xe9" * 100)
FS = slice(SMALL.file_system_start, SMALL.file_system_end)

sizes = st.one_of(
    st.sampled_from([len(stream) for stream in STREAMS]),
    st.integers(0, 3 * SECTOR_SIZE),
    st.just(SMALL.file_system_size),
    st.integers(0, 1 << 32),
)
lengths = st.one_of(st.integers(0, 300), st.sampled_from([255, 256, 257, 4095, 4096, 4097, 1 << 20]))


class AnyCalls(RuleBasedStateMachine):
    @initialize(core=st.sampled_from(Core), heap=st.sampled_from([100, 8192, 40_000]))
    def start(self, core: Core, heap: int) -> None:
        self.machine = running(SKETCH, core=core)
        self.machine.free_heap = ByteCount(heap)
        self.stream = b""
        self.sent = 0
        self.begun_with = 0
        self.calls: list[str] = []
        updater = self.machine.updater
        updater.on_start = lambda: self.calls.append("start")
        updater.on_end = lambda: self.calls.append("end")
        updater.on_error = lambda code: self.calls.append(f"error {code}")

    @rule(size=sizes, command=st.sampled_from([0, 100, 101, 200]), stream=st.sampled_from(STREAMS))
    def begin(self, size: int, command: int, stream: bytes) -> None:
        updater = self.machine.updater
        was_running = updater.is_running
        if updater.begin(size, command):
            assert not was_running
            assert command in (Command.FLASH, Command.FILESYSTEM)
            self.stream, self.sent, self.begun_with = stream, 0, size
            assert (updater.error, updater.size, updater.progress, updater.buffered) == (0, size, 0, 0)

    @rule(text=st.one_of(st.text(max_size=40), st.sampled_from([hashlib.sha256(s).hexdigest()[:32] for s in STREAMS])))
    def set_md5(self, text: str) -> None:
        assert self.machine.updater.set_md5(text) is (len(text) == 32)

    @rule(length=lengths)
    def write(self, length: int) -> None:
        updater = self.machine.updater
        piece = self.stream[self.sent : self.sent + length]
        fits = updater.is_running and not updater.error and len(piece) <= updater.remaining - updater.buffered
        taken = updater.write(piece)
        assert taken == (len(piece) if fits else 0)
        self.sent += taken

    @rule(even_if_remaining=st.booleans())
    def end(self, even_if_remaining: bool) -> None:
        updater = self.machine.updater
        finished, error = updater.is_finished and updater.is_running, updater.error
        if updater.end(even_if_remaining):
            assert not error
            assert finished or even_if_remaining
        assert not updater.is_running

    @rule()
    def clear_error(self) -> None:
        self.machine.updater.clear_error()
        assert self.machine.updater.error == 0

    @invariant()
    def the_figures_agree(self) -> None:
        updater = self.machine.updater
        assert updater.is_running is (updater.size > 0)
        assert 0 <= updater.progress <= updater.size
        assert updater.remaining == updater.size - updater.progress
        assert updater.buffered <= updater.remaining
        assert updater.progress + updater.buffered == (self.sent if updater.is_running else 0)
        assert updater.is_finished is (updater.remaining == 0)

    @invariant()
    def no_error_runs_on(self) -> None:
        updater = self.machine.updater
        assert not (updater.error and updater.is_running)
        assert updater.error <= self.machine.core.behaviour.last_error
        assert re.fullmatch(rf"ERROR\[{updater.error}\]: .+", updater.error_text())

    @invariant()
    def the_running_sketch_and_the_system_s_sectors_are_untouched(self) -> None:
        flash = self.machine.flash
        assert flash.read(0, len(SKETCH)) == SKETCH
        behind = flash.size - SMALL.file_system_end
        assert flash.read(SMALL.file_system_end, behind) == b"\xff" * behind

    @invariant()
    def a_command_copies_something_staged_above_the_sketch(self) -> None:
        command = self.machine.rtc.boot_command()
        if command is None:
            return
        source, destination, size = (command.argument(index) for index in range(3))
        assert len(SKETCH) <= source <= source + size <= SMALL.file_system_start
        assert (source % SECTOR_SIZE, destination) == (0, 0)

    @invariant()
    def every_start_is_followed_by_an_end(self) -> None:
        started = "".join(call[0] for call in self.calls if call in ("start", "end"))
        assert "ss" not in started
        assert started.endswith("s") is (self.machine.updater.is_running and self.machine.core.behaviour.has_callbacks)


AnyCalls.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestAnyCalls = AnyCalls.TestCase
