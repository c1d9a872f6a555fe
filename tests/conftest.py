"""Scenes that many tests need."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import itertools
import operator
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from otaria.aio.link import GOOD_LINK, Link, StreamFault
from otaria.device.core_version import Core
from otaria.device.esp32_core_version import Esp32Core
from otaria.device.esp32_machine import Esp32Boot
from otaria.device.flash import Flash
from otaria.device.machine import Boot, Machine
from otaria.sim.faults import SiliconFaults
from otaria.sim.firmware import images
from otaria.sim.flash_file import mirrored_flash
from otaria.sim.stock_sketch import StockSettings
from otaria.sim.virtual_device import DeviceSettings, VirtualDevice
from otaria.sketch.board import Network, Ports, Sketch
from otaria.units import MacAddress
from otaria.wire import esp_image
from otaria.wire.layouts import find_layout

DEADLINE_S = 20.0
"""How long a condition may take to come true. Reached only by a failing test."""


@pytest.fixture(autouse=True)
def _loop_that_must_not_block(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Fail any test in which our code blocks the event loop with network I/O or a sleep."""
    if not request.node.get_closest_marker("asyncio"):
        yield None
        return
    with blockbuster_ctx("otaria") as guard:
        for name, function in guard.functions.items():
            if not name.startswith(("socket.", "ssl.", "time.")):
                function.deactivate()
        yield guard


@pytest.fixture(scope="session")
def old_image() -> bytes:
    """The demo firmware, first version."""
    return images.load("valve-1.0")


@pytest.fixture(scope="session")
def new_image() -> bytes:
    """The demo firmware, second version, with the same boot part."""
    return images.load("valve-2.0")


@pytest.fixture(scope="session")
def new_boot_image() -> bytes:
    """The second version with another boot part."""
    return images.load("valve-2.0-new-boot")


@pytest.fixture(scope="session")
def large_image(new_image: bytes) -> bytes:
    """The second version grown by 1 MiB: too large beside any other sketch where the file system has 3 MiB of 4."""
    image = esp_image.parse(new_image)
    irom, *others = image.app.segments
    grown = esp_image.Segment(irom.address, irom.content + bytes(range(256)) * 4096)
    return esp_image.build(
        image.boot.segments,
        [grown, *others],
        boot_entry=image.boot.header.entry,
        app_entry=image.app.header.entry,
        mode=esp_image.FlashMode(image.boot.header.mode),
        size_and_frequency=image.boot.header.size_and_frequency,
    )


@pytest.fixture(scope="session")
def esp32_image() -> bytes:
    """The smallest image for an ESP32-C3 (protocols §6.4)."""
    descriptor = struct.pack("<I", 0xABCD5432).ljust(256, b"\0")
    header = bytes.fromhex("e901022f00003840ee0000000500000000630000000000") + b"\1"
    body = header + struct.pack("<II", 0x3C000020, len(descriptor)) + descriptor
    checksum = functools.reduce(operator.xor, descriptor, 0xEF)
    body = body.ljust((len(body) | 15), b"\0") + bytes((checksum,))
    return body + hashlib.sha256(body).digest()


@pytest.fixture
def machine(old_image: bytes) -> Machine:
    """A device in memory that runs the first version."""
    layout = find_layout("4m1m")
    flash = Flash(layout.flash_size)
    flash.load(old_image)
    device = Machine(flash, layout, MacAddress("5E:CF:7F:00:00:01"))
    assert device.power_on(bytes(512)).running
    return device


@dataclass
class LiveDevice:
    """A virtual device behind real sockets, and what it has shown so far."""

    settings: DeviceSettings
    flash_file: Path
    serial: str = ""
    boots: list[Boot | Esp32Boot] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    listeners: list[Callable[[str], None]] = field(default_factory=list)

    @property
    def ota_port(self) -> int:
        return self.settings.network.ports.ota

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.settings.network.ports.web}/update"

    def holds(self, image: bytes) -> bool:
        return self.flash_file.read_bytes()[: len(image)] == image

    def say(self, text: str) -> None:
        for listener in self.listeners:
            listener(text)
        self.serial += text
        self.changed.set()

    def booted(self, boot: Boot | Esp32Boot) -> None:
        self.boots.append(boot)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that the device shows makes the condition true."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_ready(self, boots: int = 1) -> None:
        """Wait until it has started so often and its sketch has opened its doors."""
        await self.until(lambda: self.serial.count("ready\n") >= boots)


def free_port(kind: socket.SocketKind) -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Workbench:
    """Switches on virtual devices for a test."""

    folder: Path
    first_image: bytes
    stack: contextlib.AsyncExitStack
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def switch_on(
        self,
        sketch: StockSettings | type[Sketch] | None = None,
        *,
        image: bytes | None = None,
        layout: str = "4m1m",
        core: Core = Core.V3_1,
        esp32: Esp32Core | None = None,
        link: Link = GOOD_LINK,
        fault: StreamFault | None = None,
        faults: SiliconFaults | None = None,
        seed: int = 0,
    ) -> LiveDevice:
        number = next(self.numbers)
        settings = DeviceSettings(
            name=f"bench-{number}",
            mac=MacAddress.parse(f"5ECF7F{number:06X}"),
            layout=find_layout(layout),
            network=Network(
                "127.0.0.1",
                Ports(free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)),
                link=link,
                fault=fault,
                seed=seed,
            ),
            sketch=sketch or StockSettings(),
            core=core,
            esp32=esp32,
            faults=faults or SiliconFaults(),
            time_scale=0.01,
        )
        path = self.folder / f"{settings.name}.bin"
        flash = self.stack.enter_context(mirrored_flash(path, settings.flash_size))
        live = LiveDevice(settings, path)
        device = VirtualDevice(settings, flash, serial=live.say, on_boot=live.booted)
        device.put_in_if_blank(self.first_image if image is None else image)
        task = asyncio.create_task(device.run())
        self.stack.push_async_callback(self._switch_off, task)
        if isinstance(settings.sketch, StockSettings):
            await live.until_ready()
        return live

    async def _switch_off(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def workbench(tmp_path: Path, old_image: bytes) -> AsyncIterator[Workbench]:
    """Virtual devices on loopback, switched off when the test is over."""
    async with contextlib.AsyncExitStack() as stack:
        yield Workbench(tmp_path, old_image, stack)
