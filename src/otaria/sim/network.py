"""A network inside one process: exchanges on a virtual clock, datagrams lost, doubled and delayed by seed.

Nothing here waits. The clock jumps to the next thing that happens, so a transfer of minutes takes milliseconds, and the
same seed gives the same run.
"""

from __future__ import annotations

import functools
import heapq
import random
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, assert_never

from otaria.aio.link import Link
from otaria.errors import OtariaError
from otaria.protocols.exchange import (
    Address,
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

__all__ = ["Network", "Party"]

Result = TypeVar("Result")

NEAR: Final = Link(shortest_s=0.001, longest_s=0.001)
"""Two machines in one room."""

MOST_EVENTS: Final = 1_000_000
"""A run that needs more has gone astray; the longest transfer in the tests needs a tenth."""


@dataclass(eq=False)
class Party(Generic[Result]):
    """One exchange on the network, and what came of it.

    Args:
        exchange: the exchange.
        password: what it gets where it asks for one.
        send: how its bytes leave.
        arrived: what waits to be received.
        events: what it reported.
        result: what it returned.
        error: what it raised.
        finished: it has returned or raised.
        receiving: it waits for an arrival.
        turns: how often it was resumed, by which a time-out knows that it comes too late.
        then: called with the result when it returns.
    """

    exchange: Generator[Effect, Any, Result]
    password: str | None
    send: Callable[[Party[Result], Send], None]
    arrived: deque[Any] = field(default_factory=deque)
    events: list[object] = field(default_factory=list)
    result: Result | None = None
    error: OtariaError | None = None
    finished: bool = False
    receiving: bool = False
    turns: int = 0
    then: Callable[[Result], None] | None = None


class Network:
    """Runs parties against each other.

    Args:
        seed: decides what the link does to whom.
        link: how bad it is.
    """

    def __init__(self, *, seed: int = 0, link: Link | None = None) -> None:
        self.now_s = 0.0
        self._random = random.Random(seed)  # noqa: S311 - a simulation must be repeatable, not secret
        self._link = link or NEAR
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0
        self._parties: dict[Address, Party[Any]] = {}

    def join(
        self,
        address: Address,
        exchange: DatagramExchange[Result],
        *,
        password: str | None = None,
        then: Callable[[Result], None] | None = None,
    ) -> Party[Result]:
        """Put a party on the network that sends and receives datagrams.

        Args:
            address: where it is.
            exchange: what it does.
            password: what it gets where it asks for one.
            then: called with its result.
        """

        def send(_party: Party[Result], effect: Send) -> None:
            if effect.to is not None:
                self._post(Datagram(effect.content, address), effect.to)

        party = Party(exchange, password, send, then=then)
        self._parties[address] = party
        self._in(0.0, functools.partial(self._resume, party, None))
        return party

    def connect(
        self, left: StreamExchange[Result], right: StreamExchange[Result]
    ) -> tuple[Party[Result], Party[Result]]:
        """Join two exchanges by a stream; the end of one is the end of the stream to the other."""
        peers: dict[int, Party[Result]] = {}
        arrival_s: dict[int, float] = {}

        def send(party: Party[Result], effect: Send) -> None:
            peer = peers[id(party)]
            # Bytes keep their order: none arrives before those that were sent earlier.
            arrival_s[id(peer)] = max(arrival_s.get(id(peer), 0.0), self.now_s + self._delay())
            self._at(arrival_s[id(peer)], lambda: self._deliver(peer, effect.content))

        one, other = Party(left, None, send), Party(right, None, send)
        peers.update({id(one): other, id(other): one})
        for party in (one, other):
            self._in(0.0, functools.partial(self._resume, party, None))
        return one, other

    def dial(self, caller: Address, to: Address) -> None:
        """Let a TCP connection arrive where datagrams are awaited; TCP sees to it that it does."""
        party = self._parties[to]
        self._in(self._delay(), lambda: self._deliver(party, Connected(caller)))

    def run(self, deadline_s: float) -> None:
        """Let time pass until all is quiet, or until the deadline."""
        for _ in range(MOST_EVENTS):
            if not self._agenda or self._agenda[0][0] > deadline_s:
                return
            self.now_s, _, happen = heapq.heappop(self._agenda)
            happen()
        raise AssertionError("the simulated network never comes to rest")

    def _post(self, datagram: Datagram, to: Address) -> None:
        for seconds in self._link.travel_times(self._random):
            self._in(seconds, lambda: self._hand_over(datagram, to))

    def _hand_over(self, datagram: Datagram, to: Address) -> None:
        party = self._parties.get(to)
        if party is not None:
            self._deliver(party, datagram)

    def _delay(self) -> float:
        return self._link.travel_time(self._random)

    def _in(self, seconds: float, happen: Callable[[], None]) -> None:
        self._at(self.now_s + seconds, happen)

    def _at(self, moment_s: float, happen: Callable[[], None]) -> None:
        self._scheduled += 1
        heapq.heappush(self._agenda, (moment_s, self._scheduled, happen))

    def _deliver(self, party: Party[Any], arrival: object) -> None:
        if party.finished:
            return
        party.arrived.append(arrival)
        if party.receiving:
            self._resume(party, party.arrived.popleft())

    def _resume(self, party: Party[Any], answer: object) -> None:
        """Let a party go on until it waits again."""
        party.turns += 1
        party.receiving = False
        try:
            effect = party.exchange.send(answer)
            while (now := self._perform(party, effect)) is not _WAITS:
                effect = party.exchange.send(now)
        except StopIteration as done:
            party.result = done.value
            self._finish(party)
            if party.then is not None:
                party.then(done.value)
        except OtariaError as error:
            party.error = error
            self._finish(party)

    def _finish(self, party: Party[Any]) -> None:
        party.finished = True
        party.send(party, Send(b""))

    def _perform(self, party: Party[Any], effect: Effect) -> object:
        """Do what an exchange asks; the answer, or :data:`_WAITS` where it comes later."""
        match effect:
            case Send():
                party.send(party, effect)
                return None
            case Report(event):
                party.events.append(event)
                return None
            case AskPassword():
                return party.password
            case Sleep(seconds):
                self._in(seconds, functools.partial(self._resume, party, None))
                return _WAITS
            case Receive(timeout_s):
                return self._await_arrival(party, timeout_s)
            case _:
                assert_never(effect)

    def _await_arrival(self, party: Party[Any], timeout_s: float | None) -> object:
        if party.arrived:
            return party.arrived.popleft()
        party.receiving = True
        waiting = party.turns

        def expire() -> None:
            if party.receiving and party.turns == waiting:
                self._resume(party, None)

        if timeout_s is not None:
            self._in(timeout_s, expire)
        return _WAITS


_WAITS: Final = object()
