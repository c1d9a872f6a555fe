"""Listening and serving, alone in a process or beside other tasks in one."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from litestar.types import ASGIApp

from otaria.errors import BadInput, PortTaken
from otaria.server.connection import DeviceConnection

__all__ = ["listen", "serving"]

LET_END_S: Final = 60
"""How long downloads may go on after the server was told to stop: a large image over a poor radio link."""

_EVERYWHERE: Final = ""


def listen(host: str | None, port: int) -> socket.socket:
    """Take a port.

    Args:
        host: the address to listen on; None for all of this machine's.
        port: the TCP port; 0 for any free one.

    Raises:
        PortTaken: another program has it.
        BadInput: the address is not this machine's, or the port is not for everyone.
    """
    everywhere = host is None
    family = (
        socket.AF_INET6 if (host and ":" in host) or (everywhere and socket.has_dualstack_ipv6()) else socket.AF_INET
    )
    try:
        return socket.create_server(
            (host or _EVERYWHERE, port), family=family, dualstack_ipv6=everywhere and family is socket.AF_INET6
        )
    except OSError as error:
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str | None, port: int, error: OSError) -> PortTaken | BadInput:
    where = f"port {port}" + (f" of {host}" if host else "")
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"Another program listens on {where} already, perhaps another `otaria serve`. Stop it, or choose another "
            "port with --port."
        )
    why = (error.strerror or str(error)).partition(" (while")[0]
    return BadInput(f"Cannot listen on {where}: {why}. Choose another with --listen and --port.")


class _Server(uvicorn.Server):
    """uvicorn, which leaves signals to the entry point and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    def cut_off(self) -> None:
        """End all connections at once; what answers them sees it and comes to its end."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(application: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve until the block is left, then let downloads end; a cancellation while they do cuts them off."""
    server = _Server(
        uvicorn.Config(
            application,
            http=DeviceConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=LET_END_S,
        )
    )
    running = asyncio.create_task(server.serve([listener]))
    try:
        await server.listening.wait()
        yield
    finally:
        server.should_exit = True
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            server.cut_off()
            await running
            raise
