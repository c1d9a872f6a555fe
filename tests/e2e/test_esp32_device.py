"""A virtual ESP32 behind real sockets: the three ways, in its own dialect, into its other slot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otaria.aio.driver import Surroundings
from otaria.cli.fleet_data import open_fleet, utc_now
from otaria.cli.serve import ServeSettings, running_server
from otaria.device.esp32_core_version import Esp32Core
from otaria.errors import BadInput, Refused, Unreachable, WrongPassword
from otaria.protocols.arduino_push import Authenticated
from otaria.push.uploader import Target, push_image
from otaria.push.web_form import Page, upload_to_page
from otaria.service.devices import assign
from otaria.service.releases import Draft, publish
from otaria.sim.esp32_demo import demo_image
from otaria.sim.faults import SiliconFaults
from otaria.sim.stock_sketch import Poll, StockSettings
from otaria.sketch import Sketch
from otaria.units import MacAddress
from otaria.wire.partitions import TABLES

if TYPE_CHECKING:
    from tests.conftest import LiveDevice, Workbench

OLD, NEW = demo_image("demo-1.0"), demo_image("demo-2.0")


def slot(device: LiveDevice, name: str) -> bytes:
    """What lies in a slot of the flash file, as much as an image has."""
    partition = next(row for row in TABLES["default"].partitions if row.name == name)
    return device.flash_file.read_bytes()[partition.offset : partition.offset + len(NEW)]


async def push(device: LiveDevice, image: bytes, password: str | None = None) -> list[object]:
    events: list[object] = []

    async def ask(_device: str) -> str | None:
        return password

    around = Surroundings(report=events.append, ask_password=ask)
    await push_image(image, Target("127.0.0.1", device.ota_port), around=around)
    return events


async def test_a_push_goes_into_the_other_slot_and_starts_from_there(workbench: Workbench) -> None:
    device = await workbench.switch_on(image=OLD, esp32=Esp32Core.V3_3_1)
    assert "bench-1 runs demo-1.0\n" in device.serial

    await push(device, NEW)

    await device.until_ready(boots=2)
    assert "bench-1 runs demo-2.0\n" in device.serial
    assert slot(device, "app1") == NEW
    assert slot(device, "app0")[: len(OLD)] == OLD[: len(NEW)]


async def test_the_next_push_comes_back_to_the_first_slot(workbench: Workbench) -> None:
    device = await workbench.switch_on(image=OLD, esp32=Esp32Core.V3_3_1)
    await push(device, NEW)
    await device.until_ready(boots=2)
    await push(device, OLD)
    await device.until_ready(boots=3)
    assert device.serial.count("bench-1 runs demo-1.0\n") == 2


@pytest.mark.parametrize("core", list(Esp32Core))
async def test_every_core_takes_its_password_by_its_own_scheme(workbench: Workbench, core: Esp32Core) -> None:
    device = await workbench.switch_on(StockSettings(ota_password="secret"), image=OLD, esp32=core)
    events = await push(device, NEW, "secret")
    assert any(isinstance(event, Authenticated) for event in events)
    await device.until_ready(boots=2)
    assert slot(device, "app1") == NEW


async def test_a_wrong_password_is_denied(workbench: Workbench) -> None:
    device = await workbench.switch_on(StockSettings(ota_password="secret"), image=OLD, esp32=Esp32Core.V3_3_1)
    with pytest.raises(WrongPassword):
        await push(device, NEW, "wrong")
    assert len(device.boots) == 1


async def test_an_image_of_an_esp8266_is_refused_at_the_end_by_the_chips_own_checks(
    workbench: Workbench, new_image: bytes
) -> None:
    device = await workbench.switch_on(image=OLD, esp32=Esp32Core.V3_3_1)
    with pytest.raises(Refused, match="Could Not Activate The Firmware"):
        await push(device, new_image)
    assert len(device.boots) == 1


async def test_what_does_not_fit_the_slot_meets_silence(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otaria.push.uploader.ACCEPT_TIMEOUT_S", 0.3)
    device = await workbench.switch_on(image=OLD, esp32=Esp32Core.V3_3_1)
    with pytest.raises(Unreachable, match="did not arrive"):
        await push(device, bytes(0x140001))
    await device.until(lambda: "OTA: error 1 (begin)" in device.serial)


async def test_the_form_takes_an_image_too(workbench: Workbench) -> None:
    device = await workbench.switch_on(image=OLD, esp32=Esp32Core.V3_0)
    await upload_to_page(NEW, Page.parse(device.page), around=Surroundings())
    await device.until_ready(boots=2)
    assert slot(device, "app1") == NEW


async def test_the_form_of_a_newer_core_takes_our_upload_as_one_from_its_own_page(workbench: Workbench) -> None:
    device = await workbench.switch_on(image=OLD, esp32=Esp32Core.V3_3_1)
    await upload_to_page(NEW, Page.parse(device.page), around=Surroundings())
    await device.until_ready(boots=2)
    assert slot(device, "app1") == NEW


async def test_a_published_release_is_fetched_once(workbench: Workbench, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        async with running_server(ServeSettings(tmp_path / "fleet", "127.0.0.1", 0, log)) as address:
            with open_fleet(address.folder) as fleet:
                publish(fleet.store, fleet.blobs, utc_now, Draft("lamp", "demo-2.0", "lamp.bin", NEW, create=True))
                assign(fleet.store, utc_now, MacAddress("5E:CF:7F:00:00:01"), "lamp")
            polling = StockSettings(poll=Poll(f"{address.url}/update", 0.1))
            device = await workbench.switch_on(polling, image=OLD, esp32=Esp32Core.V3_3_1)
            await device.until_ready(boots=2)
            assert slot(device, "app1") == NEW
    assert len(device.boots) == 2


class AsksTooMuch(Sketch):
    async def setup(self) -> None:
        for call in (
            lambda: self.board.update.on_start(print),
            self.board.esp.get_chip_id,
            lambda: self.board.esp.rtc_user_memory_read(0, 4),
        ):
            try:
                call()
            except BadInput as error:
                self.board.print(f"{error}\n")
        self.board.print(f"space {self.board.esp.get_free_sketch_space()}\n")


async def test_calls_that_only_the_esp8266_has_say_so(workbench: Workbench) -> None:
    device = await workbench.switch_on(AsksTooMuch, image=OLD, esp32=Esp32Core.V3_3_1)
    await device.until(lambda: "space 1310720\n" in device.serial)
    assert device.serial.count("has no such call") == 3


async def test_stuck_rtc_memory_is_no_fault_of_an_esp32(workbench: Workbench) -> None:
    with pytest.raises(BadInput, match="keeps its boot choice in flash"):
        await workbench.switch_on(image=OLD, esp32=Esp32Core.V3_3_1, faults=SiliconFaults(stuck_rtc=True))
