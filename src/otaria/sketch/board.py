"""The board that a sketch runs on: its chip, its network address, its serial monitor."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from otaria.aio.datagrams import DatagramSocket
from otaria.aio.driver import Surroundings
from otaria.aio.link import GOOD_LINK, Link, StreamFault
from otaria.aio.streams import ByteStream, connect, listen
from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.protocols.exchange import Address
from otaria.sketch.esp import ESP
from otaria.sketch.update import Update

__all__ = ["Board", "Network", "Ports", "Sketch", "run"]

Resource = TypeVar("Resource")

IDLE_S: Final = 1.0
"""How often ``loop`` runs while nothing happens. Whatever arrives from the network wakes it at once."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a board listens: a real one has 8266 and 80, many on one machine need others."""

    ota: int = 8266
    web: int = 80


@dataclass(frozen=True, slots=True)
class Network:
    """The board's place on the network.

    Args:
        address: the IP address that it listens on and connects from.
        ports: the ports that it listens on.
        link: how bad the network is to its datagrams.
        fault: what goes wrong with its connections.
        seed: decides what happens to which datagram.
    """

    address: str = "127.0.0.1"
    ports: Ports = field(default_factory=Ports)
    link: Link = GOOD_LINK
    fault: StreamFault | None = None
    seed: int = 0


class Board:
    """What a sketch sees of the world.

    Args:
        machine: the chip that runs.
        name: its host name.
        version: what the image in its flash calls itself.
        network: its place on the network.
        serial: called with each piece of text that the sketch prints.
        time_scale: real seconds per second of the libraries' own delays.

    Attributes:
        esp: the chip.
        update: the Updater that all three ways of updating use.
    """

    def __init__(
        self,
        machine: Machine | Esp32Machine,
        *,
        name: str,
        version: str,
        network: Network,
        serial: Callable[[str], None],
        time_scale: float = 1.0,
    ) -> None:
        self.machine = machine
        self.name = name
        self.version = version
        self.network = network
        self.print = serial
        self.time_scale = time_scale
        self.esp = ESP(machine)
        self.update = Update(machine)
        self.activity = asyncio.Event()
        self._resources = contextlib.AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._started = time.monotonic()
        self._chance = random.Random(network.seed)  # noqa: S311 - a bad link must be repeatable, not secret

    @property
    def file_system_size(self) -> int:
        """Bytes that a file-system image may have."""
        machine = self.machine
        return machine.file_system_size if isinstance(machine, Esp32Machine) else machine.layout.file_system_size

    def micros(self) -> int:
        """Microseconds since the sketch started."""
        return int((time.monotonic() - self._started) * 1_000_000)

    def surroundings(self, report: Callable[[object], None]) -> Surroundings:
        """What an exchange of this board meets besides its socket."""
        return Surroundings(report=report, time_scale=self.time_scale)

    async def open_datagrams(self, port: int) -> DatagramSocket:
        """Listen on a UDP port until the sketch stops.

        Raises:
            PortTaken: another program has it.
        """
        address = (self.network.address, port)
        socket = await DatagramSocket.open(address, link=self.network.link, chance=self._chance)
        self.keep(socket.close)
        return socket

    async def listen(self, port: int, arrived: Callable[[ByteStream], None]) -> None:
        """Listen on a TCP port until the sketch stops; ``arrived`` is called with each connection.

        Raises:
            PortTaken: another program has it.
        """
        await self.keep_open(listen((self.network.address, port), arrived, self.network.fault))

    async def connect(self, address: Address, timeout_s: float) -> ByteStream:
        """Open a connection.

        Raises:
            Unreachable: nobody accepts there, or not in time.
        """
        return await connect(address, timeout_s, self.network.fault)

    async def delay(self, seconds: float) -> None:
        """Let the network work and nothing else."""
        await asyncio.sleep(seconds * self.time_scale)

    async def idle(self) -> None:
        """Wait until something arrives, or until it is time to look around again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S):
                await self.activity.wait()
        self.activity.clear()

    def wake_after(self, seconds: float) -> None:
        """Run ``loop`` again after so many real seconds, even if nothing has arrived; the last call counts."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.activity.set)

    def keep(self, release: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Call this when the sketch stops; what was kept last is released first."""
        self._resources.push_async_callback(release)

    async def keep_open(self, resource: contextlib.AbstractAsyncContextManager[Resource]) -> Resource:
        """Enter a context and leave it when the sketch stops."""
        return await self._resources.enter_async_context(resource)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what a real chip does in interrupts and call-backs; it ends when the sketch stops."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End everything in the background and close every socket."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._resources.aclose()


class Sketch:
    """A program for a board: ``setup`` once, ``loop`` for ever."""

    def __init__(self, board: Board) -> None:
        self.board = board

    async def setup(self) -> None:
        """Called once after each start."""

    async def loop(self) -> None:
        """Called again and again."""


async def run(sketch: Sketch) -> None:
    """Run a sketch until it restarts the board.

    Raises:
        Restart: the sketch asked for it; its sockets are closed by then.
        PortTaken: another program has a port that the sketch wants.
    """
    try:
        await sketch.setup()
        while True:
            await sketch.loop()
            await sketch.board.idle()
    finally:
        await sketch.board.stop()
