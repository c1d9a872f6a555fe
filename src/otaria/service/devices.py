"""Devices: what an owner does with them."""

from __future__ import annotations

from dataclasses import replace

from otaria.errors import NoSuchThing
from otaria.fleet.device import Device
from otaria.service.applications import require_application
from otaria.service.ports import Clock, Reading, Store
from otaria.units import MacAddress
from otaria.wire.image_file import ImageKind

__all__ = ["assign", "require_device", "retry"]


def assign(store: Store, clock: Clock, mac: MacAddress, application: str) -> Device:
    """Say what a device is for; it need not have polled yet.

    Raises:
        NoSuchThing: there is no such application.
    """
    with store.writing() as fleet:
        require_application(fleet, application)
        known = fleet.device(mac) or Device(mac, None, known_since=clock())
        device = replace(known, application=application)
        fleet.save_device(device)
    return device


def retry(store: Store, mac: MacAddress, *, file_system: bool = False) -> Device:
    """Let a device have again what it was given before.

    Args:
        store: the fleet's memory.
        mac: the device.
        file_system: also file systems, which overwrites what the device has written into its own.

    Raises:
        NoSuchThing: there is no such device.
    """
    with store.writing() as fleet:
        device = require_device(fleet, mac)
        images = (image for _, image in fleet.catalogue(device.application).newest_first())
        forgotten = frozenset(image.id for image in images if file_system or image.kind is not ImageKind.FILESYSTEM)
        fleet.remove_deployments(mac, forgotten)
        return require_device(fleet, mac)


def require_device(fleet: Reading, mac: MacAddress) -> Device:
    """The device with that MAC.

    Raises:
        NoSuchThing: none such has polled or was assigned.
    """
    device = fleet.device(mac)
    if device is None:
        raise NoSuchThing(f"The device {mac} has never polled and was never assigned. `otaria device list` shows all.")
    return device
