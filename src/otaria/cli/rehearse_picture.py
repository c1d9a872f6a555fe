"""How a rehearsal looks on a terminal: the flash as bars to scale, a table by way, sentences below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otaria.device.rehearsal import Rehearsal, Verdict
from otaria.device.rehearsal_cuts import Tally
from otaria.device.rehearsal_hazards import Hazard
from otaria.device.rehearsal_picture import Area, AreaKind
from otaria.device.rehearsal_timing import W25Q32JV, Span
from otaria.device.rehearsal_ways import Way
from otaria.units import human_size

__all__ = ["picture_console", "print_rehearsals"]

NARROW: Final = 80
"""Columns where nobody says how many there are."""

WIDEST: Final = 120
"""Beyond these columns a bar says no more."""

LABEL: Final = 10
"""Columns left of the bars."""


@dataclass(frozen=True, slots=True)
class _Look:
    """How an area is drawn: readable by its sign alone, where there are no colours."""

    name: str
    sign: str
    plain_sign: str
    colour: str


_LOOKS: Final = {
    AreaKind.SKETCH: _Look("sketch", "█", "S", "green"),
    AreaKind.BROKEN: _Look("does not start", "▚", "X", "bold red"),
    AreaKind.STAGED: _Look("received file", "▓", "R", "yellow"),
    AreaKind.FREE: _Look("free", "·", ".", "dim"),
    AreaKind.FILESYSTEM: _Look("file system", "▒", "f", "blue"),
    AreaKind.SYSTEM: _Look("system", "■", "#", "magenta"),
    AreaKind.UNUSED: _Look("unused", " ", " ", "dim"),
}

_VERDICT_COLOURS: Final = {
    Verdict.INSTALLS: "green",
    Verdict.REFUSED: "yellow",
    Verdict.LOOPS: "bold yellow",
    Verdict.HANGS: "bold red",
    Verdict.BRICKS: "bold red",
}

_WINDOW: Final = (
    f"In the brick window, while the bootloader copies, a power cut is fatal. Times of a {W25Q32JV.name} by its data "
    "sheet."
)

_CHECKS: Final = {Way.PUSH: "MD5", Way.WEB: "nothing", Way.PULL: "MD5"}


def picture_console() -> Console:
    """Stdout, as wide as the terminal and not too wide for a bar."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDEST) if console.is_terminal else NARROW
    return console


def print_rehearsals(console: Console, title: str, assumptions: Sequence[str], rehearsals: Sequence[Rehearsal]) -> None:
    """Print all of one image's rehearsals on one device.

    Args:
        console: where to.
        title: the image and the device.
        assumptions: what nobody said.
        rehearsals: one for each way, at least one.
    """
    console.print(Text(title, style="bold"))
    for assumption in assumptions:
        _print_point(console, "Assumed:", "dim", assumption)
    console.print()
    for line in _picture(rehearsals, console.width, plain=not _shows_blocks(console)):
        console.print(line, no_wrap=True)
    console.print()
    console.print(_by_way(rehearsals))
    if any(rehearsal.copy for rehearsal in rehearsals):
        console.print(Text(_WINDOW, style="dim"))
    if any(rehearsal.survival and rehearsal.survival.of for rehearsal in rehearsals):
        console.print()
        console.print(_survival(rehearsals))
    console.print()
    for (verdict, explanation), ways in _explanations(rehearsals).items():
        among = "" if len(ways) == len(rehearsals) else f"({', '.join(ways)}) "
        _print_point(console, "Verdict:", _VERDICT_COLOURS[verdict], f"{among}{explanation}")
    for hazard, ways in _hazards(rehearsals):
        label, colour = ("Warning:", "bold yellow") if hazard.kind.grave else ("Note:", "cyan")
        among = "" if len(ways) == len(rehearsals) else f"({', '.join(ways)}) "
        _print_point(console, label, colour, f"{among}{hazard.explanation}")


def _print_point(console: Console, label: str, colour: str, sentence: str) -> None:
    """A labelled paragraph whose further lines stand below its first."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=max(len(label), LABEL - 1), no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(label, style=colour), Text(sentence))
    console.print(grid)


# ------------------------------------------------------------------------------------------------ bars


def _picture(rehearsals: Sequence[Rehearsal], width: int, *, plain: bool) -> Iterator[Text]:
    bar_width = width - LABEL
    yield from _bars("before", [(rehearsal.way, rehearsal.before) for rehearsal in rehearsals], bar_width, plain=plain)
    staged = [(rehearsal.way, rehearsal.staged) for rehearsal in rehearsals if rehearsal.staged is not None]
    yield from _bars("received", staged, bar_width, plain=plain)
    yield from _bars("after", [(rehearsal.way, rehearsal.after) for rehearsal in rehearsals], bar_width, plain=plain)
    yield _scale(rehearsals[0].before, bar_width)
    yield from _legend(rehearsals, width, plain=plain)


def _bars(moment: str, pictures: Iterable[tuple[Way, tuple[Area, ...]]], width: int, *, plain: bool) -> Iterator[Text]:
    """A bar for each picture that differs from the others, with the ways that it stands for."""
    ways: dict[tuple[Area, ...], list[Way]] = {}
    for way, areas in pictures:
        ways.setdefault(areas, []).append(way)
    for areas, those in ways.items():
        bar = _bar(areas, width, plain=plain)
        if len(ways) > 1:
            yield Text(f"{moment}, by {' and '.join(those)}", style="dim")
            yield Text(" " * LABEL) + bar
        else:
            yield Text(moment.ljust(LABEL)) + bar


def _bar(areas: Sequence[Area], width: int, *, plain: bool) -> Text:
    bar = Text()
    for area, columns in zip(areas, _columns(areas, width), strict=True):
        look = _LOOKS[area.kind]
        bar.append((look.plain_sign if plain else look.sign) * columns, style=look.colour)
    return bar


def _columns(areas: Sequence[Area], width: int) -> list[int]:
    """Columns of each area: to scale, save that none has less than one; the widest gives what that takes."""
    whole = areas[-1].end
    ends = [round(area.end * width / whole) for area in areas]
    columns = [max(1, end - start) for start, end in zip([0, *ends], ends, strict=False)]
    columns[columns.index(max(columns))] -= sum(columns) - width
    return columns


def _scale(areas: Sequence[Area], width: int) -> Text:
    """Where the file system starts, and how much flash there is, below the bars."""
    whole = human_size(areas[-1].end)
    line = "0".ljust(width - len(whole)) + whole
    mark = next((area for area in areas if area.kind is AreaKind.FILESYSTEM), None)
    if mark is not None:
        column = sum(_columns(areas, width)[: areas.index(mark)])
        text = human_size(mark.start)
        if column + len(text) < width - len(whole):
            line = line[:column] + text + line[column + len(text) :]
    return Text(" " * LABEL + line, style="dim")


def _legend(rehearsals: Sequence[Rehearsal], width: int, *, plain: bool) -> Iterator[Text]:
    shown = {area.kind for one in rehearsals for areas in (one.before, one.staged or (), one.after) for area in areas}
    line = Text(" " * LABEL)
    for kind, look in _LOOKS.items():
        entry = Text.assemble((look.plain_sign if plain else look.sign, look.colour), f" {look.name}   ")
        if kind not in shown or kind is AreaKind.UNUSED:
            continue
        if line.cell_len + entry.cell_len > width:
            yield line
            line = Text(" " * LABEL)
        line += entry
    yield line


def _shows_blocks(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


# ---------------------------------------------------------------------------------------------- tables


def _by_way(rehearsals: Sequence[Rehearsal]) -> Table:
    table = _table("way", "verdict", "checked by", "room to spare", "copy", "brick window")
    for rehearsal in rehearsals:
        copy = rehearsal.copy
        table.add_row(
            rehearsal.way,
            Text(_in_a_word(rehearsal), style=_VERDICT_COLOURS[rehearsal.verdict]),
            _checked_by(rehearsal),
            _spare(rehearsal.space.spare),
            "-" if copy is None else f"{copy.work.operations} operations",
            "-" if copy is None else _span(copy.brick_window),
        )
    return table


def _survival(rehearsals: Sequence[Rehearsal]) -> Table:
    table = _table("way", "stopped at", "power, receiving", "power, copying", "reset, copying")
    table.title = Text("What runs after an accident: old sketch / new sketch / nothing", style="bold")
    table.title_justify = "left"
    for rehearsal in rehearsals:
        survival = rehearsal.survival
        if survival is None:
            continue
        tallies = (survival.receiving, survival.copying, survival.resets)
        table.add_row(
            rehearsal.way, f"{survival.operations} of {survival.of} operations", *(_tally(tally) for tally in tallies)
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _in_a_word(rehearsal: Rehearsal) -> str:
    if rehearsal.refusal is None:
        return rehearsal.verdict
    return f"{rehearsal.verdict} ({rehearsal.refusal.code})"


def _checked_by(rehearsal: Rehearsal) -> str:
    return "signature" if rehearsal.verifies else _CHECKS[rehearsal.way]


def _spare(spare: int) -> str:
    return human_size(spare) if spare >= 0 else f"{human_size(-spare)} lacking"


def _span(span: Span) -> str:
    return f"{_seconds(span.typical_ms)}, max {_seconds(span.maximum_ms)}"


def _seconds(milliseconds: float) -> str:
    seconds = milliseconds / 1000
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _tally(tally: Tally) -> Text:
    if not tally.total:
        return Text("-")
    bricked = "red" if tally.bricked else "dim"
    return Text.assemble(f"{tally.old} / {tally.new} / ", (str(tally.bricked), bricked))


def _explanations(rehearsals: Sequence[Rehearsal]) -> dict[tuple[Verdict, str], list[Way]]:
    """Each sentence once, with the ways that it is about."""
    ways: dict[tuple[Verdict, str], list[Way]] = {}
    for rehearsal in rehearsals:
        ways.setdefault((rehearsal.verdict, rehearsal.explanation), []).append(rehearsal.way)
    return ways


def _hazards(rehearsals: Sequence[Rehearsal]) -> list[tuple[Hazard, list[Way]]]:
    """Each hazard once, with the ways that it concerns; the gravest first."""
    ways: dict[Hazard, list[Way]] = {}
    for rehearsal in rehearsals:
        for hazard in rehearsal.hazards:
            ways.setdefault(hazard, []).append(rehearsal.way)
    return sorted(ways.items(), key=lambda found: not found[0].kind.grave)
