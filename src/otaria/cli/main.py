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

from otaria.cli import (
    applications,
    demo,
    devices,
    discover,
    espota,
    image,
    keys,
    push,
    rehearse,
    releases,
    serve,
    virtual,
)
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
app.command(push.push, name="push")
app.command(discover.discover, name="discover")
app.command(discover.arduino_discovery, name="arduino-discovery")
app.command(espota.espota, name="espota", help_flags=[], version_flags=[])
app.command(image.app)
app.command(keys.app)
app.command(rehearse.rehearse, name="rehearse")
app.command(serve.serve, name="serve")
app.command(applications.app)
app.command(releases.app)
app.command(devices.app)
app.command(virtual.app)
app.command(demo.demo, name="demo")


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows the program's name; None for the process's own.

    Returns:
        The exit code: 0, the error's own (see ``otaria.errors``), 130 after Ctrl-C, 141 where nobody reads on.
    """
    try:
        code = app(arguments)
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
