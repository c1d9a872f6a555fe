"""``otaria rehearse``: know before shipping whether an image installs, fits, loops or bricks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from otaria.cli.cores import core_as_spelled
from otaria.cli.files import read_file
from otaria.cli.fleet_data import DataFolder
from otaria.cli.image import compressed
from otaria.cli.keys import new_private_key, read_public_key
from otaria.cli.rehearse_picture import picture_console, print_rehearsals
from otaria.cli.rehearse_scene import DeviceChoice, Scene, Sought, put_together
from otaria.cli.rendering import AsJson, print_json
from otaria.device.core_version import Core
from otaria.device.rehearsal import Rehearsal, Verdict
from otaria.device.rehearsal import rehearse as rehearse_on
from otaria.device.rehearsal_scene import Candidate, Encoding, Specimen
from otaria.device.rehearsal_ways import Way
from otaria.errors import BadInput, Refused
from otaria.units import human_size
from otaria.wire.signed import sign

__all__ = ["rehearse"]

SOME_CUTS: Final = 100
"""Flash operations at which the update is broken off where nobody says how many; takes a second or two."""

THROW_AWAY_BITS: Final = 2048
"""Of the key with which an image is signed for the rehearsal only."""


_CAN_BECOME: Final = {
    Encoding.PLAIN: frozenset(Encoding),
    Encoding.GZIP: frozenset({Encoding.GZIP, Encoding.GZIP_SIGNED}),
    Encoding.SIGNED: frozenset({Encoding.SIGNED}),
    Encoding.GZIP_SIGNED: frozenset({Encoding.GZIP_SIGNED}),
}
"""What a file can still be wrapped in: it is compressed first and signed last."""

_NUMBER_OF_CUTS: Final[dict[str, int | None]] = {"all": None, "none": 0}


def _at_least_one(_type: Any, cuts: object) -> None:
    if isinstance(cuts, int) and cuts < 1:
        raise ValueError("Say all, none, or a number from 1 on.")


def rehearse(  # noqa: PLR0913 - each option says one thing of the device or of the file
    image: Path,
    /,
    *,
    layout: str | None = None,
    from_headers: Path | None = None,
    device: str | None = None,
    running: Path | None = None,
    way: Annotated[list[Way] | None, Parameter(negative="")] = None,
    encoding: Encoding | None = None,
    core: Annotated[Core | None, Parameter(name_transform=core_as_spelled)] = None,
    key: Path | None = None,
    cut: Annotated[Literal["all", "none"] | int, Parameter(validator=_at_least_one)] = SOME_CUTS,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Run an image through the very steps that an ESP8266 takes to install it, and break them off.

    Nothing is sent to any device. The exit code is 5 where one of the ways would brick the device, where the device
    would refuse the image, or where it would get it again and again.

    Args:
        image: The file that is to be sent: .bin, .bin.gz or .signed.
        layout: The device's flash layout, by the name of the core's linker script, such as 4m1m.
        from_headers: A file with the request headers of one of the device's polls, from which its layout follows.
        device: The MAC of a device that has polled the server on this machine.
        running: The .bin that runs on the device; by default one of the same size that starts and does nothing.
        way: How the file reaches the device; all three by default. May be given several times.
        encoding: Wrap the .bin in this first; by default the file is sent as it is.
        core: The Arduino core that the running sketch was built with.
        key: The public key that the running sketch was built with; it takes only images signed with its pair.
        cut: At how many flash operations to break the update off.
        data: The fleet's folder, with its database and images, for --device.
        as_json: Print JSON.
    """
    content = read_file(image)
    _require_possible(image.name, content, encoding)
    choice = DeviceChoice(layout, from_headers, device, data)
    sought = Sought(running, core, None if key is None else read_public_key(key))
    candidate = Candidate.of(content)
    scene = put_together(choice, sought, candidate.plain)
    wrapped, scene = _wrapped(candidate, candidate.encoding if encoding is None else encoding, scene)
    cuts = cut if isinstance(cut, int) else _NUMBER_OF_CUTS[cut]
    rehearsals = _all_ways(wrapped, scene.specimen, dict.fromkeys(way or Way), cuts)
    if as_json:
        print_json(_members(image.name, scene, rehearsals))
    else:
        title = _title(image.name, scene, rehearsals[0])
        print_rehearsals(picture_console(), title, scene.assumptions, rehearsals)
    _require_success(image.name, scene.device, rehearsals)


def _require_possible(name: str, content: bytes, wanted: Encoding | None) -> None:
    has = Encoding.of(content)
    if wanted is not None and wanted not in _CAN_BECOME[has]:
        raise BadInput(f"{name} is {has} already and cannot be sent as {wanted}. Give the .bin that the build made.")


def _wrapped(candidate: Candidate, wanted: Encoding, scene: Scene) -> tuple[Candidate, Scene]:
    """Compress and sign, as far as the file is not yet what is wanted; the device has the key to it."""
    if wanted.compressed and not candidate.encoding.compressed:
        candidate = Candidate.of(compressed(candidate.content))
    if wanted.signed and not candidate.encoding.signed:
        return _signed(candidate, scene)
    if scene.running_signed and not scene.specimen.verifies:
        assumption = (
            "The running sketch checks no signature, though it was signed itself. Else name its key with --key."
        )
        return candidate, scene.assuming(assumption)
    return candidate, scene


def _signed(candidate: Candidate, scene: Scene) -> tuple[Candidate, Scene]:
    if scene.specimen.key is not None:
        raise BadInput("The image is not signed. Sign it with `otaria image sign`, so that the device's key fits.")
    private = new_private_key(THROW_AWAY_BITS)
    signed = sign(candidate.content, private, scene.specimen.core.behaviour.signature_padding)
    specimen = replace(scene.specimen, key=private.public_key)
    checks = "checks signatures" if specimen.verifies else "could check signatures, if its core knew how"
    assumption = f"The running sketch {checks}, and the image is signed with its key, RSA-{THROW_AWAY_BITS}."
    return Candidate.of(signed), replace(scene, specimen=specimen).assuming(assumption)


def _all_ways(candidate: Candidate, specimen: Specimen, ways: Iterable[Way], cuts: int | None) -> list[Rehearsal]:
    with _progress() as bars:
        return [_by(way, candidate, specimen, cuts, bars) for way in ways]


def _by(way: Way, candidate: Candidate, specimen: Specimen, cuts: int | None, bars: Progress) -> Rehearsal:
    bar = bars.add_task(f"Breaking off the {way}", total=None, visible=cuts != 0)
    return rehearse_on(
        candidate,
        specimen,
        way,
        cuts=cuts,
        on_progress=lambda done, of: bars.update(bar, completed=done, total=of),
    )


@contextmanager
def _progress() -> Iterator[Progress]:
    """Bars on stderr where that is a terminal; they are gone when all is done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        yield bars


def _title(name: str, scene: Scene, first: Rehearsal) -> str:
    specimen = scene.specimen
    return (
        f"{name} ({first.encoding}, {human_size(first.size)}) on {scene.device}: layout {specimen.layout.name}, core "
        f"{specimen.core}, running a sketch of {human_size(len(specimen.running))}"
    )


def _members(name: str, scene: Scene, rehearsals: Sequence[Rehearsal]) -> dict[str, Any]:
    return {
        "image": name,
        "device": scene.device,
        "layout": scene.specimen.layout.name,
        "running_size": len(scene.specimen.running),
        "assumptions": scene.assumptions,
        "rehearsals": [_members_of(rehearsal) for rehearsal in rehearsals],
    }


def _members_of(rehearsal: Rehearsal) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(rehearsal, enc_hook=str)
    window = None if rehearsal.copy is None else msgspec.to_builtins(rehearsal.copy.brick_window)
    return members | {"brick_window": window}


_COMING: Final = {
    Verdict.BRICKS: "would be bricked",
    Verdict.HANGS: "would hang until its power is cut",
    Verdict.LOOPS: "would get it again and again",
    Verdict.REFUSED: "would refuse it",
}
"""What is said of a device, the gravest first."""


def _require_success(name: str, device: str, rehearsals: Sequence[Rehearsal]) -> None:
    """Raise where one of the ways does not lead to the new sketch.

    Raises:
        Refused: what would come of it.
    """
    ways = {verdict: [one.way for one in rehearsals if one.verdict is verdict] for verdict in Verdict}
    found = [f"{coming} by {_and(ways[verdict])}" for verdict, coming in _COMING.items() if ways[verdict]]
    if not found:
        return
    good = ways[Verdict.INSTALLS]
    remedy = f"It can be sent by {_and(good)}." if good else "Do not send it like this."
    raise Refused(f"{name} must not be sent: {device} {_and(found)}. {remedy}")


def _and(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
