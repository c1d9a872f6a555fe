"""``otaria discover`` and ``otaria arduino-discovery`` as processes, with virtual devices that announce themselves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from tests.unit.push.test_discovery import announced, announcement, unique_name

from otaria.sim.stock_sketch import StockSettings

if TYPE_CHECKING:
    from tests.conftest import Workbench

OTARIA = (sys.executable, "-m", "otaria.cli")
HERE = ("--interface", "127.0.0.1")
DEADLINE_S = 60.0


@contextlib.asynccontextmanager
async def started(*words: str, stdout: int = PIPE) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *OTARIA, *words, stdin=PIPE, stdout=stdout, stderr=PIPE, env=os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(*OTARIA, *words, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def line_of(process: Process, *parts: str) -> str:
    """The next line in which all of that is; others on this machine may be announcing devices too."""
    assert process.stdout is not None
    while text := (await process.stdout.readline()).decode():
        if all(part in text for part in parts):
            return text
    raise AssertionError(f"no line with {parts}")


async def answer_of(process: Process, command: str, kind: str) -> Any:
    """What the program answers to a command."""
    assert process.stdin is not None
    process.stdin.write(command.encode() + b"\n")
    await process.stdin.drain()
    return json.loads(await line_of(process, f'"eventType": "{kind}"'))


async def test_a_look_around_lists_the_devices_with_what_they_say(workbench: Workbench) -> None:
    device = await workbench.switch_on(StockSettings(mdns=True, ota_password="secret"))
    code, out, err = await run("discover", "--once", "3", "--json", *HERE)
    assert (code, err) == (0, "")
    (found,) = [found for found in json.loads(out) if found["port"] == device.ota_port]
    assert found["address"] == "127.0.0.1"
    assert found["texts"]["auth_upload"] == "yes"

    code, out, err = await run("discover", "--once", "3", *HERE)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["DEVICE", "ADDRESS", "PORT", "BOARD", "PASSWORD"]
    assert re.search(
        rf"^{found['name']} +127\.0\.0\.1 +{device.ota_port} +OTARIA_VIRTUAL +asked for *$", out, re.MULTILINE
    )


async def test_without_a_terminal_each_device_that_comes_is_a_line_until_the_end(workbench: Workbench) -> None:
    async with started("discover", *HERE) as watch:
        device = await workbench.switch_on(StockSettings(mdns=True))
        line = await line_of(watch, "+ ", f" 127.0.0.1:{device.ota_port} ")
        assert line.endswith(" auth_upload=no board=OTARIA_VIRTUAL ssh_upload=no tcp_check=no\n")
        watch.send_signal(signal.SIGINT)
        assert await watch.wait() == 0


async def test_as_json_each_device_that_comes_is_an_object_on_a_line(workbench: Workbench) -> None:
    async with started("discover", "--json", *HERE) as watch:
        device = await workbench.switch_on(StockSettings(mdns=True))
        event = json.loads(await line_of(watch, f'"port": {device.ota_port}'))
    assert (event["event"], event["device"]["address"]) == ("seen", "127.0.0.1")


async def test_on_a_terminal_there_is_a_table_and_what_strangers_announce_cannot_leave_its_cell() -> None:
    name = unique_name()
    device = announcement(name, {"board": "[bold]d1\x1b[2J", "auth_upload": "yes"}, port=8299)
    ours, theirs = os.openpty()
    async with started("discover", *HERE, stdout=theirs) as watch, announced(device):
        os.close(theirs)
        shown = await asyncio.to_thread(read_until, ours, rf"{name} +127\.0\.0\.1 +8299 +(\S+) +asked for")
        watch.send_signal(signal.SIGINT)
        assert await watch.wait() == 0
    os.close(ours)
    assert shown.group(1) == r"[bold]d1\x1b[2J"


def read_until(terminal: int, pattern: str) -> re.Match[str]:
    """What has appeared on a terminal, as soon as it is there."""
    shown = ""
    while (found := re.search(pattern, shown)) is None:
        assert select.select([terminal], [], [], DEADLINE_S)[0], shown
        shown += os.read(terminal, 4096).decode()
    return found


async def test_an_interface_that_is_not_there_ends_it_with_its_reason() -> None:
    code, out, err = await run("discover", "--once", "1", "--interface", "192.0.2.1")
    assert (code, out) == (3, "")
    assert "Cannot listen for devices on the interface 192.0.2.1" in err


async def test_an_ide_gets_a_device_as_a_network_port(workbench: Workbench) -> None:
    device = await workbench.switch_on(StockSettings(mdns=True))
    async with started("arduino-discovery", *HERE) as discovery:
        await answer_of(discovery, 'HELLO 1 "arduino-cli 1.2.3"', "hello")
        assert await answer_of(discovery, "START_SYNC", "start_sync") == {"eventType": "start_sync", "message": "OK"}
        port = json.loads(await line_of(discovery, '"eventType": "add"', f'"port": "{device.ota_port}"'))["port"]
        assert (port["address"], port["protocol"]) == ("127.0.0.1", "network")
        assert port["properties"]["."] == "OTARIA_VIRTUAL"
        await answer_of(discovery, "STOP", "stop")
        await answer_of(discovery, "QUIT", "quit")
        assert await discovery.wait() == 0


async def test_a_discovery_whose_ide_is_gone_ends_by_itself() -> None:
    async with started("arduino-discovery", *HERE) as discovery:
        await answer_of(discovery, 'HELLO 1 "arduino-cli 1.2.3"', "hello")
        await answer_of(discovery, "START", "start")
        assert discovery.stdin is not None
        discovery.stdin.close()
        assert await discovery.wait() == 0
