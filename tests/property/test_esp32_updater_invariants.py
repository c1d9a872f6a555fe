"""Any sequence of calls leaves an ESP32's Updater consistent, and the running app alone."""

from __future__ import annotations

import hashlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.device_bench import noise
from tests.esp32_bench import APP_0, APP_1, FILES, FLASH_SIZE, SLOT, build_app, label_of, running_esp32

from otaria.device.esp32_core_version import Esp32Core
from otaria.device.esp32_update_error import UPDATE_ERROR_TEXTS
from otaria.device.esp32_updater import UNKNOWN_SIZE
from otaria.wire.layouts import SECTOR_SIZE

RUNNING = build_app("running", 3)
OFFERED = build_app("offered", 3)
STREAMS = (
    OFFERED,
    noise("garbage", 2 * SECTOR_SIZE),
    b"\xe9" * 100,
    b"\xe9" * 17,
    b"\xff" * 9000,
    b"\xe9" * (SLOT + 9000),
)

sizes = st.one_of(
    st.sampled_from([len(stream) for stream in STREAMS]),
    st.integers(0, 3 * SECTOR_SIZE),
    st.sampled_from([SLOT, SLOT + 1, UNKNOWN_SIZE]),
    st.integers(0, UNKNOWN_SIZE),
)
lengths = st.one_of(st.integers(0, 300), st.sampled_from([15, 16, 17, 4095, 4096, 4097, 1 << 20]))


class AnyCalls(RuleBasedStateMachine):
    @initialize(core=st.sampled_from(Esp32Core), rollback=st.booleans())
    def start(self, core: Esp32Core, rollback: bool) -> None:
        self.machine = running_esp32(RUNNING, core=core, rollback=rollback)
        self.stream, self.sent = b"", 0

    @rule(size=sizes, command=st.sampled_from([0, 100, 101, 102, 103, 200]), stream=st.sampled_from(STREAMS))
    def begin(self, size: int, command: int, stream: bytes) -> None:
        updater = self.machine.updater
        was_running = updater.is_running
        if updater.begin(size, command):
            assert not was_running
            self.stream, self.sent = stream, 0
            assert (updater.error, updater.progress, updater.buffered) == (0, 0, 0)
            assert updater.size == (SLOT if size == UNKNOWN_SIZE else size)
        elif not was_running:
            assert updater.error != 0

    @rule(text=st.one_of(st.text(max_size=40), st.sampled_from([hashlib.sha256(s).hexdigest()[:32] for s in STREAMS])))
    def set_md5(self, text: str) -> None:
        assert self.machine.updater.set_md5(text) is (len(text) == 32)

    @rule(length=lengths)
    def write(self, length: int) -> None:
        updater = self.machine.updater
        piece = self.stream[self.sent : self.sent + length]
        taken = updater.write(piece)
        assert 0 <= taken <= len(piece)
        assert taken == len(piece) or not updater.is_running
        self.sent += taken

    @rule(length=lengths, first=st.integers(0, 255))
    def write_stream(self, length: int, first: int) -> None:
        taking = self.machine.updater.write_stream(first)
        try:
            wanted = next(taking)
            while True:
                piece = self.stream[self.sent : self.sent + min(wanted, length)]
                self.sent += len(piece)
                wanted = taking.send(piece or None)
        except StopIteration:
            assert self.machine.updater.remaining == 0 or self.machine.updater.error

    @rule(even_if_remaining=st.booleans())
    def end(self, even_if_remaining: bool) -> None:
        updater = self.machine.updater
        was_running, finished = updater.is_running, updater.is_finished
        if updater.end(even_if_remaining):
            assert was_running
            assert finished or even_if_remaining
            assert not updater.is_running
        else:
            assert updater.error or not was_running

    @rule()
    def abort(self) -> None:
        self.machine.updater.abort()
        assert self.machine.updater.error == 12

    @rule()
    def clear_error(self) -> None:
        self.machine.updater.clear_error()
        assert self.machine.updater.error == 0

    @invariant()
    def the_figures_agree(self) -> None:
        updater = self.machine.updater
        assert updater.is_running is (updater.size > 0)
        assert updater.remaining == (updater.size - updater.progress) % (1 << 32)
        assert updater.progress <= SLOT
        assert updater.buffered <= SECTOR_SIZE
        assert updater.is_finished is (updater.remaining == 0)

    @invariant()
    def no_error_runs_on(self) -> None:
        updater = self.machine.updater
        assert not (updater.error and updater.is_running)
        assert updater.error_text() in UPDATE_ERROR_TEXTS.values()

    @invariant()
    def what_runs_and_what_belongs_to_nobody_is_untouched(self) -> None:
        flash = self.machine.flash
        assert flash.read(APP_0.offset, len(RUNNING)) == RUNNING
        assert flash.read(FILES.end, FLASH_SIZE - FILES.end) == b"\xff" * (FLASH_SIZE - FILES.end)
        assert flash.read(APP_1.end, FILES.offset - APP_1.end) == b"\xff" * (FILES.offset - APP_1.end)

    @invariant()
    def at_any_moment_a_restart_runs_the_old_app_or_the_whole_new_one(self) -> None:
        twin = self.machine.clone()
        assert twin.power_on().running
        assert label_of(twin) in ("running", "offered")


AnyCalls.TestCase.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
TestAnyCalls = AnyCalls.TestCase
