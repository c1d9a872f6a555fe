"""1,000 virtual devices in one process: time to switch on, memory, and what they cost while nothing happens.

Measured twice, each in a process of its own: with equal flash sectors kept once for all devices, as `otaria virtual
run` does, and with every device keeping its own.

Each has 4 MiB of flash with a sketch of 420 KiB in it, a UDP and a TCP socket, and a sketch that waits. Then one in
ten is pushed another sketch of that size, which is staged and copied in full.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from otaria.aio.driver import Surroundings
from otaria.cli.virtual import raise_file_limit, virtual_mac
from otaria.device.esp32_machine import Esp32Boot
from otaria.device.flash import Flash
from otaria.device.machine import Boot
from otaria.push.uploader import Target, push_image
from otaria.sim.firmware import images
from otaria.sim.virtual_device import DeviceSettings, VirtualDevice
from otaria.sketch.board import Network, Ports
from otaria.wire import esp_image
from otaria.wire.layouts import find_layout

DEVICES = 1000
PUSHED = 100
AT_ONCE = 10
IDLE_S = 5.0
LAYOUT = find_layout("4m1m")
FIRST_PORT = 20_000


def grown(name: str, size: int) -> bytes:
    """A demo image with so many more bytes of irom, different ones for different names."""
    content = images.load(name)
    image = esp_image.parse(content)
    irom, *others = image.app.segments
    filling = bytes((number * 31 + len(name) * 7 + number // 256) & 0xFF for number in range(size))
    filling = bytes(byte ^ ord(name[-3]) for byte in filling)
    return esp_image.build(
        image.boot.segments,
        [esp_image.Segment(irom.address, irom.content + filling), *others],
        boot_entry=image.boot.header.entry,
        app_entry=image.app.header.entry,
        mode=esp_image.FlashMode(image.boot.header.mode),
        size_and_frequency=image.boot.header.size_and_frequency,
    )


def resident_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition that other tasks make true is true."""
    while not condition():  # noqa: ASYNC110 - many tasks change it, and looking costs nothing here
        await asyncio.sleep(0.01)


async def main(*, sharing: bool) -> None:
    """Run it and print the table."""
    raise_file_limit(3 * DEVICES)
    old, new = grown("valve-1.0", 400 * 1024), grown("valve-2.0", 400 * 1024)
    rows = [("image", f"{len(old)} and {len(new)} bytes")]
    shared: dict[bytes, bytes] | None = {} if sharing else None
    ready: list[str] = []
    booted: list[Boot | Esp32Boot] = []

    def heard(text: str) -> None:
        if text == "ready\n":
            ready.append(text)

    before = time.perf_counter()
    tasks = []
    for number in range(DEVICES):
        ports = Ports(FIRST_PORT + number, FIRST_PORT + number)
        settings = DeviceSettings(
            f"d{number}", virtual_mac(number), LAYOUT, Network("127.0.0.1", ports), time_scale=0.01
        )
        flash = Flash(LAYOUT.flash_size, pool=shared)
        device = VirtualDevice(settings, flash, serial=heard, on_boot=booted.append)
        device.put_in_if_blank(old)
        tasks.append(asyncio.create_task(device.run()))
    await until(lambda: len(ready) == DEVICES)
    rows.append((f"{DEVICES} devices switched on", f"{time.perf_counter() - before:.1f} s"))
    rows.append(("resident memory then", f"{resident_mib():.0f} MiB"))

    used = time.process_time()
    await asyncio.sleep(IDLE_S)
    rows.append(("processor while nothing happens", f"{(time.process_time() - used) / IDLE_S:.1%} of one core"))

    before = time.perf_counter()
    limit = asyncio.Semaphore(AT_ONCE)

    async def push(number: int) -> None:
        async with limit:
            await push_image(new, Target("127.0.0.1", FIRST_PORT + number), around=Surroundings())

    await asyncio.gather(*(push(number) for number in range(PUSHED)))
    await until(lambda: len(booted) == DEVICES + PUSHED)
    rows.append((f"{PUSHED} of them pushed and restarted, {AT_ONCE} at once", f"{time.perf_counter() - before:.1f} s"))
    rows.append(("resident memory at the end (peak)", f"{resident_mib():.0f} MiB"))

    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
    how = "equal sectors kept once" if sharing else "each keeps its own"
    table = Table(title=f"{DEVICES:,} virtual devices, {how}", title_justify="left", show_header=False, box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sharing=sys.argv[1] == "sharing"))
    else:
        for way in ("sharing", "apart"):
            subprocess.run([sys.executable, __file__, way], check=True)  # noqa: S603 - this very file
