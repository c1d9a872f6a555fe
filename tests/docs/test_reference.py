"""The reference names everything that there is: commands, options, variables, errors, addresses, headers, reasons."""

from __future__ import annotations

import importlib
import inspect
import io
import pkgutil
import re
from pathlib import Path

import pytest
from litestar.routes import HTTPRoute
from tests.docs.markdown import ROOT, Page, pages
from tests.docs.reference import COMMAND, PARTS, Command, commands, current, descendants
from tests.fleet_bench import fleet_in

import otaria
from otaria.fleet.reasons import Reason
from otaria.server.devices import DeviceLane
from otaria.server.log import change_log
from otaria.server.web import web_application
from otaria.units import Md5
from otaria.wire import http_update
from otaria.wire.http_update import serve_headers

DOCS = ROOT / "docs"
SCRIPTS = re.compile(r"\.migrations\.|\.__main__$")
"""Modules that do their work while they are imported."""


def page(name: str) -> Page:
    return Page(DOCS / name)


@pytest.fixture(scope="module", autouse=True)
def _every_module_is_loaded() -> None:
    """So that every error has been defined."""
    for module in pkgutil.walk_packages(otaria.__path__, "otaria."):
        if not SCRIPTS.search(module.name):
            importlib.import_module(module.name)


# ---------------------------------------------------------------------- from the program


@pytest.mark.parametrize("written", pages(), ids=lambda page: page.name)
def test_what_comes_from_the_program_is_up_to_date(written: Page) -> None:
    assert written.text == current(written), f"{written.name} is out of date. Write it anew with `{COMMAND}`."


def test_every_part_has_its_place() -> None:
    missing = [name for name in PARTS if not any(f"<!-- from the program: {name} -->" in page.text for page in pages())]
    assert missing == []


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: command.name)
def test_every_command_and_option_is_in_the_reference(command: Command) -> None:
    _, _, section = page("reference/commands.md").text.partition(f"# {command.name}\n")
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    options = [label for _, entry in command.options for label in entry.display_labels]
    assert section
    assert [option for option in options if f"`{option}" not in section] == []


def test_every_option_says_what_it_is_for() -> None:
    silent = [label for command in commands() for label in command.silent_options]
    assert silent == []


# ------------------------------------------------------------------------------ settings


def test_every_variable_that_the_program_reads_is_in_the_reference() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    read = set(re.findall(r'(?:VARIABLE: Final = |environ\[|environ\.get\(|getenv\()"([A-Z0-9_]+)"', sources))
    assert read >= {"OTARIA_DATA", "OTARIA_PASSWORD"}
    assert [name for name in sorted(read) if f"`{name}`" not in page("reference/settings.md").text] == []


def test_every_option_has_its_variable_in_the_reference() -> None:
    variables = {name for command in commands() for _, entry in command.options for name in entry.env_var or ()}
    settable = {name for name in variables if name.isidentifier()}
    assert len(settable) > len(list(commands()))
    assert [name for name in sorted(settable) if f"`{name}`" not in page("reference/settings.md").text] == []


# -------------------------------------------------------------------------------- errors


def test_every_error_is_in_the_reference_with_its_codes() -> None:
    text = page("reference/errors.md").text
    rows = {
        error.__name__: re.search(rf"`{error.__name__}` .*\| {error.exit_code} \| {error.http_status} \|", text)
        for _, error in descendants()
    }
    assert len(rows) > 10
    assert [name for name, row in rows.items() if row is None] == []


def test_every_group_has_a_cure() -> None:
    text = page("reference/errors.md").text
    groups = [error for depth, error in descendants() if depth == 0]
    assert [group.__name__ for group in groups if f"- **`{group.__name__}`, {group.exit_code}**" not in text] == []


# ---------------------------------------------------------------------------------- HTTP


def test_every_address_of_the_server_is_in_the_reference(tmp_path: Path) -> None:
    with fleet_in(tmp_path) as fleet:
        lane = DeviceLane(fleet.store, fleet.blobs, fleet.clock, change_log(io.StringIO()))
        routes = web_application(lane, url="http://server.example").routes
    addresses = {
        f"{method} {re.sub(r':[a-z]+}', '}', route.path)}"
        for route in routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }
    assert addresses
    assert [address for address in sorted(addresses) if f"`{address}`" not in page("reference/http.md").text] == []


@pytest.mark.parametrize(("prefix", "without"), [("x-ESP8266-", {"sketch-sha256"}), ("x-ESP32-", {"chip-id"})])
def test_every_request_header_is_in_the_reference(prefix: str, without: set[str]) -> None:
    read = set(re.findall(r'headers\.(?:text|required|number)\("([a-z0-9-]+)"\)', inspect.getsource(http_update)))
    named = page("reference/http.md").text.lower()
    assert len(read) > 8
    assert [name for name in sorted(read - without) if f"`{prefix}{name}`".lower() not in named] == []


def test_every_response_header_of_an_image_is_in_the_reference() -> None:
    headers = serve_headers(file_name="a.bin", size=1, md5=Md5("0" * 32), version="1")
    text = page("reference/http.md").text
    assert [name for name, _ in headers if f"`{name}`" not in text] == []


def test_every_status_of_an_answer_is_in_the_reference() -> None:
    server = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/otaria/server").glob("*.py"))
    statuses = set(
        re.findall(r"^[A-Z_]+: Final = (\d{3})$|text_answer\((\d{3})|_paragraph\((\d{3})", server, re.MULTILINE)
    )
    text = page("reference/http.md").text
    numbers = {number for match in statuses for number in match if number}
    assert numbers >= {"304", "404", "500"}
    assert [number for number in sorted(numbers) if not re.search(rf"\b{number}\b", text)] == []


# ----------------------------------------------------------------------------- decisions


def test_every_reason_of_a_decision_is_explained_in_the_order_of_the_guards() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (?:keep|refuse|serve) \|",
        page("explanation/what-the-server-decides.md").text,
        re.MULTILINE,
    )
    assert rows == list(Reason)
