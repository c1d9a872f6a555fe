"""``otaria push``: one image to one device."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter, validators
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn
from rich.table import Column

from otaria.aio.driver import Surroundings
from otaria.cli.files import read_file
from otaria.cli.rendering import print_sentence
from otaria.protocols import exchange
from otaria.protocols.arduino_push import Authenticated
from otaria.push.checks import check_before_push
from otaria.push.passwords import password_from_file, password_from_keyring
from otaria.push.uploader import Door, Target, push_image
from otaria.push.web_form import Page, upload_to_page
from otaria.units import human_size
from otaria.wire.arduino_ota import ESP32_PORT, Command
from otaria.wire.chips import ChipFamily

__all__ = ["push"]

PASSWORD_VARIABLE: Final = "OTARIA_PASSWORD"  # noqa: S105 - the variable's name, no password

WIDE: Final = 72
"""Columns of a terminal in which a device's name, the bar and the bytes stand side by side."""


def push(
    image: Path,
    device: str,
    /,
    *,
    filesystem: Annotated[bool, Parameter(negative="")] = False,
    chip: ChipFamily | None = None,
    password_file: Path | None = None,
    host_ip: str | None = None,
    host_port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    force: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Push an image to a device whose sketch runs ArduinoOTA, or through its update page.

    The password, if the device asks for one, is taken from --password-file, the environment variable
    OTARIA_PASSWORD, the keyring (service "otaria", user = the device as you name it), or a prompt.

    Args:
        image: The .bin (or .bin.gz) that the build made.
        device: HOST or HOST:PORT for ArduinoOTA (port 8266 where none is given), or http://[USER@]HOST[:PORT]/update.
        filesystem: The image is a file system, not a sketch. It overwrites every file on the device.
        chip: The device's chip family; ESP8266 unless the port is 3232.
        password_file: A file whose first line is the device's password.
        host_ip: The address of this machine that the device connects back to.
        host_port: The TCP port of this machine that the device connects back to; any free one by default.
        force: Send what bricks some devices: an image that is both compressed and signed.
    """
    page = Page.parse(device) if "://" in device else None
    target = Target.parse(device) if page is None else None
    family = chip or (ChipFamily.ESP32 if target and target.port == ESP32_PORT else ChipFamily.ESP8266)
    content = read_file(image)
    check_before_push(content, image.name, family=family, filesystem=filesystem, force=force)
    passwords = _Passwords(password_file)
    bar = _Bar(str(page or target), len(content), passwords)
    started = time.monotonic()
    with bar:
        if page is not None:
            password = passwords.find(str(page)) if page.user else None
            asyncio.run(upload_to_page(content, page, file_system=filesystem, password=password, around=bar.around))
        elif target is not None:
            command = Command.FILESYSTEM if filesystem else Command.FLASH
            door = Door(host_ip, host_port)
            asyncio.run(push_image(content, target, command=command, door=door, around=bar.around))
    seconds = time.monotonic() - started
    print_sentence(
        f"{page or target} installed {image.name} ({human_size(len(content))}) in {seconds:.1f} s and restarts now."
    )


class _Bar:
    """A progress bar on stderr where that is a terminal, and nothing of it elsewhere or once it is over."""

    def __init__(self, device: str, size: int, passwords: _Passwords) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._device = device
        self._size = size
        self._passwords = passwords
        self._bars = Progress(
            *_columns(self._console.width),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._bar = self._bars.add_task(f"Reaching {device}", total=size)

    @property
    def around(self) -> Surroundings:
        """What the exchange is to tell its events to and to ask for a password."""
        return Surroundings(report=self._report, ask_password=self._ask)

    def __enter__(self) -> None:
        self._bars.start()

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def _report(self, event: object) -> None:
        match event:
            case Authenticated():
                self._console.print("Authenticating...OK")
            case exchange.Progress(done, _):
                doing = "Installing on" if done == self._size else "Sending to"
                self._bars.update(self._bar, completed=done, description=f"{doing} {self._device}")

    async def _ask(self, device: str) -> str | None:
        self._bars.stop()
        try:
            # Nothing else happens while a person types, so the loop may stand still meanwhile.
            return self._passwords.find(device)
        finally:
            self._bars.start()


def _columns(width: int) -> list[ProgressColumn]:
    """What stands in the one line of the bar; in a narrow terminal the percentage has to do."""
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
    ]
    if width >= WIDE:
        columns.append(DownloadColumn(binary_units=True, table_column=Column(no_wrap=True)))
    return columns


class _Passwords:
    """Finds the password when the device asks for it, so that nobody is asked in vain."""

    def __init__(self, path: Path | None) -> None:
        # A file is read at once: what cannot be read should be said before the device is disturbed.
        self._from_file = None if path is None else password_from_file(path)

    def find(self, device: str) -> str | None:
        """The first that there is of file, environment, keyring and prompt; None where nobody can be asked."""
        if self._from_file is not None:
            return self._from_file
        if PASSWORD_VARIABLE in os.environ:
            return os.environ[PASSWORD_VARIABLE]
        known = password_from_keyring(device)
        if known is not None or not sys.stdin.isatty():
            return known
        return _prompt(f"Password of {device}: ")


def _prompt(text: str) -> str:
    """Ask on the terminal. Ctrl-C ends the command here too, where asyncio's own handler would wait for Enter."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return getpass.getpass(text, stream=sys.stderr)
    finally:
        signal.signal(signal.SIGINT, before)
