"""What a device gets when it polls: the guards, in order (design §7).

Each guard looks at the case and either objects, with a reason and a sentence for the owner, or lets it pass. The
first objection is the answer; where there is none, the device is served. A stock sketch understands only 304 as
"not now", so every objection but "you are in the wrong place" is a :class:`Keep`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from otaria.fleet.device import Device
from otaria.fleet.model import Catalogue, Image, Release
from otaria.fleet.reasons import Reason
from otaria.units import round_up
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode
from otaria.wire.image_file import ImageKind
from otaria.wire.layouts import SECTOR_SIZE, layouts_with_file_system_at

__all__ = [
    "MOST_DELIVERIES",
    "Decision",
    "Keep",
    "Objection",
    "Refuse",
    "Serve",
    "decide",
    "decide_file",
    "objection_to_fit",
]

MOST_DELIVERIES: Final = 3
"""Deliveries of one image to a device that stays as it is. Flash wears out: once may be bad luck, thrice is not."""

KIND_OF_MODE: Final = {
    Mode.SKETCH: ImageKind.SKETCH,
    Mode.VERSION: ImageKind.SKETCH,
    Mode.FILESYSTEM: ImageKind.FILESYSTEM,
}


@dataclass(frozen=True, slots=True)
class Serve:
    """The device gets this image."""

    release: Release
    image: Image
    reason: Reason
    explanation: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Keep:
    """The device keeps what it has."""

    reason: Reason
    explanation: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Refuse:
    """The device has no business at the address it asked."""

    reason: Reason
    explanation: str
    at: datetime


Decision: TypeAlias = Serve | Keep | Refuse


@dataclass(frozen=True, slots=True)
class Objection:
    """What a guard has against it."""

    reason: Reason
    explanation: str


@dataclass(frozen=True, slots=True)
class _Case:
    """One image, held against one device."""

    check_in: CheckIn
    device: Device
    catalogue: Catalogue
    release: Release
    image: Image

    @property
    def running(self) -> Image | None:
        """The image that the device runs, where its sketch-MD5 tells."""
        md5 = self.check_in.sketch_md5
        return None if md5 is None else self.catalogue.image_installed_as(md5)

    @property
    def file_system_start(self) -> int:
        """FS_start of an ESP8266, from what it reports (protocols §7)."""
        return self.check_in.free_space + round_up(self.check_in.sketch_size, SECTOR_SIZE)


_Guard: TypeAlias = Callable[[_Case], Objection | None]


def decide(
    check_in: CheckIn, device: Device, catalogue: Catalogue, now: datetime, *, asked_for: str | None = None
) -> Decision:
    """Decide what a device gets that polls for its application.

    Args:
        check_in: what it says.
        device: what is known of it, enrolled already where its sketch named an application that exists.
        catalogue: what there is for its application.
        now: the moment of the decision.
        asked_for: the application in the address that it asked; None where there was none.
    """
    misplaced = _misplaced(device, asked_for)
    if misplaced is not None:
        return Refuse(misplaced.reason, misplaced.explanation, now)
    target = _target(check_in, device, catalogue)
    if isinstance(target, Objection):
        return Keep(target.reason, target.explanation, now)
    release, image = target
    return _hold_against(_Case(check_in, device, catalogue, release, image), now, _GUARDS)


def decide_file(check_in: CheckIn, device: Device, release: Release, image: Image, now: datetime) -> Keep | Serve:
    """Decide what a device gets that asks for one file by name, as the documentation's simple sketch does.

    It has no application and nothing to choose from, and its version says nothing about the file; what would loop or
    not fit is kept from it all the same.
    """
    case = _Case(check_in, device, Catalogue((release,)), release, image)
    return _hold_against(case, now, _FILE_GUARDS)


def objection_to_fit(device: Device, catalogue: Catalogue, release: Release, image: Image) -> Objection | None:
    """Why the image does not fit the device as it was when it polled last; None where it fits or nobody knows."""
    if device.check_in is None:
        return None
    return _first_objection(_Case(device.check_in, device, catalogue, release, image), (_other_chip, *_FIT))


def _hold_against(case: _Case, now: datetime, guards: Iterable[_Guard]) -> Keep | Serve:
    objection = _first_objection(case, guards)
    if objection is not None:
        return Keep(objection.reason, objection.explanation, now)
    explanation = f"The image of release {case.release.version!r} is not what the device has, and it fits."
    return Serve(case.release, case.image, Reason.NEWER, explanation, now)


def _first_objection(case: _Case, guards: Iterable[_Guard]) -> Objection | None:
    return next((objection for guard in guards if (objection := guard(case)) is not None), None)


def _misplaced(device: Device, asked_for: str | None) -> Objection | None:
    if device.application is None and asked_for is None:
        return Objection(
            Reason.UNASSIGNED,
            f"The device {device.mac} is not assigned to an application. Assign it with `otaria device assign "
            f"{device.mac} APPLICATION`, or let its sketch ask at /update/APPLICATION.",
        )
    if device.application is None:
        return Objection(
            Reason.NO_SUCH_APPLICATION,
            f"The sketch of {device.mac} asks for {asked_for!r}, and there is no such application. Correct the "
            "address in the sketch, or make the application with `otaria application create NAME`.",
        )
    if asked_for not in (None, device.application):
        return Objection(
            Reason.OTHER_APPLICATION,
            f"The device {device.mac} is assigned to {device.application!r}, and its sketch asks for {asked_for!r}. "
            f"Correct the address in the sketch, or move the device with `otaria device assign {device.mac} "
            "APPLICATION`.",
        )
    return None


def _target(check_in: CheckIn, device: Device, catalogue: Catalogue) -> tuple[Release, Image] | Objection:
    """The newest image of the kind asked for that can run on the device at all."""
    kind = KIND_OF_MODE[check_in.mode]
    candidates = [(release, image) for release, image in catalogue.newest_first() if image.kind is kind]
    if not candidates:
        return Objection(Reason.NOTHING_RELEASED, f"{device.application!r} has no release with a {kind} image yet.")
    fitting = [(release, image) for release, image in candidates if image.runs_on(check_in.family)]
    if not fitting:
        return _wrong_chip(check_in, candidates[0][1])
    release, image = fitting[0]
    rivals = [other.family for of, other in fitting if of is release]
    if len(rivals) > 1:
        return Objection(
            Reason.AMBIGUOUS_CHIP,
            f"Release {release.version!r} has images for {', '.join(map(str, rivals))}, and the device does not say "
            "which of them it is. Make one application for each chip.",
        )
    return release, image


def _wrong_chip(check_in: CheckIn, image: Image) -> Objection:
    return Objection(
        Reason.OTHER_CHIP,
        f"The image is for the {image.family}, and the device is an {check_in.family}; it would never start again. "
        f"Publish a release for the {check_in.family}.",
    )


def _other_chip(case: _Case) -> Objection | None:
    return None if case.image.runs_on(case.check_in.family) else _wrong_chip(case.check_in, case.image)


def _other_kind(case: _Case) -> Objection | None:
    if KIND_OF_MODE[case.check_in.mode] is case.image.kind:
        return None
    return Objection(
        Reason.OTHER_KIND,
        f"The device asks for a {KIND_OF_MODE[case.check_in.mode]} image, and {case.image.file_name!r} is a "
        f"{case.image.kind} image. Correct the address in the sketch.",
    )


def _installed(case: _Case) -> Objection | None:
    if case.check_in.sketch_md5 not in case.image.installed_md5s:
        return None
    return Objection(Reason.INSTALLED, f"The device runs release {case.release.version!r}.")


def _same_version(case: _Case) -> Objection | None:
    # The version is the sketch's, whatever the file system on the device holds.
    if case.image.kind is ImageKind.FILESYSTEM or case.check_in.version != case.release.version:
        return None
    return Objection(
        Reason.SAME_VERSION, f"The sketch on the device calls itself {case.release.version!r}, as the release does."
    )


def _already_delivered(case: _Case) -> Objection | None:
    """A device never says which file system it holds, so what it was given has to do (design §7)."""
    deployment = case.device.deployment_of(case.image.id)
    if case.image.kind is not ImageKind.FILESYSTEM or deployment is None or deployment.deliveries == 0:
        return None
    return Objection(
        Reason.ALREADY_DELIVERED,
        f"The file system of release {case.release.version!r} was delivered to the device, which does not say what "
        f"it holds. To send it again: `otaria device retry {case.device.mac} --filesystem`.",
    )


def _older(case: _Case) -> Objection | None:
    running = _running_release(case)
    if case.image.kind is ImageKind.FILESYSTEM or running is None or running.order <= case.release.order:
        return None
    return Objection(
        Reason.OLDER, f"The device runs release {running.version!r}, which is newer than {case.release.version!r}."
    )


def _running_release(case: _Case) -> Release | None:
    """The MD5 tells what runs; the version string is believed only where the MD5 says nothing."""
    md5, version = case.check_in.sketch_md5, case.check_in.version
    by_md5 = None if md5 is None else case.catalogue.release_installed_as(md5)
    return by_md5 or (None if version is None else case.catalogue.release_called(version))


def _flash_too_small(case: _Case) -> Objection | None:
    built_for, has = case.image.flash_size, case.check_in.chip_size
    if built_for is None or built_for <= has:
        return None
    return Objection(
        Reason.FLASH_TOO_SMALL,
        f"The image was built for {built_for} bytes of flash, and the device has {has}. "
        "Choose the board's flash size in the build.",
    )


def _no_room(case: _Case) -> Objection | None:
    needed = round_up(case.image.size, SECTOR_SIZE)
    if case.image.kind is ImageKind.FILESYSTEM or needed <= case.check_in.free_space:
        return None
    return Objection(
        Reason.NO_ROOM,
        f"The image takes {needed} bytes of flash until it is installed, and the device has room for "
        f"{case.check_in.free_space} while its sketch runs. A smaller image may fit; on an ESP8266 also a compressed "
        "one.",
    )


def _no_file_system(case: _Case) -> Objection | None:
    """Whether it fits between FS_start and FS_end, where the layout is certain; the device itself looks, too."""
    if case.image.kind is not ImageKind.FILESYSTEM or case.check_in.family is not ChipFamily.ESP8266:
        return None
    layouts = layouts_with_file_system_at(case.check_in.chip_size, case.file_system_start)
    room = max((layout.file_system_size for layout in layouts), default=None)
    if room is None or round_up(case.image.size, SECTOR_SIZE) <= room:
        return None
    return Objection(
        Reason.NO_FILE_SYSTEM,
        f"The file system takes {case.image.size} bytes, and the device's flash layout has {room} for it.",
    )


def _cannot_unpack(case: _Case) -> Objection | None:
    """Cores before 2.7.0 do not know gzip (protocols §6.3); those before 2.6.0 send no chip id."""
    if not case.image.compressed:
        return None
    old = case.check_in.chip_id is None or (case.running is not None and not case.running.has_length_and_crc)
    if case.check_in.family is ChipFamily.ESP8266 and not old:
        return None
    return Objection(
        Reason.CANNOT_UNPACK,
        "The image is compressed, and the device runs something that does not unpack: an ESP8266 core before 2.7.0, "
        "or an ESP32. Publish the image uncompressed.",
    )


def _unpacks_over_itself(case: _Case) -> Objection | None:
    """The bootloader looks neither at where the unpacked image ends nor at what it overwrites (protocols §5.2)."""
    if not case.image.compressed:
        return None
    staging_start = case.file_system_start - round_up(case.image.size, SECTOR_SIZE)
    ends_in_time = round_up(case.image.payload_size, SECTOR_SIZE) <= case.file_system_start
    if ends_in_time and case.image.staging_floor <= staging_start:
        return None
    return Objection(
        Reason.UNPACKS_OVER_ITSELF,
        f"The image unpacks to {case.image.payload_size} bytes, and with {case.file_system_start} bytes of flash below "
        "the file system it would overwrite itself or the file system. Make the image smaller.",
    )


def _unverified_signature(case: _Case) -> Objection | None:
    """Compressed and signed, it destroys the bootloader of a device that does not verify (protocols §8.1)."""
    if not (case.image.compressed and case.image.signed) or (case.running is not None and case.running.signed):
        return None
    return Objection(
        Reason.UNVERIFIED_SIGNATURE,
        "The image is compressed and signed, and the device is not known to run a sketch that verifies signatures; "
        "without that it would never start again. Publish it signed and uncompressed first.",
    )


def _no_change(case: _Case) -> Objection | None:
    deployment = case.device.deployment_of(case.image.id)
    if deployment is None or deployment.deliveries < MOST_DELIVERIES:
        return None
    return Objection(
        Reason.NO_CHANGE,
        f"Release {case.release.version!r} was delivered {deployment.deliveries} times and the device still runs "
        "something else; once more would only wear its flash out. Look at what the device prints while it updates, "
        f"then let it try again: `otaria device retry {case.device.mac}`.",
    )


_FIT: Final[tuple[_Guard, ...]] = (
    _flash_too_small,
    _no_room,
    _no_file_system,
    _cannot_unpack,
    _unpacks_over_itself,
    _unverified_signature,
)

_GUARDS: Final[tuple[_Guard, ...]] = (_installed, _same_version, _already_delivered, _older, *_FIT, _no_change)

_FILE_GUARDS: Final[tuple[_Guard, ...]] = (_other_kind, _other_chip, _installed, _already_delivered, *_FIT, _no_change)
