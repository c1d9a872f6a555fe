"""A real ``otaria serve`` process: how it begins, how it ends, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fleet_bench import DEADLINE_S, ask, fleet_in, parse_answer, poll_request, sketch

from otaria.cli.serve import Address
from otaria.fleet.deployment import State
from otaria.service.applications import create_application
from otaria.service.releases import Draft, publish
from otaria.units import KIB

OTARIA = (sys.executable, "-m", "otaria.cli")
LARGE = sketch("large", size=600 * KIB)


@dataclass
class Served:
    process: Process
    address: Address
    greeting: str


async def otaria(*arguments: str, data: Path) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *OTARIA, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=os.environ | {"OTARIA_DATA": str(data)}
    )
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def served(data: Path, *options: str) -> AsyncIterator[Served]:
    """The process, once it listens; killed at the end if it is still there."""
    options = ("--listen", "127.0.0.1", "--port", "0", "--data", str(data), *options)
    process = await asyncio.create_subprocess_exec(*OTARIA, "serve", *options, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        greeting = ""
        async with asyncio.timeout(DEADLINE_S):
            while greeting.count("\n") < 4 and (line := await process.stdout.readline()):
                greeting += line.decode()
        found = re.search(r"http://127\.0\.0\.1:(\d+)\s", greeting)
        assert found is not None, greeting
        yield Served(process, Address("127.0.0.1", int(found[1]), data), greeting)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def prepare(data: Path, content: bytes = LARGE) -> None:
    data.mkdir()
    with fleet_in(data) as fleet:
        create_application(fleet.store, fleet.clock, "door")
        publish(fleet.store, fleet.blobs, fleet.clock, Draft("door", "1.0", "door.bin", content))


async def test_it_says_where_it_is_and_what_a_sketch_needs(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        line = f'ESPhttpUpdate.update(client, "{server.address.url}/update/APPLICATION");'
        assert re.search(rf"^Serving +{re.escape(str(tmp_path))} *$", server.greeting, re.MULTILINE)
        assert line in server.greeting
        assert (await ask(server.address, b"GET / HTTP/1.0\r\n\r\n")).body.startswith(b"Otaria ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_stops_at_once_when_nothing_is_under_way(tmp_path: Path, number: signal.Signals) -> None:
    async with served(tmp_path) as server:
        server.process.send_signal(number)
        async with asyncio.timeout(DEADLINE_S):
            _, err = await server.process.communicate()
        assert server.process.returncode == 0
        assert err.decode().startswith("Stopping.")


async def begun_download(address: Address) -> tuple[socket.socket, bytes]:
    """A connection that has read the beginning of its answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
    client.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (address.host, address.port))
    await loop.sock_sendall(client, poll_request())
    return client, await loop.sock_recv(client, 1000)


async def test_ctrl_c_lets_downloads_end(tmp_path: Path) -> None:
    data = tmp_path / "fleet"
    await asyncio.to_thread(prepare, data)
    async with served(data) as server, asyncio.timeout(DEADLINE_S):
        client, raw = await begun_download(server.address)
        with client:
            server.process.send_signal(signal.SIGINT)
            while piece := await asyncio.get_running_loop().sock_recv(client, 64 * KIB):
                raw += piece
        assert parse_answer(raw).body == LARGE
        await server.process.communicate()
        assert server.process.returncode == 0
    assert await asyncio.to_thread(states, data) == [State.DELIVERED]


async def test_a_second_ctrl_c_cuts_downloads_off(tmp_path: Path) -> None:
    data = tmp_path / "fleet"
    await asyncio.to_thread(prepare, data)
    async with served(data) as server, asyncio.timeout(DEADLINE_S):
        client, _ = await begun_download(server.address)
        with client:
            assert server.process.stderr is not None
            server.process.send_signal(signal.SIGINT)
            while not (await server.process.stderr.readline()).startswith(b"Stopping."):
                pass
            server.process.send_signal(signal.SIGINT)
            await server.process.communicate()
        assert server.process.returncode == 130
    assert await asyncio.to_thread(states, data) == [State.BROKEN_OFF]


def states(data: Path) -> list[State]:
    with fleet_in(data) as fleet, fleet.store.reading() as view:
        return [deployment.state for device in view.devices() for deployment in device.deployments]


async def test_a_port_that_is_taken_is_exit_3_before_anything_is_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, out, err = await otaria("serve", "--port", port, data=tmp_path / "fleet")
    assert (code, out) == (3, "")
    assert f"Another program listens on port {port} already" in err
    assert not (tmp_path / "fleet").exists()


async def test_a_data_folder_that_cannot_be_used_is_exit_2(tmp_path: Path) -> None:
    (tmp_path / "fleet").write_text("in the way")
    code, out, err = await otaria("serve", "--port", "0", data=tmp_path / "fleet")
    assert (code, out) == (2, "")
    assert "as the data folder" in err


async def test_what_was_published_while_it_runs_is_served(tmp_path: Path) -> None:
    data, image = tmp_path / "fleet", tmp_path / "door.bin"
    image.write_bytes(sketch("door"))
    async with served(data) as server:
        assert (await ask(server.address, poll_request())).status == 404
        code, _, err = await otaria(
            "release", "publish", str(image), "--application", "door", "--version", "1.0", "--create", data=data
        )
        assert (code, err) == (0, "")
        assert (await ask(server.address, poll_request())).body == sketch("door")


# ------------------------------------------------------------------------------- kill -9


@pytest.mark.parametrize("answers", [1, 5, 23, 60])
async def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path, answers: int) -> None:
    """Devices poll until the process is gone after so many answers; then its folder is opened again."""
    data = tmp_path / "fleet"
    await asyncio.to_thread(prepare, data, sketch("first"))
    answered: list[str] = []
    enough = asyncio.Event()
    async with served(data) as server:

        async def device(mac: str) -> None:
            with contextlib.suppress(OSError, ValueError, IndexError):
                while True:
                    answer = await ask(server.address, poll_request(mac=mac))
                    assert answer.status in (200, 304)
                    answered.append(mac)
                    if len(answered) >= answers:
                        enough.set()

        devices = [asyncio.create_task(device(f"18:FE:34:00:00:{number:02X}")) for number in range(8)]
        await enough.wait()
        server.process.kill()
        await asyncio.gather(*devices)

    assert set(answered) <= await asyncio.to_thread(macs_in, data)
    async with served(data) as server:
        assert (await ask(server.address, poll_request())).body == sketch("first")


def macs_in(data: Path) -> set[str]:
    with fleet_in(data) as fleet, fleet.store.reading() as view:
        return {device.mac for device in view.devices()}


PUBLISH_FOR_EVER = """
import sys
from pathlib import Path
from tests.fleet_bench import fleet_in, sketch
from otaria.service.releases import Draft, publish

with fleet_in(Path(sys.argv[1])) as fleet:
    for number in range(10_000):
        version = f"2.{number}"
        publish(fleet.store, fleet.blobs, fleet.clock, Draft("door", version, "door.bin", sketch(version)))
        print(version, flush=True)
"""


@pytest.mark.parametrize("releases", [1, 2, 7, 20])
async def test_a_killed_publisher_loses_nothing_that_it_acknowledged(tmp_path: Path, releases: int) -> None:
    data = tmp_path / "fleet"
    await asyncio.to_thread(prepare, data, sketch("first"))
    async with served(data) as server, asyncio.timeout(DEADLINE_S):
        publisher = await asyncio.create_subprocess_exec(sys.executable, "-c", PUBLISH_FOR_EVER, str(data), stdout=PIPE)
        assert publisher.stdout is not None
        acknowledged = [(await publisher.stdout.readline()).decode().strip() for _ in range(releases)]
        publisher.kill()
        out, _ = await publisher.communicate()
        acknowledged += out.decode().split("\n")[:-1]

        versions = await asyncio.to_thread(whole_releases, data)
        assert acknowledged[0] == "2.0"
        assert versions[: len(acknowledged) + 1] == ["1.0", *acknowledged]
        assert (await ask(server.address, poll_request())).headers["x-version"] == versions[-1]


def whole_releases(data: Path) -> list[str]:
    """The versions in the catalogue, each of which has its file."""
    with fleet_in(data) as fleet, fleet.store.reading() as view:
        releases = view.catalogue("door").releases
        for release in releases:
            (image,) = release.images
            with fleet.blobs.open(image.sha256) as file:
                assert hashlib.sha256(file.read()).hexdigest() == image.sha256
        return [release.version for release in releases]
