"""The board that a sketch runs on: its chip, its network address, its serial monitor."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from otaria.aio.driver import Surroundings
from otaria.device.machine import Machine

__all__ = ["Board", "Ports", "Restart", "Sketch", "run"]

Resource = TypeVar("Resource")

IDLE_S: Final = 1.0
"""How often ``loop`` runs while nothing happens. Whatever arrives from the network wakes it at once."""


class Restart(Exception):
    """The sketch called ``ESP.restart()``; whoever runs the board resets it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a board listens: a real one has 8266 and 80, many on one machine need others."""

    ota: int = 8266
    web: int = 80


class Board:
    """What a sketch sees of the world.

    Args:
        machine: the chip that runs.
        name: its host name.
        address: the IP address it listens on and connects from.
        ports: the ports it listens on.
        serial: called with each piece of text that the sketch prints.
        time_scale: real seconds per second of the libraries' own delays.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        name: str,
        address: str,
        ports: Ports,
        serial: Callable[[str], None],
        time_scale: float = 1.0,
    ) -> None:
        self.machine = machine
        self.name = name
        self.address = address
        self.ports = ports
        self.print = serial
        self.time_scale = time_scale
        self.activity = asyncio.Event()
        self._resources = contextlib.AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._started = time.monotonic()

    def micros(self) -> int:
        """Microseconds since the sketch started."""
        return int((time.monotonic() - self._started) * 1_000_000)

    def surroundings(self, report: Callable[[object], None]) -> Surroundings:
        """What an exchange of this board meets besides its socket."""
        return Surroundings(report=report, time_scale=self.time_scale)

    async def delay(self, seconds: float) -> None:
        """Let the network work and nothing else."""
        await asyncio.sleep(seconds * self.time_scale)

    def restart(self) -> NoReturn:
        """Reset the chip; RTC memory survives."""
        raise Restart

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
    """
    try:
        await sketch.setup()
        while True:
            await sketch.loop()
            await sketch.board.idle()
    finally:
        await sketch.board.stop()
