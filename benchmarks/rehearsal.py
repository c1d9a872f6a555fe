"""How long it takes to break the update of a 256 KiB image off at every one of its flash operations.

At each operation power fails once in the middle and once right after it; while the bootloader copies, the processor is
reset there, too. Each time the device is started again and looked at. The goal is 3 seconds for one update.
"""

from __future__ import annotations

import gzip
import hashlib
import time

from otaria.device.rehearsal import Rehearsal, rehearse
from otaria.device.rehearsal_images import stand_in
from otaria.device.rehearsal_scene import Candidate, Specimen
from otaria.device.rehearsal_ways import Way
from otaria.units import KIB
from otaria.wire import esp_image
from otaria.wire.esp_image import Segment
from otaria.wire.layouts import SECTOR_SIZE, find_layout

GOAL_S = 3.0
SIZE = 256 * KIB
LAYOUT = find_layout("4m1m")
PACKABLE = 0.3
"""Share of an image that compression takes away; firmware packs to about 0.7."""


def filling(size: int) -> bytes:
    """Bytes that pack as firmware does."""
    noise = b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(SECTOR_SIZE // 32))
    sector = noise[: int(SECTOR_SIZE * (1 - PACKABLE))].ljust(SECTOR_SIZE, b"\0")
    sectors = (bytes(byte ^ number & 0xFF for byte in sector) for number in range(size // SECTOR_SIZE + 1))
    return b"".join(sectors)[:size]


def new_image() -> bytes:
    """An image of that size, not quite, with a boot part of its own."""
    irom = Segment(0x40201010, bytes(8) + filling(SIZE - SECTOR_SIZE - 256))
    return esp_image.build(
        [Segment(0x4010F000, filling(3000))],
        [irom, Segment(0x40100000, bytes(64))],
        boot_entry=0x4010F000,
        app_entry=0x40100004,
    )


def timed(content: bytes, specimen: Specimen) -> tuple[Rehearsal, float]:
    """One rehearsal with all its accidents, analysis of the file included."""
    started = time.perf_counter()
    rehearsal = rehearse(Candidate.of(content), specimen, Way.PUSH, cuts=None)
    return rehearsal, time.perf_counter() - started


def main() -> None:
    """Print a line for each encoding."""
    image = new_image()
    specimen = Specimen(LAYOUT, stand_in(SIZE, LAYOUT.flash_size, image))
    print(f"{'encoding':<10}{'sent':>10}{'operations':>12}{'accidents':>11}{'seconds':>9}{'ms each':>9}")
    for content in (image, gzip.compress(image, 9, mtime=0)):
        rehearsal, seconds = timed(content, specimen)
        survival = rehearsal.survival
        if survival is None or not rehearsal.installs:
            raise SystemExit(f"This is not what was to be measured: {rehearsal.explanation}")
        accidents = survival.receiving.total + survival.copying.total + survival.resets.total
        print(
            f"{rehearsal.encoding:<10}{rehearsal.size:>10}{survival.of:>12}{accidents:>11}{seconds:>9.2f}"
            f"{1000 * seconds / accidents:>9.2f}"
        )
    print(f"Goal: {GOAL_S:.0f} s for one update.")


if __name__ == "__main__":
    main()
