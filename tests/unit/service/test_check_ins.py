from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fleet_bench import FILE_SYSTEM, MAC, NOW, Fleet, check_in, fleet_in, sketch

from otaria.errors import NoSuchThing
from otaria.fleet.decide import Keep, Refuse, Serve
from otaria.fleet.deployment import Event, State
from otaria.fleet.device import Device, PastDecision
from otaria.fleet.model import Image
from otaria.fleet.reasons import Answer, Reason
from otaria.service import check_ins
from otaria.service.applications import create_application
from otaria.service.check_ins import Change, Outcome, check_in_for_file, find_file, record
from otaria.service.devices import assign, retry
from otaria.service.releases import Draft, publish
from otaria.units import MacAddress
from otaria.wire.http_update import CheckIn, Mode
from otaria.wire.image_file import ImageKind

FS_POLL = check_in(mode=Mode.FILESYSTEM)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_in(tmp_path) as opened:
        create_application(opened.store, opened.clock, "door")
        create_application(opened.store, opened.clock, "garden")
        yield opened


@pytest.fixture
def sketch_image(fleet: Fleet) -> Image:
    return publish(fleet.store, fleet.blobs, fleet.clock, Draft("door", "1.0", "door.bin", sketch("one"))).image


@pytest.fixture
def file_system(fleet: Fleet) -> Image:
    draft = Draft("door", "1.0", "fs.bin", FILE_SYSTEM, kind=ImageKind.FILESYSTEM)
    return publish(fleet.store, fleet.blobs, fleet.clock, draft).image


def poll(fleet: Fleet, said: CheckIn | None = None, *, asked_for: str | None = "door") -> Outcome:
    return check_ins.check_in(fleet.store, fleet.clock, said or check_in(), asked_for=asked_for)


def remembered(fleet: Fleet, mac: MacAddress = MAC) -> Device | None:
    with fleet.store.reading() as view:
        return view.device(mac)


def state(fleet: Fleet, image: Image) -> tuple[State, int] | None:
    device = remembered(fleet)
    deployment = None if device is None else device.deployment_of(image.id)
    return None if deployment is None else (deployment.state, deployment.deliveries)


def test_a_device_is_remembered_with_what_it_said_and_was_answered(fleet: Fleet) -> None:
    outcome = poll(fleet, asked_for=None)
    assert isinstance(outcome.decision, Refuse)
    assert outcome.changes == (Change.FIRST_SEEN, Change.DECISION)
    past = PastDecision(Mode.SKETCH, Answer.REFUSE, Reason.UNASSIGNED, outcome.decision.explanation, NOW)
    assert remembered(fleet) == Device(MAC, None, NOW, NOW, check_in(), (past,))


def test_a_sketch_that_names_an_application_enrols_its_device(fleet: Fleet) -> None:
    outcome = poll(fleet)
    assert outcome.device.application == "door"
    assert outcome.changes == (Change.FIRST_SEEN, Change.ENROLLED, Change.DECISION)
    device = remembered(fleet)
    assert device is not None
    assert device.application == "door"


def test_a_stranger_is_enrolled_when_its_sketch_names_an_application_later(fleet: Fleet) -> None:
    poll(fleet, asked_for=None)
    assert poll(fleet).changes == (Change.ENROLLED, Change.DECISION)


def test_an_enrolled_device_is_answered_at_the_plain_address_too(fleet: Fleet, sketch_image: Image) -> None:
    poll(fleet)
    outcome = poll(fleet, asked_for=None)
    assert isinstance(outcome.decision, Serve)
    assert outcome.decision.image == sketch_image


def test_a_name_that_nothing_has_enrols_nobody(fleet: Fleet) -> None:
    outcome = poll(fleet, asked_for="dor")
    assert isinstance(outcome.decision, Refuse)
    assert outcome.device.application is None


def test_a_device_that_is_assigned_elsewhere_is_not_moved_by_its_sketch(fleet: Fleet) -> None:
    assign(fleet.store, fleet.clock, MAC, "garden")
    outcome = poll(fleet)
    assert isinstance(outcome.decision, Refuse)
    assert outcome.decision.reason is Reason.OTHER_APPLICATION
    assert outcome.device.application == "garden"


def test_only_what_is_new_is_a_change(fleet: Fleet) -> None:
    poll(fleet)
    fleet.clock.advance(hours=1)
    outcome = poll(fleet)
    assert outcome.changes == ()
    device = remembered(fleet)
    assert device is not None
    assert device.last_seen == fleet.clock()
    assert device.known_since == NOW


def test_a_device_that_asks_two_questions_in_turn_brings_no_news_either(fleet: Fleet) -> None:
    questions = [check_in(), FS_POLL]
    assert [Change.DECISION in poll(fleet, said).changes for said in questions * 3] == [True, True] + 4 * [False]
    device = remembered(fleet)
    assert device is not None
    assert {decision.mode for decision in device.decisions} == {Mode.SKETCH, Mode.FILESYSTEM}


def test_an_offer_is_kept_before_the_answer_leaves(fleet: Fleet, sketch_image: Image) -> None:
    outcome = poll(fleet)
    assert isinstance(outcome.decision, Serve)
    assert Change.OFFERED in outcome.changes
    assert state(fleet, sketch_image) == (State.OFFERED, 0)


def test_a_question_for_the_version_is_no_offer(fleet: Fleet, sketch_image: Image) -> None:
    outcome = poll(fleet, check_in(mode=Mode.VERSION))
    assert isinstance(outcome.decision, Serve)
    assert state(fleet, sketch_image) is None


def test_a_delivery_counts_and_a_broken_off_download_does_not(fleet: Fleet, sketch_image: Image) -> None:
    poll(fleet)
    record(fleet.store, fleet.clock, MAC, sketch_image.id, Event.BREAK_OFF)
    assert state(fleet, sketch_image) == (State.BROKEN_OFF, 0)
    poll(fleet)
    record(fleet.store, fleet.clock, MAC, sketch_image.id, Event.DELIVERY)
    assert state(fleet, sketch_image) == (State.DELIVERED, 1)


def test_a_device_that_reports_the_image_confirms_it_once(fleet: Fleet, sketch_image: Image) -> None:
    poll(fleet)
    record(fleet.store, fleet.clock, MAC, sketch_image.id, Event.DELIVERY)
    reports = check_in(md5=sketch_image.md5)
    assert Change.CONFIRMED in poll(fleet, reports).changes
    assert state(fleet, sketch_image) == (State.CONFIRMED, 1)
    assert poll(fleet, reports).changes == ()


def test_what_a_device_was_never_offered_it_does_not_confirm(fleet: Fleet, sketch_image: Image) -> None:
    outcome = poll(fleet, check_in(md5=sketch_image.md5))
    assert isinstance(outcome.decision, Keep)
    assert Change.CONFIRMED not in outcome.changes
    assert state(fleet, sketch_image) is None


def test_after_three_deliveries_it_is_over_until_the_owner_says_otherwise(fleet: Fleet, sketch_image: Image) -> None:
    for _ in range(3):
        assert isinstance(poll(fleet).decision, Serve)
        record(fleet.store, fleet.clock, MAC, sketch_image.id, Event.DELIVERY)
    assert poll(fleet).decision.reason is Reason.NO_CHANGE
    retry(fleet.store, MAC)
    assert isinstance(poll(fleet).decision, Serve)


def test_the_end_of_a_download_that_the_owner_has_forgotten_is_no_news(fleet: Fleet, sketch_image: Image) -> None:
    poll(fleet)
    retry(fleet.store, MAC)
    record(fleet.store, fleet.clock, MAC, sketch_image.id, Event.DELIVERY)
    record(fleet.store, fleet.clock, MacAddress("00:00:00:00:00:00"), sketch_image.id, Event.DELIVERY)
    assert state(fleet, sketch_image) is None


def test_a_file_system_is_offered_until_it_was_delivered(fleet: Fleet, file_system: Image) -> None:
    assert isinstance(poll(fleet, FS_POLL).decision, Serve)
    record(fleet.store, fleet.clock, MAC, file_system.id, Event.BREAK_OFF)
    assert isinstance(poll(fleet, FS_POLL).decision, Serve)
    record(fleet.store, fleet.clock, MAC, file_system.id, Event.DELIVERY)
    assert poll(fleet, FS_POLL).decision.reason is Reason.ALREADY_DELIVERED


def test_strangers_are_remembered_up_to_a_limit(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_ins, "MOST_STRANGERS", 2)
    macs = [MacAddress.parse(f"18FE340000{number:02X}") for number in range(4)]
    for mac in macs:
        assert isinstance(poll(fleet, check_in(mac=mac), asked_for=None).decision, Refuse)
    assert [remembered(fleet, mac) is not None for mac in macs] == [True, True, False, False]
    poll(fleet, check_in(mac=macs[3]))
    assert remembered(fleet, macs[3]) is not None


# ---------------------------------------------------------------------- files by name


def test_a_file_is_found_by_name_and_the_newest_wins(fleet: Fleet, sketch_image: Image) -> None:
    assert find_file(fleet.store, "door.bin")[1] == sketch_image
    draft = Draft("garden", "7", "door.bin", sketch("garden"))
    newest = publish(fleet.store, fleet.blobs, fleet.clock, draft).image
    assert find_file(fleet.store, "door.bin")[1] == newest


def test_a_file_that_was_never_published_is_named(fleet: Fleet) -> None:
    for ask in (
        lambda: find_file(fleet.store, "nothing.bin"),
        lambda: check_in_for_file(fleet.store, fleet.clock, check_in(), "nothing.bin"),
    ):
        with pytest.raises(NoSuchThing, match=r"No image was published as 'nothing\.bin'"):
            ask()
    assert remembered(fleet) is None


def test_a_device_that_asks_for_a_file_is_remembered_and_not_enrolled(fleet: Fleet, sketch_image: Image) -> None:
    outcome = check_in_for_file(fleet.store, fleet.clock, check_in(), "door.bin")
    assert isinstance(outcome.decision, Serve)
    assert outcome.device.application is None
    assert state(fleet, sketch_image) == (State.OFFERED, 0)


def test_a_device_that_has_the_file_keeps_it_and_confirms_it(fleet: Fleet, sketch_image: Image) -> None:
    check_in_for_file(fleet.store, fleet.clock, check_in(), "door.bin")
    outcome = check_in_for_file(fleet.store, fleet.clock, check_in(md5=sketch_image.md5), "door.bin")
    assert outcome.decision.reason is Reason.INSTALLED
    assert state(fleet, sketch_image) == (State.CONFIRMED, 0)


def test_a_stranger_beyond_the_limit_still_gets_the_file(
    fleet: Fleet, sketch_image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_ins, "MOST_STRANGERS", 0)
    outcome = check_in_for_file(fleet.store, fleet.clock, check_in(), "door.bin")
    assert isinstance(outcome.decision, Serve)
    assert outcome.decision.image == sketch_image
    assert remembered(fleet) is None


def test_what_a_device_says_is_what_is_remembered(fleet: Fleet) -> None:
    poll(fleet)
    later = replace(check_in(version="2"), free_space=check_in().sketch_size)
    poll(fleet, later)
    device = remembered(fleet)
    assert device is not None
    assert device.check_in == later
