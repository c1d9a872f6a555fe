"""``otaria release``: versions of applications."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from otaria.cli.files import read_file
from otaria.cli.fleet_data import DataFolder, open_fleet, utc_now
from otaria.cli.rendering import AsJson, print_facts, print_json, print_remark, print_sentence, print_table, when
from otaria.fleet.model import Image, Release
from otaria.service.applications import require_application
from otaria.service.releases import Draft, Publication
from otaria.service.releases import publish as publish_draft
from otaria.units import human_size
from otaria.wire.image_file import ImageKind

__all__ = ["app"]

app = App(name="release", help="Releases: versions of applications.")


@app.command
def publish(  # noqa: PLR0913 - each option is a property of the release
    image: Path,
    /,
    *,
    application: str,
    version: str,
    filesystem: Annotated[bool, Parameter(negative="")] = False,
    notes: str = "",
    create: Annotated[bool, Parameter(negative="")] = False,
    anyway: Annotated[bool, Parameter(negative="")] = False,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Publish an image; the application's devices fetch it when they poll next.

    Of a version that exists the image becomes a further one: a file system beside the sketch, or the sketch for
    another chip.

    Args:
        image: The .bin (or .bin.gz) that the build made.
        application: Whose release it is.
        version: The release's label. What the sketch passes as its current version, if it passes any.
        filesystem: The image is a file system, not a sketch. It overwrites every file on the devices.
        notes: For people.
        create: Make the application if there is none of that name.
        anyway: Publish even what fits none of the application's devices.
        data: The fleet's folder, with its database and images.
        as_json: Print JSON.
    """
    draft = Draft(
        application=application,
        version=version,
        file_name=image.name,
        content=read_file(image),
        kind=ImageKind.FILESYSTEM if filesystem else ImageKind.SKETCH,
        notes=notes,
        create=create,
        anyway=anyway,
    )
    with open_fleet(data) as fleet:
        publication = publish_draft(fleet.store, fleet.blobs, utc_now, draft)
    for remark in publication.remarks:
        print_remark(f"Note: {remark}")
    if as_json:
        print_json(_facts_of(publication.release, publication.image) | {"remarks": publication.remarks})
    else:
        _report(publication)


@app.command(name="list")
def list_releases(*, application: str | None = None, data: DataFolder = None, as_json: AsJson = False) -> None:
    """Show the releases, the newest first.

    Args:
        application: Only this one's.
        data: The fleet's folder, with its database and images.
        as_json: Print JSON.
    """
    with open_fleet(data) as opened, opened.store.reading() as fleet:
        chosen = fleet.applications() if application is None else (require_application(fleet, application),)
        found = [pair for one in chosen for pair in fleet.catalogue(one.name).newest_first()]
    if as_json:
        print_json([_facts_of(release, image) for release, image in found])
        return
    print_table(
        ["application", "version", "image", "chip", "size", "file", "published", "notes"],
        [
            (
                release.application,
                release.version,
                image.kind,
                image.family or "any",
                human_size(image.size),
                image.file_name,
                when(release.published_at),
                release.notes,
            )
            for release, image in found
        ],
        otherwise="There is no release yet. Publish one with `otaria release publish IMAGE`.",
    )


def _report(publication: Publication) -> None:
    release, image = publication.release, publication.image
    print_sentence(f"Published release {release.version} of {release.application}.")
    what = [image.kind.value, f"for the {image.family}" if image.family else "for any chip"]
    what += ["compressed"] if image.compressed else []
    what += ["signed"] if image.signed else []
    size = f"{image.size} bytes ({human_size(image.size)})"
    facts: list[tuple[str, object]] = [
        ("  image", ", ".join(what)),
        ("  size", f"{size}, unpacks to {image.payload_size}" if image.compressed else size),
    ]
    if image.flash_size is not None:
        facts.append(("  built for", f"{human_size(image.flash_size)} of flash"))
    devices = "no device yet" if publication.devices == 0 else f"{publication.devices} in this application"
    print_facts([*facts, ("  MD5", image.md5), ("  devices", devices)])


def _facts_of(release: Release, image: Image) -> dict[str, Any]:
    return {
        "application": release.application,
        "version": release.version,
        "order": release.order,
        "published_at": release.published_at,
        "notes": release.notes,
        "file": image.file_name,
        "kind": image.kind,
        "chip": image.family,
        "size": image.size,
        "payload_size": image.payload_size,
        "compressed": image.compressed,
        "signed": image.signed,
        "flash_size": image.flash_size,
        "md5": image.md5,
        "sha256": image.sha256,
    }
