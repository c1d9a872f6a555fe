"""``otaria virtual``: virtual devices on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.text import Text

from otaria.cli.files import read_file
from otaria.cli.places import data_folder
from otaria.errors import BadInput, UnreadableFile
from otaria.protocols.web_upload import Login
from otaria.push.checks import check_before_push
from otaria.sim.firmware import images
from otaria.sim.flash_file import mirrored_flash
from otaria.sim.stock_sketch import Poll, StockSettings
from otaria.sim.virtual_device import DeviceSettings, VirtualDevice
from otaria.sketch.board import Ports
from otaria.units import MacAddress
from otaria.wire.chips import ChipFamily
from otaria.wire.layouts import find_layout

__all__ = ["SerialMonitor", "app", "virtual_mac"]

app = App(name="virtual", help="Virtual devices that behave like real ones, on this machine.")

PASSWORD_VARIABLE: Final = "OTARIA_PASSWORD"  # noqa: S105 - the variable's name, no password

FAST: Final = 0.02
"""Real seconds per second of a device's delays with --fast."""

_COLOURS: Final = ("cyan", "magenta", "yellow", "green", "blue", "red")


@app.command
def run(  # noqa: PLR0913 - each option is a switch of the device's own
    *,
    count: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))] = 1,
    layout: str = "4m1m",
    image: Path | None = None,
    flash_dir: Path | None = None,
    address: str = "127.0.0.1",
    ota_port: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65535))] = 8266,
    web_port: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65535))] = 8080,
    poll: str | None = None,
    poll_every: Annotated[float, Parameter(validator=validators.Number(gt=0))] = 60.0,
    web_user: str | None = None,
    fast: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Switch on virtual ESP8266s: ArduinoOTA, a web page for uploads, and a client that polls a server.

    Prints what their serial monitors would show. With OTARIA_PASSWORD in the environment they demand that password
    from who pushes, and with --web-user from who opens the page too. Ctrl-C switches them off; their flash files stay.

    Args:
        count: How many. The second one listens on the ports after the first one's, and so on.
        layout: The flash layout, by the name of the core's linker script.
        image: What is in flash when a device is switched on for the first time; our demo image by default.
        flash_dir: The folder of the flash files.
        address: The address to listen on.
        ota_port: The UDP port of the first device's ArduinoOTA.
        web_port: The TCP port of the first device's web page.
        poll: The URL to ask for updates, such as http://127.0.0.1:8700/update.
        poll_every: Seconds between two polls.
        web_user: The user whom the web page asks for.
        fast: Shorten the libraries' delays, two seconds at each update, to nearly nothing.
    """
    first_image = images.load("valve-1.0") if image is None else read_file(image)
    check_before_push(first_image, "the image", family=ChipFamily.ESP8266, filesystem=False)
    password = os.environ.get(PASSWORD_VARIABLE)
    if web_user is not None and password is None:
        raise BadInput("--web-user needs a password: put it into OTARIA_PASSWORD.")
    sketch = StockSettings(
        ota_password=password,
        login=None if web_user is None or password is None else Login(web_user, password),
        poll=None if poll is None else Poll(poll, poll_every),
    )
    settings = [
        DeviceSettings(
            name=f"virtual-{number:03}",
            mac=virtual_mac(number),
            layout=find_layout(layout),
            address=address,
            ports=Ports(ota_port + number - 1, web_port + number - 1),
            sketch=sketch,
            time_scale=FAST if fast else 1.0,
        )
        for number in range(1, count + 1)
    ]
    folder = _flash_folder(flash_dir)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run_all(settings, first_image, folder))


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


async def _run_all(all_settings: list[DeviceSettings], first_image: bytes, folder: Path) -> None:
    console = Console(highlight=False)
    notes = Console(stderr=True, highlight=False)
    monitor = SerialMonitor(console, width=max(len(settings.name) for settings in all_settings))
    with contextlib.ExitStack() as files:
        async with asyncio.TaskGroup() as group:
            for settings in all_settings:
                path = folder / f"{settings.name}-{settings.layout.name}.bin"
                flash = files.enter_context(mirrored_flash(path, settings.layout.flash_size))
                device = VirtualDevice(settings, flash, serial=monitor.of(settings.name))
                device.put_in_if_blank(first_image)
                notes.print(_doors(settings, path), soft_wrap=True)
                group.create_task(device.run())


def _doors(settings: DeviceSettings, path: Path) -> Text:
    here = settings.address
    return Text(
        f"{settings.name}  {settings.mac}  push: {here}:{settings.ports.ota}  "
        f"browser: http://{here}:{settings.ports.web}/update  flash: {path}"
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
