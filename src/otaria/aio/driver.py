"""Runs an exchange on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, assert_never

from otaria.aio.datagrams import DatagramSocket
from otaria.aio.streams import ByteStream
from otaria.protocols.exchange import (
    AskPassword,
    Connected,
    Datagram,
    DatagramExchange,
    Effect,
    Receive,
    Report,
    Send,
    Sleep,
    StreamExchange,
)

__all__ = ["Surroundings", "run_datagrams", "run_stream"]

Answer = TypeVar("Answer")
Result = TypeVar("Result")

AskedPassword: TypeAlias = Callable[[str], Awaitable[str | None]]


async def _no_password(_device: str) -> str | None:
    return None


def _unheard(_event: object) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an exchange meets besides its socket.

    Args:
        report: called with every event.
        ask_password: called with the device's name when it wants a password.
        time_scale: real seconds per second that an exchange sleeps; timeouts are never scaled.
    """

    report: Callable[[object], None] = _unheard
    ask_password: AskedPassword = _no_password
    time_scale: float = 1.0


async def run_stream(exchange: StreamExchange[Result], stream: ByteStream, around: Surroundings) -> Result:
    """Run an exchange over a connection. The connection stays open; whoever opened it closes it."""

    async def receive(timeout_s: float | None) -> bytes | None:
        return await stream.receive(timeout_s)

    async def send(effect: Send) -> None:
        await stream.send(effect.content)

    return await _run(exchange, send, receive, around)


async def run_datagrams(exchange: DatagramExchange[Result], socket: DatagramSocket, around: Surroundings) -> Result:
    """Run an exchange over a datagram socket."""

    async def receive(timeout_s: float | None) -> Datagram | Connected | None:
        return await socket.receive(timeout_s)

    async def send(effect: Send) -> None:
        if effect.to is not None:
            socket.send(effect.content, effect.to)
        await asyncio.sleep(0)

    return await _run(exchange, send, receive, around)


async def _run(
    exchange: Generator[Effect, Answer | str | None, Result],
    send: Callable[[Send], Awaitable[None]],
    receive: Callable[[float | None], Awaitable[Answer | None]],
    around: Surroundings,
) -> Result:
    async def perform(effect: Effect) -> Answer | str | None:
        match effect:
            case Send():
                await send(effect)
            case Receive(timeout_s):
                return await receive(timeout_s)
            case Sleep(seconds):
                await asyncio.sleep(seconds * around.time_scale)
            case Report(event):
                around.report(event)
            case AskPassword(device):
                return await around.ask_password(device)
            case _:
                assert_never(effect)
        return None

    answer: Answer | str | None = None
    try:
        while True:
            answer = await perform(exchange.send(answer))
    except StopIteration as done:
        result: Result = done.value
        return result
    finally:
        exchange.close()
