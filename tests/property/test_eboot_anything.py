"""Whatever lies in flash and RTC memory, eboot does one of the things that are documented."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.device_bench import MAC, NOISE, SMALL, build_sketch, noise

from otaria.device.core_version import Core
from otaria.device.eboot import CopyResult, EbootRun, Ending, LoadResult, run_eboot
from otaria.device.flash import Flash
from otaria.device.machine import BootOutcome, Machine
from otaria.device.rtc import RtcMemory
from otaria.device.spi import Spi
from otaria.wire.eboot import BootCommand
from otaria.wire.layouts import SECTOR_SIZE

SIZE = 24 * SECTOR_SIZE
SKETCH = build_sketch("sketch", 3)

CONSOLE = re.compile(r"(v[0-9a-f]{8}\n)?[@~](cp:B?[0-6]\n)?(ld\n(e:[123]\n)?)?")
HANGING = re.compile(r"(v[0-9a-f]{8}\n)?@cp:B?")

headers = st.builds(
    struct.pack,
    st.just("<BBBBIII"),
    st.sampled_from([0xE9, 0]),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from([0x40201010, 0x40100000, 0x3FFE8000, 0x60000000, 0xFFFFFFFF, 0]),
    st.integers(0, 2 * SIZE),
)
zipped = st.binary(max_size=3000).map(lambda content: gzip.compress(content, mtime=0))
torn_gzip = st.builds(lambda content, cut: content[:cut], zipped, st.integers(2, 60))
odd_gzip = st.builds(lambda flags, rest: b"\x1f\x8b\x08" + bytes((flags,)) + rest, st.integers(0, 255), st.binary())
pieces = st.one_of(
    st.binary(max_size=64), headers, zipped, torn_gzip, odd_gzip, st.just(SKETCH), st.just(b"x" * SIZE), st.just(b"")
)
flashes = st.lists(st.tuples(st.integers(0, 20), pieces), max_size=5)
aligned = st.integers(0, 30).map(lambda sector: sector * SECTOR_SIZE)
words = st.one_of(aligned, st.integers(0, 0xFFFFFFFF), st.integers(0, SIZE))
commands = st.one_of(
    st.none(),
    st.builds(BootCommand.copy_raw, words, words, words),
    st.builds(lambda action, word: BootCommand(action, (word,)), st.sampled_from([0xFFFFFFFF, 0, 7]), words),
)


def flash_with(content: list[tuple[int, bytes]], size: int = SIZE) -> Flash:
    flat = bytearray(b"\xff" * size)
    for sector, piece in content:
        at = sector * SECTOR_SIZE
        flat[at : at + len(piece)] = piece[: size - at]
    flash = Flash(size)
    flash.load(bytes(flat))
    return flash


@settings(max_examples=400, deadline=None)
@given(flashes, commands, st.sampled_from(Core))
@example([(8, b"\x1f\x8b\x08\x08" + b"x" * SIZE)], BootCommand.copy_raw(8 * SECTOR_SIZE, 0, 4096), Core.V3_1)
def test_eboot_ends_in_a_documented_way(
    content: list[tuple[int, bytes]], command: BootCommand | None, core: Core
) -> None:
    rtc = RtcMemory()
    if command is not None:
        rtc.leave_boot_command(command)
    printed: list[str] = []
    run = run_eboot(Spi(flash_with(content)), rtc, core.behaviour, printed.append)
    console = "".join(printed)
    if run.ending is Ending.HANGS:
        assert HANGING.fullmatch(console)
        assert rtc.boot_command() is not None or core.behaviour.clears_command_first
    else:
        assert CONSOLE.fullmatch(console)
        assert rtc.boot_command() is None
        _check_that_the_console_tells_the_truth(run, console)


def _check_that_the_console_tells_the_truth(run: EbootRun, console: str) -> None:
    assert ("@" in console) is run.had_command
    copied = re.search(r"cp:B?(\d)", console)
    assert (copied and int(copied[1])) == run.copy_result
    failed = re.search(r"e:(\d)", console)
    assert ("ld\n" in console) is (run.load_result is not None)
    assert int(failed[1] if failed else 0) == (run.load_result or LoadResult.OK)
    assert (run.ending is Ending.JUMPED) is (run.load_result is LoadResult.OK)


@settings(max_examples=200, deadline=None)
@given(flashes, commands, st.sampled_from(Core))
def test_a_machine_starts_with_anything_in_flash(
    content: list[tuple[int, bytes]], command: BootCommand | None, core: Core
) -> None:
    machine = Machine(flash_with([(0, SKETCH), *content], SMALL.flash_size), SMALL, MAC, core=core)
    if command is not None:
        machine.rtc.leave_boot_command(command)
    boot = machine.reset()
    assert boot.running is machine.running is (boot.outcome is BootOutcome.RUNS)
    assert machine.sketch_size >= 0
    again = machine.power_on(NOISE)
    assert machine.power_on(NOISE).outcome is again.outcome
    if boot.running and boot.copy_result is None:
        assert again.running


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=10 * SECTOR_SIZE),
        st.builds(lambda seed, times: seed * times, st.binary(min_size=1, max_size=100), st.integers(1, 300)),
        st.integers(0, 9).map(lambda sectors: noise(f"{sectors}", sectors * SECTOR_SIZE)),
    ),
    st.integers(0, 9),
    st.sampled_from(["", "name.bin", "a very long name " * 400]),
)
def test_every_gzip_is_unpacked_as_gzip_does(content: bytes, level: int, name: str) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(name, "wb", level, packed, mtime=0) as file:
        file.write(content)
    source = 11 * SECTOR_SIZE
    flash, rtc = flash_with([(11, packed.getvalue())]), RtcMemory()
    rtc.leave_boot_command(BootCommand.copy_raw(source, 0, len(packed.getvalue())))
    run = run_eboot(Spi(flash), rtc, Core.V3_1.behaviour, lambda _: None)
    assert run.copy_result is CopyResult.OK
    assert flash.read(0, len(content)) == zlib.decompress(packed.getvalue(), 31)
