"""Runs the blocks of a page as a reader would type them, in a folder of its own.

What the pages may count on, and how a block is marked, stands in docs/howto/contribute.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conftest import free_port
from tests.docs.markdown import ROOT, Block, Page

from otaria.sim.firmware import images

__all__ = ["Sandbox", "Terminal", "agree", "missing_from", "normal", "sandbox"]

DEADLINE_S: Final = 30.0
"""For one block to end, or for one line to appear. Reached only by a failing test."""

PASSWORD: Final = "secret"
BASH: Final = shutil.which("bash") or "bash"

_BEGIN: Final = (
    'set -euo pipefail; . "$STATE"; cd "$(cat "$PLACE")"; trap \'export -p >"$STATE"; pwd >"$PLACE"\' EXIT\n'
)
"""Each block is a shell of its own, which goes on where the last one ended."""

_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?"), "<time>"),
    (re.compile(r"\b\d+\.\d s\b"), "<seconds>"),
    (re.compile(r"127\.0\.0\.1(:\d+)?"), "<address>"),
    (re.compile(r"(?<![\w:/>])/\S*/"), "<folder>/"),
)
"""What is different in every run, and what the reader sees in its place is not."""


def normal(line: str) -> str:
    """A line without what differs between two runs: times, ports, folders, padding."""
    for pattern, word in _VARYING:
        line = pattern.sub(word, line)
    return " ".join(line.split())


def agree(expected: str, actual: str) -> bool:
    """Whether one line is as the page says, where ``…`` stands for anything."""
    pieces = (re.escape(normal(piece)) for piece in expected.split("…"))
    return re.fullmatch(r"\s*.*\s*".join(pieces) if "…" in expected else next(pieces), normal(actual)) is not None


def missing_from(actual: list[str], expected: list[str]) -> str | None:
    """The first line of the page that the output lacks; a line ``…`` stands for any number of lines."""
    position, may_skip = 0, False
    for line in expected:
        if line.strip() == "…":
            may_skip = True
            continue
        found = next((at for at in range(position, len(actual)) if agree(line, actual[at])), None)
        if found is None or (found > position and not may_skip):
            return line
        position, may_skip = found + 1, False
    return None if may_skip or position == len(actual) else f"nothing, where the output has {actual[position]!r}"


class Terminal:
    """A program that goes on while the reader does other things."""

    def __init__(self, script: str, folder: Path, environment: dict[str, str]) -> None:
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._read = 0
        self._ended = False
        self._process = subprocess.Popen(  # noqa: S603 - what our own pages say
            [BASH, "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._collect)
        self._reader.start()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def show(self, expected: list[str]) -> None:
        """Wait until the lines have appeared, one after the other, below those that were waited for before."""
        for line in filter(lambda line: line.strip() not in {"", "…"}, expected):
            assert self._wait_for(line), f"never shown: {line}\n{''.join(self._lines)}"

    def _wait_for(self, line: str) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._find(line) is not None or self._ended, DEADLINE_S)
            at = self._find(line)
            if at is not None:
                self._read = at + 1
            return at is not None

    def _find(self, expected: str) -> int | None:
        found = (at for at in range(self._read, len(self._lines)) if agree(expected, self._lines[at]))
        return next(found, None)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)

    def close(self) -> None:
        """Wait for the end, which must be a good one."""
        code = self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert code == 0, f"ended with {code}:\n{''.join(self._lines)}"


@dataclass
class Sandbox:
    """Where the blocks of one page run."""

    folder: Path
    environment: dict[str, str]
    replacements: list[tuple[re.Pattern[str], str]]
    terminals: dict[str, Terminal]

    def replaced(self, text: str) -> str:
        """The text with the page's names for devices, ports and folders turned into those of this sandbox."""
        for pattern, instead in self.replacements:
            text = pattern.sub(instead, text)
        return text

    def run(self, block: Block) -> list[str]:
        """Run a block to its end; what the terminal shows."""
        ran = subprocess.run(  # noqa: S603 - what our own pages say
            [BASH, "-c", _BEGIN + self.replaced(block.content)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert ran.returncode == int(block.options.get("exit", "0")), f"line {block.line}:\n{ran.stdout}"
        return ran.stdout.splitlines()

    def open_terminal(self, name: str, script: str) -> None:
        """Start a program that goes on; one of the same name is ended first."""
        if name in self.terminals:
            ended = self.terminals.pop(name)
            ended.interrupt()
            ended.close()
        self.terminals[name] = Terminal(self.replaced(script), self.folder, self.environment)


@contextlib.contextmanager
def sandbox(page: Page, folder: Path) -> Iterator[Sandbox]:
    """A folder with the files, and a network with the devices, that the page counts on."""
    ports = {name: free_port(kind) for name, kind in _PORTS.items()}
    home = folder / "home"
    home.mkdir()
    (folder / "place").write_text(str(folder))
    (folder / "state").touch()
    (folder / "firmware.bin").write_bytes(images.load("valve-2.0"))
    (folder / "littlefs.bin").write_bytes(bytes(range(256)) * 256)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "STATE": str(folder / "state"),
        "PLACE": str(folder / "place"),
        "PYTHONPATH": str(ROOT),
        "PYTHON_KEYRING_BACKEND": "tests.docs.file_keyring.FileKeyring",
        "OTARIA_SERVE_LISTEN": "127.0.0.1",
        "OTARIA_SERVE_PORT": str(ports["8700"]),
        "OTARIA_VIRTUAL_RUN_OTA_PORT": str(ports["8266"]),
        "OTARIA_VIRTUAL_RUN_WEB_PORT": str(ports["8080"]),
        "OTARIA_VIRTUAL_RUN_FAST": "true",
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE")},
    }
    scene = Sandbox(folder, environment, [*_names(ports), *_places()], {})
    try:
        for name in filter(page.text.__contains__, DEVICES):
            scene.terminals[name] = _switched_on(scene, name, ports)
        for device in scene.terminals.values():
            device.show(["virtual-001 | ready"])
        yield scene
    finally:
        for terminal in scene.terminals.values():
            terminal.interrupt()
        for terminal in scene.terminals.values():
            terminal.close()


DEVICES: Final = {"porch.local": "", "cellar.local": "", "shed.local": PASSWORD}
"""The devices on the readers' network, and their passwords; the page of one with a password wants the user admin."""

_PORTS: Final = {
    "8266": socket.SOCK_DGRAM,
    "8080": socket.SOCK_STREAM,
    "8700": socket.SOCK_STREAM,
    **{f"{name} ota": socket.SOCK_DGRAM for name in DEVICES},
    **{f"{name} web": socket.SOCK_STREAM for name in DEVICES},
}


def _names(ports: dict[str, int]) -> Iterator[tuple[re.Pattern[str], str]]:
    for name in DEVICES:
        yield re.compile(rf"-i {name}\b"), f"-i 127.0.0.1 -p {ports[f'{name} ota']}"
        yield re.compile(rf"(http://(?:\w+@)?){name}\b"), rf"\g<1>127.0.0.1:{ports[f'{name} web']}"
        yield re.compile(rf"\b{name}(?::8266)?\b"), f"127.0.0.1:{ports[f'{name} ota']}"
    for port in ("8266", "8080", "8700"):
        yield re.compile(rf"\b{port}\b"), str(ports[port])
    yield re.compile(r"\b192\.168\.1\.5\b"), "127.0.0.1"


def _places() -> Iterator[tuple[re.Pattern[str], str]]:
    for folder in ("scripts", "src", "examples", "tests", ".venv"):
        yield re.compile(rf"(?<![\w/.-]){folder}/"), f"{ROOT}/{folder}/"


def _switched_on(scene: Sandbox, name: str, ports: dict[str, int]) -> Terminal:
    password = DEVICES[name]
    options = f"--in-memory --ota-port {ports[f'{name} ota']} --web-port {ports[f'{name} web']}"
    command = f"otaria virtual run {options}"
    if password:
        command = f"OTARIA_PASSWORD={password} {command} --web-user admin"
    return Terminal(command, scene.folder, scene.environment)
