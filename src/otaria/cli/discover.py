"""``otaria discover`` and ``otaria arduino-discovery``: the devices that announce themselves on this network."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Annotated, Final

from cyclopts import Parameter, validators
from rich.live import Live
from rich.table import Table
from rich.text import Text

from otaria.cli.rendering import AsJson, print_json, print_sentence, print_table, printable
from otaria.push.arduino_discovery import Json, converse
from otaria.push.discovery import AnnouncedDevice, Gone, Seen, Sighting, find_devices, open_neighbourhood

__all__ = ["arduino_discovery", "discover"]

COLUMNS: Final = ("DEVICE", "ADDRESS", "PORT", "BOARD", "PASSWORD")

LONGEST_LINE: Final = 4096
"""Characters that are waited for a line's end. The longest command of an IDE has below a hundred."""

NOBODY: Final = (
    "No device announces itself here. Its sketch must call ArduinoOTA.begin(), and this machine must be on its "
    "network; many routers keep guests, or the two radio bands, apart."
)


def discover(
    *,
    once: Annotated[float | None, Parameter(validator=validators.Number(gt=0, lte=3600))] = None,
    interface: str | None = None,
    as_json: AsJson = False,
) -> None:
    """List the devices whose sketches announce ArduinoOTA by mDNS, as they come and go.

    On a terminal this is a table that changes until Ctrl-C; elsewhere it is a line for each device that comes (+) or
    goes (-).

    Args:
        once: Look for so many seconds, print what is there, and end. Three are usually enough.
        interface: The IPv4 address that this machine has on the network to look at; all networks by default.
        as_json: Print JSON: with --once a list, otherwise one object a line.
    """
    if once is None:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_watch(interface, as_json=as_json))
        return
    devices = asyncio.run(find_devices(once, interface=interface))
    if as_json:
        print_json([_facts(device) for device in devices])
    else:
        print_table(COLUMNS, map(_row, devices), otherwise=NOBODY)


def arduino_discovery(*, interface: str | None = None) -> None:
    """Speak the Arduino pluggable discovery protocol on stdin and stdout, for the IDE and arduino-cli.

    Args:
        interface: The IPv4 address that this machine has on the network to look at; all networks by default.
    """
    asyncio.run(converse(_lines(), _say, interface=interface))


async def _watch(interface: str | None, *, as_json: bool) -> None:
    async with open_neighbourhood(interface) as neighbourhood:
        if as_json:
            await neighbourhood.watch(_print_event)
        elif not sys.stdout.isatty():
            await neighbourhood.watch(_print_line)
        else:
            with Live(_table(()), auto_refresh=False) as live:
                await neighbourhood.watch(_redraw(live))


def _redraw(live: Live) -> Callable[[Sighting], None]:
    devices: dict[str, AnnouncedDevice] = {}

    def redraw(sighting: Sighting) -> None:
        match sighting:
            case Seen(device):
                devices[device.name] = device
            case Gone(device):
                devices.pop(device.name, None)
        live.update(_table(devices[name] for name in sorted(devices)), refresh=True)

    return redraw


def _table(devices: Iterable[AnnouncedDevice]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", caption="Looking for devices. Ctrl-C ends this.")
    table.caption_justify = "left"
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for device in devices:
        table.add_row(*(Text(printable(str(cell))) for cell in _row(device)))
    return table


def _row(device: AnnouncedDevice) -> tuple[object, ...]:
    password = {"yes": "asked for", "no": "none"}.get(device.texts.get("auth_upload", ""), "")
    return device.name, device.address, device.port, device.board, password


def _facts(device: AnnouncedDevice) -> dict[str, Json]:
    return {
        "name": device.name,
        "hostname": device.hostname,
        "address": device.address,
        "port": device.port,
        "texts": dict(device.texts),
    }


def _print_event(sighting: Sighting) -> None:
    event = "seen" if isinstance(sighting, Seen) else "gone"
    _say({"event": event, "device": _facts(sighting.device)})


def _print_line(sighting: Sighting) -> None:
    sign = "+" if isinstance(sighting, Seen) else "-"
    device = sighting.device
    texts = " ".join(f"{key}={value}" for key, value in sorted(device.texts.items()))
    print_sentence(printable(f"{sign} {device.name} {device.address}:{device.port} {texts}".rstrip()))
    sys.stdout.flush()


def _say(value: Json) -> None:
    """One value a line, at once: whoever reads waits for it."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def _lines() -> AsyncIterator[str]:
    """What arrives on stdin, line by line, until its end.

    A thread reads, because stdin may be a pipe, a file or a terminal on any system and asyncio cannot wait for all of
    them. It reads the descriptor and not ``sys.stdin``, whose lock an interpreter that ends would wait for.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        piece = b"?"
        while piece:
            piece = os.read(sys.stdin.fileno(), LONGEST_LINE)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    begun = b""
    while piece := await pieces.get():
        *whole, begun = (begun + piece).split(b"\n")
        if len(begun) > LONGEST_LINE:
            whole, begun = [*whole, begun], b""
        for line in whole:
            yield line.decode("utf-8", "replace")
