from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fleet_bench import FILE_SYSTEM, MAC, NOW, Fleet, check_in, fleet_in, signed, sketch, zipped
from tests.vectors.images import esp32_image

from otaria.errors import (
    AlreadyThere,
    BadInput,
    DatabaseBusy,
    DoesNotFit,
    NoSuchThing,
    NotAnImage,
    OtariaError,
    UnreadableFile,
    WrongChip,
)
from otaria.fleet.model import Catalogue
from otaria.service.applications import create_application
from otaria.service.check_ins import check_in as poll
from otaria.service.devices import assign
from otaria.service.releases import LONGEST_NOTES, Draft, publish
from otaria.store.database import SqlStore
from otaria.units import MacAddress
from otaria.wire.chips import ChipFamily
from otaria.wire.image_file import ImageKind

ONE = Draft("door", "1.0", "door.bin", sketch("one"))
FS = Draft("door", "1.0", "fs.bin", FILE_SYSTEM, kind=ImageKind.FILESYSTEM)
ESP32 = Draft("door", "1.0", "c3.bin", esp32_image())


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_in(tmp_path) as opened:
        create_application(opened.store, opened.clock, "door")
        yield opened


def catalogue(fleet: Fleet, application: str = "door") -> Catalogue:
    with fleet.store.reading() as view:
        return view.catalogue(application)


def stored_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "images").rglob("*") if path.is_file()]


def test_a_published_release_is_in_the_catalogue_and_its_file_in_the_store(fleet: Fleet) -> None:
    publication = publish(fleet.store, fleet.blobs, fleet.clock, replace(ONE, notes="the first"))
    release, image = publication.release, publication.image
    assert (release.version, release.order, release.notes, release.published_at) == ("1.0", 1, "the first", NOW)
    assert (image.family, image.kind, image.file_name) == (ChipFamily.ESP8266, ImageKind.SKETCH, "door.bin")
    assert publication.remarks == ()
    assert catalogue(fleet).releases == (release,)
    with fleet.blobs.open(image.sha256) as file:
        assert file.read() == ONE.content


def test_each_release_is_newer_than_the_one_before_whatever_its_label(fleet: Fleet) -> None:
    for version in ("9", "1", "DOOR-7-g14f53a19"):
        publish(fleet.store, fleet.blobs, fleet.clock, replace(ONE, version=version))
    assert [(release.order, release.version) for release in catalogue(fleet).releases] == [
        (1, "9"),
        (2, "1"),
        (3, "DOOR-7-g14f53a19"),
    ]


def test_a_file_system_joins_the_sketch_of_its_version(fleet: Fleet) -> None:
    publish(fleet.store, fleet.blobs, fleet.clock, ONE)
    publication = publish(fleet.store, fleet.blobs, fleet.clock, FS)
    assert [image.kind for image in publication.release.images] == [ImageKind.SKETCH, ImageKind.FILESYSTEM]
    assert catalogue(fleet).releases == (publication.release,)


def test_a_release_may_have_a_sketch_for_each_chip(fleet: Fleet) -> None:
    publish(fleet.store, fleet.blobs, fleet.clock, ONE)
    publication = publish(fleet.store, fleet.blobs, fleet.clock, ESP32)
    assert [image.family for image in publication.release.images] == [ChipFamily.ESP8266, ChipFamily.ESP32_C3]


def test_the_application_can_be_made_along_with_its_first_release(fleet: Fleet) -> None:
    publish(fleet.store, fleet.blobs, fleet.clock, replace(ONE, application="garden", create=True))
    assert len(catalogue(fleet, "garden").releases) == 1


def test_the_same_file_under_another_version_is_remarked_on(fleet: Fleet) -> None:
    publish(fleet.store, fleet.blobs, fleet.clock, ONE)
    publication = publish(fleet.store, fleet.blobs, fleet.clock, replace(ONE, version="1.1"))
    assert "The same file is release '1.0' of 'door' already" in publication.remarks[0]


# --------------------------------------------------------------------------- refusals

REFUSALS: list[tuple[Draft, type[OtariaError], str]] = [
    (replace(ONE, content=b"hello"), NotAnImage, r"door\.bin: This is no image.*--filesystem"),
    (replace(ONE, content=sketch("one")[:-20]), NotAnImage, "cut off"),
    (replace(ONE, content=b""), NotAnImage, "is empty"),
    (replace(ONE, content=zipped(sketch("one"))[:-5]), NotAnImage, "cut off"),
    (replace(ONE, content=signed(sketch("one"))[:-5]), NotAnImage, "signature was cut off"),
    (replace(FS, content=sketch("one")), NotAnImage, "This is a sketch"),
    (replace(FS, content=zipped(FILE_SYSTEM)), NotAnImage, "compressed.*Publish it unpacked"),
    (replace(ONE, application="dor"), NoSuchThing, r"no application 'dor' \(there are: door, esp8266\)"),
    (
        replace(ESP32, application="esp8266"),
        WrongChip,
        "for the ESP32-C3, and the application 'esp8266' is for the ESP8",
    ),
    (replace(ONE, version=""), BadInput, "cannot be a version"),
    (replace(ONE, version=" "), BadInput, "cannot be a version"),
    (replace(ONE, version="1.0\r\nx-MD5: 0"), BadInput, "cannot be a version"),
    (replace(ONE, version="ü"), BadInput, "cannot be a version"),
    (replace(ONE, version="1" * 65), BadInput, "cannot be a version"),
    (replace(ONE, file_name="a\nb"), BadInput, "cannot be the name of a published file"),
    (replace(ONE, notes="x" * (LONGEST_NOTES + 1)), BadInput, "Shorten them"),
    (replace(ONE, application="a b", create=True), BadInput, "cannot be the name of an application"),
]


@pytest.mark.parametrize(("draft", "error", "message"), REFUSALS)
def test_what_is_refused_leaves_neither_a_row_nor_a_file(
    fleet: Fleet, tmp_path: Path, draft: Draft, error: type[OtariaError], message: str
) -> None:
    create_application(fleet.store, fleet.clock, "esp8266", chip=ChipFamily.ESP8266)
    with pytest.raises(error, match=message):
        publish(fleet.store, fleet.blobs, fleet.clock, draft)
    assert catalogue(fleet) == catalogue(fleet, draft.application) == Catalogue()
    assert stored_files(tmp_path) == []
    with fleet.store.reading() as view:
        assert [application.name for application in view.applications()] == ["door", "esp8266"]


def test_a_version_that_exists_stays_as_it_is(fleet: Fleet, tmp_path: Path) -> None:
    publish(fleet.store, fleet.blobs, fleet.clock, ONE)
    before, files = catalogue(fleet), stored_files(tmp_path)
    with pytest.raises(AlreadyThere, match="has its sketch image already"):
        publish(fleet.store, fleet.blobs, fleet.clock, replace(ONE, content=sketch("two")))
    assert (catalogue(fleet), stored_files(tmp_path)) == (before, files)


def test_a_file_that_another_release_uses_survives_a_refusal(fleet: Fleet, tmp_path: Path) -> None:
    publish(fleet.store, fleet.blobs, fleet.clock, ONE)
    with pytest.raises(AlreadyThere):
        publish(fleet.store, fleet.blobs, fleet.clock, ONE)
    assert len(stored_files(tmp_path)) == 1


def test_a_file_that_cannot_be_stored_leaves_no_row(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(UnreadableFile):
        publish(fleet.store, fleet.blobs, fleet.clock, replace(ONE, application="garden", create=True))
    with fleet.store.reading() as view:
        assert view.application("garden") is None


def test_a_row_that_cannot_be_written_leaves_no_file(fleet: Fleet, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "otaria.sqlite3") as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON images BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    other.close()
    with pytest.raises(UnreadableFile, match="disk full"):
        publish(fleet.store, fleet.blobs, fleet.clock, ONE)
    assert catalogue(fleet) == Catalogue()
    assert stored_files(tmp_path) == []


def test_a_database_that_another_program_holds_leaves_everything_as_it_was(fleet: Fleet, tmp_path: Path) -> None:
    # A second store on the same database, which does not wait, while the first one writes.
    impatient = SqlStore(tmp_path / "otaria.sqlite3", busy_timeout_s=0.05)
    with impatient, fleet.store.writing(), pytest.raises(DatabaseBusy):
        publish(impatient, fleet.blobs, fleet.clock, ONE)
    assert catalogue(fleet) == Catalogue()
    assert stored_files(tmp_path) == []


# --------------------------------------------------------------- devices that are known


def known(fleet: Fleet, mac: str, free_space: int = 671744) -> MacAddress:
    address = MacAddress.parse(mac)
    assign(fleet.store, fleet.clock, address, "door")
    poll(fleet.store, fleet.clock, check_in(mac=address, free_space=free_space))
    return address


def test_an_image_that_has_room_on_none_of_the_devices_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    known(fleet, MAC, free_space=4096)
    with pytest.raises(DoesNotFit, match=r"door\.bin fits none of the 1 devices of 'door', 18:FE:.*room for 4096"):
        publish(fleet.store, fleet.blobs, fleet.clock, ONE)
    assert catalogue(fleet) == Catalogue()
    assert stored_files(tmp_path) == []


def test_an_image_for_another_chip_than_all_devices_is_refused(fleet: Fleet) -> None:
    known(fleet, MAC)
    with pytest.raises(WrongChip, match=r"fits none of the 1 devices.*for the ESP32-C3, and the device is an ESP8266"):
        publish(fleet.store, fleet.blobs, fleet.clock, ESP32)
    assert catalogue(fleet) == Catalogue()


def test_what_fits_none_can_be_published_anyway(fleet: Fleet) -> None:
    known(fleet, MAC, free_space=4096)
    publication = publish(fleet.store, fleet.blobs, fleet.clock, replace(ONE, anyway=True))
    assert publication.remarks[0].startswith(f"{MAC} will not get it: The image takes 8192 bytes")


def test_what_fits_some_is_published_with_a_remark_for_each_of_the_others(fleet: Fleet) -> None:
    known(fleet, "18:FE:34:00:00:01")
    small = known(fleet, "18:FE:34:00:00:02", free_space=4096)
    assign(fleet.store, fleet.clock, MacAddress.parse("18:FE:34:00:00:03"), "door")
    publication = publish(fleet.store, fleet.blobs, fleet.clock, ONE)
    assert publication.devices == 3
    (remark,) = publication.remarks
    assert remark.startswith(f"{small} will not get it")


def test_the_devices_of_other_applications_do_not_matter(fleet: Fleet) -> None:
    known(fleet, MAC, free_space=4096)
    publication = publish(fleet.store, fleet.blobs, fleet.clock, replace(ONE, application="garden", create=True))
    assert (publication.devices, publication.remarks) == (0, ())
