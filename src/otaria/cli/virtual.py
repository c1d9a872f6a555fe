"""``otaria virtual``: virtual devices on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.text import Text

from otaria.aio.link import GOOD_LINK, Link, StreamFault, StreamTrouble
from otaria.cli.cores import core_as_spelled
from otaria.cli.files import read_file
from otaria.cli.places import data_folder
from otaria.device.core_version import Core
from otaria.device.esp32_core_version import Esp32Core
from otaria.device.flash import Flash
from otaria.errors import BadInput, OtariaError, UnreadableFile
from otaria.protocols.http_pull import Url
from otaria.protocols.web_upload import Login
from otaria.push.checks import check_before_push
from otaria.sim.esp32_demo import demo_image
from otaria.sim.faults import SiliconFaults, parse_bad_sector
from otaria.sim.firmware import images
from otaria.sim.flash_file import mirrored_flash
from otaria.sim.sketch_file import load_sketch
from otaria.sim.stock_sketch import Poll, StockSettings
from otaria.sim.virtual_device import DeviceSettings, VirtualDevice
from otaria.sketch.board import Network, Ports
from otaria.units import MacAddress
from otaria.wire.chips import ChipFamily
from otaria.wire.layouts import find_layout

__all__ = ["SerialMonitor", "app", "raise_file_limit", "virtual_mac"]

app = App(name="virtual", help="Virtual devices that behave like real ones, on this machine.")

PASSWORD_VARIABLE: Final = "OTARIA_PASSWORD"  # noqa: S105 - the variable's name, no password

OPEN_FILES_EACH: Final = 6
"""Two listening sockets, a flash file, and what a running update opens."""

LAST_PORT: Final = 65535

FAST: Final = 0.02
"""Real seconds per second of a device's delays with --fast."""

_COLOURS: Final = ("cyan", "magenta", "yellow", "green", "blue", "red")


@Parameter(name="*")
@dataclass(frozen=True)
class Faults:
    """What shall go wrong."""

    bad_sector: tuple[str, ...] = ()
    """SECTOR:BEHAVIOUR, such as 770:erase-fails; may be repeated. The behaviours are program-fails, erase-fails,
    read-fails, program-ignored and erase-ignored."""

    endurance: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None
    """Erases that each sector stands."""

    stuck_rtc: Annotated[bool, Parameter(negative="")] = False
    """RTC memory takes nothing in, so no update survives the restart."""

    loss: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))] = 0.0
    """The share of datagrams that never arrive."""

    duplication: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))] = 0.0
    """The share of datagrams that arrive twice."""

    delay: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 0.0
    """The most seconds that a datagram travels."""

    seed: int = 0
    """Decides what happens to which datagram."""

    stream_fault: StreamTrouble | None = None
    """Each connection stalls, is closed, or brings everything twice once --stream-fault-after bytes have come."""

    stream_fault_after: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 10_000
    """Bytes of a connection before its fault begins."""

    @property
    def silicon(self) -> SiliconFaults:
        """The silicon's part of it."""
        sectors = dict(parse_bad_sector(text) for text in self.bad_sector)
        return SiliconFaults(sectors, self.endurance, self.stuck_rtc)

    def network(self, address: str, ports: Ports, number: int) -> Network:
        """A place on a network that is as bad as told, for the device of that number."""
        perfect = not (self.loss or self.duplication or self.delay)
        link = GOOD_LINK if perfect else Link(self.loss, self.duplication, 0.0, self.delay)
        trouble = self.stream_fault
        fault = None if trouble is None else StreamFault(trouble, self.stream_fault_after)
        return Network(address, ports, link, fault, self.seed + number)


@app.command
def run(  # noqa: PLR0913 - each option is a switch of the device's own
    *,
    count: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))] = 1,
    layout: str = "4m1m",
    core: Annotated[Core, Parameter(name_transform=core_as_spelled)] = Core.V3_1,
    esp32_core: Annotated[Esp32Core | None, Parameter(name="--esp32-core", name_transform=core_as_spelled)] = None,
    image: Path | None = None,
    sketch: Path | None = None,
    flash_dir: Path | None = None,
    in_memory: Annotated[bool, Parameter(negative="")] = False,
    address: str = "127.0.0.1",
    ota_port: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65535))] = 8266,
    web_port: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65535))] = 8080,
    poll: str | None = None,
    poll_every: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 60.0,
    web_user: str | None = None,
    mdns: Annotated[bool, Parameter(negative="")] = False,
    fast: Annotated[bool, Parameter(negative="")] = False,
    faults: Annotated[Faults | None, Parameter(group="Faults")] = None,
) -> None:
    """Switch on virtual ESP8266s (or ESP32s): ArduinoOTA, a web page for uploads, and a client that polls a server.

    Prints what their serial monitors would show. With OTARIA_PASSWORD in the environment they demand that password
    from who pushes, and with --web-user from who opens the page too. Ctrl-C switches them off; their flash files stay.

    Args:
        count: How many. The second one listens on the ports after the first one's, and so on.
        layout: The flash layout, by the name of the core's linker script.
        core: The generation of the Arduino core that they behave like.
        esp32_core: Be ESP32s, with this generation of their core; layout and core mean nothing then.
        image: What is in flash when a device is switched on for the first time; our demo image by default.
        sketch: A Python file with a sketch of yours to run instead of the stock one.
        flash_dir: The folder of the flash files.
        in_memory: Keep no flash files; everything is forgotten at the end.
        address: The address to listen on.
        ota_port: The UDP port of the first device's ArduinoOTA.
        web_port: The TCP port of the first device's web page.
        poll: The URL to ask for updates, such as http://127.0.0.1:8700/update.
        poll_every: Seconds between two polls.
        web_user: The user whom the web page asks for.
        mdns: Announce the devices on the network of their address.
        fast: Shorten the libraries' delays, two seconds at each update, to nearly nothing.
        faults: What shall go wrong.
    """
    if max(ota_port, web_port) + count - 1 > LAST_PORT:
        raise BadInput(f"{count} devices from port {max(ota_port, web_port)} on would need ports above {LAST_PORT}.")
    first_image = _first_image(image, esp32=esp32_core is not None)
    faults = faults or Faults()
    program = _stock_settings(poll, poll_every, web_user, mdns=mdns) if sketch is None else load_sketch(sketch)
    settings = [
        DeviceSettings(
            name=f"virtual-{number:03}",
            mac=virtual_mac(number),
            layout=find_layout(layout),
            network=faults.network(address, Ports(ota_port + number - 1, web_port + number - 1), number),
            sketch=program,
            core=core,
            esp32=esp32_core,
            faults=faults.silicon,
            time_scale=FAST if fast else 1.0,
        )
        for number in range(1, count + 1)
    ]
    raise_file_limit(OPEN_FILES_EACH * count)
    folder = None if in_memory else _flash_folder(flash_dir)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run_all(settings, first_image, folder))


def _first_image(path: Path | None, *, esp32: bool) -> bytes:
    if path is None:
        return demo_image("demo-1.0") if esp32 else images.load("valve-1.0")
    content = read_file(path)
    check_before_push(content, path.name, family=ChipFamily.ESP32 if esp32 else ChipFamily.ESP8266, filesystem=False)
    return content


def _stock_settings(poll: str | None, poll_every: float, web_user: str | None, *, mdns: bool) -> StockSettings:
    password = os.environ.get(PASSWORD_VARIABLE)
    if web_user is not None and password is None:
        raise BadInput("--web-user needs a password: put it into OTARIA_PASSWORD.")
    if poll is not None:
        Url.parse(poll)  # so that a wrong address is said now and not by each device
    return StockSettings(
        ota_password=password,
        login=None if web_user is None or password is None else Login(web_user, password),
        poll=None if poll is None else Poll(poll, poll_every),
        mdns=mdns,
    )


def raise_file_limit(needed: int) -> None:
    """Ask the system for room for so many more open files, as far as it lets us."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed + soft if hard == resource.RLIM_INFINITY else min(needed + soft, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def virtual_mac(number: int) -> MacAddress:
    """A MAC of the range that nobody sells: the bit for locally administered addresses is set."""
    return MacAddress.parse(f"5ECF7F{number:06X}")


def _flash_folder(chosen: Path | None) -> Path:
    folder = data_folder() / "virtual" if chosen is None else chosen
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnreadableFile(f"Cannot make the folder {folder} for flash files: {error.strerror}.") from error
    return folder


async def _run_all(all_settings: list[DeviceSettings], first_image: bytes, folder: Path | None) -> None:
    notes = Console(stderr=True, highlight=False)
    monitor = SerialMonitor(Console(highlight=False), width=max(len(settings.name) for settings in all_settings))
    shared: dict[bytes, bytes] = {}
    with contextlib.ExitStack() as files:
        try:
            async with asyncio.TaskGroup() as group:
                for settings in all_settings:
                    path = None if folder is None else folder / f"{settings.name}-{_kind(settings)}.bin"
                    flash = files.enter_context(_chip(path, settings, shared))
                    device = VirtualDevice(settings, flash, serial=monitor.of(settings.name))
                    device.put_in_if_blank(first_image)
                    notes.print(_doors(settings, path), soft_wrap=True)
                    group.create_task(device.run())
        except* OtariaError as failed:
            # Every device failed or was switched off because of it; the first reason is the one to tell.
            raise failed.exceptions[0] from None


def _chip(
    path: Path | None, settings: DeviceSettings, shared: dict[bytes, bytes]
) -> contextlib.AbstractContextManager[Flash]:
    """The device's flash, mirrored in a file or in memory only; what equals another device's is in memory once."""
    size = settings.flash_size
    return contextlib.nullcontext(Flash(size, pool=shared)) if path is None else mirrored_flash(path, size, shared)


def _kind(settings: DeviceSettings) -> str:
    return settings.layout.name if settings.esp32 is None else "esp32"


def _doors(settings: DeviceSettings, path: Path | None) -> Text:
    here, ports = settings.network.address, settings.network.ports
    flash = "" if path is None else f"  flash: {path}"
    return Text(
        f"{settings.name}  {settings.mac}  push: {here}:{ports.ota}  browser: http://{here}:{ports.web}/update{flash}"
    )


class SerialMonitor:
    """Prints what serial ports say, each line behind its device's name, each device in a colour of its own.

    Args:
        console: where to.
        width: characters that each name takes, so that the lines stand below each other.
    """

    def __init__(self, console: Console, *, width: int) -> None:
        self._console = console
        self._width = width
        self._named = 0

    def of(self, name: str) -> Callable[[str], None]:
        """What a device calls with the text that its serial port sends; lines may arrive in pieces."""
        colour = _COLOURS[self._named % len(_COLOURS)]
        self._named += 1
        begun = ""

        def say(text: str) -> None:
            nonlocal begun
            *lines, begun = (begun + text).split("\n")
            for line in lines:
                self._console.print(Text.assemble((f"{name.ljust(self._width)} | ", colour), line), soft_wrap=True)

        return say
