"""A deployment: one image on its way to one device, and how far it has come.

The state comes from evidence only: what left this server, and what the device reports afterwards. The table below
is the whole lifecycle as far as there is evidence for it today; a step that is not in it changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from otaria.fleet.model import ImageId

__all__ = ["STEPS", "Deployment", "Event", "State"]


class State(StrEnum):
    """How far it has come."""

    OFFERED = "offered"
    BROKEN_OFF = "broken-off"
    DELIVERED = "delivered"
    CONFIRMED = "confirmed"


class Event(StrEnum):
    """What was observed."""

    OFFER = "offer"
    """The image was chosen for the device; its first byte may leave now."""
    BREAK_OFF = "break-off"
    """The connection ended before the device had the whole body."""
    DELIVERY = "delivery"
    """The device has the whole body."""
    REPORT = "report"
    """The device reports a sketch-MD5 that only this image gives."""


STEPS: Final = {
    (State.OFFERED, Event.OFFER): State.OFFERED,
    (State.OFFERED, Event.BREAK_OFF): State.BROKEN_OFF,
    (State.OFFERED, Event.DELIVERY): State.DELIVERED,
    (State.OFFERED, Event.REPORT): State.CONFIRMED,
    (State.BROKEN_OFF, Event.OFFER): State.OFFERED,
    (State.BROKEN_OFF, Event.DELIVERY): State.DELIVERED,
    (State.BROKEN_OFF, Event.REPORT): State.CONFIRMED,
    (State.DELIVERED, Event.OFFER): State.OFFERED,
    (State.DELIVERED, Event.REPORT): State.CONFIRMED,
    (State.CONFIRMED, Event.OFFER): State.OFFERED,
}
"""State and event to state. Two downloads may run at once, so an ending can also find another one's result."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One image and one device.

    Args:
        image: what is on its way.
        state: how far it has come.
        deliveries: how often the device was given the whole body; `otaria device retry` sets it back.
        since: when the state was reached.
    """

    image: ImageId
    state: State
    deliveries: int
    since: datetime

    @classmethod
    def offered(cls, image: ImageId, now: datetime) -> Self:
        """The first offer."""
        return cls(image, State.OFFERED, 0, now)

    def after(self, event: Event, now: datetime) -> Self:
        """The deployment once this was observed."""
        state = STEPS.get((self.state, event), self.state)
        deliveries = self.deliveries + (event is Event.DELIVERY)
        return replace(self, state=state, deliveries=deliveries, since=now if state is not self.state else self.since)
