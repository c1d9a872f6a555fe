"""The calls of ESPhttpUpdate, on a virtual device, against a server that answers what it is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, ClassVar

from otaria.protocols.http_pull import FollowRedirects
from otaria.sketch import ESPhttpUpdate, HttpUpdateResult, Sketch
from otaria.wire.layouts import find_layout

if TYPE_CHECKING:
    from tests.conftest import Workbench

FILES = bytes(range(256)) * 64


@contextlib.asynccontextmanager
async def answering(answers: dict[str, bytes]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers by path and keeps what it was asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        asked.append(request)
        writer.write(answers[request.split()[1].decode()])
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


def ok(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


class Caller(Sketch):
    """Calls once and tells what came of it."""

    url: ClassVar[str] = ""

    async def setup(self) -> None:
        self.updates = ESPhttpUpdate(self.board)
        await self.call()

    async def call(self) -> None:
        """What the test wants to see."""


async def test_a_file_system_is_fetched_and_written_without_a_restart(workbench: Workbench) -> None:
    class FetchFiles(Caller):
        async def call(self) -> None:
            result = await self.updates.update_fs(self.url + "/fs")
            self.board.print(f"result {result.name}\n")

    async with answering({"/fs": ok(FILES)}) as (FetchFiles.url, asked):
        device = await workbench.switch_on(FetchFiles)
        await device.until(lambda: "result OK\n" in device.serial)
    assert b"\r\nx-ESP8266-mode: spiffs\r\n" in asked[0]
    start = find_layout("4m1m").file_system_start
    assert device.flash_file.read_bytes()[start : start + len(FILES)] == FILES
    assert len(device.boots) == 1


async def test_the_version_on_offer_is_asked_for_without_fetching_it(workbench: Workbench) -> None:
    class AskVersion(Caller):
        async def call(self) -> None:
            version = await self.updates.get_available_version(self.url + "/v", "1.0")
            self.board.print(f"offered {version}\n")

    async with answering({"/v": ok(b"", "x-version: 1.1")}) as (AskVersion.url, asked):
        device = await workbench.switch_on(AskVersion)
        await device.until(lambda: "offered 1.1\n" in device.serial)
    assert b"\r\nx-ESP8266-mode: version\r\n" in asked[0]


async def test_a_redirect_is_followed_where_the_sketch_says_so_and_the_login_goes_along(
    workbench: Workbench, new_image: bytes
) -> None:
    class Follow(Caller):
        async def call(self) -> None:
            self.updates.set_authorization("porch", "secret")
            self.updates.set_follow_redirects(FollowRedirects.STRICT)
            self.updates.reboot_on_update(reboot=False)
            result = await self.updates.update(self.url + "/old")
            self.board.print(f"result {result.name}\n")

    moved = b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n"
    async with answering({"/old": moved, "/new": ok(new_image)}) as (Follow.url, asked):
        device = await workbench.switch_on(Follow)
        await device.until(lambda: f"result {HttpUpdateResult.OK.name}\n" in device.serial)
    login = b"\r\nAuthorization: Basic " + base64.b64encode(b"porch:secret") + b"\r\n"
    assert [request.split()[1] for request in asked] == [b"/old", b"/new"]
    assert all(login in request for request in asked)
    assert len(device.boots) == 1


async def test_a_redirect_is_a_wrong_code_otherwise(workbench: Workbench) -> None:
    class Stay(Caller):
        async def call(self) -> None:
            await self.updates.update(self.url + "/old")
            self.board.print(f"error {self.updates.get_last_error()}\n")

    moved = b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n"
    async with answering({"/old": moved}) as (Stay.url, asked):
        device = await workbench.switch_on(Stay)
        await device.until(lambda: "error -104\n" in device.serial)
    assert len(asked) == 1
