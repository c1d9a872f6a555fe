"""The workbench of the fleet tests: images, check-ins as devices send them, and a server on a real socket."""

from __future__ import annotations

import asyncio
import gzip
import io
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from otaria.cli.serve import Address, ServeSettings, running_server
from otaria.fleet.device import Device
from otaria.fleet.model import Catalogue, Image, ImageId, Release
from otaria.fleet.reasons import Reason
from otaria.service.applications import create_application
from otaria.service.devices import assign, retry
from otaria.service.releases import Draft, publish
from otaria.store.blobs import FileBlobs
from otaria.store.database import SqlStore
from otaria.units import ByteCount, MacAddress, Md5
from otaria.wire.chips import ChipFamily
from otaria.wire.esp_image import FlashMode, Segment, build
from otaria.wire.http_update import CheckIn, Mode
from otaria.wire.image_file import ImageKind, read_image_file

MAC = MacAddress("18:FE:34:AA:BB:CC")
NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
DEADLINE_S = 20.0
"""How long an answer may take. Reached only by a failing test."""

UNKNOWN_MD5 = Md5("a56f8ef78a0bebd812f62067daf1408a")
FILE_SYSTEM = b"\x01littlefs" + b"\xff" * 8183


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **time: float) -> None:
        self.now += timedelta(**time)


def sketch(text: str, *, size: int = 64, mode: FlashMode = FlashMode.DIO, size_and_frequency: int = 0x40) -> bytes:
    """A sketch image whose irom0 holds this text and is of that size."""
    return build(
        [Segment(0x4010F000, b"boot")],
        [Segment(0x40201010, bytes(8) + text.encode().ljust(size, b"\0"))],
        boot_entry=0x4010F000,
        app_entry=0x40201018,
        mode=mode,
        size_and_frequency=size_and_frequency,
    )


def signed(content: bytes) -> bytes:
    """The file with a trailer as the core's signing tool appends it; the signature itself is noise."""
    return content + bytes(range(256)) + struct.pack("<I", 256)


def zipped(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def patched(content: bytes, mode: FlashMode) -> bytes:
    """What the Updater of a device of that flash mode leaves in flash (protocols §4.1)."""
    return content[:2] + bytes((mode,)) + content[3:]


def check_in(
    *,
    mac: MacAddress = MAC,
    mode: Mode = Mode.SKETCH,
    md5: Md5 | None = UNKNOWN_MD5,
    version: str | None = None,
    free_space: int = 671744,
    sketch_size: int = 373940,
    chip_size: int = 4 << 20,
    family: ChipFamily = ChipFamily.ESP8266,
    chip_id: int | None = 11189196,
) -> CheckIn:
    """The check-in of protocols §2.1, a 4M3M device, as far as a test does not want another."""
    return CheckIn(
        family=family,
        mac=mac,
        mode=mode,
        free_space=ByteCount(free_space),
        sketch_size=ByteCount(sketch_size),
        sketch_md5=md5,
        chip_size=ByteCount(chip_size),
        sdk_version="2.2.2-dev(38a443e)",
        version=version,
        chip_id=chip_id,
    )


def image(content: bytes, *, number: int = 1, kind: ImageKind = ImageKind.SKETCH, name: str = "door.bin") -> Image:
    file = read_image_file(content, kind)
    return Image.of(file, id=ImageId(number), file_name=name, family=file.family)


def release(order: int, *images: Image, version: str | None = None) -> Release:
    return Release("door", version or f"1.{order}", order, "", NOW, images)


def catalogue(*releases: Release) -> Catalogue:
    return Catalogue(releases)


def device(*, application: str | None = "door") -> Device:
    return Device(MAC, application, NOW)


@dataclass
class Fleet:
    """A store and blobs in a folder, with a clock, for the use cases."""

    store: SqlStore
    blobs: FileBlobs
    clock: Clock = field(default_factory=Clock)


@contextmanager
def fleet_in(folder: Path) -> Iterator[Fleet]:
    with SqlStore(folder / "otaria.sqlite3") as store:
        yield Fleet(store, FileBlobs(folder / "images"))


@dataclass(frozen=True)
class Answer:
    """What came back, taken apart no further than needed."""

    status: int
    head: str
    headers: dict[str, str]
    body: bytes


def poll_request(
    path: str = "/update/door",
    *,
    mac: str = MAC,
    mode: str = "sketch",
    md5: str | None = UNKNOWN_MD5,
    version: str | None = None,
    free_space: int = 671744,
    chip_size: int = 4 << 20,
    user_agent: str = "ESP8266-http-Update",
) -> bytes:
    """The request as protocols §2.1 prints it, byte for byte."""
    lines = [
        f"GET {path} HTTP/1.0",
        "Host: server.example",
        f"User-Agent: {user_agent}",
        "Connection: close",
        "x-ESP8266-Chip-ID: 11189196",
        f"x-ESP8266-STA-MAC: {mac}",
        "x-ESP8266-AP-MAC: 1A:FE:34:AA:BB:CC",
        f"x-ESP8266-free-space: {free_space}",
        "x-ESP8266-sketch-size: 373940",
        *([] if md5 is None else [f"x-ESP8266-sketch-md5: {md5}"]),
        f"x-ESP8266-chip-size: {chip_size}",
        "x-ESP8266-sdk-version: 2.2.2-dev(38a443e)",
        f"x-ESP8266-mode: {mode}",
        *([] if version is None else [f"x-ESP8266-version: {version}"]),
        "Content-Length: 0",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1")


async def ask(address: Address, request: bytes) -> Answer:
    """Send a request and read until the server closes."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            writer.write(request)
            return parse_answer(await reader.read())
        finally:
            writer.close()
            await writer.wait_closed()


def parse_answer(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    return Answer(int(first.split(" ")[1]), head.decode("latin-1"), headers, body)


@dataclass
class FleetServer:
    """A server on a free port of the loopback, and the fleet behind it, which is changed as the commands do it."""

    address: Address
    fleet: Fleet
    log: io.StringIO

    async def create(self, application: str) -> None:
        await asyncio.to_thread(create_application, self.fleet.store, self.fleet.clock, application)

    async def release(self, content: bytes, *, version: str = "1.0", name: str = "door.bin") -> None:
        """Publish for the door; what begins as a file system is published as one."""
        kind = ImageKind.FILESYSTEM if content == FILE_SYSTEM else ImageKind.SKETCH
        draft = Draft("door", version, name, content, kind=kind, anyway=True)
        await asyncio.to_thread(publish, self.fleet.store, self.fleet.blobs, self.fleet.clock, draft)

    async def assign(self, application: str) -> None:
        await asyncio.to_thread(assign, self.fleet.store, self.fleet.clock, MAC, application)

    async def retry(self, *, file_system: bool = False) -> None:
        await asyncio.to_thread(retry, self.fleet.store, MAC, file_system=file_system)

    async def poll(self, path: str = "/update/door", **headers: Any) -> Answer:
        return await ask(self.address, poll_request(path, **headers))

    async def devices(self) -> tuple[Device, ...]:
        def look() -> tuple[Device, ...]:
            with self.fleet.store.reading() as fleet:
                return fleet.devices()

        return await asyncio.to_thread(look)

    async def known(self) -> Device:
        """The one device that the server knows."""
        (device,) = await self.devices()
        return device

    async def until(self, condition: Callable[[tuple[Device, ...]], bool]) -> None:
        """Wait until what the server knows of its devices makes the condition true."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition(await self.devices()):
                pass

    async def reason(self) -> Reason:
        """Why that device was answered as it was."""
        decision = (await self.known()).last_decision
        assert decision is not None
        return decision.reason


@asynccontextmanager
async def fleet_server(folder: Path) -> AsyncIterator[FleetServer]:
    """Run a server with an application and no release."""
    log = io.StringIO()
    settings = ServeSettings(data=folder, host="127.0.0.1", port=0, log=log)
    async with running_server(settings) as address:
        with ExitStack() as stack:
            fleet = await asyncio.to_thread(stack.enter_context, fleet_in(folder))
            server = FleetServer(address, fleet, log)
            await server.create("door")
            yield server


@contextmanager
def server_in_a_thread(folder: Path) -> Iterator[FleetServer]:
    """The same for tests that cannot be coroutines, without an application."""
    started, stop = threading.Event(), threading.Event()
    found: list[Address] = []
    log = io.StringIO()

    async def run() -> None:
        async with running_server(ServeSettings(data=folder, host="127.0.0.1", port=0, log=log)) as address:
            found.append(address)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert started.wait(DEADLINE_S)
        with fleet_in(folder) as fleet:
            yield FleetServer(found[0], fleet, log)
    finally:
        stop.set()
        thread.join()
