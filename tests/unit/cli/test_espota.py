from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otaria.cli.espota import Notes, Order, bar, espota
from otaria.errors import BadInput
from otaria.sim.stock_sketch import StockSettings

if TYPE_CHECKING:
    from tests.conftest import LiveDevice, Workbench

HERE = "127.0.0.1"
PASSWORD = f"p{secrets.token_hex(8)}"
DEADLINE_S = 60.0


def order(*words: str) -> Order:
    parsed = Order.parse(words)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # the recipes of both cores, and PlatformIO's
        (["-i", "10.0.0.9", "-p", "8266", "--auth=secret", "-f", "a.bin"], {"port": 8266, "password": "secret"}),
        (["-i", "10.0.0.9", "-p", "3232", "--auth=", "-f", "a.bin"], {"port": 3232, "password": ""}),
        (
            ["--debug", "--progress", "-i", "10.0.0.9", "--host_port=48266", "-f", "a.bin", "-s"],
            {"debug": True, "progress": True, "host_port": 48266, "filesystem": True, "port": None},
        ),
        (["-i", "10.0.0.9", "--spiffs", "--file", "a.bin"], {"filesystem": True}),
        (["--ip=10.0.0.9", "--file=a.bin", "--host_ip=10.0.0.1", "-t", "60"], {"host_address": "10.0.0.1"}),
        # what their parser lets through
        (["-dri10.0.0.9", "-p8266", "-fa.bin"], {"debug": True, "progress": True, "port": 8266}),
        (["-i", "10.0.0.9", "-f", "a.bin", "-a", "-r", "-m"], {"password": "-r", "progress": False}),
        (["-i", "10.0.0.9", "-f", "a.bin", "--auth=a=b c"], {"password": "a=b c"}),
        (["-i", "10.0.0.9", "stray", "-f", "a.bin", "--prog"], {"progress": True}),
        (["-i", "10.0.0.9", "-f", "a.bin"], {"filesystem": False, "debug": False, "timeout_s": 10, "host_port": None}),
    ],
)
def test_the_words_mean_what_they_mean_to_espota_py(words: list[str], expected: dict[str, object]) -> None:
    parsed = order(*words)
    assert (parsed.host, parsed.file) == ("10.0.0.9", Path("a.bin"))
    assert {name: getattr(parsed, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "Not enough arguments"),
        (["-i", "10.0.0.9"], "Not enough arguments"),
        (["-f", "a.bin"], "Not enough arguments"),
        (["-i"], "requires 1 argument"),
        (["-i", "x", "-f", "y", "--nonsense"], "[Nn]o such option: --nonsense"),
        (["-i", "x", "-f", "y", "-p", "http"], "invalid integer value"),
        (["-i", "x", "-f", "y", "-p", "0"], "-p 0 is no port"),
        (["-i", "x", "-f", "y", "-P", "65536"], "-P 65536 is no port"),
    ],
)
def test_words_that_mean_nothing_are_bad_input(words: list[str], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        Order.parse(tuple(words))


def test_an_order_does_not_show_its_password() -> None:
    assert "secret" not in repr(order("-i", "x", "-f", "y", "-a", "secret"))


@pytest.mark.parametrize(
    ("done", "size", "line"),
    [
        (0, 1000, f"Uploading: [{' ' * 60}] 0%"),
        (500, 1000, f"Uploading: [{'=' * 30}{' ' * 30}] 50%"),
        (999, 1000, f"Uploading: [{'=' * 60}] 99%"),
        (1000, 1000, f"Uploading: [{'=' * 60}] 100%"),
        (0, 0, f"Uploading: [{'=' * 60}] 100%"),
    ],
)
def test_the_bar_is_as_long_as_what_is_done(done: int, size: int, line: str) -> None:
    assert bar(done, size) == line


def test_what_a_device_says_cannot_move_the_cursor() -> None:
    out = StringIO()
    Notes(out).line("ERROR", "it said \x1b[2J\r\nOK")
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[ERROR\]: it said \\x1b\[2J\\r\\nOK\n", out.getvalue())


def test_details_are_said_only_when_asked_for() -> None:
    out = StringIO()
    notes = Notes(out)
    notes.line("INFO", "quiet")
    notes.go_into_detail()
    notes.line("INFO", "loud")
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[INFO\]: loud\n", out.getvalue())


def test_help_is_printed_and_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert espota("-i", "x", "--help") == 0
    out, err = capsys.readouterr()
    assert err == ""
    for option in ("-i", "-I", "-p", "-P", "-a", "-f", "-s", "-d", "-r", "-t", "-m, --md5-target"):
        assert f"  {option}" in out


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, r"Cannot read .*image\.bin"), (b"no image at all", r"image\.bin was not sent")],
)
def test_a_file_that_no_device_could_install_is_not_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, reason: str
) -> None:
    path = tmp_path / "image.bin"
    if content is not None:
        path.write_bytes(content)
    assert espota("-i", HERE, "-p", "9", "-f", str(path)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"\d\d:\d\d:\d\d \[ERROR\]: .*{reason}.*\n", err)


def test_an_image_for_another_chip_than_the_ports_is_not_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], esp32_image: bytes
) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(esp32_image)
    assert espota("-i", HERE, "-p", "8266", "-f", str(path)) == 1
    assert "is built for the ESP32-C3" in capsys.readouterr().err


def test_an_image_for_esp32_goes_to_its_cores_port(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], esp32_image: bytes
) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(esp32_image)
    assert espota("-d", "-i", "porch.invalid", "-f", str(path)) == 1
    out = capsys.readouterr().err
    assert "goes to porch.invalid port 3232." in out
    assert "no host named 'porch.invalid'" in out


@pytest.fixture
def image_file(tmp_path: Path, new_image: bytes) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(new_image)
    return path


async def run(device: LiveDevice, *words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Call the command as an IDE does; exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "otaria.cli", "espota", "-i", HERE, "-p", str(device.ota_port)),
        *words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"} | (env or {}),
    )
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_an_upload_shows_dots_and_ends_with_0(workbench: Workbench, image_file: Path, new_image: bytes) -> None:
    device = await workbench.switch_on()
    code, out, err = await run(device, "--auth=", "-f", str(image_file))
    assert (code, out) == (0, "")
    assert re.fullmatch(rf"Sending invitation to {re.escape(HERE)} \nUploading\.{{50}}\n", err)
    await device.until_ready(boots=2)
    assert device.holds(new_image)


async def test_progress_without_a_terminal_is_percents(workbench: Workbench, image_file: Path) -> None:
    device = await workbench.switch_on()
    code, _, err = await run(device, "-r", "-f", str(image_file))
    assert code == 0
    assert err.endswith("Uploading: 10% 20% 30% 40% 50% 60% 70% 80% 90% 100%\n")


@pytest.mark.parametrize("way", ["option", "environment"])
async def test_the_password_is_proved_and_never_shown(workbench: Workbench, image_file: Path, way: str) -> None:
    device = await workbench.switch_on(StockSettings(ota_password=PASSWORD))
    words = [f"--auth={PASSWORD}"] if way == "option" else []
    env = {"OTARIA_PASSWORD": PASSWORD} if way == "environment" else {}
    code, out, err = await run(device, "-d", "-r", *words, "-f", str(image_file), env=env)
    assert code == 0
    assert "\nAuthenticating...OK\n" in err
    assert "[INFO]: firmware.bin, 28.1 KiB, goes to" in err
    assert PASSWORD not in out + err


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["-a", "wrong-one"], "did not accept the password"), ([], "asks for a password and none was given")],
)
async def test_a_wrong_or_missing_password_is_said_and_ends_with_1(
    workbench: Workbench, image_file: Path, old_image: bytes, words: list[str], reason: str
) -> None:
    device = await workbench.switch_on(StockSettings(ota_password=PASSWORD))
    code, out, err = await run(device, "-d", *words, "-f", str(image_file))
    assert (code, out) == (1, "")
    assert re.search(rf"\n\d\d:\d\d:\d\d \[ERROR\]: .*{reason}", err)
    assert "wrong-one" not in err
    assert device.holds(old_image)


async def test_the_file_that_was_named_is_sent_and_a_signed_one_beside_it_is_mentioned(
    workbench: Workbench, image_file: Path, new_image: bytes
) -> None:
    image_file.with_name("firmware.bin.signed").write_bytes(b"something else")
    device = await workbench.switch_on()
    code, _, err = await run(device, "-f", str(image_file))
    assert code == 0
    assert re.search(r"\[WARNING\]: There is firmware\.bin\.signed beside firmware\.bin\. firmware\.bin is sent", err)
    await device.until_ready(boots=2)
    assert device.holds(new_image)


async def test_a_device_that_refuses_is_quoted_and_ends_with_1(workbench: Workbench, tmp_path: Path) -> None:
    device = await workbench.switch_on(layout="512k64")
    path = tmp_path / "too-large.bin"
    path.write_bytes(bytes(128 * 1024))
    code, _, err = await run(device, "-s", "-f", str(path))
    assert code == 1
    assert re.search(r"\[ERROR\]: .*refused", err)


@pytest.fixture
def silence() -> Iterator[int]:
    """The port of a device that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind((HERE, 0))
        yield int(deaf.getsockname()[1])


async def test_an_interrupted_upload_ends_with_1_and_says_what_the_device_does(silence: int, image_file: Path) -> None:
    words = ("espota", "-i", HERE, "-p", str(silence), "-f", str(image_file))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "otaria.cli", *words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(DEADLINE_S):
        assert await process.stderr.readuntil(b"Sending invitation") != b""
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 1
    assert b"[ERROR]: Interrupted. Unless everything had been sent, the device keeps what it runs.\n" in err


@pytest.mark.slow
def test_a_longer_timeout_goes_on_inviting(silence: int, image_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert espota("-i", HERE, "-p", str(silence), "-t", "20", "-f", str(image_file)) == 1
    err = capsys.readouterr().err
    assert err.count("Sending invitation") == 2
    assert err.count("[ERROR]: ") == 1
