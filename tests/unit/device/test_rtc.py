from __future__ import annotations

import struct

import pytest

from otaria.device.rtc import RTC_SIZE, RtcMemory
from otaria.wire.eboot import COMMAND_SIZE, BootCommand

COMMAND = BootCommand.copy_raw(0xA4000, 0, 373940)


def test_a_command_that_was_left_is_found() -> None:
    rtc = RtcMemory()
    rtc.leave_boot_command(COMMAND)
    found = rtc.boot_command()
    assert found is not None
    assert [found.argument(index) for index in range(4)] == [0xA4000, 0, 373940, 0]


@pytest.mark.parametrize(("source", "crc"), [(0xA4000, "298cd142"), (0x1A4000, "4b573b01")])
def test_the_command_block_is_the_vector_of_the_core(source: int, crc: str) -> None:
    rtc = RtcMemory()
    rtc.leave_boot_command(BootCommand.copy_raw(source, 0, 373940))
    words = (0xEB001000, 1, source, 0, 373940, *[0] * 26)
    assert rtc.read(0, COMMAND_SIZE) == struct.pack("<31I", *words) + bytes.fromhex(crc)


def test_clearing_changes_only_the_first_and_the_last_word() -> None:
    rtc = RtcMemory()
    rtc.leave_boot_command(COMMAND)
    before = rtc.read(4, COMMAND_SIZE - 8)
    rtc.clear_boot_command()
    assert rtc.boot_command() is None
    assert rtc.read(0, 4) == rtc.read(COMMAND_SIZE - 4, 4) == bytes(4)
    assert rtc.read(4, COMMAND_SIZE - 8) == before


def test_power_coming_on_overwrites_everything_with_noise() -> None:
    rtc = RtcMemory()
    rtc.leave_boot_command(COMMAND)
    rtc.power_on(b"\xa5" * RTC_SIZE)
    assert rtc.boot_command() is None
    assert rtc.read(0, RTC_SIZE) == b"\xa5" * RTC_SIZE


def test_short_noise_is_repeated_and_none_is_zero() -> None:
    rtc = RtcMemory()
    rtc.power_on(b"abc")
    assert rtc.read(0, RTC_SIZE) == (b"abc" * RTC_SIZE)[:RTC_SIZE]
    rtc.power_on(b"")
    assert rtc.read(0, RTC_SIZE) == bytes(RTC_SIZE)


def test_noise_can_hold_a_command_by_chance_and_then_it_is_one() -> None:
    rtc = RtcMemory()
    rtc.power_on(COMMAND.encode())
    assert rtc.boot_command() is not None


def test_a_sketch_reads_back_what_it_stored_in_whole_words_inside_the_memory() -> None:
    rtc = RtcMemory()
    assert rtc.write(RTC_SIZE - 8, b"somewhat")
    assert rtc.read(RTC_SIZE - 8, 8) == b"somewhat"


def test_the_memory_refuses_what_is_outside_or_no_whole_word() -> None:
    rtc = RtcMemory()
    for offset, content in ((RTC_SIZE - 4, b"too long"), (2, b"word"), (0, b"abc"), (-4, b"word")):
        assert not rtc.write(offset, content)
        assert rtc.read(offset, len(content)) is None
    assert rtc.read(0, RTC_SIZE) == bytes(RTC_SIZE)


def test_data_below_offset_128_is_lost_to_the_next_update() -> None:
    rtc = RtcMemory()
    rtc.write(0, b"mine")
    rtc.write(COMMAND_SIZE, b"safe")
    rtc.leave_boot_command(COMMAND)
    assert rtc.read(0, 4) != b"mine"
    assert rtc.read(COMMAND_SIZE, 4) == b"safe"


def test_a_clone_goes_its_own_way() -> None:
    rtc = RtcMemory()
    rtc.leave_boot_command(COMMAND)
    twin = rtc.clone()
    rtc.clear_boot_command()
    assert twin.boot_command() is not None
