"""One image, one virtual device, each of the three ways; through real sockets and, where people type, real commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otaria.protocols.web_upload import Login
from otaria.sim.stock_sketch import Poll, StockSettings

if TYPE_CHECKING:
    from tests.conftest import Workbench  # for the reader; pytest hands it in

OTARIA = (sys.executable, "-m", "otaria.cli")
DEADLINE_S = 60.0


async def otaria(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run the command as a user does, without a terminal; exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *OTARIA,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"} | (env or {}),
    )
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def image_file(tmp_path: Path, new_image: bytes) -> Path:
    path = tmp_path / "valve.bin"
    path.write_bytes(new_image)
    return path


async def test_a_push_from_the_command_line_reaches_flash(
    workbench: Workbench, image_file: Path, new_image: bytes
) -> None:
    device = await workbench.switch_on()

    code, out, err = await otaria("push", str(image_file), f"127.0.0.1:{device.ota_port}")

    assert (code, err) == (0, "")
    assert re.fullmatch(r"127\.0\.0\.1:\d+ installed valve\.bin \(28\.1 KiB\) in [\d.]+ s and restarts now\.\n", out)
    await device.until_ready(boots=2)
    assert device.holds(new_image)
    assert device.boots[-1].console.endswith("@cp:B0\nld\n")
    assert "bench-1 runs valve-2.0" in device.serial


async def test_another_boot_part_is_copied_too(workbench: Workbench, tmp_path: Path, new_boot_image: bytes) -> None:
    device = await workbench.switch_on()
    path = tmp_path / "new-boot.bin"
    path.write_bytes(new_boot_image)

    code, _, _ = await otaria("push", str(path), f"127.0.0.1:{device.ota_port}")

    assert code == 0
    await device.until_ready(boots=2)
    assert device.holds(new_boot_image)
    assert device.boots[-1].console.endswith("@cp:0\nld\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_fills_in_the_form(workbench: Workbench, image_file: Path, new_image: bytes) -> None:
    device = await workbench.switch_on()

    curl = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-i", "-F", f"firmware=@{image_file}", device.page, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await curl.communicate()

    assert curl.returncode == 0
    assert out.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Update Success! Rebooting..." in out
    await device.until_ready(boots=2)
    assert device.holds(new_image)
    assert device.boots[-1].console.endswith("@cp:B0\nld\n")


async def test_the_command_line_fills_in_the_form_too(workbench: Workbench, image_file: Path, new_image: bytes) -> None:
    device = await workbench.switch_on(StockSettings(login=Login("admin", "secret")))
    page = device.page.replace("http://", "http://admin@")

    code, out, _ = await otaria("push", str(image_file), page, env={"OTARIA_PASSWORD": "secret"})

    assert code == 0
    assert "installed valve.bin" in out
    await device.until_ready(boots=2)
    assert device.holds(new_image)


@contextlib.asynccontextmanager
async def server(data: Path) -> AsyncIterator[str]:
    """A real ``otaria serve`` process; its address."""
    process = await asyncio.create_subprocess_exec(
        *OTARIA, "serve", "--listen", "127.0.0.1", "--port", "0", "--data", str(data),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            while (found := re.search(rb"http://127\.0\.0\.1:\d+", await process.stdout.readline())) is None:
                pass
        yield found.group().decode()
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


async def test_a_published_release_is_fetched_by_the_device_that_polls(
    workbench: Workbench, tmp_path: Path, image_file: Path, new_image: bytes
) -> None:
    data = tmp_path / "fleet"
    async with server(data) as url:
        assert (await otaria("application", "create", "valve", "--data", str(data)))[0] == 0
        publish = ("release", "publish", str(image_file), "--application", "valve", "--version", "valve-2.0")
        assert (await otaria(*publish, "--data", str(data)))[0] == 0
        assert (await otaria("device", "assign", "5ECF7F000001", "valve", "--data", str(data)))[0] == 0

        device = await workbench.switch_on(StockSettings(poll=Poll(f"{url}/update", 0.1)))
        await device.until_ready(boots=2)

        assert device.holds(new_image)
        assert device.boots[-1].console.endswith("@cp:B0\nld\n")
        await confirmed(data)
    assert len(device.boots) == 2


async def confirmed(data: Path) -> None:
    """Wait until the server knows, from a later poll, that the device runs what it was sent."""
    async with asyncio.timeout(DEADLINE_S):
        while "valve-2.0" not in (await otaria("device", "list", "--data", str(data)))[1]:
            pass


# ------------------------------------------------------------------------------ bad input


async def refused(image: bytes, workbench: Workbench, tmp_path: Path, *options: str) -> tuple[int, str]:
    """Push bytes to a fresh device that must stay as it was; exit code and message."""
    device = await workbench.switch_on(layout="4m3m")
    before = device.flash_file.read_bytes()
    path = tmp_path / "bad.bin"
    path.write_bytes(image)
    code, out, err = await otaria("push", str(path), f"127.0.0.1:{device.ota_port}", *options)
    assert out == ""
    assert device.flash_file.read_bytes() == before
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    return code, err


async def test_what_is_no_image_is_not_sent(workbench: Workbench, tmp_path: Path) -> None:
    code, message = await refused(b"hello", workbench, tmp_path)
    assert code == 2
    assert "bad.bin was not sent. This is no image" in message


async def test_an_image_that_was_cut_off_is_not_sent(workbench: Workbench, tmp_path: Path, new_image: bytes) -> None:
    code, message = await refused(new_image[:-20], workbench, tmp_path)
    assert code == 2
    assert "cut off" in message


async def test_an_image_for_an_esp32_is_not_sent_to_an_esp8266(
    workbench: Workbench, tmp_path: Path, esp32_image: bytes
) -> None:
    code, message = await refused(esp32_image, workbench, tmp_path)
    assert code == 2
    assert "it is built for the ESP32-C3 and the device is taken for an ESP8266" in message


async def test_an_image_that_does_not_fit_is_refused_by_the_device(
    workbench: Workbench, tmp_path: Path, large_image: bytes
) -> None:
    code, message = await refused(large_image, workbench, tmp_path)
    assert code == 5
    assert "refused the update: ERROR[4]: Not Enough Space" in message


async def test_a_device_whose_flash_is_too_small_for_the_image_says_so(workbench: Workbench, image_file: Path) -> None:
    device = await workbench.switch_on(layout="1m64")
    code, _, err = await otaria("push", str(image_file), f"127.0.0.1:{device.ota_port}")
    assert code == 5
    assert "ERROR[9]: new Flash config wrong, real size: 1048576" in err
    assert len(device.boots) == 1


async def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    code, _, err = await otaria("push", str(tmp_path / "missing.bin"), "127.0.0.1:1")
    assert code == 2
    assert "missing.bin: No such file or directory" in err


async def test_a_wrong_password_has_exit_code_4_and_stays_unsaid(workbench: Workbench, image_file: Path) -> None:
    device = await workbench.switch_on(StockSettings(ota_password="right"))
    target = f"127.0.0.1:{device.ota_port}"
    code, out, err = await otaria("push", str(image_file), target, env={"OTARIA_PASSWORD": "hunter2"})
    assert code == 4
    assert "did not accept the password" in err
    assert "hunter2" not in out + err
    assert len(device.boots) == 1


async def test_a_password_comes_from_a_file(workbench: Workbench, image_file: Path, tmp_path: Path) -> None:
    device = await workbench.switch_on(StockSettings(ota_password="right"))
    secret = tmp_path / "password"
    secret.write_text("right\n")
    code, _, err = await otaria("push", str(image_file), f"127.0.0.1:{device.ota_port}", "--password-file", str(secret))
    assert (code, err) == (0, "Authenticating...OK\n")


async def test_a_password_that_nobody_has_is_asked_for_in_words(workbench: Workbench, image_file: Path) -> None:
    device = await workbench.switch_on(StockSettings(ota_password="right"))
    code, _, err = await otaria("push", str(image_file), f"127.0.0.1:{device.ota_port}")
    assert code == 4
    assert "asks for a password" in err


async def test_a_taken_host_port_is_said_before_the_device_is_disturbed(workbench: Workbench, image_file: Path) -> None:
    device = await workbench.switch_on()
    taken = str(device.settings.network.ports.web)
    code, _, err = await otaria("push", str(image_file), f"127.0.0.1:{device.ota_port}", "--host-port", taken)
    assert code == 3
    assert f"Cannot listen on 127.0.0.1:{taken}: Address already in use" in err
    assert "OTA" not in device.serial


async def test_a_device_that_is_gone_in_mid_transfer_is_told_from_one_that_refused(
    image_file: Path, new_image: bytes
) -> None:
    """A peer that accepts, takes a little and closes: neither a verdict nor an unknown outcome."""

    class Vanishing(asyncio.DatagramProtocol):
        transport: asyncio.DatagramTransport

        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(b"OK", addr)
            self.port = int(data.split()[1])
            self.host = addr[0]
            self.task = asyncio.create_task(self.vanish())

        async def vanish(self) -> None:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            await reader.read(100)
            writer.close()

    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        Vanishing, local_addr=("127.0.0.1", 0)
    )
    try:
        port = transport.get_extra_info("sockname")[1]
        code, _, err = await otaria("push", str(image_file), f"127.0.0.1:{port}")
    finally:
        transport.close()
        await protocol.task
    assert code == 6
    assert re.search(rf"closed the connection after \d+ of {len(new_image)} bytes", err)


# ---------------------------------------------------------------------------------- the demo


def test_the_demo_ends_with_all_three_devices_on_the_new_release() -> None:
    done = subprocess.run(  # noqa: S603 - our own command
        [*OTARIA, "demo", "--once"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(porch|shed|garden) .*@cp:B0 ld +yes", done.stdout, re.MULTILINE)
    assert rows == ["porch", "shed", "garden"]
