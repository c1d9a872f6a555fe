from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.push.test_discovery import announced, announcement, unique_name

from otaria.push.arduino_discovery import Act, Discovery, Json, converse
from otaria.push.discovery import AnnouncedDevice, Gone, Seen

HELLO = 'HELLO 1 "arduino-cli 1.2.3"'
PORCH = AnnouncedDevice(
    "porch",
    "porch.local.",
    "10.0.0.9",
    8266,
    {"board": "nodemcuv2", "auth_upload": "yes", "ssh_upload": "no", "tcp_check": "no"},
)
PORCH_PORT = {
    "address": "10.0.0.9",
    "label": "porch at 10.0.0.9",
    "protocol": "network",
    "protocolLabel": "Network Port",
    "properties": {
        "board": "nodemcuv2",
        "auth_upload": "yes",
        "ssh_upload": "no",
        "tcp_check": "no",
        ".": "nodemcuv2",
        "hostname": "porch.local.",
        "port": "8266",
    },
}


def started(command: str) -> Discovery:
    talk = Discovery()
    talk.take_line(HELLO)
    assert talk.take_line(command).act is Act.LISTEN
    talk.listening()
    return talk


def test_a_greeting_is_answered_with_the_version() -> None:
    answer = Discovery().take_line(HELLO + "\r\n")
    assert answer.values == [{"eventType": "hello", "message": "OK", "protocolVersion": 1}]


def test_a_later_version_gets_ours() -> None:
    assert Discovery().take_line('HELLO 7 "Arduino IDE 9"').values == [
        {"eventType": "hello", "message": "OK", "protocolVersion": 1}
    ]


@pytest.mark.parametrize("line", ["HELLO", "HELLO 1", 'HELLO "x" 1', "HELLO one two"])
def test_a_greeting_without_version_or_name_is_an_error_and_no_greeting(line: str) -> None:
    talk = Discovery()
    assert failure(talk.take_line(line).values) == "hello"
    assert failure(talk.take_line("START").values) == "start"


def failure(values: Sequence[Json]) -> str:
    """The event of the one error there is."""
    (value,) = values
    assert isinstance(value, dict)
    assert value["error"] is True
    assert value["message"]
    return str(value["eventType"])


@pytest.mark.parametrize("command", ["START", "LIST", "STOP", "START_SYNC"])
def test_nothing_is_possible_before_the_greeting(command: str) -> None:
    answer = Discovery().take_line(command)
    assert failure(answer.values) == command.lower()
    assert answer.act is Act.NOTHING


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("START", "START"),
        ("START", "START_SYNC"),
        ("START", HELLO),
        ("START_SYNC", "START"),
        ("START_SYNC", "START_SYNC"),
        ("START_SYNC", "LIST"),
        ("START_SYNC", HELLO),
    ],
)
def test_what_does_not_fit_the_moment_is_an_error_and_changes_nothing(first: str, then: str) -> None:
    talk = started(first)
    answer = talk.take_line(then)
    assert failure(answer.values) == then.split(maxsplit=1)[0].lower()
    assert answer.act is Act.NOTHING
    assert talk.take_line("STOP").values == [{"eventType": "stop", "message": "OK"}]


@pytest.mark.parametrize("command", ["LIST", "STOP"])
def test_a_stopped_discovery_lists_nothing_and_cannot_stop(command: str) -> None:
    talk = Discovery()
    talk.take_line(HELLO)
    assert failure(talk.take_line(command).values) == command.lower()


@pytest.mark.parametrize("line", ["", "  ", "FOO", "START_SYNCED now", "\x00\x1b[2J", "x" * 10_000])
def test_an_unknown_command_is_an_error_that_repeats_little_of_it(line: str) -> None:
    (value,) = Discovery().take_line(line).values
    assert isinstance(value, dict)
    assert value["eventType"] == "command_error"
    assert value["message"] == f"Unknown command {line.strip()[:64]}"


def test_a_list_shows_a_device_as_the_ides_own_discovery_does() -> None:
    talk = started("START")
    assert talk.take(Seen(PORCH)) == []
    assert talk.take_line("LIST").values == [{"eventType": "list", "ports": [PORCH_PORT]}]


def test_a_device_that_is_gone_is_not_listed() -> None:
    talk = started("START")
    talk.take(Seen(PORCH))
    talk.take(Gone(PORCH))
    assert talk.take_line("LIST").values == [{"eventType": "list", "ports": []}]


def test_in_events_mode_devices_are_told_as_they_come_and_go() -> None:
    talk = started("START_SYNC")
    assert talk.take(Seen(PORCH)) == [{"eventType": "add", "port": PORCH_PORT}]
    assert talk.take(Gone(PORCH)) == [
        {"eventType": "remove", "port": {"address": "10.0.0.9", "protocol": "network"}},
    ]


def test_of_two_devices_at_one_address_the_other_takes_the_place_of_the_one_that_goes() -> None:
    talk = started("START_SYNC")
    shed = replace(PORCH, name="shed", port=8267)
    talk.take(Seen(PORCH))
    talk.take(Seen(shed))
    assert talk.take(Gone(shed)) == [{"eventType": "add", "port": PORCH_PORT}]


def test_a_device_cannot_announce_itself_into_another_ones_port() -> None:
    talk = started("START_SYNC")
    liar = replace(PORCH, texts={"port": "22", "hostname": "router.local.", ".": "uno", "board": "d1"})
    (event,) = talk.take(Seen(liar))
    port: Any = event
    assert port["port"]["properties"] == {"port": "8266", "hostname": "porch.local.", ".": "d1", "board": "d1"}


def test_after_a_stop_everything_is_forgotten_and_it_can_be_started_again() -> None:
    talk = started("START_SYNC")
    talk.take(Seen(PORCH))
    answer = talk.take_line("STOP")
    assert (answer.values, answer.act) == ([{"eventType": "stop", "message": "OK"}], Act.HUSH)
    assert talk.take_line("START").act is Act.LISTEN
    assert talk.listening() == [{"eventType": "start", "message": "OK"}]
    assert talk.take_line("LIST").values == [{"eventType": "list", "ports": []}]


def test_a_network_that_cannot_be_listened_to_is_the_answer_and_leaves_it_stopped() -> None:
    talk = Discovery()
    talk.take_line(HELLO)
    talk.take_line("START_SYNC")
    assert talk.cannot_listen("no network") == [{"eventType": "start_sync", "error": True, "message": "no network"}]
    assert failure(talk.take_line("STOP").values) == "stop"


@pytest.mark.parametrize("command", ["START", "START_SYNC"])
def test_quit_ends_it_from_anywhere(command: str) -> None:
    for talk in (Discovery(), started(command)):
        answer = talk.take_line("quit")
        assert (answer.values, answer.act) == ([{"eventType": "quit", "message": "OK"}], Act.END)


async def lines(*texts: str | asyncio.Event) -> AsyncIterator[str]:
    """Lines as an IDE sends them, some only after something has happened."""
    for text in texts:
        if isinstance(text, asyncio.Event):
            async with asyncio.timeout(30):
                await text.wait()
        else:
            yield text


async def test_the_shell_tells_of_a_real_announcement_and_of_its_end() -> None:
    name = unique_name()
    said: list[Any] = []
    came, gone = asyncio.Event(), asyncio.Event()

    def say(value: Any) -> None:
        # Others on this machine may be announcing devices too: only its own events count.
        said.append(value)
        if value["eventType"] == "add" and value["port"]["label"].startswith(name):
            came.set()
        elif came.is_set() and value["eventType"] in ("remove", "add"):
            gone.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(
            converse(lines(HELLO, "START_SYNC", gone, "STOP", "QUIT", "HELLO"), say, interface="127.0.0.1")
        )
        async with announced(announcement(name)), asyncio.timeout(30):
            await came.wait()
    kinds = [value["eventType"] for value in said]
    assert kinds[:2] == ["hello", "start_sync"]
    assert kinds[-2:] == ["stop", "quit"]


async def test_the_shell_answers_a_start_without_a_network_and_goes_on() -> None:
    said: list[Json] = []
    await converse(lines(HELLO, "START", "QUIT"), said.append, interface="192.0.2.1")
    assert failure(said[1:2]) == "start"
    assert said[2] == {"eventType": "quit", "message": "OK"}


async def test_the_shell_ends_when_the_ide_is_gone() -> None:
    said: list[Json] = []
    await converse(lines(HELLO, "START"), said.append, interface="127.0.0.1")
    assert said[-1] == {"eventType": "start", "message": "OK"}
