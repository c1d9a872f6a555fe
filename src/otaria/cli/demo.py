"""``otaria demo``: a server, three virtual devices, and one release that reaches each of them by another way."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otaria.aio.driver import Surroundings
from otaria.cli.fleet_data import open_fleet, utc_now
from otaria.cli.serve import Address, ServeSettings, running_server
from otaria.cli.virtual import SerialMonitor, virtual_mac
from otaria.device.esp32_machine import Esp32Boot
from otaria.device.machine import Boot
from otaria.protocols.web_upload import Login
from otaria.push.uploader import Target, push_image
from otaria.push.web_form import Page, upload_to_page
from otaria.service.devices import assign
from otaria.service.releases import Draft, publish
from otaria.sim.firmware import images
from otaria.sim.flash_file import mirrored_flash
from otaria.sim.stock_sketch import Poll, StockSettings
from otaria.sim.virtual_device import DeviceSettings, VirtualDevice
from otaria.sketch.board import Network, Ports
from otaria.units import human_size
from otaria.wire.layouts import find_layout

__all__ = ["demo"]

OLD: Final = "valve-1.0"
NEW: Final = "valve-2.0"
APPLICATION: Final = "valve"
LAYOUT: Final = find_layout("4m1m")
HERE: Final = "127.0.0.1"

UPDATE_DEADLINE_S: Final = 60.0
"""For one device to run the new sketch; it takes about three seconds."""

POLL_EVERY_S: Final = 1.0
"""How often the polling device asks. A real one would ask once an hour."""

_INSTALLS: Final = "@cp"
"""What the bootloader prints on a boot that installs, and on no other."""


@dataclass(eq=False)
class _Station:
    """One device of the demo, and what was seen of it."""

    name: str
    way: str
    sketch: StockSettings
    flash_file: Path
    ports: Ports = field(default_factory=lambda: Ports(_free_port(socket.SOCK_DGRAM), _free_port(socket.SOCK_STREAM)))
    boots: list[Boot | Esp32Boot] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    seconds: float = 0.0

    def booted(self, boot: Boot | Esp32Boot) -> None:
        """Note a run of its bootloader."""
        self.boots.append(boot)

    @property
    def installed(self) -> Boot | Esp32Boot | None:
        """The boot that copied an update and then started it, if there was one."""
        return next((boot for boot in self.boots if _INSTALLS in boot.console and boot.running), None)

    def holds(self, image: bytes) -> bool:
        """Whether its flash file begins with the image."""
        with self.flash_file.open("rb") as file:
            return file.read(len(image)) == image


def demo(*, once: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Show the whole system at work on this machine: a server, three virtual devices, all three ways of updating.

    Each device starts with the first version of a small firmware. The first one is pushed the second version, the
    second one gets it through its web page, the third one fetches it from the server.

    Args:
        once: End with a summary instead of going on until Ctrl-C; exit code 0 only if every flash holds the new image.
    """
    with tempfile.TemporaryDirectory(prefix="otaria-demo-") as folder:
        return asyncio.run(_demo(Path(folder), once=once))


async def _demo(folder: Path, *, once: bool) -> int:
    notes = Console(stderr=True, highlight=False)
    password = secrets.token_hex(4)
    quiet = (folder / "server.log").open("w", encoding="utf-8")
    with quiet:
        async with running_server(ServeSettings(folder / "fleet", HERE, 0, quiet)) as address:
            stations = _stations(folder, address, password)
            async with _switched_on(stations, notes, address):
                await _move_all(stations, notes, address, password)
                everything_new = _summarise(stations)
                if not once:
                    _invite_to_play(stations, notes, address, password)
                    # Ctrl-C is how this is meant to end.
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()
    return 0 if everything_new else 1


def _stations(folder: Path, address: Address, password: str) -> list[_Station]:
    pushed = StockSettings(ota_password=password)
    uploaded = StockSettings(login=Login("admin", password))
    pulling = StockSettings(poll=Poll(f"{address.url}/update", POLL_EVERY_S))
    plan = [("porch", "push", pushed), ("shed", "browser", uploaded), ("garden", "pull", pulling)]
    return [_Station(name, way, sketch, folder / f"{name}.bin") for name, way, sketch in plan]


@contextlib.asynccontextmanager
async def _switched_on(stations: list[_Station], notes: Console, address: Address) -> AsyncIterator[None]:
    """The devices, running the old firmware, known to the server; all of them off again afterwards."""
    _headline(notes, f"A server at {address.url}, and three virtual ESP8266s with {OLD}")
    monitor = SerialMonitor(notes, width=max(len(station.name) for station in stations))
    with contextlib.ExitStack() as files, open_fleet(address.folder) as fleet:
        publish(fleet.store, fleet.blobs, utc_now, _draft(OLD, create=True))
        running = []
        for number, station in enumerate(stations, start=1):
            settings = _settings(station, number)
            assign(fleet.store, utc_now, settings.mac, APPLICATION)
            flash = files.enter_context(mirrored_flash(station.flash_file, LAYOUT.flash_size))
            device = VirtualDevice(settings, flash, serial=monitor.of(station.name), on_boot=station.booted)
            device.put_in_if_blank(images.load(OLD))
            running.append(asyncio.create_task(device.run()))
        await _until(lambda: all(station.boots for station in stations))
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


def _settings(station: _Station, number: int) -> DeviceSettings:
    return DeviceSettings(
        name=station.name,
        mac=virtual_mac(number),
        layout=LAYOUT,
        network=Network(HERE, station.ports),
        sketch=station.sketch,
    )


def _draft(version: str, *, create: bool = False) -> Draft:
    return Draft(APPLICATION, version, f"{version}.bin", images.load(version), create=create)


async def _move_all(stations: list[_Station], notes: Console, address: Address, password: str) -> None:
    image = images.load(NEW)
    porch, shed, garden = stations

    async def give_password(_device: str) -> str:
        return password

    async def push() -> None:
        around = Surroundings(ask_password=give_password)
        await push_image(image, Target(HERE, porch.ports.ota), around=around)

    async def upload() -> None:
        page = Page((HERE, shed.ports.web), "/update", "admin")
        await upload_to_page(image, page, password=password, around=Surroundings())

    async def release() -> None:
        with open_fleet(address.folder) as fleet:
            publish(fleet.store, fleet.blobs, utc_now, _draft(NEW))

    _headline(notes, f"1  push: otaria push {NEW}.bin {porch.name}")
    await _move(porch, push)
    _headline(notes, f"2  browser: the form at http://{HERE}:{shed.ports.web}/update, filled in")
    await _move(shed, upload)
    _headline(notes, f"3  pull: otaria release publish {NEW}.bin, and {garden.name} fetches it when it polls next")
    await _move(garden, release)


async def _move(station: _Station, act: Callable[[], Awaitable[None]]) -> None:
    """Start an update and wait until the device has installed it and runs again."""
    started = time.monotonic()
    await act()
    await _until(lambda: station.installed is not None)
    station.seconds = time.monotonic() - started


async def _until(condition: Callable[[], bool]) -> None:
    """Look again and again; a condition that does not come true in time is left to the summary."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(UPDATE_DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - three devices change in their own tasks; looking is simplest
                await asyncio.sleep(0.05)


def _headline(notes: Console, text: str) -> None:
    notes.print()
    notes.print(Text(text, "bold"), soft_wrap=not notes.is_terminal)


def _summarise(stations: list[_Station]) -> bool:
    """Print what every device holds now; True where that is the new image, whole, everywhere."""
    image = images.load(NEW)
    title = f"{OLD} to {NEW}, {human_size(len(image))}"
    table = Table(title=title, title_justify="left", title_style="none", box=None, pad_edge=False)
    for heading in ("device", "way", "seconds", "bootloader said", f"flash holds {NEW}"):
        table.add_column(heading)
    verdicts = []
    for station in stations:
        boot = station.installed
        arrived = boot is not None and station.holds(image)
        verdicts.append(arrived)
        table.add_row(
            station.name,
            station.way,
            f"{station.seconds:.1f}",
            Text(" ".join(boot.console.split()) if boot else "no update was installed"),
            Text("yes", "green") if arrived else Text("NO", "bold red"),
        )
    results = Console(highlight=False)
    results.print()
    results.print(table)
    sys.stdout.flush()
    return all(verdicts)


def _invite_to_play(stations: list[_Station], notes: Console, address: Address, password: str) -> None:
    porch, shed, _ = stations
    otaria = shlex.quote(sys.argv[0]) if Path(sys.argv[0]).name == "otaria" else "otaria"
    image = porch.flash_file.with_name(f"{OLD}.bin")
    image.write_bytes(images.load(OLD))
    page = f"http://{HERE}:{shed.ports.web}/update"
    lines = [
        "Everything goes on until Ctrl-C. In another terminal:",
        f"  OTARIA_PASSWORD={password} {otaria} push {image} {HERE}:{porch.ports.ota}",
        f"  OTARIA_DATA={address.folder} {otaria} device list",
        f"  {page} in a browser, as admin with the password {password}",
    ]
    notes.print()
    for line in lines:
        notes.print(Text(line), soft_wrap=line.startswith(" "))  # what is to be copied stays in one piece


def _free_port(kind: socket.SocketKind) -> int:
    """A port of this machine that nobody listens on right now, and that restarts of a device can come back to."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])
