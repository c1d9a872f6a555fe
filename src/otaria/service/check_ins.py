"""Check-ins: a device polls, and everything that changes is kept before it hears the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from otaria.errors import NoSuchThing
from otaria.fleet.decide import Decision, Keep, Refuse, Serve, decide, decide_file
from otaria.fleet.deployment import Deployment, Event, State
from otaria.fleet.device import Device, PastDecision
from otaria.fleet.model import Catalogue, Image, ImageId, Release
from otaria.fleet.reasons import Answer
from otaria.service.ports import Clock, Reading, Store, Writing
from otaria.units import MacAddress
from otaria.wire.http_update import CheckIn, Mode

__all__ = ["Change", "Outcome", "check_in", "check_in_for_file", "find_file", "record"]

MOST_STRANGERS: Final = 10_000
"""Devices without an application that are remembered. Anyone on the network can make MACs up by the million."""

_ANSWERS: Final = {Serve: Answer.SERVE, Keep: Answer.KEEP, Refuse: Answer.REFUSE}


class Change(StrEnum):
    """What a check-in changed, for the log."""

    FIRST_SEEN = "first seen"
    ENROLLED = "enrolled"
    CONFIRMED = "confirmed"
    DECISION = "decision"
    OFFERED = "offered"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a check-in.

    Args:
        check_in: what the device said.
        device: as it is known now, with the decisions and deployments from before.
        decision: what it gets.
        changes: what is different from before.
    """

    check_in: CheckIn
    device: Device
    decision: Decision
    changes: tuple[Change, ...]


def check_in(store: Store, clock: Clock, said: CheckIn, *, asked_for: str | None = None) -> Outcome:
    """Answer a device that polls for its application.

    A device that belongs to none joins the one that its sketch names, if there is one: the sketch's author wrote
    the name.

    Args:
        store: the fleet's memory.
        clock: the time.
        said: what the device says.
        asked_for: the application in the address that it asked; None where there was none.
    """
    now = clock()
    with store.writing() as fleet:
        known = fleet.device(said.mac)
        device = _enrolled(fleet, known or Device(said.mac, None, known_since=now), asked_for)
        catalogue = fleet.catalogue(device.application)
        decision = decide(said, device, catalogue, now, asked_for=asked_for)
        return _keep(fleet, said, known, device, catalogue, decision)


def check_in_for_file(store: Store, clock: Clock, said: CheckIn, file_name: str) -> Outcome:
    """Answer a device that asks for one file by name.

    Raises:
        NoSuchThing: no image was published under that name.
    """
    now = clock()
    with store.writing() as fleet:
        release, image = _require_file(fleet, file_name)
        known = fleet.device(said.mac)
        device = known or Device(said.mac, None, known_since=now)
        decision = decide_file(said, device, release, image, now)
        return _keep(fleet, said, known, device, Catalogue((release,)), decision)


def find_file(store: Store, file_name: str) -> tuple[Release, Image]:
    """The image published last under that name, for people.

    Raises:
        NoSuchThing: no image was published under that name.
    """
    with store.reading() as fleet:
        return _require_file(fleet, file_name)


def record(store: Store, clock: Clock, mac: MacAddress, image: ImageId, event: Event) -> None:
    """Keep how a download ended."""
    with store.writing() as fleet:
        device = fleet.device(mac)
        deployment = None if device is None else device.deployment_of(image)
        # An owner may have let the device try again while it was downloading; then there is nothing to keep.
        if deployment is not None:
            fleet.save_deployment(mac, deployment.after(event, clock()))


def _require_file(fleet: Reading, file_name: str) -> tuple[Release, Image]:
    found = fleet.newest_file(file_name)
    if found is None:
        raise NoSuchThing(f"No image was published as {file_name!r}. `otaria release list` shows all.")
    return found


def _enrolled(fleet: Reading, device: Device, asked_for: str | None) -> Device:
    if device.application is not None or asked_for is None or fleet.application(asked_for) is None:
        return device
    return replace(device, application=asked_for)


def _keep(
    fleet: Writing, said: CheckIn, known: Device | None, device: Device, catalogue: Catalogue, decision: Decision
) -> Outcome:
    """Write down what is new, and say what that is."""
    device = replace(device, last_seen=decision.at, check_in=said)
    stepped = [*_confirmed(said, device, catalogue, decision.at), *_offered(said, device, decision)]
    if known is not None or device.application is not None or fleet.count_unassigned() < MOST_STRANGERS:
        fleet.save_device(device)
        fleet.save_decision(device.mac, _past(said, decision))
        for deployment in stepped:
            fleet.save_deployment(device.mac, deployment)
    return Outcome(said, device, decision, _changes(said, known, device, decision, stepped))


def _past(said: CheckIn, decision: Decision) -> PastDecision:
    return PastDecision(said.mode, _ANSWERS[type(decision)], decision.reason, decision.explanation, decision.at)


def _confirmed(said: CheckIn, device: Device, catalogue: Catalogue, now: datetime) -> list[Deployment]:
    """The deployments of which the reported sketch-MD5 proves that they arrived."""
    running = {image.id for _, image in catalogue.newest_first() if said.sketch_md5 in image.installed_md5s}
    return [
        deployment.after(Event.REPORT, now)
        for deployment in device.deployments
        if deployment.image in running and deployment.state is not State.CONFIRMED
    ]


def _offered(said: CheckIn, device: Device, decision: Decision) -> list[Deployment]:
    if not isinstance(decision, Serve) or said.mode is Mode.VERSION:
        return []
    before = device.deployment_of(decision.image.id)
    if before is None:
        return [Deployment.offered(decision.image.id, decision.at)]
    return [before.after(Event.OFFER, decision.at)]


def _changes(
    said: CheckIn, known: Device | None, device: Device, decision: Decision, stepped: list[Deployment]
) -> tuple[Change, ...]:
    before = None if known is None else known.decision_on(said.mode)
    states = {deployment.state for deployment in stepped}
    happened = {
        Change.FIRST_SEEN: known is None,
        Change.ENROLLED: device.application is not None and (known is None or known.application is None),
        Change.CONFIRMED: State.CONFIRMED in states,
        Change.OFFERED: State.OFFERED in states,
        Change.DECISION: before is None or before.reason is not decision.reason,
    }
    return tuple(change for change, did in happened.items() if did)
