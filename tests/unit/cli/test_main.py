"""What every command has in common: exit codes, what goes where, help, and how Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
from cyclopts import App
from tests.conftest import free_port

from otaria.cli.main import app, main

OTARIA = (sys.executable, "-m", "otaria.cli")
DEADLINE_S = 30.0


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("OTARIA_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")

    def run(*arguments: str) -> Ran:
        code = main(list(arguments))
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def image_file(tmp_path: Path, new_image: bytes) -> str:
    path = tmp_path / "valve.bin"
    path.write_bytes(new_image)
    return str(path)


def refused(ran: Ran, code: int) -> str:
    """The message of a command that refused: one paragraph on stderr, nothing on stdout."""
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("Error: ")
    assert ran.err.count("\n") == 1
    return ran.err


# ------------------------------------------------------------------------------- exit codes


def test_a_file_that_is_not_there_is_exit_code_2(run: Run) -> None:
    assert "missing.bin: No such file" in refused(run("image", "inspect", "missing.bin"), 2)


def test_a_file_that_is_no_image_is_exit_code_2_and_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("water the beans")
    assert "notes.txt: This is no image" in refused(run("image", "inspect", str(path)), 2)


def test_a_device_that_nobody_hears_is_exit_code_3(run: Run, image_file: str) -> None:
    page = f"http://127.0.0.1:{free_port(socket.SOCK_STREAM)}/update"
    assert "Connection refused" in refused(run("push", image_file, page), 3)


def test_a_signature_that_does_not_hold_is_exit_code_4(run: Run, image_file: str, tmp_path: Path) -> None:
    assert run("keys", "generate", "--out", str(tmp_path / "keys")).code == 0
    refused(run("image", "verify", image_file, "--key", str(tmp_path / "keys" / "public.key")), 4)


def test_what_would_brick_a_device_is_exit_code_5(run: Run, image_file: str, tmp_path: Path) -> None:
    run("keys", "generate", "--out", str(tmp_path))
    signed = tmp_path / "valve.bin.gz.signed"
    assert run("image", "sign", image_file, "--gzip", "--key", str(tmp_path / "private.key")).code == 0
    assert "would be bricked" in refused(run("push", str(signed), "127.0.0.1:1"), 5).replace("\n", " ")


def test_a_page_that_answers_nonsense_is_exit_code_6(run: Run, image_file: str) -> None:
    with page_that_answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as page:
        assert "is no answer of an update page" in refused(run("push", image_file, page), 6)


def test_a_page_that_takes_everything_and_says_nothing_is_exit_code_7(run: Run, image_file: str) -> None:
    with page_that_answers(b"") as page:
        assert "look whether it runs the new sketch" in refused(run("push", image_file, page), 7)


@contextlib.contextmanager
def page_that_answers(answer: bytes) -> Iterator[str]:
    """A device's page that takes one form to its end, says this, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                head = b"".join(iter(stream.readline, b"\r\n"))
                length = re.search(rb"Content-Length: (\d+)", head)
                assert length is not None
                stream.read(int(length[1]))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/update"
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


# ------------------------------------------------------------------------------------ usage

MISTAKES = [
    ("nonsense",),
    ("push",),
    ("push", "a.bin"),
    ("push", "a.bin", "porch", "--bogus"),
    ("push", "a.bin", "porch", "more"),
    ("push", "a.bin", "porch", "--host-port", "99999"),
    ("push", "a.bin", "porch", "--host-port=-1"),
    ("push", "a.bin", "porch", "--chip", "esp99"),
    ("serve", "--port", "http"),
    ("serve", "--port", "65536"),
    ("device", "nonsense"),
    ("device", "show", "not-a-mac"),
    ("device", "show", "18:FE:34:AA:BB:CC"),
    ("release", "publish", "a.bin"),
    ("application", "create", "a b"),
    ("virtual", "run", "--count", "0"),
    ("virtual", "run", "--layout", "5m"),
    ("virtual", "run", "--poll", "nonsense"),
    ("virtual", "run", "--web-user", "admin"),
]


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_in_the_command_line_is_one_paragraph_and_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    message = refused(run(*arguments), 2)
    assert "Traceback" not in message
    assert message.endswith(".\n")


def test_a_wrong_option_leads_to_the_help_of_its_command(run: Run) -> None:
    message = refused(run("release", "list", "--bogus"), 2)
    assert message == "Error: Unknown option: --bogus. `otaria release list --help` shows what there is.\n"


def test_a_wrong_variable_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTARIA_SERVE_PORT", "http")
    assert "OTARIA_SERVE_PORT" in refused(run("serve"), 2)


def test_what_a_user_wrote_is_shown_as_it_is_and_not_taken_for_markup(run: Run) -> None:
    assert "[bold]x[/bold].bin" in refused(run("image", "inspect", "[bold]x[/bold].bin"), 2)


# ------------------------------------------------------------------------------------- help


def paths(below: App = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in below:
        if not name.startswith("-"):
            yield (*path, name)
            yield from paths(below[name], (*path, name))


@pytest.mark.parametrize("path", [(), *paths()], ids=" ".join)
def test_every_command_has_help(run: Run, path: tuple[str, ...]) -> None:
    ran = run(*path, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.lower().startswith(f"usage: {' '.join(('otaria', *path))}")


def test_the_help_of_the_program_says_something_about_each_command() -> None:
    silent = re.findall(r"^│ ([a-z-]+) +│$", shell("--help").stdout, re.MULTILINE)
    assert len(list(app)) > 10
    assert silent == []


def test_a_command_does_not_load_what_only_others_need() -> None:
    script = (
        "import sys; from otaria.cli.main import main; main(['push', '--help']); "
        "print({'sqlalchemy', 'litestar'} & {*sys.modules})"
    )
    ran = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert ran.stdout.endswith("\nset()\n")


def test_the_version_is_the_installed_one(run: Run) -> None:
    assert run("--version") == Ran(0, f"{version('otaria')}\n", "")


def test_no_command_at_all_shows_what_there_is(run: Run) -> None:
    assert "Usage: otaria COMMAND" in run().out


# ------------------------------------------------------------------------ what goes where


def test_a_result_is_all_that_stdout_has(run: Run, image_file: str) -> None:
    inspected = run("image", "inspect", image_file, "--json")
    assert (inspected.code, inspected.err) == (0, "")
    assert json.loads(inspected.out)["size"] == Path(image_file).stat().st_size


def test_a_digest_is_never_folded_where_nobody_looks_at_a_terminal(run: Run, image_file: str) -> None:
    assert re.search(r"^SHA-256 +[0-9a-f]{64}\s*$", run("image", "inspect", image_file).out, re.MULTILINE)


def test_what_is_no_result_goes_to_stderr(run: Run) -> None:
    listed = run("device", "list")
    assert (listed.code, listed.out) == (0, "")
    assert listed.err.startswith("No device has polled yet.")


def shell(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    return subprocess.run(  # noqa: S603 - our own command
        [*OTARIA, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment | {"TERM": "xterm-256color"} | variables,
    )


@pytest.mark.parametrize("arguments", [("--help",), ("image", "inspect", "missing.bin"), ("nonsense",)], ids=" ".join)
def test_there_are_no_colours_where_there_is_no_terminal(arguments: tuple[str, ...]) -> None:
    ran = shell(*arguments)
    assert ran.stdout or ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
def test_on_a_terminal_an_error_is_coloured() -> None:
    assert b"\x1b[1;31mError: " in on_a_terminal("image", "inspect", "missing.bin")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")
def test_a_terminal_that_wants_no_colours_gets_none() -> None:
    assert b"\x1b[1;31m" not in on_a_terminal("image", "inspect", "missing.bin", NO_COLOR="1")


def on_a_terminal(*arguments: str, **variables: str) -> bytes:
    """What a command shows whose stderr is a terminal."""
    ours, theirs = os.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    with subprocess.Popen(  # noqa: S603 - our own command
        [*OTARIA, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment | {"TERM": "xterm-256color"} | variables,
    ) as process:
        os.close(theirs)
        shown = b""
        # Once the other side is closed, Linux says so with an error.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4096):
                shown += piece
        process.wait(DEADLINE_S)
    os.close(ours)
    return shown


def test_a_reader_that_goes_away_ends_a_command_quietly(image_file: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = subprocess.run(  # noqa: S603 - our own command
            [*OTARIA, "image", "inspect", image_file, "--json"],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_S,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")


# ----------------------------------------------------------------------------------- Ctrl-C


@contextlib.asynccontextmanager
async def started(*arguments: str, data: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command of its own process; killed at the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        *OTARIA,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"OTARIA_DATA": str(data)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def shows(process: asyncio.subprocess.Process, text: str) -> str:
    """Everything that it shows until it shows this."""
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(DEADLINE_S):
        while text not in seen and (line := await process.stdout.readline()):
            seen += line.decode()
    assert text in seen
    return seen


async def interrupted(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(DEADLINE_S):
        rest, _ = await process.communicate()
    assert b"Traceback" not in rest
    return process.returncode, rest.decode()


def virtual_ports() -> list[str]:
    udp, tcp = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    return ["--ota-port", str(udp), "--web-port", str(tcp)]


async def test_ctrl_c_switches_virtual_devices_off(tmp_path: Path) -> None:
    async with started("virtual", "run", "--in-memory", *virtual_ports(), data=tmp_path) as process:
        await shows(process, "virtual-001 | ready")
        assert await interrupted(process) == (0, "")


async def test_ctrl_c_stops_the_server(tmp_path: Path) -> None:
    async with started("serve", "--listen", "127.0.0.1", "--port", "0", data=tmp_path) as process:
        await shows(process, "ESP32 sketch")
        code, rest = await interrupted(process)
        assert code == 0
        assert rest.startswith("Stopping.")


async def test_ctrl_c_ends_a_push_that_waits_for_an_answer(tmp_path: Path, image_file: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.settimeout(0)
        async with started("push", image_file, f"127.0.0.1:{silent.getsockname()[1]}", data=tmp_path) as process:
            async with asyncio.timeout(DEADLINE_S):
                invitation = await asyncio.get_running_loop().sock_recv(silent, 100)
            assert invitation.startswith(b"0 ")
            assert await interrupted(process) == (130, "Interrupted.\n")


async def test_ctrl_c_ends_the_demo_while_it_updates(tmp_path: Path) -> None:
    async with started("demo", data=tmp_path) as process:
        await shows(process, "OTA: start")
        code, rest = await interrupted(process)
        assert code == 130
        assert rest.endswith("Interrupted.\n")


async def test_ctrl_c_is_how_the_demo_is_meant_to_end(tmp_path: Path) -> None:
    async with started("demo", data=tmp_path) as process:
        shown = await shows(process, "in a browser")
        assert re.search(r"OTARIA_PASSWORD=\w+ otaria push \S+/valve-1\.0\.bin 127\.0\.0\.1:\d+\n", shown)
        assert await interrupted(process) == (0, "")
