"""Publishing: a file becomes an image of a release, wholly or not at all."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from otaria.errors import AlreadyThere, BadInput, DoesNotFit, NotAnImage, WrongChip
from otaria.fleet.decide import Objection, objection_to_fit
from otaria.fleet.device import Device
from otaria.fleet.model import Application, Image, ImageId, Release
from otaria.fleet.reasons import Reason
from otaria.service.applications import add_application, require_application
from otaria.service.ports import Blobs, Clock, Reading, Store, Writing
from otaria.units import Sha256
from otaria.wire.esp_image import GZIP_MAGIC, MAGIC
from otaria.wire.image_file import ImageFile, ImageKind, read_image_file

__all__ = ["LONGEST_VERSION", "Draft", "Publication", "publish"]

LONGEST_VERSION: Final = 64
"""Characters of a version label; devices send theirs in a header line, and the longest in use are far below."""

LONGEST_FILE_NAME: Final = 255
"""Characters of a file name, as most file systems have it."""

LONGEST_NOTES: Final = 10_000
"""Characters of the notes: some pages, for people."""

_SKETCH_BEGINNINGS: Final = (bytes((MAGIC,)), GZIP_MAGIC[:1])
_NOT_STORED: Final = ImageId(0)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be published.

    Args:
        application: whose release it becomes.
        version: the release's label. Of a release that exists the file becomes a further image.
        file_name: under which the file can be fetched by name.
        content: the file.
        kind: what it is.
        notes: for people.
        create: make the application if there is none of that name.
        anyway: publish even what fits none of the application's devices.
    """

    application: str
    version: str
    file_name: str
    content: bytes
    kind: ImageKind = ImageKind.SKETCH
    notes: str = ""
    create: bool = False
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class Publication:
    """What was published.

    Args:
        release: with all its images.
        image: the new one.
        devices: how many the application has.
        remarks: sentences that its owner should read.
    """

    release: Release
    image: Image
    devices: int
    remarks: tuple[str, ...]


def publish(store: Store, blobs: Blobs, clock: Clock, draft: Draft) -> Publication:
    """Publish a file. Whatever is refused leaves neither a row nor a file behind.

    Raises:
        NotAnImage: no device could install the file.
        WrongChip: it is for another chip than the application, or than all of its devices.
        DoesNotFit: none of the application's devices has room for it.
        AlreadyThere: the release has such an image already.
        NoSuchThing: there is no such application.
        BadInput: the version, the file name or the notes would not do.
    """
    _check_texts(draft)
    file = _read(draft)
    with ExitStack() as on_failure:
        with store.writing() as fleet:
            application = _application(fleet, clock, draft)
            _check_chip(application, file)
            image = Image.of(file, id=_NOT_STORED, file_name=draft.file_name, family=file.family or application.chip)
            release = _release(fleet, clock, draft, image)
            devices = [device for device in fleet.devices() if device.application == application.name]
            remarks = _same_content(fleet, image) + _misfits(draft, devices, fleet, release, image)
            # Under the database's write lock, so that nobody removes the file while it is being taken into use.
            blobs.put(draft.content)
            on_failure.callback(_remove_unless_used, store, blobs, file.sha256)
            image = fleet.add_image(release, image)
        on_failure.pop_all()
    release = replace(release, images=(*release.images, image))
    return Publication(release, image, len(devices), tuple(remarks))


def _check_texts(draft: Draft) -> None:
    version = draft.version
    if not (0 < len(version) <= LONGEST_VERSION and version.isascii() and version.isprintable() and version.strip()):
        raise BadInput(
            f"{version!r} cannot be a version, because devices send it in a header line: use up to "
            f"{LONGEST_VERSION} printable ASCII characters."
        )
    if not (0 < len(draft.file_name) <= LONGEST_FILE_NAME and draft.file_name.isprintable()):
        raise BadInput(f"{draft.file_name!r} cannot be the name of a published file. Rename it.")
    if len(draft.notes) > LONGEST_NOTES:
        raise BadInput(f"The notes have {len(draft.notes)} characters; {LONGEST_NOTES} are kept. Shorten them.")


def _read(draft: Draft) -> ImageFile:
    try:
        file = read_image_file(draft.content, draft.kind)
    except NotAnImage as refusal:
        other = draft.kind is ImageKind.SKETCH and draft.content[:1] not in _SKETCH_BEGINNINGS
        hint = " If it is a file system, publish it with --filesystem." if other else ""
        raise NotAnImage(f"{draft.file_name}: {refusal}{hint}") from refusal
    if file.kind is ImageKind.FILESYSTEM and file.compressed:
        raise NotAnImage(
            f"{draft.file_name}: This file system is compressed, and a device writes it as it comes (protocols §4.1). "
            "Publish it unpacked."
        )
    return file


def _application(fleet: Writing, clock: Clock, draft: Draft) -> Application:
    if draft.create and fleet.application(draft.application) is None:
        return add_application(fleet, clock, draft.application)
    return require_application(fleet, draft.application)


def _check_chip(application: Application, file: ImageFile) -> None:
    if application.chip is not None and file.family not in (None, application.chip):
        raise WrongChip(
            f"This image is for the {file.family}, and the application {application.name!r} is for the "
            f"{application.chip}. Build the sketch for the {application.chip}, or publish it for another application."
        )


def _release(fleet: Writing, clock: Clock, draft: Draft, image: Image) -> Release:
    """The release to which the image belongs, made if there is none of that version."""
    releases = fleet.catalogue(draft.application).releases
    release = next((release for release in releases if release.version == draft.version), None)
    if release is None:
        number = max((release.order for release in releases), default=0) + 1
        release = Release(draft.application, draft.version, number, draft.notes, clock(), ())
        fleet.add_release(release)
    if any((other.kind, other.family) == (image.kind, image.family) for other in release.images):
        raise AlreadyThere(
            f"Release {draft.version!r} of {draft.application!r} has its {image.kind} image already, and a release "
            "that was published does not change. Publish this one under another version."
        )
    return release


def _same_content(fleet: Reading, image: Image) -> list[str]:
    return [
        f"The same file is release {release.version!r} of {release.application!r} already; a device that runs it "
        "counts as up to date with either."
        for release in fleet.releases_with(image.sha256)
    ]


def _misfits(draft: Draft, devices: list[Device], fleet: Reading, release: Release, image: Image) -> list[str]:
    """A remark for each device that the image does not fit.

    Raises:
        WrongChip, DoesNotFit: it fits none of them, and that was not said to be all right.
    """
    catalogue = fleet.catalogue(draft.application)
    found = [(device, objection_to_fit(device, catalogue, release, image)) for device in devices if device.check_in]
    objections = [(device, objection) for device, objection in found if objection is not None]
    if objections and len(objections) == len(found) and not draft.anyway:
        raise _fits_none(draft, objections)
    return [f"{device.mac} will not get it: {objection.explanation}" for device, objection in objections]


def _fits_none(draft: Draft, objections: list[tuple[Device, Objection]]) -> WrongChip | DoesNotFit:
    device, objection = objections[0]
    message = (
        f"{draft.file_name} fits none of the {len(objections)} devices of {draft.application!r}, {device.mac} for one: "
        f"{objection.explanation} Nothing was published; --anyway publishes it all the same."
    )
    return WrongChip(message) if objection.reason is Reason.OTHER_CHIP else DoesNotFit(message)


def _remove_unless_used(store: Store, blobs: Blobs, sha256: Sha256) -> None:
    with store.writing() as fleet:
        if not fleet.releases_with(sha256):
            blobs.remove(sha256)
