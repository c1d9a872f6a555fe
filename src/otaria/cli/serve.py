"""``otaria serve``: the server from which devices fetch their updates."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TextIO

from cyclopts import Parameter, validators

from otaria.cli.fleet_data import DataFolder, open_fleet, utc_now
from otaria.cli.rendering import print_facts, print_remark
from otaria.server.devices import DeviceLane
from otaria.server.log import change_log
from otaria.server.pages import sketch_line
from otaria.server.running import listen as take_port
from otaria.server.running import serving
from otaria.server.web import web_application

__all__ = ["PORT", "Address", "ServeSettings", "running_server", "serve"]

PORT: Final = 8700
"""Devices listen on 8266 and 3232 themselves; this one is nobody's."""

_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_ELSEWHERE: Final = ("192.0.2.1", 9)
"""An address that nobody has (RFC 5737): only the route towards it is looked up, nothing is sent."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How to run the server.

    Args:
        data: the data folder; None for the usual one.
        host: the address to listen on; None for all of this machine's.
        port: the TCP port; 0 for any free one.
        log: where changes are written; None for stderr.
    """

    data: Path | None = None
    host: str | None = None
    port: int = PORT
    log: TextIO | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is reached.

    Args:
        host: an address of this machine, one that devices reach if it has any.
        port: the TCP port.
        folder: the data folder that it serves.
    """

    host: str
    port: int
    folder: Path

    @property
    def url(self) -> str:
        """The server's start page."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@asynccontextmanager
async def running_server(settings: ServeSettings) -> AsyncIterator[Address]:
    """Run the server until the block is left; downloads under way are let end then.

    The port is taken before anything else is touched.

    Raises:
        PortTaken: another program listens there.
        BadInput: the address is not this machine's.
        UnreadableFile: the data folder cannot be used.
        DatabaseBusy: another program holds the database.
    """
    with take_port(settings.host, settings.port) as listener, ExitStack() as stack:
        fleet = await asyncio.to_thread(stack.enter_context, open_fleet(settings.data))
        address = Address(_reachable(settings.host), listener.getsockname()[1], fleet.folder)
        lane = DeviceLane(fleet.store, fleet.blobs, utc_now, change_log(settings.log or sys.stderr))
        # It reads its own modules' sources while it is built, which the loop must not wait for.
        application = await asyncio.to_thread(web_application, lane, url=address.url)
        async with serving(application, listener):
            yield address


def serve(
    *,
    listen: str | None = None,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = PORT,
    data: DataFolder = None,
) -> None:
    """Run the server from which devices fetch their updates.

    Changes are logged on stderr. Ctrl-C stops it and lets downloads under way end; a second Ctrl-C cuts them off.

    Args:
        listen: The address to listen on; by default all of this machine's, since devices must reach it.
        port: The TCP port; 0 for any free one.
        data: The fleet's folder, with its database and images.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve_until_stopped(ServeSettings(data, listen, port)))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _serve_until_stopped(settings: ServeSettings) -> None:
    async with running_server(settings) as address:
        stop = _stop_on_signals()
        _welcome(address)
        await stop.wait()
        print_remark("Stopping. Downloads under way are let end; Ctrl-C again cuts them off.")


def _stop_on_signals() -> asyncio.Event:
    """An event that the first Ctrl-C or SIGTERM sets; a second one cancels the running task."""
    loop, stop, running = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set() and running is not None:
            running.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows' loop has no such thing; there the runner's own handler cancels at the first Ctrl-C.
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, interrupted)
    return stop


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - there is none on Windows

    return uvloop.new_event_loop


def _welcome(address: Address) -> None:
    print_facts(
        [
            ("Serving", address.folder),
            ("at", address.url),
            ("ESP8266 sketch", sketch_line(address.url, "APPLICATION")),
            ("ESP32 sketch", sketch_line(address.url, "APPLICATION", client="httpUpdate")),
        ]
    )
    sys.stdout.flush()


def _reachable(host: str | None) -> str:
    return _own_address() if host is None or host in _EVERYWHERE else host


def _own_address() -> str:
    """The address of this machine on the network that it reaches others by."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return "127.0.0.1"  # no network at all: nobody else is there to reach it
        host: str = probe.getsockname()[0]
        return host
