"""What the fleet is made of: applications, their releases and images, and the devices that run them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

from otaria.units import ByteCount, FlashOffset, Md5, Sha256
from otaria.wire.chips import ChipFamily
from otaria.wire.image_file import ImageFile, ImageKind

__all__ = ["Application", "Catalogue", "Image", "ImageId", "Release"]

ImageId = NewType("ImageId", int)


@dataclass(frozen=True, slots=True)
class Application:
    """What a device is for.

    Args:
        name: as it stands in the URL that its sketches ask.
        chip: the only chip family its images may be for; None where any may.
        created_at: when it was made.
    """

    name: str
    chip: ChipFamily | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Image:
    """One file a device can install, and what was found in it when it was published; see ``ImageFile``."""

    id: ImageId
    file_name: str
    kind: ImageKind
    family: ChipFamily | None
    compressed: bool
    signed: bool
    size: ByteCount
    payload_size: ByteCount
    staging_floor: FlashOffset
    md5: Md5
    sha256: Sha256
    flash_size: ByteCount | None
    has_length_and_crc: bool
    installed_md5s: frozenset[Md5] = field(repr=False)

    @classmethod
    def of(cls, file: ImageFile, *, id: ImageId, file_name: str, family: ChipFamily | None) -> Image:  # noqa: A002 - the field's name
        """The image that a file becomes when it is published."""
        return cls(
            id=id,
            file_name=file_name,
            kind=file.kind,
            family=family,
            compressed=file.compressed,
            signed=file.signed,
            size=file.size,
            payload_size=file.payload_size,
            staging_floor=file.staging_floor,
            md5=file.md5,
            sha256=file.sha256,
            flash_size=file.flash_size,
            has_length_and_crc=file.has_length_and_crc,
            installed_md5s=file.installed_md5s,
        )

    def runs_on(self, family: ChipFamily) -> bool:
        """Whether a device that polls as this family can run it.

        An ESP32's headers do not say which chip of the family it is (protocols §2.3), so any of them may be meant.
        """
        return self.family is None or (self.family is ChipFamily.ESP8266) == (family is ChipFamily.ESP8266)


@dataclass(frozen=True, slots=True)
class Release:
    """A version of an application.

    Args:
        application: whose.
        version: its label; never compared, only matched.
        order: which is newer: of two releases of an application the one with the higher number.
        notes: for people.
        published_at: when its first image was published.
        images: at most one per kind and chip family.
    """

    application: str
    version: str
    order: int
    notes: str
    published_at: datetime
    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What there is for one application.

    Args:
        releases: the oldest first.
    """

    releases: tuple[Release, ...] = ()

    def release_installed_as(self, md5: Md5) -> Release | None:
        """The newest release that a device reporting this sketch-MD5 can be running."""
        return next((release for release, image in self.newest_first() if md5 in image.installed_md5s), None)

    def image_installed_as(self, md5: Md5) -> Image | None:
        """The newest image that a device reporting this sketch-MD5 can be running."""
        return next((image for _, image in self.newest_first() if md5 in image.installed_md5s), None)

    def release_called(self, version: str) -> Release | None:
        """The release with this label."""
        return next((release for release in self.releases if release.version == version), None)

    def newest_first(self) -> list[tuple[Release, Image]]:
        """Every image with its release, the newest release first."""
        return [(release, image) for release in reversed(self.releases) for image in release.images]
