"""``otaria device``: the boards, as they were when they polled last."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from otaria.cli.fleet_data import DataFolder, open_fleet, utc_now
from otaria.cli.rendering import AsJson, print_facts, print_json, print_sentence, print_table, when
from otaria.fleet.deployment import Deployment
from otaria.fleet.device import Device, PastDecision
from otaria.fleet.model import Catalogue
from otaria.service.devices import assign as assign_device
from otaria.service.devices import require_device
from otaria.service.devices import retry as retry_device
from otaria.service.ports import Reading
from otaria.units import MacAddress, human_size
from otaria.wire.http_update import Mode

__all__ = ["app"]

app = App(name="device", help="Devices: the boards that poll this server.")


@app.command
def assign(mac: str, application: str, /, *, data: DataFolder = None) -> None:
    """Say what a device is for. It need not have polled yet.

    Args:
        mac: Its station MAC, as its sketch prints it with WiFi.macAddress().
        application: What it is to run.
        data: The fleet's folder, with its database and images.
    """
    with open_fleet(data) as fleet:
        device = assign_device(fleet.store, utc_now, MacAddress.parse(mac), application)
    print_sentence(f"{device.mac} is for {device.application} now.")


@app.command
def retry(mac: str, /, *, filesystem: Annotated[bool, Parameter(negative="")] = False, data: DataFolder = None) -> None:
    """Let a device have again what it was given before.

    Args:
        mac: Its station MAC.
        filesystem: Also file systems. That overwrites every file that the device has written.
        data: The fleet's folder, with its database and images.
    """
    with open_fleet(data) as fleet:
        device = retry_device(fleet.store, MacAddress.parse(mac), file_system=filesystem)
    print_sentence(f"{device.mac} gets what is due to it when it polls next.")


@app.command(name="list")
def list_devices(*, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Show all devices that ever polled or were assigned.

    Args:
        data: The fleet's folder, with its database and images.
        as_json: Print JSON.
    """
    with open_fleet(data) as opened, opened.store.reading() as fleet:
        found = [(device, _running(fleet, device)) for device in fleet.devices()]
    if as_json:
        print_json([_facts_of(device, running) for device, running in found])
        return
    print_table(
        ["device", "application", "runs", "last seen", "answer", "because"],
        [
            (
                device.mac,
                device.application,
                running,
                when(device.last_seen),
                past and past.answer,
                past and past.explanation,
            )
            for device, running in found
            for past in (_most_telling(device),)
        ],
        otherwise="No device has polled yet. The server's start page says what a sketch needs.",
    )


@app.command
def show(mac: str, /, *, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Show one device: what it said, what it was answered, and what it was given.

    Args:
        mac: Its station MAC.
        data: The fleet's folder, with its database and images.
        as_json: Print JSON.
    """
    with open_fleet(data) as opened, opened.store.reading() as fleet:
        device = require_device(fleet, MacAddress.parse(mac))
        running = _running(fleet, device)
        given = _given(device, fleet.catalogue(device.application))
    if as_json:
        decisions = [_facts_of_decision(decision) for decision in device.decisions]
        print_json(_facts_of(device, running) | {"decisions": decisions, "deployments": given})
        return
    print_facts([*_identity(device, running), *_said(device), *_answered(device)])
    if given:
        print_sentence("")
        print_table(
            ["release", "image", "state", "deliveries", "since"],
            [(one["version"], one["kind"], one["state"], one["deliveries"], when(one["since"])) for one in given],
            otherwise="",
        )


def _running(fleet: Reading, device: Device) -> str | None:
    """The release that the reported sketch-MD5 proves, else what the sketch calls itself."""
    if device.check_in is None:
        return None
    md5 = device.check_in.sketch_md5
    release = None if md5 is None else fleet.catalogue(device.application).release_installed_as(md5)
    return device.check_in.version if release is None else release.version


def _given(device: Device, catalogue: Catalogue) -> list[dict[str, Any]]:
    """What was offered to the device of its application's releases, the newest first."""
    return [
        _facts_of_deployment(deployment) | {"version": release.version, "kind": image.kind}
        for release, image in catalogue.newest_first()
        if (deployment := device.deployment_of(image.id)) is not None
    ]


def _facts_of_decision(decision: PastDecision) -> dict[str, Any]:
    return {
        "mode": decision.mode,
        "answer": decision.answer,
        "reason": decision.reason,
        "explanation": decision.explanation,
        "at": decision.at,
    }


def _facts_of_deployment(deployment: Deployment) -> dict[str, Any]:
    return {"state": deployment.state, "deliveries": deployment.deliveries, "since": deployment.since}


def _identity(device: Device, running: str | None) -> list[tuple[str, object]]:
    return [
        ("device", device.mac),
        ("application", device.application or "not assigned"),
        ("runs", running or "unknown"),
        ("known since", when(device.known_since)),
        ("last seen", when(device.last_seen)),
    ]


def _said(device: Device) -> list[tuple[str, object]]:
    said = device.check_in
    if said is None:
        return []
    return [
        ("chip", said.family),
        ("flash", human_size(said.chip_size)),
        ("sketch", human_size(said.sketch_size)),
        ("room for", human_size(said.free_space)),
        ("sketch MD5", said.sketch_md5),
        ("version", said.version),
        ("SDK", said.sdk_version),
    ]


def _answered(device: Device) -> list[tuple[str, object]]:
    return [
        pair
        for past in device.decisions
        for pair in ((f"on {past.mode}", f"{past.answer} ({past.reason})"), ("because", past.explanation))
    ]


def _most_telling(device: Device) -> PastDecision | None:
    """The answer on the sketch, for devices that ask about their file system in turn."""
    return device.decision_on(Mode.SKETCH) or device.last_decision


def _facts_of(device: Device, running: str | None) -> dict[str, Any]:
    said, past = device.check_in, _most_telling(device)
    return {
        "mac": device.mac,
        "application": device.application,
        "runs": running,
        "known_since": device.known_since,
        "last_seen": device.last_seen,
        "chip": said and said.family,
        "chip_size": said and said.chip_size,
        "sketch_size": said and said.sketch_size,
        "free_space": said and said.free_space,
        "sketch_md5": said and said.sketch_md5,
        "version": said and said.version,
        "sdk_version": said and said.sdk_version,
        "answer": past and past.answer,
        "reason": past and past.reason,
        "explanation": past and past.explanation,
    }
