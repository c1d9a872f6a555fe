from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fleet_bench import FILE_SYSTEM, MAC, NOW, Fleet, check_in, fleet_in, sketch

from otaria.errors import NoSuchThing
from otaria.fleet.deployment import Event
from otaria.fleet.device import Device
from otaria.service.applications import create_application
from otaria.service.check_ins import check_in as poll
from otaria.service.check_ins import record
from otaria.service.devices import assign, require_device, retry
from otaria.service.releases import Draft, publish
from otaria.wire.http_update import Mode
from otaria.wire.image_file import ImageKind


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_in(tmp_path) as opened:
        create_application(opened.store, opened.clock, "door")
        create_application(opened.store, opened.clock, "garden")
        yield opened


def devices(fleet: Fleet) -> tuple[Device, ...]:
    with fleet.store.reading() as view:
        return view.devices()


def test_a_device_can_be_assigned_before_it_ever_polls(fleet: Fleet) -> None:
    assert assign(fleet.store, fleet.clock, MAC, "door") == Device(MAC, "door", NOW)
    assert devices(fleet) == (Device(MAC, "door", NOW),)


def test_a_device_can_be_moved(fleet: Fleet) -> None:
    assign(fleet.store, fleet.clock, MAC, "door")
    fleet.clock.advance(days=1)
    assign(fleet.store, fleet.clock, MAC, "garden")
    assert devices(fleet) == (Device(MAC, "garden", NOW),)


def test_nothing_is_assigned_to_an_application_that_is_not_there(fleet: Fleet) -> None:
    with pytest.raises(NoSuchThing, match="no application 'dor'"):
        assign(fleet.store, fleet.clock, MAC, "dor")
    assert devices(fleet) == ()


def test_a_device_that_nobody_knows_is_named(fleet: Fleet) -> None:
    with fleet.store.reading() as view, pytest.raises(NoSuchThing, match=f"{MAC} has never polled"):
        require_device(view, MAC)
    with pytest.raises(NoSuchThing):
        retry(fleet.store, MAC)


@pytest.mark.parametrize(("file_system", "left"), [(False, [ImageKind.FILESYSTEM]), (True, [])])
def test_a_retry_forgets_file_systems_only_where_that_is_wanted(
    fleet: Fleet, file_system: bool, left: list[ImageKind]
) -> None:
    kinds = {}
    for kind, content in ((ImageKind.SKETCH, sketch("one")), (ImageKind.FILESYSTEM, FILE_SYSTEM)):
        draft = Draft("door", "1.0", "x.bin", content, kind=kind)
        kinds[publish(fleet.store, fleet.blobs, fleet.clock, draft).image.id] = kind
    for mode in (Mode.SKETCH, Mode.FILESYSTEM):
        poll(fleet.store, fleet.clock, check_in(mode=mode), asked_for="door")
    for image in kinds:
        record(fleet.store, fleet.clock, MAC, image, Event.DELIVERY)

    device = retry(fleet.store, MAC, file_system=file_system)

    assert [kinds[deployment.image] for deployment in device.deployments] == left
    assert devices(fleet) == (device,)
