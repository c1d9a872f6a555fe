"""A device as the server knows it: from what it said and from what it was given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from otaria.fleet.deployment import Deployment
from otaria.fleet.model import ImageId
from otaria.fleet.reasons import Answer, Reason
from otaria.units import MacAddress
from otaria.wire.http_update import CheckIn

__all__ = ["Device", "PastDecision"]


@dataclass(frozen=True, slots=True)
class PastDecision:
    """What a device was answered last, and why."""

    answer: Answer
    reason: Reason
    explanation: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Device:
    """One board.

    Args:
        mac: by which it is known.
        application: what it runs; None until it is assigned.
        known_since: when it polled first, or was assigned before it ever did.
        last_seen: when it polled last; None before it did.
        check_in: what it said then.
        last_decision: what it was answered then.
        deployments: what was ever offered to it.
    """

    mac: MacAddress
    application: str | None
    known_since: datetime
    last_seen: datetime | None = None
    check_in: CheckIn | None = None
    last_decision: PastDecision | None = None
    deployments: tuple[Deployment, ...] = ()

    def deployment_of(self, image: ImageId) -> Deployment | None:
        """How far this image has come on its way to this device; None where it was never offered."""
        return next((deployment for deployment in self.deployments if deployment.image == image), None)
