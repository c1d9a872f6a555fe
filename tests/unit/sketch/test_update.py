from __future__ import annotations

import asyncio
import hashlib

import pytest

from otaria.device.machine import Machine
from otaria.sketch.esp import ESP
from otaria.sketch.restart import Restart
from otaria.sketch.update import U_FS, Update


def stream_of(*pieces: bytes, ended: bool = True) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    if ended:
        reader.feed_eof()
    return reader


async def test_a_stream_is_taken_whole_and_installed(machine: Machine, new_image: bytes) -> None:
    update = Update(machine)
    progress: list[tuple[int, int]] = []
    update.on_progress(lambda done, total: progress.append((done, total)))
    assert update.begin(len(new_image))
    assert update.set_md5(hashlib.md5(new_image).hexdigest())  # noqa: S324 - the device's protocol
    assert await update.write_stream(stream_of(new_image[:1], new_image[1:7000], new_image[7000:])) == len(new_image)
    assert update.end()
    assert progress[0] == (0, len(new_image))
    assert progress[-1] == (len(new_image), len(new_image))
    machine.reset()
    assert machine.flash.read(0, len(new_image)) == new_image


async def test_a_stream_that_ends_early_is_error_6(machine: Machine, new_image: bytes) -> None:
    update = Update(machine)
    update.begin(len(new_image))
    await update.write_stream(stream_of(new_image[:9000]))
    assert update.get_error_string() == "ERROR[6]: Stream Read Timeout"
    assert not update.end()


async def test_a_stream_that_falls_silent_is_error_6(machine: Machine, new_image: bytes) -> None:
    update = Update(machine)
    update.begin(len(new_image))
    await update.write_stream(stream_of(new_image[:9000], ended=False), timeout_s=0.01)
    assert update.get_error() == 6


async def test_an_empty_stream_is_no_image(machine: Machine) -> None:
    update = Update(machine)
    update.begin(5000)
    assert await update.write_stream(stream_of()) == 0
    assert update.get_error() == 10


async def test_call_backs_tell_of_beginning_and_failure(machine: Machine) -> None:
    update = Update(machine)
    heard: list[str] = []
    update.on_start(lambda: heard.append("start"))
    update.on_end(lambda: heard.append("end"))
    update.on_error(lambda code: heard.append(f"error {code}"))
    update.begin(5000)
    update.write(bytes(5000))
    assert not update.end()
    assert heard == ["end", "start", "error 10", "end", "end"]
    assert update.has_error()
    update.clear_error()
    assert not update.has_error()


async def test_the_numbers_are_those_of_the_updater(machine: Machine) -> None:
    update = Update(machine)
    assert update.begin(8192, U_FS)
    assert update.is_running()
    update.write(bytes(5000))
    assert (update.size(), update.progress(), update.remaining()) == (8192, 4096, 4096)
    assert not update.is_finished()
    assert update.end(even_if_remaining=True)


def test_the_chip_answers_as_the_library_does(machine: Machine, old_image: bytes) -> None:
    esp = ESP(machine)
    assert esp.get_sketch_size() == len(old_image)
    assert esp.get_sketch_md5() == hashlib.md5(old_image).hexdigest()  # noqa: S324 - the device's protocol
    assert esp.get_free_sketch_space() == 0x300000 - 0x8000
    assert esp.get_chip_id() == 0x000001
    assert esp.get_flash_chip_size() == esp.get_flash_chip_real_size() == 4 << 20
    assert esp.get_flash_chip_mode() == 2
    assert esp.check_flash_crc()
    assert esp.get_free_heap() > 8192


def test_rtc_memory_survives_a_restart_and_no_loss_of_power(machine: Machine) -> None:
    esp = ESP(machine)
    assert esp.rtc_user_memory_write(128, b"kept")
    machine.reset()
    assert esp.rtc_user_memory_read(128, 4) == b"kept"
    machine.power_on(bytes(512))
    assert esp.rtc_user_memory_read(128, 4) == bytes(4)


def test_a_restart_is_told_to_whoever_runs_the_board(machine: Machine) -> None:
    for call in (ESP(machine).restart, ESP(machine).reset):
        with pytest.raises(Restart) as restart:
            call()
        assert machine.reset(restart.value.reason).running
