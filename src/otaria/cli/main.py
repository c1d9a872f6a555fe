"""The ``otaria`` command: joins the commands, renders errors, and turns them into exit codes."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Final

from cyclopts import App
from cyclopts.config import Env
from rich.console import Console
from rich.text import Text

from otaria.cli import applications, demo, devices, image, push, releases, serve, virtual
from otaria.errors import OtariaError

__all__ = ["app", "main", "run"]

INTERRUPTED: Final = 130
"""What shells expect of a program that Ctrl-C ended."""

app = App(
    name="otaria",
    help="Over-the-air update for ESP8266 and ESP32 devices with the sketches people already have.",
    version=version("otaria"),
    config=Env("OTARIA_"),
    result_action="return_value",
    help_on_error=False,
)
app.command(push.push, name="push")
app.command(image.app)
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
        The exit code: 0, the error's own (see ``otaria.errors``), or 130 after Ctrl-C.
    """
    try:
        code = app(arguments)
    except OtariaError as error:
        render(error)
        return error.exit_code
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted.")
        return INTERRUPTED
    except SystemExit as leaving:
        return _usage_exit(leaving)
    return code if isinstance(code, int) else 0


def render(error: OtariaError) -> None:
    """Print an error as one paragraph on stderr; its text is shown as it is, never as markup."""
    console = Console(stderr=True)
    console.print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=not console.is_terminal)


def _usage_exit(leaving: SystemExit) -> int:
    """A mistake in the command line is the caller's: the same exit code as any other bad input."""
    return 0 if leaving.code in (None, 0) else 2


def run() -> None:
    """The entry point of the installed command."""
    sys.exit(main())
