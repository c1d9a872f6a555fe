"""The examples, on virtual devices, updated the way each of them is made for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otaria.aio.driver import Surroundings
from otaria.errors import Refused
from otaria.push.uploader import Target, push_image
from otaria.push.web_form import Page, upload_to_page
from otaria.sim.sketch_file import load_sketch
from otaria.sketch import Sketch

if TYPE_CHECKING:
    from tests.conftest import LiveDevice, Workbench

Way = Callable[["LiveDevice", bytes], Awaitable[None]]
EXAMPLES = Path(__file__).parents[2] / "examples"
DAMAGED = bytes(20_000)


def example(name: str) -> type[Sketch]:
    return load_sketch(EXAMPLES / f"{name}.py")


async def push(device: LiveDevice, image: bytes, password: str | None = None) -> None:
    async def ask(_device: str) -> str | None:
        return password

    await push_image(image, Target("127.0.0.1", device.ota_port), around=Surroundings(ask_password=ask))


async def upload(device: LiveDevice, image: bytes) -> None:
    await upload_to_page(image, Page.parse(device.page), around=Surroundings())


async def test_basic_ota_takes_a_push_with_its_password(workbench: Workbench, new_image: bytes) -> None:
    device = await workbench.switch_on(example("basic_ota"))
    await device.until(lambda: "Ready\n" in device.serial)

    await push(device, new_image, "admin")

    await device.until(lambda: "Booting valve-2.0" in device.serial)
    assert "Start updating flash\n" in device.serial
    assert f"Progress: {len(new_image)} of {len(new_image)} bytes\nEnd\n" in device.serial
    assert device.holds(new_image)


async def test_basic_ota_tells_its_serial_monitor_about_a_failure(workbench: Workbench) -> None:
    device = await workbench.switch_on(example("basic_ota"))
    await device.until(lambda: "Ready\n" in device.serial)

    with pytest.raises(Refused, match="Magic byte"):
        await push(device, DAMAGED, "admin")

    await device.until(lambda: "Error 4: end failed\n" in device.serial)


async def test_web_updater_takes_an_upload(workbench: Workbench, new_image: bytes) -> None:
    device = await workbench.switch_on(example("web_updater"))
    await device.until(lambda: "ready\n" in device.serial)

    await upload(device, new_image)

    await device.until(lambda: "valve-2.0: HTTPUpdateServer ready" in device.serial)
    assert device.holds(new_image)


async def test_http_updater_says_why_it_got_nothing(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTARIA_EXAMPLE_URL", "http://127.0.0.1:1/update/door")
    device = await workbench.switch_on(example("http_updater"))
    await device.until(lambda: "HTTP update failed (-1): HTTP error: connection failed" in device.serial)


@pytest.mark.parametrize("way", [push, upload], ids=["push", "upload"])
async def test_an_update_closes_the_open_valve_before_a_byte_is_written(
    workbench: Workbench, new_image: bytes, way: Way
) -> None:
    device = await workbench.switch_on(example("garden_valve"))
    await device.until(lambda: "valve open\n" in device.serial)
    staging = device.flash_file.read_bytes()
    closed_with: list[bytes] = []

    def watch(text: str) -> None:
        if text == "valve closed\n":
            closed_with.append(device.flash_file.read_bytes())

    device.listeners.append(watch)
    await way(device, new_image)

    await device.until(lambda: "valve-2.0: ready" in device.serial)
    assert closed_with == [staging]
    assert device.holds(new_image)


@pytest.mark.parametrize("way", [push, upload], ids=["push", "upload"])
async def test_the_valve_stays_closed_when_the_update_fails(workbench: Workbench, way: Way) -> None:
    device = await workbench.switch_on(example("garden_valve"))
    await device.until(lambda: "valve open\n" in device.serial)

    with pytest.raises(Refused):
        await way(device, DAMAGED)

    await device.until(lambda: "update failed (10), valve stays closed\n" in device.serial)
    lines = device.serial.splitlines()
    assert lines.index("valve closed") < lines.index("update failed (10), valve stays closed")
    assert lines.count("valve open") == 1
    assert len(device.boots) == 1
