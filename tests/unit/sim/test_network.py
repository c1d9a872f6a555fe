from __future__ import annotations

import pytest

from otaria.aio.link import Link
from otaria.protocols.exchange import Datagram, DatagramExchange, Progress, Receive, Report, Send, Sleep, StreamExchange
from otaria.sim.network import Network

HERE = ("10.0.0.1", 1)
THERE = ("10.0.0.2", 2)


def send_numbered(count: int) -> DatagramExchange[None]:
    for number in range(count):
        yield Send(bytes((number,)), THERE)
        yield Sleep(1.0)


def collect(quiet_s: float) -> DatagramExchange[list[int]]:
    numbers = []
    while isinstance(heard := (yield Receive(quiet_s)), Datagram):
        assert heard.source == HERE
        numbers.append(heard.content[0])
    return numbers


def arrivals(seed: int, link: Link, count: int = 100) -> list[int]:
    network = Network(seed=seed, link=link)
    receiver = network.join(THERE, collect(60.0))
    network.join(HERE, send_numbered(count))
    network.run(deadline_s=1000)
    assert receiver.result is not None
    return receiver.result


def test_a_good_link_loses_nothing() -> None:
    assert arrivals(0, Link()) == list(range(100))


def test_the_same_seed_gives_the_same_run() -> None:
    link = Link(loss=0.3, duplication=0.3, longest_s=5.0)
    assert arrivals(7, link) == arrivals(7, link)
    assert arrivals(7, link) != arrivals(8, link)


def test_loss_and_duplication_are_about_as_frequent_as_told() -> None:
    lost = 1000 - sum(len(arrivals(seed, Link(loss=0.2))) for seed in range(10))
    doubled = sum(len(arrivals(seed, Link(duplication=0.2))) for seed in range(10)) - 1000
    assert 140 < lost < 260
    assert 140 < doubled < 260


def test_late_datagrams_are_overtaken() -> None:
    order = arrivals(1, Link(shortest_s=0.0, longest_s=10.0))
    assert sorted(order) == list(range(100))
    assert order != sorted(order)


def test_a_datagram_to_nobody_is_lost_without_a_word() -> None:
    network = Network()
    sender = network.join(HERE, send_numbered(3))
    network.run(deadline_s=10)
    assert sender.finished


def test_the_clock_jumps_to_what_happens_next() -> None:
    network = Network()
    network.join(HERE, send_numbered(100))
    network.run(deadline_s=1000)
    assert network.now_s == pytest.approx(100.0)


def test_nothing_happens_after_the_deadline() -> None:
    network = Network()
    sender = network.join(HERE, send_numbered(100))
    network.run(deadline_s=50)
    assert not sender.finished


def talk(words: list[bytes]) -> StreamExchange[bytes]:
    for word in words:
        yield Send(word)
    heard = b""
    while isinstance(content := (yield Receive(None)), bytes) and content:
        heard += content
        yield Report(Progress(len(heard), 0))
        if heard.endswith(b"."):
            return heard
    return heard


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_keeps_its_order_on_any_link(seed: int) -> None:
    network = Network(seed=seed, link=Link(loss=0.5, duplication=0.5, shortest_s=0.0, longest_s=3.0))
    left, right = network.connect(talk([b"a", b"b", b"c", b"."]), talk([b"x", b"y", b"."]))
    network.run(deadline_s=100)
    assert (left.result, right.result) == (b"xy.", b"abc.")
    assert right.events == [Progress(count, 0) for count in (1, 2, 3, 4)]


def test_the_end_of_one_exchange_is_the_end_of_the_stream_to_the_other() -> None:
    network = Network()
    left, right = network.connect(talk([b"cut"]), talk([b"done."]))
    network.run(deadline_s=100)
    assert (left.result, right.result) == (b"done.", b"cut")
