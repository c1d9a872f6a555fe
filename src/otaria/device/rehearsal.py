"""A rehearsal: an image goes through the very steps that the chip takes, and what comes of it is told.

The device is put together as it is in the field: its flash layout, the sketch that runs on it, the core that this was
built with. The file is received by one of the three ways, the chip restarts, the bootloader copies, the power is
cycled. Nothing is estimated but the time that real flash takes. With ``cuts`` the same happens once more, and power
fails, or the processor is reset, at the flash operations on the way (docs/adr/0008).

The result says everything in values; what an owner reads are its ``verdict``, ``explanation`` and ``hazards``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from otaria.device.core_version import Core
from otaria.device.machine import Boot, BootOutcome, Machine
from otaria.device.rehearsal_cuts import (
    POWER_ON_NOISE,
    SHARES,
    Accident,
    Apps,
    Left,
    Moment,
    Tally,
    start_again,
    watch,
)
from otaria.device.rehearsal_hazards import Case, Hazard, hazards_of
from otaria.device.rehearsal_picture import Area, flash_areas
from otaria.device.rehearsal_scene import Candidate, CopyPlan, Encoding, Space, Specimen, space_for
from otaria.device.rehearsal_timing import FlashOperation, FlashWork, flash_work
from otaria.device.rehearsal_ways import TOO_LESS_SPACE, Refusal, Way, receive
from otaria.device.update_error import UpdateError
from otaria.units import ByteCount, FlashOffset, Md5, human_size
from otaria.wire.layouts import SECTOR_SIZE

__all__ = ["Rehearsal", "Survival", "Verdict", "rehearse"]


class Verdict(StrEnum):
    """What comes of sending the file, if nothing goes wrong on the way."""

    INSTALLS = "installs"
    """The device runs the new image and can be told from one that does not."""
    REFUSED = "refused"
    """The device says no and keeps what it has."""
    LOOPS = "loops"
    """The device runs, and what it reports is not this image: a server offers it again and again."""
    HANGS = "hangs"
    """Its bootloader copies for ever, and somebody has to take its power away."""
    BRICKS = "bricks"
    """Nothing starts any more."""


@dataclass(frozen=True, slots=True)
class Survival:
    """What was left of the device after each accident on the way.

    At each operation there were two: in the middle of it, and right after it.

    Args:
        operations: at how many flash operations it was broken off.
        of: how many there are.
        receiving: power cuts while the file is received.
        copying: power cuts while the bootloader copies.
        resets: resets while the bootloader copies; they leave it its command.
    """

    operations: int
    of: int
    receiving: Tally
    copying: Tally
    resets: Tally


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of it.

    Args:
        way: how the file reached the device.
        encoding: what it was wrapped in.
        core: what the running sketch was built with.
        verifies: whether that takes only signed images.
        size: bytes of the file.
        verdict: what comes of it.
        explanation: the same in a sentence.
        hazards: what else there is to say, the gravest first.
        space: the room there was.
        refusal: the device's no; None where it took the file.
        receiving: what flash has to do while the file is received.
        copy: what the bootloader does; None where the file was refused.
        console: what the bootloader printed when it installed.
        starts_once: the device came up after the update and not after the next power cycle.
        md5_before: the sketch-MD5 that the device reported before.
        md5_after: what it reports from now on; None where nothing runs.
        recognised: whether that is one that this image can have; None where nothing runs or nobody knows.
        survival: what accidents leave; None where none were tried.
        before: what lies where before the update.
        staged: the same when the file was received; None where it was refused.
        after: the same at the end.
    """

    way: Way
    encoding: Encoding
    core: Core
    verifies: bool
    size: ByteCount
    verdict: Verdict
    explanation: str
    hazards: tuple[Hazard, ...]
    space: Space
    refusal: Refusal | None
    receiving: FlashWork
    copy: CopyPlan | None
    console: str
    starts_once: bool
    md5_before: Md5 | None
    md5_after: Md5 | None
    recognised: bool | None
    survival: Survival | None
    before: tuple[Area, ...]
    staged: tuple[Area, ...] | None
    after: tuple[Area, ...]

    @property
    def installs(self) -> bool:
        """Whether the device runs the new image in the end, and can be told to."""
        return self.verdict is Verdict.INSTALLS


@dataclass(frozen=True, slots=True)
class _Trial:
    """What is sent, to which device, and how."""

    candidate: Candidate
    specimen: Specimen
    way: Way

    def apps(self, machine: Machine) -> Apps:
        """What to tell old and new by; a file that nobody can look into is told by what it came to on the device."""
        if self.candidate.image is not None:
            return Apps(self.specimen.running, self.candidate.plain)
        return Apps(self.specimen.running, machine.flash.read(0, machine.sketch_size) if machine.running else b"")


@dataclass(frozen=True, slots=True)
class _Reported:
    """What a running device says of itself."""

    sketch_size: ByteCount
    md5: Md5 | None
    flash_mode: int
    built_for: ByteCount
    crc_holds: bool
    space: Space

    @classmethod
    def by(cls, machine: Machine, trial: _Trial) -> _Reported:
        return cls(
            machine.sketch_size,
            machine.sketch_md5,
            machine.flash_mode,
            machine.flash_chip_size,
            machine.check_flash_crc(),
            space_for(machine, trial.way, trial.candidate.size),
        )


_UNTOLD: Final = Apps(b"", b"")


@dataclass(slots=True)
class _Course:
    """How the update goes when nothing comes between.

    Args:
        before: what the device says before.
        refusal: its no.
        receiving: flash operations while it receives.
        copying: flash operations after the restart.
        restart: the start that installs; None where the file was refused.
        after: what the device says after a power cycle; None where nothing runs.
        left: what runs then.
        apps: what that was told by.
    """

    before: _Reported
    refusal: Refusal | None = None
    receiving: list[FlashOperation] = field(default_factory=list)
    copying: list[FlashOperation] = field(default_factory=list)
    restart: Boot | None = None
    after: _Reported | None = None
    left: Left = Left.BRICKED
    apps: Apps = _UNTOLD


def rehearse(
    candidate: Candidate,
    specimen: Specimen,
    way: Way,
    *,
    cuts: int | None = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Rehearsal:
    """Send a file to a device that exists only here, and look what becomes of it.

    Args:
        candidate: the file.
        specimen: the device.
        way: how the file reaches it.
        cuts: at how many flash operations to break the update off, evenly spread; None for all of them.
        on_progress: called with the operations at which it was broken off so far, and with how many there will be.

    Raises:
        BadInput: what is said to run on the device does not.
    """
    trial = _Trial(candidate, specimen, way)
    course = _undisturbed(trial)
    survival = None if cuts == 0 else _disturbed(trial, course, cuts, on_progress or _unwatched)
    return _result(trial, course, survival)


def _unwatched(_done: int, _of: int) -> None:
    """Nobody wants to know."""


def _undisturbed(trial: _Trial) -> _Course:
    machine = trial.specimen.switched_on()
    course = _Course(_Reported.by(machine, trial))

    def take(machine: Machine) -> None:
        course.refusal = receive(machine, trial.candidate.content, trial.way)

    def restart(machine: Machine) -> None:
        course.restart = machine.reset()

    watch(machine, take, lambda moment: course.receiving.append(moment.operation))
    if course.refusal is None:
        watch(machine, restart, lambda moment: course.copying.append(moment.operation))
    machine.power_on(POWER_ON_NOISE)
    course.apps = trial.apps(machine)
    course.left = course.apps.left(machine)
    course.after = None if course.left is Left.BRICKED else _Reported.by(machine, trial)
    return course


def _disturbed(trial: _Trial, course: _Course, cuts: int | None, on_progress: Callable[[int, int], None]) -> Survival:
    """The same once more, broken off here and there."""
    received, total = len(course.receiving), len(course.receiving) + len(course.copying)
    chosen = _evenly_spread(total, cuts)
    lost, copy_lost, copy_reset = Counter[Left](), Counter[Left](), Counter[Left]()
    done = 0

    def break_off(moment: Moment, number: int, tallies: list[tuple[Accident, Counter[Left]]]) -> None:
        nonlocal done
        if number not in chosen:
            return
        for accident, tally in tallies:
            tally.update(_left_by(accident, moment, share, course.apps) for share in SHARES)
        done += 1
        on_progress(done, len(chosen))

    while_receiving = [(Accident.POWER_LOST, lost)]
    while_copying = [(Accident.POWER_LOST, copy_lost), (Accident.RESET, copy_reset)]
    machine = trial.specimen.switched_on()
    watch(
        machine,
        lambda machine: receive(machine, trial.candidate.content, trial.way),
        lambda moment: break_off(moment, moment.number, while_receiving),
    )
    if course.refusal is None:
        watch(machine, Machine.reset, lambda moment: break_off(moment, received + moment.number, while_copying))
    return Survival(len(chosen), total, _tally(lost), _tally(copy_lost), _tally(copy_reset))


def _evenly_spread(total: int, wanted: int | None) -> frozenset[int]:
    """So many of the numbers from 0 to below ``total``, the first and the last among them; all for None."""
    if wanted is None or wanted >= total:
        return frozenset(range(total))
    return frozenset(round(index * (total - 1) / max(1, wanted - 1)) for index in range(wanted))


def _left_by(accident: Accident, moment: Moment, share: float, apps: Apps) -> Left:
    machine = moment.broken_off(accident, share)
    start_again(machine, accident)
    return apps.left(machine)


def _tally(counted: Counter[Left]) -> Tally:
    return Tally(old=counted[Left.OLD], new=counted[Left.NEW], bricked=counted[Left.BRICKED])


def _result(trial: _Trial, course: _Course, survival: Survival | None) -> Rehearsal:
    copy = _copy_plan(trial, course)
    verdict = _verdict(trial, course)
    layout, chip_size = trial.specimen.layout, trial.specimen.chip_size or trial.specimen.layout.flash_size
    before, after = course.before, course.after
    staged = None if copy is None else (copy.source, copy.source + trial.candidate.size)
    installed_size = after.sketch_size if after else max(before.sketch_size, copy.end if copy else 0)
    return Rehearsal(
        way=trial.way,
        encoding=trial.candidate.encoding,
        core=trial.specimen.core,
        verifies=trial.specimen.verifies,
        size=trial.candidate.size,
        verdict=verdict,
        explanation=_EXPLANATIONS[verdict](trial, course),
        hazards=hazards_of(_case(trial, course, copy)),
        space=before.space,
        refusal=course.refusal,
        receiving=flash_work(course.receiving),
        copy=copy,
        console=course.restart.console if course.restart else "",
        starts_once=course.restart is not None and course.restart.running and after is None,
        md5_before=before.md5,
        md5_after=after.md5 if after else None,
        recognised=_recognised(trial, course),
        survival=survival,
        before=flash_areas(layout, chip_size, before.sketch_size),
        staged=None if staged is None else flash_areas(layout, chip_size, before.sketch_size, staged=staged),
        after=flash_areas(layout, chip_size, installed_size, starts=after is not None),
    )


def _copy_plan(trial: _Trial, course: _Course) -> CopyPlan | None:
    if course.refusal is not None:
        return None
    offsets = {operation.offset for operation in course.copying}
    return CopyPlan(
        work=flash_work(course.copying),
        source=course.before.space.staging_start,
        end=FlashOffset(max(offsets, default=-SECTOR_SIZE) + SECTOR_SIZE),
        floor=FlashOffset(0) if trial.candidate.image is None else trial.candidate.image.staging_floor,
        rewrites_boot_part=0 in offsets,
    )


def _recognised(trial: _Trial, course: _Course) -> bool | None:
    if trial.candidate.image is None or course.after is None or course.refusal is not None:
        return None
    return course.after.md5 in trial.candidate.image.installed_md5s


def _verdict(trial: _Trial, course: _Course) -> Verdict:
    if course.refusal is not None:
        return Verdict.REFUSED
    if course.left is Left.BRICKED:
        return Verdict.BRICKS
    if course.restart is not None and course.restart.outcome is BootOutcome.HANGS:
        return Verdict.HANGS
    known = course.left is Left.NEW if trial.candidate.image is None else _recognised(trial, course)
    return Verdict.INSTALLS if known else Verdict.LOOPS


def _case(trial: _Trial, course: _Course, copy: CopyPlan | None) -> Case:
    before, after = course.before, course.after
    return Case(
        candidate=trial.candidate,
        specimen=trial.specimen,
        way=trial.way,
        space=before.space,
        flash_mode=before.flash_mode,
        built_for=before.built_for,
        md5_before=before.md5,
        md5_after=after.md5 if after else None,
        copy=copy,
        crc_holds=after is not None and after.crc_holds,
        limit_after=after.space.limit if after else ByteCount(0),
    )


def _why_installed(_trial: _Trial, course: _Course) -> str:
    md5 = course.after.md5 if course.after else None
    return f"It installs and starts, and the device then reports sketch-MD5 {md5}."


def _why_refused(_trial: _Trial, course: _Course) -> str:
    code, text = (course.refusal.code, course.refusal.text) if course.refusal else (0, "")
    space = course.before.space
    if code not in (UpdateError.SPACE, TOO_LESS_SPACE):
        return f"The device refuses it: {text}. It keeps the sketch it has."
    return (
        f"The device refuses it: {text}. The file takes {human_size(space.needed)} of flash until it is installed, and "
        f"between sketch and file system there are {human_size(space.limit)} for it: {human_size(-space.spare)} too "
        "few."
    )


def _why_looping(_trial: _Trial, course: _Course) -> str:
    md5 = course.after.md5 if course.after else None
    if course.left is Left.OLD:
        return (
            f"The device takes it and runs its old sketch all the same, sketch-MD5 {md5}: it gets it again and again."
        )
    return f"It starts, but the device reports sketch-MD5 {md5}, which is none of this image's: it gets it again."


def _why_hanging(_trial: _Trial, _course: _Course) -> str:
    return "The device takes it, and its bootloader copies for ever: only when its power is cut does it start again."


def _why_bricked(_trial: _Trial, course: _Course) -> str:
    if course.restart is not None and course.restart.running:
        return "The device takes it, starts once more, and after the next power cycle never again: only a cable helps."
    return "The device takes it and never starts again: only flashing over the cable brings it back."


_EXPLANATIONS: Final[Mapping[Verdict, Callable[[_Trial, _Course], str]]] = {
    Verdict.INSTALLS: _why_installed,
    Verdict.REFUSED: _why_refused,
    Verdict.LOOPS: _why_looping,
    Verdict.HANGS: _why_hanging,
    Verdict.BRICKS: _why_bricked,
}
