"""esptool's opinion of images, beside our own parser's."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from esptool.bin_image import ESP8266ROMFirmwareImage
from tests.vectors.images import MINIMAL_IMAGE, esp32_image

from otaria.errors import NotAnImage, WrongChip
from otaria.sim.firmware import images
from otaria.wire.chips import ChipFamily
from otaria.wire.esp_image import APP_OFFSET, Part, Segment, build, chip_family, parse

NAMES = images.names()
FLASH_SIZES = {0x00: "512KB", 0x20: "1MB", 0x30: "2MB", 0x40: "4MB", 0x80: "8MB", 0x90: "16MB"}
MODES = ["QIO", "QOUT", "DIO", "DOUT"]


EsptoolImage: Any = ESP8266ROMFirmwareImage
"""esptool has no types to speak of."""


def esptools_view(content: bytes) -> Any:
    return EsptoolImage(io.BytesIO(content))


def described(part: Part) -> tuple[object, ...]:
    header = part.header
    return (
        header.segments,
        header.mode,
        header.size_and_frequency,
        header.entry,
        [(segment.address, segment.content) for segment in part.segments],
        part.checksum,
        part.checksum_holds,
    )


def described_by_esptool(image: Any) -> tuple[object, ...]:
    return (
        len(image.segments),
        image.flash_mode,
        image.flash_size_freq,
        image.entrypoint,
        [(segment.addr, segment.data) for segment in image.segments],
        image.checksum,
        image.checksum == image.calculate_checksum(),
    )


def image_info(path: Path, *options: str) -> str:
    """What ``esptool image-info`` prints."""
    # This Python, a fixed module and our own file.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "esptool", *options, "image-info", str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("offset", [0, APP_OFFSET], ids=["boot", "app"])
def test_esptool_sees_the_same_segments_entry_mode_size_and_checksum(name: str, offset: int) -> None:
    content = images.load(name)
    image = parse(content)
    part = image.boot if offset == 0 else image.app
    assert described_by_esptool(esptools_view(content[offset:])) == described(part)


@pytest.mark.parametrize("name", NAMES)
def test_esptools_reader_stops_where_our_parts_end(name: str) -> None:
    content = images.load(name)
    image = parse(content)
    for offset, part in ((0, image.boot), (APP_OFFSET, image.app)):
        stream = io.BytesIO(content[offset:])
        EsptoolImage(stream)
        assert stream.tell() == part.size


@pytest.mark.parametrize("name", NAMES)
def test_both_find_that_the_boot_parts_checksum_holds_and_the_apps_does_not(name: str) -> None:
    content = images.load(name)
    image = parse(content)
    boot, app = esptools_view(content), esptools_view(content[APP_OFFSET:])
    assert image.boot.checksum_holds
    assert boot.checksum == boot.calculate_checksum()
    assert not image.app.checksum_holds
    assert app.checksum != app.calculate_checksum()


@pytest.mark.parametrize("name", NAMES)
def test_esptools_command_accepts_the_file(name: str, tmp_path: Path) -> None:
    content = images.load(name)
    path = tmp_path / "firmware.bin"
    path.write_bytes(content)
    header = parse(content).boot.header
    printed = image_info(path)
    assert "Detected image type: ESP8266" in printed
    assert f"Image size: {len(content)} bytes" in printed
    assert f"Entry point: {header.entry:#x}" in printed
    assert f"Flash size: {FLASH_SIZES[header.size_and_frequency & 0xF0]}" in printed
    assert f"Flash freq: {header.frequency_mhz}m" in printed
    assert f"Flash mode: {MODES[header.mode]}" in printed
    assert "(valid)" in printed


@pytest.mark.parametrize("name", NAMES)
def test_esptools_command_accepts_the_app_part_by_itself(name: str, tmp_path: Path) -> None:
    app = parse(images.load(name)).app
    path = tmp_path / "app.bin"
    path.write_bytes(images.load(name)[APP_OFFSET:])
    printed = image_info(path, "--chip", "esp8266")
    assert f"Segments: {len(app.segments)}" in printed
    assert f"Entry point: {app.header.entry:#x}" in printed


def test_both_read_the_minimal_image_alike() -> None:
    image = parse(MINIMAL_IMAGE)
    assert described_by_esptool(esptools_view(MINIMAL_IMAGE)) == described(image.boot)
    assert described_by_esptool(esptools_view(MINIMAL_IMAGE[APP_OFFSET:])) == described(image.app)


def test_an_image_that_esptool_wrote_is_read_as_a_boot_part() -> None:
    written = EsptoolImage()
    written.entrypoint = 0x4010F004
    written.flash_mode, written.flash_size_freq = 2, 0x40
    written.segments = esptools_view(images.load("valve-1.0")).segments
    _, boot_part = written.save(None)
    assert isinstance(boot_part, bytes)
    ours = parse(boot_part.ljust(APP_OFFSET, b"\xaa") + images.load("valve-1.0")[APP_OFFSET:])
    assert described(ours.boot) == described_by_esptool(esptools_view(boot_part))
    assert ours.boot.checksum_holds


def test_what_we_lay_out_esptool_lays_out_alike() -> None:
    boot = [Segment(0x4010F000, bytes(range(64)))]
    content = build(boot, [Segment(0x40201010, bytes(8))], boot_entry=0x4010F000, app_entry=0x40100000)
    theirs = EsptoolImage()
    theirs.entrypoint = 0x4010F000
    theirs.flash_mode, theirs.flash_size_freq = 2, 0x40
    theirs.segments = esptools_view(content).segments
    assert theirs.save(None)[1] == content[: parse(content).boot.size]


def test_both_take_the_esp32_example_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "esp32c3.bin"
    path.write_bytes(esp32_image())
    printed = image_info(path)
    assert "Detected image type: ESP32-C3" in printed
    assert "Checksum: 0xa2 (valid)" in printed
    assert "Validation hash: 986686aadcb0551023543d2dea5af1252f12299b6e90977a774735ad15a0bcc3 (valid)" in printed
    assert "Project name: demo" in printed
    assert chip_family(esp32_image()) is ChipFamily.ESP32_C3
    with pytest.raises(WrongChip):
        parse(esp32_image())


@pytest.mark.parametrize("length", [1, 8, 40, 200])
def test_a_cut_off_boot_part_is_refused_by_both(length: int) -> None:
    content = images.load("valve-1.0")[:length]
    with pytest.raises(NotAnImage):
        parse(content)
    with pytest.raises(Exception, match=r"End of file|unpack|ord\(\)"):
        esptools_view(content)
