"""What every store must do. A further one joins by standing in ``STORES``."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from tests.fleet_bench import FILE_SYSTEM, MAC, NOW, check_in, image, release, sketch

from otaria.fleet.deployment import Deployment, Event, State
from otaria.fleet.device import Device, PastDecision
from otaria.fleet.model import Application, Catalogue, Image, ImageId, Release
from otaria.fleet.reasons import Answer, Reason
from otaria.service.ports import Store, Writing
from otaria.store.database import SqlStore
from otaria.units import MacAddress, Sha256
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import Mode
from otaria.wire.image_file import ImageKind

STORES: dict[str, Callable[[Path], AbstractContextManager[Store]]] = {
    "sqlite": lambda folder: SqlStore(folder / "fleet.sqlite3"),
}

DOOR = Application("door", None, NOW)
GARDEN = Application("garden", ChipFamily.ESP8266, NOW)
OTHER_MAC = MacAddress("18:FE:34:00:00:01")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with STORES[request.param](tmp_path) as opened:
        yield opened


def published(fleet: Writing, of: Release, wanted: Image) -> Image:
    if of.version not in {known.version for known in fleet.catalogue(of.application).releases}:
        fleet.add_release(of)
    return fleet.add_image(of, wanted)


@pytest.fixture
def image_id(store: Store) -> ImageId:
    """A door with a release."""
    with store.writing() as fleet:
        fleet.add_application(DOOR)
        return published(fleet, release(1), image(sketch("one"))).id


def test_a_new_store_is_empty(store: Store) -> None:
    with store.reading() as fleet:
        assert fleet.applications() == ()
        assert fleet.devices() == ()
        assert fleet.application("door") is None
        assert fleet.device(MAC) is None
        assert fleet.catalogue("door") == fleet.catalogue(None) == Catalogue()
        assert fleet.newest_file("door.bin") is None
        assert fleet.releases_with(Sha256("0" * 64)) == ()
        assert fleet.count_unassigned() == 0


def test_applications_come_back_by_name(store: Store) -> None:
    with store.writing() as fleet:
        fleet.add_application(GARDEN)
        fleet.add_application(DOOR)
    with store.reading() as fleet:
        assert fleet.applications() == (DOOR, GARDEN)
        assert fleet.application("garden") == GARDEN
        assert fleet.application("Garden") is None


def test_a_release_comes_back_with_all_that_is_known_of_its_images(store: Store) -> None:
    of = replace(release(1), notes="first\n€", version="DOOR-7-g14f53a19")
    with store.writing() as fleet:
        fleet.add_application(DOOR)
        kept = published(fleet, of, image(sketch("one")))
        with_fs = published(fleet, of, replace(image(FILE_SYSTEM, kind=ImageKind.FILESYSTEM), family=None))
    with store.reading() as fleet:
        (back,) = fleet.catalogue("door").releases
    assert back == replace(of, images=(kept, with_fs))
    assert kept == replace(image(sketch("one")), id=kept.id)
    assert len(kept.installed_md5s) > 100


def test_releases_come_back_the_oldest_first_whatever_their_labels(store: Store) -> None:
    with store.writing() as fleet:
        fleet.add_application(DOOR)
        fleet.add_application(GARDEN)
        for order, version in ((2, "a"), (1, "b"), (3, "0.1")):
            fleet.add_release(release(order, version=version))
        fleet.add_release(replace(release(1), application="garden"))
    with store.reading() as fleet:
        assert [one.version for one in fleet.catalogue("door").releases] == ["b", "a", "0.1"]
        assert [one.version for one in fleet.catalogue("garden").releases] == ["1.1"]


def test_a_file_is_found_by_its_name_and_the_newest_wins(store: Store) -> None:
    with store.writing() as fleet:
        fleet.add_application(DOOR)
        fleet.add_application(GARDEN)
        published(fleet, release(1), image(sketch("one")))
        newest = published(fleet, replace(release(1), application="garden"), image(sketch("two")))
        published(fleet, release(2), image(sketch("three"), name="other.bin"))
    with store.reading() as fleet:
        found = fleet.newest_file("door.bin")
        assert found is not None
        assert (found[0].application, found[1]) == ("garden", newest)
        assert fleet.newest_file("DOOR.BIN") is None


def test_content_is_found_in_every_application(store: Store) -> None:
    with store.writing() as fleet:
        fleet.add_application(DOOR)
        fleet.add_application(GARDEN)
        one = published(fleet, release(1), image(sketch("one")))
        published(fleet, replace(release(1), application="garden"), image(sketch("one")))
        published(fleet, release(2), image(sketch("two")))
    with store.reading() as fleet:
        assert {found.application for found in fleet.releases_with(one.sha256)} == {"door", "garden"}


def test_a_device_comes_back_as_it_was_saved(store: Store, image_id: ImageId) -> None:
    said = replace(check_in(mode=Mode.FILESYSTEM, version="ü\x1b", md5=None), ap_mac="x", sketch_sha256="AB")
    device = Device(
        mac=MAC,
        application="door",
        known_since=NOW,
        last_seen=NOW + timedelta(microseconds=7),
        check_in=said,
        decisions=(
            PastDecision(Mode.SKETCH, Answer.KEEP, Reason.NO_ROOM, "No room.", NOW),
            PastDecision(Mode.FILESYSTEM, Answer.SERVE, Reason.NEWER, "It fits.", NOW + timedelta(seconds=1)),
        ),
    )
    with store.writing() as fleet:
        fleet.save_device(device)
        fleet.save_decision(MAC, replace(device.decisions[0], reason=Reason.OLDER))
        for decision in device.decisions:
            fleet.save_decision(MAC, decision)
        fleet.save_deployment(MAC, Deployment.offered(image_id, NOW))
    with store.reading() as fleet:
        assert fleet.device(MAC) == replace(device, deployments=(Deployment.offered(image_id, NOW),))
        assert fleet.devices() == (fleet.device(MAC),)


def test_a_device_that_was_saved_again_is_still_one(store: Store) -> None:
    first = Device(MAC, None, NOW)
    with store.writing() as fleet:
        fleet.add_application(DOOR)
        fleet.save_device(first)
        fleet.save_device(Device(OTHER_MAC, None, NOW))
        assert fleet.count_unassigned() == 2
        fleet.save_device(replace(first, application="door"))
        assert fleet.count_unassigned() == 1
    with store.reading() as fleet:
        assert [device.mac for device in fleet.devices()] == [OTHER_MAC, MAC]
        assert fleet.device(MAC) == replace(first, application="door")


def test_a_moment_is_the_same_moment_from_whatever_time_zone(store: Store) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    with store.writing() as fleet:
        fleet.save_device(Device(MAC, None, elsewhere))
    with store.reading() as fleet:
        back = fleet.device(MAC)
        assert back is not None
        assert back.known_since == NOW
        assert back.known_since.utcoffset() == timedelta(0)


def test_a_deployment_moves_on_and_can_be_forgotten(store: Store, image_id: ImageId) -> None:
    with store.writing() as fleet:
        fleet.save_device(Device(MAC, "door", NOW))
        fleet.save_deployment(MAC, Deployment.offered(image_id, NOW))
        fleet.save_deployment(MAC, Deployment.offered(image_id, NOW).after(Event.DELIVERY, NOW))
    with store.reading() as fleet:
        device = fleet.device(MAC)
        assert device is not None
        assert device.deployments == (Deployment(image_id, State.DELIVERED, 1, NOW),)
    with store.writing() as fleet:
        fleet.remove_deployments(MAC, frozenset())
        fleet.remove_deployments(OTHER_MAC, frozenset({image_id}))
        assert fleet.device(MAC) == device
        fleet.remove_deployments(MAC, frozenset({image_id}))
        assert fleet.device(MAC) == replace(device, deployments=())


def test_a_block_that_raises_changes_nothing(store: Store, image_id: ImageId) -> None:
    with store.reading() as fleet:
        before = fleet.catalogue("door")
    with contextlib.suppress(ZeroDivisionError), store.writing() as changing:
        changing.save_device(Device(MAC, "door", NOW))
        changing.save_deployment(MAC, Deployment.offered(image_id, NOW))
        published(changing, release(2), image(sketch("two")))
        raise ZeroDivisionError
    with store.reading() as fleet:
        assert fleet.catalogue("door") == before
        assert fleet.devices() == ()


def test_a_reader_sees_nothing_of_what_is_not_finished_and_does_not_wait_for_it(store: Store) -> None:
    with store.writing() as writing:
        writing.add_application(DOOR)
        with store.reading() as fleet:
            assert fleet.applications() == ()


def test_an_id_is_never_given_to_a_second_image(store: Store, image_id: ImageId) -> None:
    with contextlib.suppress(ZeroDivisionError), store.writing() as fleet:
        published(fleet, release(2), image(sketch("two")))
        raise ZeroDivisionError
    with store.writing() as fleet:
        assert published(fleet, release(2), image(sketch("three"))).id > image_id


def test_writers_wait_for_each_other_and_none_is_lost(store: Store, image_id: ImageId) -> None:
    with store.writing() as fleet:
        fleet.save_device(Device(MAC, "door", NOW))
        fleet.save_deployment(MAC, Deployment(image_id, State.OFFERED, 0, NOW))

    def deliver() -> None:
        for _ in range(10):
            with store.writing() as fleet:
                device = fleet.device(MAC)
                assert device is not None
                fleet.save_deployment(MAC, device.deployments[0].after(Event.DELIVERY, NOW))

    threads = [threading.Thread(target=deliver) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as after:
        device = after.device(MAC)
        assert device is not None
        assert device.deployments[0].deliveries == 50
