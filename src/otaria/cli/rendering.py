"""How results look: tables for people, JSON for programs. What devices said is shown escaped."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["AsJson", "print_facts", "print_json", "print_remark", "print_sentence", "print_table", "printable", "when"]

AsJson: TypeAlias = Annotated[bool, Parameter(name="--json", negative="")]

_NO_TERMINAL_WIDTH: Final = 240
"""Columns of a table that goes to a file or a pipe, where nothing should be folded."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, otherwise: str) -> None:
    """Print rows under their headings, or a sentence on stderr where there are none."""
    rows = list(rows)
    if not rows:
        print_remark(otherwise)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    _results().print(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, _cell(value))
    _results().print(table)


def print_json(content: object) -> None:
    """Print JSON as it is, without a console's wrapping."""
    sys.stdout.write(json.dumps(content, indent=2, default=_json_value) + "\n")


def print_sentence(sentence: str) -> None:
    """Print what came of a command."""
    _results().print(Text(sentence))


def print_remark(sentence: str) -> None:
    """Print what is good to know but not the result."""
    console = Console(stderr=True, highlight=False)
    console.print(Text(sentence), soft_wrap=not console.is_terminal)


def when(moment: datetime | None) -> str:
    """A moment in local time, to the second."""
    return "never" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _results() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _NO_TERMINAL_WIDTH
    return console


def _cell(value: object) -> Text:
    return Text("-" if value in (None, "") else printable(str(value)))


def printable(text: str) -> str:
    r"""The text with what could move a cursor written out: a newline as ``\n``, an escape as ``\x1b``."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _json_value(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
