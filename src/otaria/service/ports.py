"""What the use cases need from the outside, by shape. The adapters satisfy it; the entry points join the two."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import BinaryIO, Protocol

from otaria.fleet.deployment import Deployment
from otaria.fleet.device import Device, PastDecision
from otaria.fleet.model import Application, Catalogue, Image, ImageId, Release
from otaria.units import MacAddress, Sha256

__all__ = ["Blobs", "Clock", "Reading", "Store", "Writing"]


class Clock(Protocol):
    """The time."""

    def __call__(self) -> datetime:
        """Now, with its time zone."""
        ...


class Reading(Protocol):
    """One consistent view of the fleet."""

    def application(self, name: str) -> Application | None:
        """The application of that name."""
        ...

    def applications(self) -> tuple[Application, ...]:
        """All applications, by name."""
        ...

    def catalogue(self, application: str | None) -> Catalogue:
        """The application's releases; nothing for None or a name that nothing has."""
        ...

    def newest_file(self, file_name: str) -> tuple[Release, Image] | None:
        """The image published last under that file name, in whatever application."""
        ...

    def releases_with(self, sha256: Sha256) -> tuple[Release, ...]:
        """The releases, of any application, that have an image with this content."""
        ...

    def device(self, mac: MacAddress) -> Device | None:
        """The device with that MAC."""
        ...

    def devices(self) -> tuple[Device, ...]:
        """All devices, by MAC."""
        ...

    def count_unassigned(self) -> int:
        """How many devices have no application."""
        ...


class Writing(Reading, Protocol):
    """A view that can be changed: all of it or nothing, and nobody else's change in between."""

    def add_application(self, application: Application) -> None:
        """Make one; its name must be free."""
        ...

    def add_release(self, release: Release) -> None:
        """Make one, without its images; its version must be free in its application."""
        ...

    def add_image(self, release: Release, image: Image) -> Image:
        """Give a release an image; returns it with its own id."""
        ...

    def save_device(self, device: Device) -> None:
        """Keep a device as it is now, without its decisions and deployments."""
        ...

    def save_decision(self, mac: MacAddress, decision: PastDecision) -> None:
        """Keep what a device was answered, in place of the last answer to the same question."""
        ...

    def save_deployment(self, mac: MacAddress, deployment: Deployment) -> None:
        """Keep a deployment as it is now."""
        ...

    def remove_deployments(self, mac: MacAddress, images: frozenset[ImageId]) -> None:
        """Forget what was offered to a device."""
        ...


class Store(Protocol):
    """The fleet's memory.

    Both kinds of view raise ``DatabaseBusy`` where another program holds the database for too long.
    """

    def reading(self) -> AbstractContextManager[Reading]:
        """Look at the fleet."""
        ...

    def writing(self) -> AbstractContextManager[Writing]:
        """Change the fleet: everything is on disk when the block is left, or nothing if it raises."""
        ...


class Blobs(Protocol):
    """The images' files, by their content."""

    def put(self, content: bytes) -> Sha256:
        """Keep a file; it is wholly on disk when this returns."""
        ...

    def open(self, sha256: Sha256) -> BinaryIO:
        """Open a file that was put."""
        ...

    def remove(self, sha256: Sha256) -> None:
        """Forget a file; no matter if it is not there."""
        ...
