from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fleet_bench import NOW, Fleet, fleet_in

from otaria.errors import AlreadyThere, BadInput, NoSuchThing
from otaria.fleet.model import Application
from otaria.service.applications import create_application, require_application
from otaria.wire.chips import ChipFamily


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_in(tmp_path) as opened:
        yield opened


def names(fleet: Fleet) -> list[str]:
    with fleet.store.reading() as view:
        return [application.name for application in view.applications()]


def test_an_application_is_made(fleet: Fleet) -> None:
    made = create_application(fleet.store, fleet.clock, "front-door_2.x", chip=ChipFamily.ESP8266)
    assert made == Application("front-door_2.x", ChipFamily.ESP8266, NOW)
    assert names(fleet) == ["front-door_2.x"]


@pytest.mark.parametrize("name", ["", "-door", ".door", "a b", "a/b", "tür", "a\n", "x" * 65, "../etc"])
def test_a_name_that_would_not_do_in_a_url_is_refused(fleet: Fleet, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name of an application"):
        create_application(fleet.store, fleet.clock, name)
    assert names(fleet) == []


def test_a_name_that_is_taken_is_refused(fleet: Fleet) -> None:
    create_application(fleet.store, fleet.clock, "door")
    with pytest.raises(AlreadyThere, match="There is an application 'door' already"):
        create_application(fleet.store, fleet.clock, "door", chip=ChipFamily.ESP32)
    with fleet.store.reading() as view:
        assert require_application(view, "door").chip is None


def test_who_misspells_a_name_is_told_the_others(fleet: Fleet) -> None:
    with fleet.store.reading() as view, pytest.raises(NoSuchThing, match=r"\(there are: none\)"):
        require_application(view, "door")
