"""A person with a browser, in front of a virtual device's update page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Browser, BrowserContext, async_playwright, expect

from otaria.protocols.web_upload import Login
from otaria.sim.stock_sketch import StockSettings

if TYPE_CHECKING:
    from tests.conftest import Workbench

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed on this machine")

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        await running.close()


@pytest.fixture
async def window(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(http_credentials={"username": "admin", "password": "secret"})
    yield context
    await context.close()


async def test_choosing_a_file_and_pressing_the_button_installs_it(
    workbench: Workbench, window: BrowserContext, tmp_path: Path, new_image: bytes
) -> None:
    path = tmp_path / "garden valve.bin"
    path.write_bytes(new_image)
    device = await workbench.switch_on()
    page = await window.new_page()

    await page.goto(device.page)
    await expect(page.get_by_text("Running: valve-1.0")).to_be_visible()
    await page.get_by_label("Firmware").set_input_files(path)
    await page.get_by_role("button", name="Update firmware").click()

    await expect(page.get_by_text("Update Success! Rebooting...")).to_be_visible()
    await device.until_ready(boots=2)
    assert device.holds(new_image)
    await page.goto(device.page)
    await expect(page.get_by_text("Running: valve-2.0")).to_be_visible()


async def test_a_page_with_a_login_takes_it_and_says_what_is_wrong_with_a_file(
    workbench: Workbench, window: BrowserContext, tmp_path: Path, old_image: bytes
) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(bytes(9000))
    device = await workbench.switch_on(StockSettings(login=Login("admin", "secret")))
    page = await window.new_page()

    await page.goto(device.page)
    await page.get_by_label("Firmware").set_input_files(path)
    await page.get_by_role("button", name="Update firmware").click()

    await expect(page.get_by_text("Update error: ERROR[10]: Magic byte is not 0xE9")).to_be_visible()
    assert device.holds(old_image)
    assert len(device.boots) == 1
