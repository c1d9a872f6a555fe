"""A device as the server knows it: from what it said and from what it was given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from otaria.fleet.deployment import Deployment
from otaria.fleet.model import ImageId
from otaria.fleet.reasons import Answer, Reason
from otaria.units import MacAddress
from otaria.wire.http_update import CheckIn, Mode

__all__ = ["Device", "PastDecision"]


@dataclass(frozen=True, slots=True)
class PastDecision:
    """What a device was answered last to one kind of question, and why."""

    mode: Mode
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
        decisions: what it was answered, the last time for each kind of question; many sketches ask two in turn.
        deployments: what was ever offered to it.
    """

    mac: MacAddress
    application: str | None
    known_since: datetime
    last_seen: datetime | None = None
    check_in: CheckIn | None = None
    decisions: tuple[PastDecision, ...] = ()
    deployments: tuple[Deployment, ...] = ()

    @property
    def last_decision(self) -> PastDecision | None:
        """What it was answered last; None before it polled."""
        return max(self.decisions, key=lambda decision: decision.at, default=None)

    def decision_on(self, mode: Mode) -> PastDecision | None:
        """What it was answered last to this kind of question."""
        return next((decision for decision in self.decisions if decision.mode is mode), None)

    def deployment_of(self, image: ImageId) -> Deployment | None:
        """How far this image has come on its way to this device; None where it was never offered."""
        return next((deployment for deployment in self.deployments if deployment.image == image), None)
