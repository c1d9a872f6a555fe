"""Writes the parts of the reference that come from the program itself: ``python -m tests.docs.reference``.

Such a part stands between ``<!-- from the program: NAME -->`` and ``<!-- end -->``. A test compares it with the program
and names this command when the two differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from cyclopts import App
from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions, RenderableType
from tests.docs.markdown import ROOT, Page

from otaria.cli.fleet_data import DATABASE, IMAGES
from otaria.cli.main import app
from otaria.cli.serve import PORT
from otaria.errors import OtariaError
from otaria.fleet.decide import MOST_DELIVERIES
from otaria.fleet.deployment import STEPS, Event, State
from otaria.protocols import arduino_push
from otaria.push import uploader
from otaria.server import connection, running
from otaria.service import applications, check_ins, releases
from otaria.store import opening
from otaria.units import KIB, human_size
from otaria.wire import http_update
from otaria.wire.layouts import LAYOUTS, Layout

__all__ = ["COMMAND", "PARTS", "Command", "commands", "current", "descendants", "rewrite"]

COMMAND: Final = ".venv/bin/python -m tests.docs.reference"

_FIXED: Final = "\N{NO-BREAK SPACE}"

_PART: Final = re.compile(r"(<!-- from the program: (?P<name>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


# --------------------------------------------------------------------------------- commands


class Command:
    """One command's help, caught where cyclopts would print it. Its own Markdown knows no environment variables."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self.path = path
        self.usage = ""
        self.description = ""
        self.panels: list[HelpPanel] = []
        console = Console(width=10_000, no_color=True, quiet=True)
        before, app.help_formatter = app.help_formatter, self
        try:
            app.help_print(list(path), console=console)
        finally:
            app.help_formatter = before

    def render_usage(self, console: Console, _options: ConsoleOptions, usage: RenderableType | None) -> None:
        self.usage = _plain(console, usage).removeprefix("Usage: ")

    def render_description(self, console: Console, _options: ConsoleOptions, text: RenderableType | None) -> None:
        self.description = _plain(console, text)

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:  # noqa: ARG002 - its names
        self.panels.append(panel)

    @property
    def name(self) -> str:
        return " ".join(("otaria", *self.path))

    @property
    def options(self) -> list[tuple[str, HelpEntry]]:
        """Arguments and options with their group's title, in the order of the help."""
        return [
            (str(panel.title), entry) for panel in self.panels if panel.format == "parameter" for entry in panel.entries
        ]

    @property
    def silent_options(self) -> list[str]:
        """The options that say nothing about themselves."""
        return [f"{self.name} {_option(entry)[0]}" for _, entry in self.options if not _option(entry)[1]]


def _plain(console: Console, thing: RenderableType | None) -> str:
    if thing is None:
        return ""
    loud = Console(width=console.width, no_color=True, color_system=None)
    with loud.capture() as captured:
        loud.print(thing)
    return "\n".join(line.rstrip() for line in captured.get().strip().splitlines())


def commands(below: App = app, path: tuple[str, ...] = ()) -> Iterator[Command]:
    """Every command, groups before their members."""
    for name in below:
        if not name.startswith("-"):
            yield Command((*path, name))
            yield from commands(below[name], (*path, name))


def _commands() -> Iterator[str]:
    for command in commands():
        yield f"{'#' * (1 + len(command.path))} {command.name}"
        yield f"```text\n{command.usage}\n```"
        yield command.description
        groups = dict.fromkeys(title for title, _ in command.options)
        for group in groups:
            if group not in {"Arguments", "Parameters"}:
                yield f"{group}:"
            rows = [_option(entry) for title, entry in command.options if title == group]
            yield _table(("argument" if group == "Arguments" else "option", "meaning", "default"), rows)


def _option(entry: HelpEntry) -> tuple[str, str, str]:
    labels = ", ".join(f"`{label}`" for label in entry.display_labels_with_metavar)
    meaning = _plain(Console(width=10_000), entry.description)
    if entry.choices:
        meaning += f" One of {', '.join(f'`{choice}`' for choice in entry.choices)}."
    default = "required" if entry.required else {None: "", "False": "off", '""': "empty"}.get(entry.default)
    return labels, meaning, f"`{entry.default}`" if default is None else default


def _variables() -> Iterator[str]:
    rows = [
        (f"`{variable}`", f"`{command.name}`", f"`{entry.display_labels[0]}`")
        for command in commands()
        for _, entry in command.options
        for variable in entry.env_var or ()
        if variable != "OTARIA_DATA" and variable.isidentifier()
    ]
    yield _table(("variable", "command", "option"), rows)


# ----------------------------------------------------------------------------------- tables


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], *, numbers: int = 0) -> str:
    """A Markdown table whose last columns are numbers."""
    heads = list(heads)
    rules = ["---"] * (len(heads) - numbers) + ["--:"] * numbers
    lines = [heads, rules, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def descendants(error: type[OtariaError] = OtariaError, depth: int = 0) -> Iterator[tuple[int, type[OtariaError]]]:
    """Every error below this one, with its depth, in the order of its definition."""
    for child in error.__subclasses__():
        yield depth, child
        yield from descendants(child, depth + 1)


def _errors() -> Iterator[str]:
    rows = [
        (
            f"{'&nbsp;&nbsp;&nbsp;' * depth}`{error.__name__}`",
            _first_line(error),
            str(error.exit_code),
            str(error.http_status),
        )
        for depth, error in descendants()
    ]
    yield _table(("error", "meaning", "exit code", "HTTP status"), rows, numbers=2)


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def _layouts() -> Iterator[str]:
    heads = ("layout", "flash", "file system", "FS_start", "FS_end", "block", "EEPROM", "largest irom0")
    yield _table((*heads, "largest update of its own size"), map(_layout, LAYOUTS.values()), numbers=8)


def _layout(layout: Layout) -> tuple[str, ...]:
    has_files = layout.file_system_size > 0
    return (
        f"`{layout.name}`",
        human_size(layout.flash_size).replace(" ", _FIXED),
        f"{layout.file_system_size // KIB}{_FIXED}KiB" if has_files else "none",
        f"0x{layout.file_system_start:06X}",
        f"0x{layout.file_system_end:06X}" if has_files else "",
        str(layout.block) if has_files else "",
        f"0x{layout.eeprom:06X}",
        str(layout.irom_max),
        str(layout.same_size_ota),
    )


def _steps() -> Iterator[str]:
    rows = [
        (state.value, *(STEPS[state, event].value if (state, event) in STEPS else "" for event in Event))
        for state in State
    ]
    yield _table(("state", *(event.value for event in Event)), rows)


def _limits() -> Iterator[str]:
    rows = [
        ("port of the server", str(PORT)),
        ("deliveries of one image to a device that does not change", str(MOST_DELIVERIES)),
        ("devices without an application that are remembered", str(check_ins.MOST_STRANGERS)),
        ("characters of a version", str(releases.LONGEST_VERSION)),
        ("characters of a release's notes", str(releases.LONGEST_NOTES)),
        ("characters of a file name", str(releases.LONGEST_FILE_NAME)),
        ("characters of an application's name", f"`{applications._NAME.pattern}`"),
        ("characters kept of a device's header", str(http_update.LONGEST_TEXT)),
        ("waiting for another program that holds the database", f"{opening.BUSY_TIMEOUT_S:g} s"),
        ("waiting for a device to close after the last byte", f"{connection.LINGER_S:g} s"),
        ("waiting for downloads when the server stops", f"{running.LET_END_S:g} s"),
        (
            "invitations of a push, and the time between two",
            _times(arduino_push.INVITATION_ATTEMPTS, arduino_push.INVITATION_INTERVAL_S),
        ),
        (
            "sending a password again, and the time between two",
            _times(arduino_push.CREDENTIALS_ATTEMPTS, arduino_push.CREDENTIALS_INTERVAL_S),
        ),
        ("waiting for a pushed device to connect back", f"{uploader.ACCEPT_TIMEOUT_S:g} s"),
        ("waiting for the next acknowledgement in a push", f"{arduino_push.ACKNOWLEDGEMENT_TIMEOUT_S:g} s"),
        ("waiting for a device's verdict", f"{arduino_push.VERDICT_TIMEOUT_S:g} s"),
    ]
    yield _table(("what", "limit"), rows, numbers=1)


def _times(attempts: int, interval_s: float) -> str:
    return f"{attempts}, {interval_s:g} s"


def _data() -> Iterator[str]:
    rows = [
        (f"`{DATABASE}`", "the database (SQLite); two more files with `-wal` and `-shm` while it is open"),
        (f"`{IMAGES}/`", "the images, each under the SHA-256 of its content"),
        ("`virtual/`", "the flash files of virtual devices, if no `--flash-dir` says otherwise"),
    ]
    yield _table(("in the data folder", "is"), rows)


def _decisions() -> Iterator[str]:
    """The ADRs, for the map."""
    for path in sorted((ROOT / "docs" / "adr").glob("*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        yield f"- [{title}](adr/{path.name})"


PARTS: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "commands": _commands,
    "variables": _variables,
    "errors": _errors,
    "layouts": _layouts,
    "steps": _steps,
    "limits": _limits,
    "data folder": _data,
    "decisions": _decisions,
}


# ---------------------------------------------------------------------------------- writing


def current(page: Page) -> str:
    """The page as it has to be."""
    return _PART.sub(_renewed, page.text)


def _renewed(part: re.Match[str]) -> str:
    pieces = [piece for piece in PARTS[part["name"]]() if piece]
    apart = "\n" if all(piece.startswith("- ") for piece in pieces) else "\n\n"
    return f"{part[1]}\n{apart.join(pieces)}\n\n{part[3]}"


def rewrite(folder: Path = ROOT / "docs") -> list[Path]:
    """Bring every page up to date; those that were not."""
    outdated = [page for path in folder.rglob("*.md") if current(page := Page(path)) != page.text]
    for page in outdated:
        page.path.write_text(current(page), encoding="utf-8")
    return [page.path for page in outdated]


if __name__ == "__main__":
    for path in rewrite():
        print(f"Rewritten: {path.relative_to(ROOT)}")  # noqa: T201 - the result of a command
