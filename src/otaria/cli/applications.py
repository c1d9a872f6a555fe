"""``otaria application``: what devices are for."""

from __future__ import annotations

from collections import Counter

from cyclopts import App

from otaria.cli.fleet_data import DataFolder, open_fleet, utc_now
from otaria.cli.rendering import AsJson, print_json, print_sentence, print_table, when
from otaria.service.applications import create_application
from otaria.wire.chips import ChipFamily

__all__ = ["app"]

app = App(name="application", help="Applications: what devices are for.")

_NONE_YET = "There is no application yet. Make one with `otaria application create NAME`."


@app.command
def create(name: str, /, *, chip: ChipFamily | None = None, data: DataFolder = None) -> None:
    """Make an application.

    Args:
        name: As it stands in the address that its sketches ask: /update/NAME.
        chip: The only chip family that its images may be for; images for another are refused then.
        data: The fleet's folder, with its database and images.
    """
    with open_fleet(data) as fleet:
        application = create_application(fleet.store, utc_now, name, chip=chip)
    only = f" for the {application.chip}" if application.chip else ""
    print_sentence(f"Made the application {application.name}{only}. Its sketches ask at /update/{application.name}.")


@app.command(name="list")
def list_applications(*, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Show all applications.

    Args:
        data: The fleet's folder, with its database and images.
        as_json: Print JSON.
    """
    with open_fleet(data) as opened, opened.store.reading() as fleet:
        devices = Counter(device.application for device in fleet.devices())
        rows = [
            (
                application.name,
                application.chip,
                next((release.version for release in reversed(fleet.catalogue(application.name).releases)), None),
                devices[application.name],
                application.created_at,
            )
            for application in fleet.applications()
        ]
    if as_json:
        names = ("name", "chip", "newest_release", "devices", "created_at")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    print_table(
        ["application", "chip", "newest release", "devices", "made"],
        [(name, chip or "any", newest, count, when(made)) for name, chip, newest, count, made in rows],
        otherwise=_NONE_YET,
    )
