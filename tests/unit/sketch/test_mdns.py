from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from otaria.sim.stock_sketch import StockSettings

if TYPE_CHECKING:
    from tests.conftest import Workbench

KIND = "_arduino._tcp.local."


async def found(name: str) -> AsyncServiceInfo:
    """Ask the loopback network for a board until it answers."""
    async with asyncio.timeout(20), AsyncZeroconf(interfaces=["127.0.0.1"]) as browser:
        info = AsyncServiceInfo(KIND, f"{name}.{KIND}")
        while not await info.async_request(browser.zeroconf, 500):
            pass
        return info


async def test_a_board_announces_its_port_and_the_four_keys_of_the_ide(workbench: Workbench) -> None:
    device = await workbench.switch_on(StockSettings(mdns=True, ota_password="secret"))
    info = await found("bench-1")
    assert info.port == device.ota_port
    assert info.server == "bench-1.local."
    assert info.parsed_addresses() == ["127.0.0.1"]
    texts = {key.decode(): value and value.decode() for key, value in info.properties.items()}
    assert texts == {"tcp_check": "no", "ssh_upload": "no", "board": "OTARIA_VIRTUAL", "auth_upload": "yes"}


async def test_a_board_without_a_password_says_so(workbench: Workbench) -> None:
    await workbench.switch_on(StockSettings(mdns=True))
    info = await found("bench-1")
    assert info.properties[b"auth_upload"] == b"no"
