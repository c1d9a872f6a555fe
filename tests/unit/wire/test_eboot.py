from __future__ import annotations

import struct

import pytest

from otaria.wire.checksums import crc32_mpeg2
from otaria.wire.eboot import COMMAND_SIZE, Action, BootCommand, cleared

COPY = BootCommand.copy_raw(0xA4000, 0, 373940)


def block(magic: int, action: int, *arguments: int) -> bytes:
    body = struct.pack("<31I", magic, action, *arguments, *(0,) * (29 - len(arguments)))
    return body + struct.pack("<I", crc32_mpeg2(body))


def test_a_copy_names_source_destination_and_size() -> None:
    assert COPY.action == Action.COPY_RAW
    assert [COPY.argument(index) for index in range(4)] == [0xA4000, 0, 373940, 0]


def test_zeros_at_the_end_do_not_make_another_command() -> None:
    assert BootCommand(Action.COPY_RAW, (1, 0, 0)) == BootCommand(Action.COPY_RAW, (1,))
    assert BootCommand(Action.COPY_RAW, (0, 0, 7, 0)).arguments == (0, 0, 7)
    assert BootCommand(Action.LOAD_APP, (0,)).arguments == ()


def test_the_stack_garbage_that_a_real_updater_leaves_is_kept() -> None:
    garbage = tuple(range(1, 30))
    decoded = BootCommand.decode(block(0xEB001000, 1, *garbage))
    assert decoded is not None
    assert decoded.arguments == garbage
    assert decoded.encode() == block(0xEB001000, 1, *garbage)


@pytest.mark.parametrize("magic", [0xEB001000, 0xEB001001, 0xEB001FFF])
def test_the_low_twelve_bits_of_the_magic_word_are_free(magic: int) -> None:
    assert BootCommand.decode(block(magic, 1, 5)) == BootCommand(1, (5,))


@pytest.mark.parametrize("magic", [0x00000000, 0xEB000FFF, 0xEB002000, 0xEA001000, 0xFFFFFFFF])
def test_another_magic_word_is_no_command_even_with_a_good_crc(magic: int) -> None:
    assert BootCommand.decode(block(magic, 1, 5)) is None


@pytest.mark.parametrize("bit", [0, 33, 64, 500, 991, 992, 1023])
def test_one_flipped_bit_is_no_command(bit: int) -> None:
    damaged = bytearray(COPY.encode())
    damaged[bit // 8] ^= 1 << bit % 8
    decoded = BootCommand.decode(bytes(damaged))
    assert decoded is None


def test_an_action_that_eboot_does_not_know_is_still_a_command() -> None:
    assert BootCommand.decode(block(0xEB001000, 7)) == BootCommand(7, ())


def test_loading_is_the_action_of_all_ones() -> None:
    command = BootCommand(Action.LOAD_APP, (0,))
    assert command.encode()[4:8] == b"\xff\xff\xff\xff"
    assert BootCommand.decode(command.encode()) == command


@pytest.mark.parametrize("block", [bytes(COMMAND_SIZE), b"\xff" * COMMAND_SIZE, COPY.encode()[:-1], b""])
def test_memory_without_a_command_holds_none(block: bytes) -> None:
    assert BootCommand.decode(block) is None


def test_what_stands_behind_the_block_does_not_matter() -> None:
    assert BootCommand.decode(COPY.encode() + b"the sketch's own words") == COPY


def test_clearing_zeroes_magic_and_crc_and_leaves_the_rest() -> None:
    before = COPY.encode()
    after = cleared(before)
    assert BootCommand.decode(after) is None
    assert after[:4] == after[124:] == bytes(4)
    assert after[4:124] == before[4:124]
    assert len(after) == COMMAND_SIZE
