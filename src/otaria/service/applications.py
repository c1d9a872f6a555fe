"""Applications: what devices are for."""

from __future__ import annotations

import re
from typing import Final

from otaria.errors import AlreadyThere, BadInput, NoSuchThing
from otaria.fleet.model import Application
from otaria.service.ports import Clock, Reading, Store, Writing
from otaria.wire.chips import ChipFamily

__all__ = ["add_application", "create_application", "require_application"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A name stands in URLs and in sketches, where nothing else is worth its trouble."""


def create_application(store: Store, clock: Clock, name: str, *, chip: ChipFamily | None = None) -> Application:
    """Make an application.

    Args:
        store: the fleet's memory.
        clock: the time.
        name: letters, digits, dots, dashes and underscores.
        chip: the only chip family its images may be for; None where any may.

    Raises:
        BadInput: the name would not do in a URL.
        AlreadyThere: the name is taken.
    """
    with store.writing() as fleet:
        return add_application(fleet, clock, name, chip=chip)


def add_application(fleet: Writing, clock: Clock, name: str, *, chip: ChipFamily | None = None) -> Application:
    """The same, as part of a larger change."""
    if _NAME.fullmatch(name) is None:
        raise BadInput(
            f"{name!r} cannot be the name of an application, because sketches have it in their URL: use up to 64 "
            "letters, digits, dots, dashes and underscores, and begin with a letter or digit."
        )
    if fleet.application(name) is not None:
        raise AlreadyThere(f"There is an application {name!r} already. Choose another name, or use that one.")
    application = Application(name, chip, clock())
    fleet.add_application(application)
    return application


def require_application(fleet: Reading, name: str) -> Application:
    """The application of that name.

    Raises:
        NoSuchThing: there is none; the message lists those that there are.
    """
    application = fleet.application(name)
    if application is None:
        names = ", ".join(known.name for known in fleet.applications()) or "none"
        raise NoSuchThing(
            f"There is no application {name!r} (there are: {names}). Make it with "
            "`otaria application create NAME`, or correct the name."
        )
    return application
