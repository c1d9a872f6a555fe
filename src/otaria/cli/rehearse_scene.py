"""Which device a rehearsal is about: named by its layout, by what it said when it polled, or by its MAC."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from otaria.cli.files import read_file
from otaria.cli.fleet_data import open_fleet
from otaria.device.core_version import Core
from otaria.device.rehearsal_images import installed_variant, stand_in
from otaria.device.rehearsal_scene import Specimen
from otaria.errors import BadInput, Denied, NoSuchThing, NotAnImage, WrongChip
from otaria.fleet.model import Image
from otaria.service.devices import require_device
from otaria.units import MacAddress, human_size, round_up
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import USER_AGENTS, CheckIn, parse_check_in
from otaria.wire.image_file import ImageFile, ImageKind, read_image_file
from otaria.wire.layouts import LAYOUTS, SECTOR_SIZE, Layout, find_layout, layouts_with_file_system_at
from otaria.wire.signed import PublicKey

__all__ = ["DeviceChoice", "Scene", "Sought", "put_together"]


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """How the user names the device; exactly one of the three.

    Args:
        layout: by the name of its flash layout.
        headers: by a file with the headers of one of its polls.
        mac: by its MAC, in the fleet's folder.
        data: the fleet's folder.
    """

    layout: str | None = None
    headers: Path | None = None
    mac: str | None = None
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class Sought:
    """What else the user says of the device.

    Args:
        running: the file that runs on it.
        core: the core it was built with.
        key: the key it was built with.
    """

    running: Path | None = None
    core: Core | None = None
    key: PublicKey | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """The device, and what nobody said of it.

    Args:
        specimen: as it will be rehearsed on.
        device: how to call it.
        assumptions: sentences.
        running_signed: the file of the running sketch was signed, so it may check signatures itself.
    """

    specimen: Specimen
    device: str
    assumptions: tuple[str, ...]
    running_signed: bool = False

    def assuming(self, sentence: str) -> Scene:
        """The same with one assumption more."""
        return replace(self, assumptions=(*self.assumptions, sentence))


@dataclass(slots=True)
class _Known:
    """What is known of the device so far."""

    layout: Layout
    device: str
    said: CheckIn | None = None
    running: ImageFile | None = None
    assumptions: list[str] = field(default_factory=list)


def put_together(choice: DeviceChoice, sought: Sought, new: bytes) -> Scene:
    """Find the device.

    Args:
        choice: how it is named.
        sought: what else is said of it.
        new: the image that is to be installed, plain if that can be had; an unknown sketch is assumed to be like it.

    Raises:
        BadInput: it is named in no way or in two, or what names it says nothing that can be.
        NoSuchThing: there is no such device, or it has never polled.
        WrongChip: it is no ESP8266.
    """
    known = _known(choice)
    if sought.running is not None:
        known.running = _read_running(sought.running)
    running = _as_it_lies_in_flash(known, new)
    core = sought.core or _likely_core(known)
    chip_size = None if known.said is None else known.said.chip_size
    specimen = Specimen(known.layout, running, core, sought.key, chip_size)
    signed = known.running is not None and known.running.signed
    return Scene(specimen, known.device, tuple(known.assumptions), running_signed=signed)


def _known(choice: DeviceChoice) -> _Known:
    if [choice.layout, choice.headers, choice.mac].count(None) != 2:
        raise BadInput("Name the device in one way: --layout NAME, --from-headers FILE or --device MAC.")
    if choice.layout is not None:
        return _Known(find_layout(choice.layout), "a device")
    if choice.headers is not None:
        return _by_headers(choice.headers)
    return _by_mac(MacAddress.parse(choice.mac or ""), choice.data)


def _by_headers(path: Path) -> _Known:
    content = read_file(path)
    try:
        return _by_check_in(parse_check_in(_headers(content.decode("latin-1"))))
    except WrongChip as error:
        raise WrongChip(f"{path}: {error}") from error
    except (BadInput, Denied) as error:
        raise BadInput(f"{path}: {error}") from error


def _headers(text: str) -> list[tuple[str, str]]:
    """Names and values, request line or not. A missing User-Agent is no matter: people copy what interests them."""
    lines = [line.partition(":") for line in text.splitlines() if "HTTP/1." not in line]
    headers = [(name.strip(), value.strip()) for name, colon, value in lines if colon]
    agent = ChipFamily.ESP32 if any(name.lower().startswith("x-esp32-") for name, _ in headers) else ChipFamily.ESP8266
    return [*headers, ("User-Agent", USER_AGENTS[agent])]


def _by_mac(mac: MacAddress, data: Path | None) -> _Known:
    with open_fleet(data) as opened, opened.store.reading() as fleet:
        device = require_device(fleet, mac)
        if device.check_in is None:
            raise NoSuchThing(f"The device {mac} has never polled, so nobody knows its flash. Name its --layout.")
        known = _by_check_in(device.check_in)
        md5 = device.check_in.sketch_md5
        image = None if md5 is None else fleet.catalogue(device.application).image_installed_as(md5)
        if image is not None:
            with opened.blobs.open(image.sha256) as file:
                known.running = _analysed(file.read(), image)
    return known


def _analysed(content: bytes, image: Image) -> ImageFile:
    return read_image_file(content, image.kind)


def _by_check_in(said: CheckIn) -> _Known:
    if said.family is not ChipFamily.ESP8266:
        raise WrongChip(f"{said.mac} is an {said.family}; only updates of the ESP8266 are rehearsed.")
    file_system_start = said.free_space + round_up(said.sketch_size, SECTOR_SIZE)
    exact = layouts_with_file_system_at(said.chip_size, file_system_start)
    known = _Known(exact[0] if exact else _smaller_layout(said, file_system_start), said.mac, said)
    if not exact:
        known.assumptions.append(
            f"The sketch was built for layout {known.layout.name}, less than the {human_size(said.chip_size)} of flash "
            "that the device has: no layout of that size has its file system there."
        )
    return known


def _smaller_layout(said: CheckIn, file_system_start: int) -> Layout:
    fitting = [
        layout
        for layout in LAYOUTS.values()
        if layout.file_system_start == file_system_start and layout.flash_size < said.chip_size
    ]
    if not fitting:
        raise BadInput(
            f"By its headers the file system of {said.mac} begins at {file_system_start:#x}, and no flash layout of "
            "the core has it there. Name the layout with --layout."
        )
    return max(fitting, key=lambda layout: layout.flash_size)


def _read_running(path: Path) -> ImageFile:
    try:
        return read_image_file(read_file(path), ImageKind.SKETCH)
    except NotAnImage as error:
        raise NotAnImage(f"{path}: {error}") from error


def _as_it_lies_in_flash(known: _Known, new: bytes) -> bytes:
    """The running sketch, in the variant that the device reports; a stand-in where nobody has it."""
    said = known.said
    if known.running is None:
        size = len(new) if said is None else said.sketch_size
        known.assumptions.append(
            f"The running sketch has {human_size(size)}, {'as the image does' if said is None else 'as it says'}; its "
            "boot part and its flash mode are the image's. Give it with --running to be sure."
        )
        return stand_in(size, known.layout.flash_size, new)
    payload = known.running.payload
    if said is None or said.sketch_md5 is None:
        return payload
    variant = installed_variant(payload, said.sketch_md5)
    if variant is None:
        known.assumptions.append(
            f"The device runs the given image, though it reports sketch-MD5 {said.sketch_md5}, which is none of that "
            "image's."
        )
    return variant or payload


def _likely_core(known: _Known) -> Core:
    """By which headers a device sends, and which words its image has (protocols §2.1, §6.2)."""
    said, running = known.said, known.running
    if said is not None and said.sketch_md5 is None:
        core, reason = Core.V2_3, "it reports no sketch-MD5"
    elif said is not None and said.chip_id is None:
        core, reason = Core.V2_5, "it reports no chip id"
    elif running is not None and not running.has_length_and_crc:
        core, reason = Core.V2_5, "its image has neither length nor CRC"
    else:
        core, reason = Core.V3_1, "it is the common one"
    known.assumptions.append(f"The running sketch was built with core {core}, as {reason}. Say otherwise with --core.")
    return core
