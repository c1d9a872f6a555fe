"""Every answer of protocols §2.2 over a real socket, to requests as §2.1 prints them."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fleet_bench import (
    DEADLINE_S,
    FILE_SYSTEM,
    MAC,
    FleetServer,
    ask,
    fleet_server,
    patched,
    poll_request,
    signed,
    sketch,
    zipped,
)
from tests.vectors.images import esp32_image

from otaria.cli.serve import ServeSettings, running_server
from otaria.fleet.deployment import State
from otaria.fleet.reasons import Reason
from otaria.units import KIB
from otaria.wire.esp_image import FlashMode

SKETCH = sketch("door", size=200 * KIB)
DELIVERED = {State.DELIVERED}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FleetServer]:
    async with fleet_server(tmp_path) as running:
        yield running


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - the device's protocol


# ----------------------------------------------------------------------------- 200


async def test_a_new_image_comes_whole_with_its_size_its_md5_and_its_version(server: FleetServer) -> None:
    await server.release(SKETCH)
    answer = await server.poll()
    assert answer.status == 200
    assert answer.body == SKETCH
    assert answer.headers["content-length"] == str(len(SKETCH))
    assert answer.headers["x-md5"] == md5(SKETCH)
    assert answer.headers["x-version"] == "1.0"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename=door.bin"


@pytest.mark.parametrize(("path", "status"), [("/update/door", 200), ("/update/dor", 404), ("/", 200), ("/x", 404)])
async def test_an_http_1_0_client_gets_a_plain_body_and_the_end_of_the_connection(
    server: FleetServer, path: str, status: int
) -> None:
    await server.release(SKETCH)
    answer = await server.poll(path)  # reads until the server closes
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "transfer-encoding" not in answer.headers
    assert "content-encoding" not in answer.headers


async def test_each_header_line_comes_once(server: FleetServer) -> None:
    await server.release(SKETCH)
    names = [line.partition(":")[0].lower() for line in (await server.poll()).head.split("\r\n")[1:]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("content", [zipped(sketch("door")), signed(sketch("door"))], ids=["zipped", "signed"])
async def test_the_md5_is_that_of_the_file_as_sent(server: FleetServer, content: bytes) -> None:
    await server.release(content)
    answer = await server.poll()
    assert (answer.body, answer.headers["x-md5"]) == (content, md5(content))


async def test_a_client_that_closes_its_side_early_is_answered_all_the_same(server: FleetServer) -> None:
    await server.release(SKETCH)
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(poll_request())
    writer.write_eof()
    raw = await reader.read()
    assert raw.endswith(SKETCH)
    writer.close()
    await writer.wait_closed()


async def test_a_device_whose_sketch_names_its_application_is_enrolled(server: FleetServer) -> None:
    await server.release(SKETCH)
    assert (await server.poll()).status == 200
    assert (await server.known()).application == "door"
    assert (await server.poll("/update")).status == 200


async def test_a_device_that_was_assigned_is_served_at_the_plain_address(server: FleetServer) -> None:
    await server.release(SKETCH)
    await server.assign("door")
    assert (await server.poll("/update?id=7")).body == SKETCH


# ----------------------------------------------------------------------------- 304


@pytest.mark.parametrize("mode", FlashMode)
@pytest.mark.parametrize("content", [SKETCH, zipped(SKETCH), signed(SKETCH)], ids=["plain", "zipped", "signed"])
async def test_a_device_that_installed_what_it_was_served_gets_304_in_every_flash_mode(
    server: FleetServer, mode: FlashMode, content: bytes
) -> None:
    await server.release(content)
    assert (await server.poll()).status == 200
    answer = await server.poll(md5=md5(patched(SKETCH, mode)))
    assert (answer.status, answer.body) == (304, b"")
    assert "content-length" not in answer.headers
    assert answer.headers["connection"] == "close"
    assert await server.reason() is Reason.INSTALLED
    (deployment,) = (await server.known()).deployments
    assert deployment.state is State.CONFIRMED


async def test_a_device_that_calls_itself_as_the_release_gets_304(server: FleetServer) -> None:
    await server.release(SKETCH)
    assert (await server.poll(version="1.0")).status == 304


async def test_a_device_without_a_sketch_md5_is_served(server: FleetServer) -> None:
    await server.release(SKETCH)
    assert (await server.poll(md5=None)).status == 200


async def test_an_application_without_a_release_keeps_its_devices_as_they_are(server: FleetServer) -> None:
    assert (await server.poll()).status == 304
    assert await server.reason() is Reason.NOTHING_RELEASED


async def test_an_image_without_room_is_not_sent_and_the_owner_learns_why(server: FleetServer) -> None:
    await server.release(SKETCH)
    assert (await server.poll(free_space=100 * KIB)).status == 304
    decision = (await server.known()).last_decision
    assert decision is not None
    assert "has room for 102400" in decision.explanation
    assert "reason=no-room" in server.log.getvalue()


async def test_an_esp32_image_is_not_sent_to_an_esp8266(server: FleetServer) -> None:
    await server.release(esp32_image())
    assert (await server.poll()).status == 304
    assert await server.reason() is Reason.OTHER_CHIP


async def test_a_file_system_is_served_once_and_then_304(server: FleetServer) -> None:
    await server.release(FILE_SYSTEM, name="fs.bin")
    first = await server.poll(mode="spiffs")
    assert (first.status, first.body) == (200, FILE_SYSTEM)
    for _ in range(3):
        assert (await server.poll(mode="spiffs")).status == 304
    await server.retry(file_system=True)
    assert (await server.poll(mode="spiffs")).status == 200


async def test_a_new_file_system_is_served_again(server: FleetServer) -> None:
    await server.release(FILE_SYSTEM, name="fs.bin")
    assert (await server.poll(mode="spiffs")).status == 200
    await server.release(FILE_SYSTEM, version="1.1", name="fs.bin")
    assert (await server.poll(mode="spiffs")).status == 200
    assert (await server.poll(mode="spiffs")).status == 304


async def test_after_three_deliveries_without_a_change_it_is_304_until_the_owner_says_otherwise(
    server: FleetServer,
) -> None:
    await server.release(SKETCH)
    assert [(await server.poll()).status for _ in range(5)] == [200, 200, 200, 304, 304]
    assert await server.reason() is Reason.NO_CHANGE
    assert "reason=no-change" in server.log.getvalue()
    await server.retry()
    assert (await server.poll()).status == 200


async def test_a_newer_release_ends_the_wait(server: FleetServer) -> None:
    await server.release(SKETCH)
    assert [(await server.poll()).status for _ in range(4)] == [200, 200, 200, 304]
    await server.release(sketch("mended"), version="1.1")
    assert (await server.poll()).headers["x-version"] == "1.1"


# ----------------------------------------------------------------------- 403, 404, 400


@pytest.mark.parametrize("user_agent", ["curl/8.5.0", "esp8266-http-update", "ESP32-http-Update", ""])
async def test_what_is_no_esp_gets_403_with_the_reason(server: FleetServer, user_agent: str) -> None:
    await server.release(SKETCH)
    answer = await server.poll(user_agent=user_agent)
    assert answer.status == 403
    assert answer.body.startswith(b"The request does not come from an ESP's update client")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert await server.devices() == ()


async def test_missing_headers_get_403_with_the_reason(server: FleetServer) -> None:
    request = poll_request().replace(b"x-ESP8266-free-space: 671744\r\n", b"")
    answer = await ask(server.address, request)
    assert answer.status == 403
    assert b"no x-esp8266-free-space header" in answer.body


async def test_a_device_that_is_not_assigned_gets_404_with_the_command_that_changes_it(server: FleetServer) -> None:
    answer = await server.poll("/update")
    assert answer.status == 404
    assert f"`otaria device assign {MAC} APPLICATION`".encode() in answer.body
    assert answer.body.count(b"\n") == 1
    assert (await server.known()).application is None


async def test_an_application_that_does_not_exist_gets_404_and_the_device_is_remembered(server: FleetServer) -> None:
    answer = await server.poll("/update/%1b[2Jdor")
    assert answer.status == 404
    assert rb"asks for '\x1b[2Jdor'" in answer.body
    assert (await server.known()).application is None


async def test_a_device_of_another_application_gets_404_with_the_reason(server: FleetServer) -> None:
    await server.create("garden")
    await server.assign("garden")
    answer = await server.poll()
    assert answer.status == 404
    assert b"is assigned to 'garden', and its sketch asks for 'door'" in answer.body
    assert (await server.known()).application == "garden"


@pytest.mark.parametrize("headers", [{"mode": "firmware"}, {"mac": "18:FE:34"}, {"md5": "x"}, {"free_space": -1}])
async def test_what_no_device_can_say_gets_400_with_the_reason(server: FleetServer, headers: dict[str, Any]) -> None:
    answer = await server.poll(**headers)
    assert answer.status == 400
    assert answer.body.endswith(b".\n")


# -------------------------------------------------------------------------- version


async def test_a_question_for_the_version_is_answered_without_a_body(server: FleetServer) -> None:
    await server.release(SKETCH)
    answer = await server.poll(mode="version")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == "0"
    assert (answer.headers["x-version"], answer.headers["x-md5"]) == ("1.0", md5(SKETCH))
    assert (await server.known()).deployments == ()


async def test_a_question_for_the_version_of_what_runs_already_is_304(server: FleetServer) -> None:
    await server.release(SKETCH)
    assert (await server.poll(mode="version", md5=md5(SKETCH))).status == 304


# ---------------------------------------------------------------------------- ESP32

ESP32_REQUEST = (
    "GET /update/door HTTP/1.0\r\nHost: server.example\r\nUser-Agent: ESP32-http-Update\r\nConnection: close\r\n"
    "Cache-Control: no-cache\r\nx-ESP32-STA-MAC: 24:0A:C4:00:00:01\r\nx-ESP32-AP-MAC: 24:0A:C4:00:00:02\r\n"
    "x-ESP32-free-space: 1310720\r\nx-ESP32-sketch-size: 900000\r\nx-ESP32-sketch-md5: {md5}\r\n"
    "x-ESP32-sketch-sha256: AB\r\nx-ESP32-chip-size: 4194304\r\nx-ESP32-sdk-version: v5.1\r\n"
    "x-ESP32-mode: sketch\r\n\r\n"
)


async def test_an_esp32_is_served_and_recognised(server: FleetServer) -> None:
    await server.release(esp32_image())
    first = await ask(server.address, ESP32_REQUEST.format(md5="0" * 32).encode())
    assert (first.status, first.body) == (200, esp32_image())
    again = await ask(server.address, ESP32_REQUEST.format(md5=md5(esp32_image())).encode())
    assert again.status == 304


# ---------------------------------------------------------------------------- files


async def test_the_simple_updater_gets_a_file_by_its_name_until_it_runs_it(server: FleetServer) -> None:
    await server.release(SKETCH)
    first = await server.poll("/files/door.bin")
    assert (first.status, first.body, first.headers["x-md5"]) == (200, SKETCH, md5(SKETCH))
    assert (await server.poll("/files/door.bin", md5=md5(patched(SKETCH, FlashMode.QIO)))).status == 304
    assert (await server.known()).application is None


async def test_a_browser_always_gets_the_file(server: FleetServer) -> None:
    await server.release(SKETCH)
    request = b"GET /files/door.bin HTTP/1.0\r\nUser-Agent: Mozilla/5.0\r\n\r\n"
    for _ in range(5):
        answer = await ask(server.address, request)
        assert (answer.status, answer.body) == (200, SKETCH)
        assert answer.headers["x-md5"] == md5(SKETCH)
    assert await server.devices() == ()


async def test_the_newest_file_of_a_name_is_the_one(server: FleetServer) -> None:
    await server.release(SKETCH)
    await server.release(sketch("newer"), version="1.1")
    assert (await server.poll("/files/door.bin")).body == sketch("newer")


@pytest.mark.parametrize("path", ["/files/no.bin", "/files/..%2f..%2fetc%2fpasswd", "/files/", "/files/otaria.sqlite3"])
async def test_a_name_that_was_not_published_gets_404(server: FleetServer, path: str) -> None:
    await server.release(SKETCH)
    answer = await server.poll(path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_file_that_the_store_has_lost_is_not_half_sent(server: FleetServer, tmp_path: Path) -> None:
    await server.release(SKETCH)
    for path in (tmp_path / "images").rglob("*"):
        if path.is_file():
            path.unlink()
    answer = await server.poll()
    assert answer.status == 500
    assert answer.body == b"The server has lost the file 'door.bin'; its log says more.\n"
    assert "publish the image again" in server.log.getvalue()
    (deployment,) = (await server.known()).deployments
    assert (deployment.state, deployment.deliveries) == (State.BROKEN_OFF, 0)


# ------------------------------------------------------------------------ start page


async def test_the_start_page_has_the_line_for_the_sketch(server: FleetServer) -> None:
    answer = await ask(server.address, b"GET / HTTP/1.0\r\nHost: 192.168.1.5:8700\r\n\r\n")
    assert answer.status == 200
    assert b'ESPhttpUpdate.update(client, "http://192.168.1.5:8700/update/door");' in answer.body
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_other_methods_are_refused_in_words(server: FleetServer) -> None:
    answer = await ask(server.address, b"POST /update HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
    assert (answer.status, answer.body) == (405, b"Method Not Allowed\n")


# ------------------------------------------------------------------------ concurrency


async def test_many_devices_at_once_each_get_their_answer(server: FleetServer) -> None:
    await server.release(SKETCH)
    macs = [f"18:FE:34:00:00:{number:02X}" for number in range(40)]
    answers = await asyncio.gather(*(server.poll(mac=mac) for mac in macs))
    assert {answer.status for answer in answers} == {200}
    assert {answer.body for answer in answers} == {SKETCH}
    assert [device.mac for device in await server.devices()] == macs
    await server.until(lambda devices: {given.state for known in devices for given in known.deployments} == DELIVERED)


async def test_one_device_that_polls_many_times_at_once_is_one_device(server: FleetServer) -> None:
    await server.release(SKETCH)
    answers = await asyncio.gather(*(server.poll() for _ in range(20)))
    assert {answer.status for answer in answers} <= {200, 304}
    served = sum(answer.status == 200 for answer in answers)
    await server.until(lambda devices: devices[0].deployments[0].deliveries == served)
    assert (await server.poll()).status == 304


async def test_a_release_that_is_published_meanwhile_is_seen_by_the_next_poll(server: FleetServer) -> None:
    assert (await server.poll()).status == 304
    await server.release(SKETCH)
    assert (await server.poll()).status == 200


async def test_a_database_that_another_program_holds_is_504_and_the_log_says_why(
    server: FleetServer, tmp_path: Path
) -> None:
    await server.release(SKETCH)
    other = sqlite3.connect(tmp_path / "otaria.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        answer = await server.poll()
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert answer.status == 504
    assert answer.body == b"The server cannot answer just now; its log says why. Try again later.\n"
    assert "Another program has held the database" in server.log.getvalue()
    assert await server.devices() == ()
    assert (await server.poll()).status == 200


def change_database(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "otaria.sqlite3") as other:
        other.execute(statement)
    other.close()


async def test_a_database_that_cannot_be_used_is_500_and_only_the_log_says_where_it_is(
    server: FleetServer, tmp_path: Path
) -> None:
    change_database(tmp_path, "DROP TABLE deployments")
    answer = await server.poll()
    assert answer.status == 500
    assert str(tmp_path).encode() not in answer.body
    assert f"The database {tmp_path}" in server.log.getvalue()


async def test_what_nobody_thought_of_is_500_with_a_trace_in_the_log(server: FleetServer, tmp_path: Path) -> None:
    await server.poll()
    change_database(tmp_path, "UPDATE devices SET check_in = '{'")
    answer = await server.poll()
    assert (answer.status, answer.body) == (500, b"Something went wrong in the server; its log says what.\n")
    assert "Traceback (most recent call last):" in server.log.getvalue()


async def test_an_end_that_cannot_be_written_down_is_logged(server: FleetServer, tmp_path: Path) -> None:
    await server.release(SKETCH)
    never = "CREATE TRIGGER full BEFORE UPDATE ON deployments BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    change_database(tmp_path, never)
    assert (await server.poll()).body == SKETCH
    async with asyncio.timeout(DEADLINE_S):
        while " not recorded device=18:FE:34:AA:BB:CC" not in server.log.getvalue():
            await server.devices()
    assert (await server.known()).deployments[0].state is State.OFFERED


async def test_without_an_address_the_server_is_reached_at_this_machines_own(tmp_path: Path) -> None:
    async with running_server(ServeSettings(tmp_path, port=0)) as address:
        assert address.host not in ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
        answer = await ask(address, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert f'"{address.url}/update/APPLICATION"'.encode() in answer.body
