"""The ``otaria`` command: joins the commands, renders errors, and turns them into exit codes."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Final

from cyclopts import App, CycloptsError
from cyclopts.config import Env
from rich.console import Console
from rich.text import Text

from otaria.errors import BadInput, OtariaError

__all__ = ["app", "main", "run"]

INTERRUPTED: Final = 130
"""What shells expect of a program that Ctrl-C ended."""

NOBODY_READS: Final = 141
"""What shells expect of a program whose reader is gone, as in ``otaria device list | head``."""

app = App(
    name="otaria",
    help="Over-the-air update for ESP8266 and ESP32 devices with the sketches people already have.",
    version=version("otaria"),
    config=Env("OTARIA_"),
    result_action="return_value",
    exit_on_error=False,  # every error goes through render()
    print_error=False,
    suppress_keyboard_interrupt=False,
)
# Named, not imported: server and database take half a second to load, and a push needs neither.
app.command("otaria.cli.push:push", name="push")
app.command("otaria.cli.discover:discover", name="discover")
app.command("otaria.cli.discover:arduino_discovery", name="arduino-discovery")
app.command("otaria.cli.espota:espota", name="espota", help_flags=[], version_flags=[])
app.command("otaria.cli.image:app", name="image")
app.command("otaria.cli.keys:app", name="keys")
app.command("otaria.cli.rehearse:rehearse", name="rehearse")
app.command("otaria.cli.serve:serve", name="serve")
app.command("otaria.cli.applications:app", name="application")
app.command("otaria.cli.releases:app", name="release")
app.command("otaria.cli.devices:app", name="device")
app.command("otaria.cli.virtual:app", name="virtual")
app.command("otaria.cli.demo:demo", name="demo")


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows the program's name; None for the process's own.

    Returns:
        The exit code: 0, the error's own (see ``otaria.errors``), 130 after Ctrl-C, 141 where nobody reads on.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0].startswith("-"):
        _load_commands()
    try:
        code = app(words)
        sys.stdout.flush()
    except OtariaError as error:
        return render(error)
    except CycloptsError as mistake:
        return render(_usage_error(mistake))
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted.")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # rich turns the one into the other
        _print_no_more()
        return NOBODY_READS
    return code if isinstance(code, int) else 0


def render(error: OtariaError) -> int:
    """Print an error as one paragraph on stderr, its text as it is and never as markup; returns its exit code."""
    console = Console(stderr=True)
    console.print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=not console.is_terminal)
    return error.exit_code


def _load_commands() -> None:
    """Import every command: the help of the whole program says a sentence about each."""
    for name in app:
        app[name]


def _usage_error(mistake: CycloptsError) -> BadInput:
    command = " ".join(("otaria", *(mistake.command_chain or ())))
    return BadInput(f"{mistake} `{command} --help` shows what there is.")


def _print_no_more() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not stumble over it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def run() -> None:
    """The entry point of the installed command."""
    sys.exit(main())
