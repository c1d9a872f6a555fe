from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterable

import pytest
from tests.device_bench import FOR_512K, SMALL, boot_part, build_sketch, new_machine, noise, running

from otaria.device.core_version import Core
from otaria.device.machine import Machine
from otaria.device.rehearsal_ways import Refusal, Way, declared_size, receive
from otaria.device.update_error import UpdateError
from otaria.protocols.arduino_push import receive_image
from otaria.protocols.exchange import Receive, StreamExchange
from otaria.protocols.http_pull import HttpUpdateResult, Room, Url, fetch_update
from otaria.protocols.web_upload import UploadRoom, WebUpdater
from otaria.units import MacAddress
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode
from otaria.wire.layouts import SECTOR_SIZE

OLD = build_sketch("old", 6)
NEW = build_sketch("new", 9)
PACKED = gzip.compress(NEW, mtime=0)
NO_SKETCH = b"\x7f\1\2\0" + noise("another program", 20_000)
FOR_16M = build_sketch("for a larger chip", 6, size_and_frequency=0x90)


def finish(exchange: StreamExchange[object], pieces: Iterable[bytes]) -> object:
    """Run an exchange by hand: it gets the pieces, then the end of the stream."""
    waiting = iter(pieces)
    effect = next(exchange)
    try:
        while True:
            effect = exchange.send(next(waiting, b"") if isinstance(effect, Receive) else None)
    except StopIteration as done:
        return done.value


def in_pieces(content: bytes, size: int = 1460) -> list[bytes]:
    return [content[offset : offset + size] for offset in range(0, len(content), size)]


# the libraries of the device, as the exchanges have them


def by_arduino_ota(machine: Machine, content: bytes) -> bool:
    updater = machine.updater
    if not updater.begin(len(content)):
        return False
    updater.set_md5(hashlib.md5(content).hexdigest())  # noqa: S324 - the device's protocol
    return bool(finish(receive_image(len(content), updater), in_pieces(content)))


def by_update_page(machine: Machine, content: bytes) -> bool:
    page = WebUpdater(machine.updater, name="porch", running="old")
    room = UploadRoom(
        (machine.free_sketch_space - SECTOR_SIZE) // SECTOR_SIZE * SECTOR_SIZE, machine.layout.file_system_size
    )
    part = b'--x\r\nContent-Disposition: form-data; name="firmware"; filename="a.bin"\r\n\r\n'
    form = part + content + b"\r\n--x--\r\n"
    head = b"POST /update HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
    # All at once: the device hands on full buffers, whatever the network's pieces are.
    return bool(finish(page.serve(room), [head + form]))


def by_http_update(machine: Machine, content: bytes) -> bool:
    check_in = CheckIn(
        family=ChipFamily.ESP8266,
        mac=MacAddress("18:FE:34:AA:BB:CC"),
        mode=Mode.SKETCH,
        free_space=machine.free_sketch_space,
        sketch_size=machine.sketch_size,
        sketch_md5=machine.sketch_md5,
        chip_size=machine.real_size,
        sdk_version="2.2.2",
    )
    room = Room(machine.free_sketch_space, machine.layout.file_system_size, machine.real_size)
    md5 = hashlib.md5(content).hexdigest()  # noqa: S324 - the device's protocol
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nx-MD5: {md5}\r\n\r\n".encode()
    exchange = fetch_update(Url.parse("http://server/update"), check_in, room, machine.updater)
    outcome = finish(exchange, [head, *in_pieces(content)])
    return getattr(outcome, "result", None) is HttpUpdateResult.OK


LIBRARIES: dict[Way, Callable[[Machine, bytes], bool]] = {
    Way.PUSH: by_arduino_ota,
    Way.WEB: by_update_page,
    Way.PULL: by_http_update,
}

FILES = {
    "plain": NEW,
    "compressed": PACKED,
    "no sketch": NO_SKETCH,
    "for a larger chip": FOR_16M,
    "too large": build_sketch("too large", 120),
    "just fits": build_sketch("just fits", 101),
    "a sector": NEW[:SECTOR_SIZE],
    "a byte": b"\xe9",
}


@pytest.mark.parametrize("content", FILES.values(), ids=list(FILES))
@pytest.mark.parametrize("way", Way)
def test_a_way_does_what_the_library_does(way: Way, content: bytes) -> None:
    ours, theirs = running(OLD), running(OLD)
    refusal = receive(ours, content, way)
    assert (refusal is None) is LIBRARIES[way](theirs, content)
    assert ours.flash.dump() == theirs.flash.dump()
    assert ours.flash.operations == theirs.flash.operations
    assert ours.rtc.boot_command() == theirs.rtc.boot_command()
    assert (ours.updater.error, ours.updater.error_text()) == (theirs.updater.error, theirs.updater.error_text())


# what differs


def test_a_push_and_a_pull_declare_the_file_and_the_page_declares_all_room_less_a_sector() -> None:
    machine = running(OLD)
    assert declared_size(machine, Way.PUSH, 5000) == 5000
    assert declared_size(machine, Way.PULL, 5000) == 5000
    assert declared_size(machine, Way.WEB, 5000) == machine.free_sketch_space - SECTOR_SIZE


def test_without_a_free_sector_the_pages_subtraction_wraps_and_nothing_fits() -> None:
    full = build_sketch("full", SMALL.file_system_start // SECTOR_SIZE)
    machine = running(full)
    assert machine.free_sketch_space == 0
    assert declared_size(machine, Way.WEB, 5000) == 0xFFFFF000
    assert receive(machine, NEW, Way.WEB) == Refusal(UpdateError.SPACE, "ERROR[4]: Not Enough Space")


def test_the_page_stages_the_image_right_above_the_sketch_and_the_others_as_high_as_it_fits() -> None:
    starts = {}
    for way in Way:
        machine = running(OLD)
        assert receive(machine, NEW, way) is None
        command = machine.rtc.boot_command()
        assert command is not None
        starts[way] = command.argument(0)
    # one sector above the sketch, which is rounded up to whole sectors (protocols §3.1)
    assert starts[Way.WEB] == 7 * SECTOR_SIZE
    assert starts[Way.PUSH] == starts[Way.PULL] == SMALL.file_system_start - 9 * SECTOR_SIZE


@pytest.mark.parametrize(
    ("way", "refusal"),
    [
        (Way.PUSH, Refusal(10, "ERROR[10]: Magic byte is not 0xE9")),
        (Way.WEB, Refusal(10, "ERROR[10]: Magic byte is not 0xE9")),
        (Way.PULL, Refusal(-106, "Verify Bin Header Failed")),
    ],
)
def test_only_a_pull_looks_before_it_writes(way: Way, refusal: Refusal) -> None:
    machine = running(OLD)
    assert receive(machine, NO_SKETCH, way) == refusal
    assert (machine.flash.operations == 0) is (way is Way.PULL)


@pytest.mark.parametrize(
    ("way", "code"), [(Way.PUSH, UpdateError.SPACE), (Way.WEB, UpdateError.SPACE), (Way.PULL, -100)]
)
def test_too_large_a_file_is_refused_by_each_way_in_its_words(way: Way, code: int) -> None:
    machine = running(OLD)
    refusal = receive(machine, build_sketch("too large", 102), way)
    assert refusal is not None
    assert refusal.code == code


@pytest.mark.parametrize(
    ("way", "code"),
    [(Way.PUSH, UpdateError.NEW_FLASH_CONFIG), (Way.WEB, UpdateError.NEW_FLASH_CONFIG), (Way.PULL, -107)],
)
def test_an_image_for_a_larger_chip_is_refused(way: Way, code: int) -> None:
    refusal = receive(running(OLD), FOR_16M, way)
    assert refusal is not None
    assert refusal.code == code


@pytest.mark.parametrize("way", Way)
def test_an_auto_layout_takes_an_image_for_any_chip(way: Way) -> None:
    plain = running(OLD)
    machine = Machine(plain.flash.clone(), SMALL, plain.mac, flash_map=True)
    machine.power_on(bytes(512))
    assert receive(machine, FOR_16M, way) is None


@pytest.mark.parametrize(("way", "code"), [(Way.PUSH, 5), (Way.WEB, 13), (Way.PULL, -101)])
def test_an_empty_file_is_refused(way: Way, code: int) -> None:
    refusal = receive(running(OLD), b"", way)
    assert refusal is not None
    assert refusal.code == code


def test_a_file_of_a_sector_or_less_cannot_be_uploaded() -> None:
    for size in (1, SECTOR_SIZE):
        refusal = receive(running(OLD), NEW[:size], Way.WEB)
        assert refusal == Refusal(UpdateError.NO_DATA, "ERROR[13]: No data supplied")


@pytest.mark.parametrize(("way", "code"), [(Way.PUSH, 10), (Way.WEB, 10), (Way.PULL, -106)])
def test_cores_before_2_7_know_no_gzip(way: Way, code: int) -> None:
    machine = running(OLD, core=Core.V2_5)
    refusal = receive(machine, PACKED, way)
    assert refusal is not None
    assert refusal.code == code
    assert receive(running(OLD, core=Core.V2_7), PACKED, way) is None


def test_a_sketch_built_for_more_flash_than_there_is_refuses_everything() -> None:
    machine = new_machine(build_sketch("old", 6, boot=boot_part(), size_and_frequency=FOR_512K | 0x20))
    machine.power_on(bytes(512))
    for way in Way:
        refusal = receive(machine, NEW, way)
        assert refusal is not None
        assert refusal.code == UpdateError.FLASH_CONFIG
