"""A poll and an upload by browser over streams that come late and in the order they were sent, by seed."""

from __future__ import annotations

import hashlib

import pytest
from tests.device_bench import build_sketch, installed, running
from tests.esp32_bench import build_app, label_of, running_esp32

from otaria.aio.link import Link
from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.protocols.exchange import Receive, Send, StreamExchange
from otaria.protocols.http_pull import HttpUpdateResult, PullOutcome, Room, Url, fetch_update
from otaria.protocols.web_upload import ESP32_PAGE, ESP8266_PAGE, UploadRoom, WebUpdater, upload_image
from otaria.sim.network import Network
from otaria.units import MacAddress
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode
from otaria.wire.layouts import SECTOR_SIZE

LATE = Link(shortest_s=0.001, longest_s=1.0)

OLD = build_app("old")
NEW = build_app("new", 3)
OLD_SKETCH = build_sketch("old", 3)
NEW_SKETCH = build_sketch("new", 3)


def server(image: bytes, piece: int) -> StreamExchange[PullOutcome | None]:
    """Answers one poll, in pieces."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        heard = yield Receive(60.0)
        assert isinstance(heard, bytes)
        request += heard
    digest = hashlib.md5(image).hexdigest()  # noqa: S324 - the device's protocol
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(image)}\r\nx-MD5: {digest}\r\n\r\n".encode() + image
    for offset in range(0, len(answer), piece):
        yield Send(answer[offset : offset + piece])
    return None


def poll(machine: Machine | Esp32Machine, file_system_size: int) -> StreamExchange[PullOutcome | None]:
    family = ChipFamily.ESP32 if isinstance(machine, Esp32Machine) else ChipFamily.ESP8266
    check_in = CheckIn(
        family=family,
        mac=MacAddress("24:6F:28:AA:BB:CC"),
        mode=Mode.SKETCH,
        free_space=machine.free_sketch_space,
        sketch_size=machine.sketch_size,
        sketch_md5=machine.sketch_md5,
        chip_size=machine.real_size,
        sdk_version="sdk",
    )
    room = Room(machine.free_sketch_space, file_system_size, machine.real_size)
    return (yield from fetch_update(Url.parse("http://10.0.0.2/update"), check_in, room, machine.updater))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("piece", [7, 536, 1460, 1 << 20])
def test_a_late_answer_in_pieces_is_installed_by_an_esp8266(seed: int, piece: int) -> None:
    machine = running(OLD_SKETCH)
    network = Network(seed=seed, link=LATE)
    polling, _ = network.connect(poll(machine, 0), server(NEW_SKETCH, piece))
    network.run(deadline_s=3600)
    assert polling.result == PullOutcome(HttpUpdateResult.OK)
    machine.reset()
    assert installed(machine, NEW_SKETCH)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("piece", [7, 536, 1460, 1 << 20])
def test_a_late_answer_in_pieces_is_installed_by_an_esp32(seed: int, piece: int) -> None:
    machine = running_esp32(OLD)
    network = Network(seed=seed, link=LATE)
    polling, _ = network.connect(poll(machine, machine.file_system_size), server(NEW, piece))
    network.run(deadline_s=3600)
    assert polling.result == PullOutcome(HttpUpdateResult.OK)
    machine.reset()
    assert label_of(machine) == "new"


def browser(image: bytes) -> StreamExchange[bool]:
    yield from upload_image(image, name="porch", host="10.0.0.9", boundary="----edge")
    return True


@pytest.mark.parametrize("seed", range(10))
def test_a_late_form_is_taken_by_an_esp8266(seed: int) -> None:
    machine = running(OLD_SKETCH)
    page = WebUpdater(machine.updater, name="porch", running="old", dialect=ESP8266_PAGE)
    room = UploadRoom(machine.free_sketch_space - SECTOR_SIZE, 0)
    network = Network(seed=seed, link=LATE)
    uploading, serving = network.connect(browser(NEW_SKETCH), page.serve(room))
    network.run(deadline_s=3600)
    assert (uploading.error, uploading.result, serving.result) == (None, True, True)
    machine.reset()
    assert installed(machine, NEW_SKETCH)


@pytest.mark.parametrize("seed", range(10))
def test_a_late_form_is_taken_by_an_esp32(seed: int) -> None:
    machine = running_esp32(OLD)
    page = WebUpdater(machine.updater, name="porch", running="old", dialect=ESP32_PAGE)
    room = UploadRoom(machine.free_sketch_space - SECTOR_SIZE, machine.file_system_size)
    network = Network(seed=seed, link=LATE)
    uploading, serving = network.connect(browser(NEW), page.serve(room))
    network.run(deadline_s=3600)
    assert (uploading.error, uploading.result, serving.result) == (None, True, True)
    machine.reset()
    assert label_of(machine) == "new"
