"""What is checked before the first byte leaves: a device checks little, and late (protocols §12)."""

from __future__ import annotations

from otaria.errors import NotAnImage, Refused, WrongChip
from otaria.wire.chips import ChipFamily
from otaria.wire.image_file import ImageFile, ImageKind, read_image_file

__all__ = ["check_before_push"]


def check_before_push(
    content: bytes, name: str, *, family: ChipFamily, filesystem: bool, force: bool = False
) -> ImageFile:
    """Analyse a file and refuse what would fail on the device or brick it.

    Args:
        content: the file.
        name: what the user calls it, for messages.
        family: the device's; ESP32 stands for any chip of that family.
        filesystem: the file is meant to be a file system.
        force: send what only some devices survive.

    Raises:
        NotAnImage: no device could install it.
        WrongChip: it is for another chip.
        Refused: devices without signature check would be bricked, and ``force`` is not set.
    """
    try:
        image = read_image_file(content, ImageKind.FILESYSTEM if filesystem else ImageKind.SKETCH)
    except NotAnImage as error:
        raise NotAnImage(f"{name} was not sent. {error}") from error
    if image.family is not None and not _runs_on(image.family, family):
        raise WrongChip(
            f"{name} was not sent: it is built for the {image.family} and the device is taken for an {family}. The "
            "wrong one would never start again. If the device is another, say so with --chip."
        )
    if image.compressed and image.signed and not force:
        raise Refused(
            f"{name} was not sent: it is compressed and signed, and a device that does not verify signatures would be "
            "bricked by it (it takes the signature's last word for the unpacked size). If this device's sketch "
            "installs a signature check, send it with --force."
        )
    return image


def _runs_on(image: ChipFamily, device: ChipFamily) -> bool:
    if device is ChipFamily.ESP32:
        return image is not ChipFamily.ESP8266
    return image is device
