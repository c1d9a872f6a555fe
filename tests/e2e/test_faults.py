"""Devices with something wrong with them, and networks that are: what the host says, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otaria.aio.driver import Surroundings
from otaria.aio.link import Link, StreamFault, StreamTrouble
from otaria.device.flash import BadSector
from otaria.errors import BadInput, OtariaError, OutcomeUnknown, Refused, Unreachable
from otaria.protocols import arduino_push
from otaria.push.uploader import Target, push_image
from otaria.push.web_form import Page, upload_to_page
from otaria.sim.faults import SiliconFaults, parse_bad_sector
from otaria.sim.stock_sketch import StockSettings
from otaria.wire.layouts import SECTOR_SIZE, find_layout

if TYPE_CHECKING:
    from tests.conftest import LiveDevice, Workbench

STAGED_AT = find_layout("4m1m").staging_start(28736) // SECTOR_SIZE


async def push(device: LiveDevice, image: bytes) -> None:
    async def password(_device: str) -> str:
        return "secret"

    await push_image(image, Target("127.0.0.1", device.ota_port), around=Surroundings(ask_password=password))


@pytest.mark.parametrize(
    ("behaviour", "error"), [(BadSector.ERASE_FAILS, 2), (BadSector.PROGRAM_FAILS, 1)], ids=["erase", "program"]
)
async def test_a_bad_sector_in_the_staging_area_is_the_devices_own_error(
    workbench: Workbench, old_image: bytes, new_image: bytes, behaviour: BadSector, error: int
) -> None:
    faults = SiliconFaults(bad_sectors={STAGED_AT + 2: behaviour})
    device = await workbench.switch_on(faults=faults)
    with pytest.raises(Refused) as refused:
        await push(device, new_image)
    assert refused.value.code == error
    assert device.holds(old_image)


async def test_a_sector_that_silently_ignores_writes_is_found_out_by_the_bootloader_only(
    workbench: Workbench, new_image: bytes
) -> None:
    """The MD5 covers the bytes as they came, not as they lie in flash: the device says OK, and the copy is broken."""
    faults = SiliconFaults(bad_sectors={STAGED_AT + 2: BadSector.PROGRAM_IGNORED})
    device = await workbench.switch_on(faults=faults)
    await push(device, new_image)
    await device.until(lambda: len(device.boots) >= 2)
    assert not device.boots[-1].running
    assert "only a cable helps" in device.serial


async def test_worn_flash_refuses_to_erase(workbench: Workbench, new_image: bytes) -> None:
    device = await workbench.switch_on(faults=SiliconFaults(endurance=1))
    await push(device, new_image)
    await device.until_ready(boots=2)
    with pytest.raises(Refused) as refused:
        await push(device, new_image)
    assert refused.value.code == 2


async def test_stuck_rtc_memory_forgets_the_update_and_the_old_sketch_goes_on(
    workbench: Workbench, old_image: bytes, new_image: bytes
) -> None:
    device = await workbench.switch_on(faults=SiliconFaults(stuck_rtc=True))
    await push(device, new_image)
    await device.until_ready(boots=2)
    assert device.holds(old_image)
    assert "@cp" not in device.boots[-1].console


@pytest.mark.parametrize("seed", range(3))
async def test_a_lossy_network_is_overcome(
    workbench: Workbench, new_image: bytes, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(arduino_push, "INVITATION_INTERVAL_S", 0.1)
    monkeypatch.setattr(arduino_push, "CREDENTIALS_INTERVAL_S", 0.1)
    link = Link(loss=0.2, duplication=0.2, longest_s=0.02)
    device = await workbench.switch_on(StockSettings(ota_password="secret"), link=link, seed=seed)
    await push(device, new_image)
    await device.until_ready(boots=2)
    assert device.holds(new_image)


async def test_a_host_that_closes_leaves_the_old_sketch(
    workbench: Workbench, old_image: bytes, new_image: bytes
) -> None:
    device = await workbench.switch_on(fault=StreamFault(StreamTrouble.CLOSE, 10_000))
    with pytest.raises(OtariaError):
        await push(device, new_image)
    await device.until(lambda: "OTA: error 4 (end)" in device.serial)
    assert device.holds(old_image)


async def test_a_host_that_stalls_leaves_the_device_waiting_and_the_old_sketch(
    workbench: Workbench, old_image: bytes, new_image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arduino_push, "ACKNOWLEDGEMENT_TIMEOUT_S", 0.2)
    device = await workbench.switch_on(fault=StreamFault(StreamTrouble.STALL, 10_000))
    with pytest.raises(Unreachable, match="stopped answering after"):
        await push(device, new_image)
    assert device.holds(old_image)
    assert len(device.boots) == 1


async def test_bytes_that_come_twice_are_caught_by_the_digest(
    workbench: Workbench, old_image: bytes, new_image: bytes
) -> None:
    device = await workbench.switch_on(fault=StreamFault(StreamTrouble.SURPLUS, 10_000))
    with pytest.raises(Refused) as refused:
        await push(device, new_image)
    assert refused.value.code == 7
    assert device.holds(old_image)


async def test_an_upload_that_the_network_cuts_leaves_the_old_sketch(
    workbench: Workbench, old_image: bytes, new_image: bytes
) -> None:
    device = await workbench.switch_on(fault=StreamFault(StreamTrouble.CLOSE, 10_000))
    with pytest.raises((OutcomeUnknown, OtariaError)):
        await upload_to_page(new_image, Page.parse(device.page), around=Surroundings())
    assert device.holds(old_image)
    assert len(device.boots) == 1


def test_a_bad_sector_is_named_by_number_and_behaviour() -> None:
    assert parse_bad_sector("770:erase-fails") == (770, BadSector.ERASE_FAILS)


@pytest.mark.parametrize("text", ["", "770", "x:erase-fails", "770:melts", "-1:erase-fails"])
def test_what_names_no_bad_sector_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="SECTOR:BEHAVIOUR"):
        parse_bad_sector(text)


async def test_a_sector_that_the_flash_has_not_is_bad_input(workbench: Workbench) -> None:
    with pytest.raises(BadInput, match="its sectors are 0 to 1023"):
        await workbench.switch_on(faults=SiliconFaults(bad_sectors={1024: BadSector.ERASE_FAILS}))
