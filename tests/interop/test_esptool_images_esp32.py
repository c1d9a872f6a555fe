"""esptool's opinion of ESP32 images, beside our own parser's."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import esptool.bin_image
import pytest
from esptool.targets import CHIP_DEFS
from tests.device_bench import noise
from tests.esp32_bench import build_app
from tests.vectors.images import esp32_image

from otaria.errors import NotAnImage
from otaria.wire.chips import CHIP_IDS, ChipFamily
from otaria.wire.esp32_image import (
    LARGEST_PAGE,
    MAPPED_ADDRESSES,
    AppDescriptor,
    Chip,
    Esp32Image,
    Header,
    ImageFlaw,
    SpiMode,
    build,
    examine,
    parse,
)
from otaria.wire.esp_image import Segment

FAMILIES = list(MAPPED_ADDRESSES)
ROOM = 4 << 20
FLASH_SIZES = {0x00: "1MB", 0x10: "2MB", 0x20: "4MB", 0x30: "8MB", 0x40: "16MB", 0x50: "32MB"}


def esptools_name(family: ChipFamily) -> str:
    return family.value.lower().replace("-", "")


def reader_of(family: ChipFamily) -> Any:
    """esptool has no types to speak of."""
    return getattr(esptool.bin_image, esptools_name(family).upper() + "FirmwareImage")


def esptools_view(content: bytes, family: ChipFamily) -> Any:
    return reader_of(family)(io.BytesIO(content))


def section(address: int, content: bytes) -> Any:
    """What esptool lays out, which it wants to have a name."""
    kind: Any = esptool.bin_image.ELFSection
    return kind(b".any", address, content, 0)


def described(image: Esp32Image) -> tuple[object, ...]:
    header = image.header
    drives = [half for byte in header.drive_settings for half in (byte & 15, byte >> 4)]
    return (
        header.segments,
        header.mode,
        header.size_and_speed,
        header.entry,
        header.chip_id,
        header.legacy_min_revision,
        header.min_revision,
        header.max_revision,
        header.write_protect_pin,
        drives,
        header.digest_appended,
        [(segment.address, segment.content) for segment in image.segments],
        image.checksum,
        image.true_checksum,
        image.digest,
        image.true_digest if image.header.digest_appended else None,
    )


def described_by_esptool(image: Any) -> tuple[object, ...]:
    return (
        len(image.segments),
        image.flash_mode,
        image.flash_size_freq,
        image.entrypoint,
        image.chip_id,
        image.min_rev,
        image.min_rev_full,
        image.max_rev_full,
        image.wp_pin,
        [image.clk_drv, image.q_drv, image.d_drv, image.cs_drv, image.hd_drv, image.wp_drv],
        image.append_digest,
        [(segment.addr, segment.data) for segment in image.segments],
        image.checksum,
        image.calculate_checksum(),
        image.stored_digest if image.append_digest else None,
        image.calc_digest if image.append_digest else None,
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


def test_esptool_knows_the_chips_by_the_same_numbers() -> None:
    theirs = {number: esptools_name(family) for number, family in CHIP_IDS.items()}
    for number, name in theirs.items():
        assert number == CHIP_DEFS[name].IMAGE_CHIP_ID


@pytest.mark.parametrize("family", FAMILIES, ids=esptools_name)
def test_esptool_maps_the_same_addresses(family: ChipFamily) -> None:
    image = reader_of(family)()
    edges = {edge for start, end in MAPPED_ADDRESSES[family] for edge in (start - 4, start, end - 4, end)}
    for address in edges | {0x3FFB0000, 0x40080000, 0x3FC80000, 0x50000000}:
        ours = any(start <= address < end for start, end in MAPPED_ADDRESSES[family])
        assert image.is_flash_addr(address) is ours, hex(address)


@pytest.mark.parametrize("family", FAMILIES, ids=esptools_name)
def test_esptool_sees_the_same_header_segments_checksum_and_digest(family: ChipFamily) -> None:
    content = build_app("1.2.3", 5, family=family, min_revision=1, max_revision=399)
    assert described(parse(content)) == described_by_esptool(esptools_view(content, family))


def test_both_read_the_example_alike() -> None:
    content = esp32_image()
    assert described(parse(content)) == described_by_esptool(esptools_view(content, ChipFamily.ESP32_C3))


def test_both_read_a_header_of_the_oddest_values_alike() -> None:
    app = bytearray(build_app("odd"))
    found = parse(bytes(app)).header
    odd = Header(
        segments=found.segments,
        entry=0xFFFFFFFF,
        chip_id=found.chip_id,
        mode=SpiMode.SLOW_READ,
        size_and_speed=0x5F,
        min_revision=0x1234,
        max_revision=0x5678,
        digest_appended=False,
        write_protect_pin=17,
        drive_settings=b"\x12\x34\x56",
        legacy_min_revision=3,
    )
    content = odd.encode() + bytes(app[len(odd.encode()) :])
    assert described(parse(content)) == described_by_esptool(esptools_view(content, ChipFamily.ESP32))


@pytest.mark.parametrize(
    "at", [0x19, 0x40, 0x200, -33, -1], ids=["segment", "descriptor", "body", "checksum", "digest"]
)
def test_both_find_the_same_damage(at: int) -> None:
    content = bytearray(build_app("hurt"))
    content[at] ^= 1
    try:
        ours = parse(bytes(content))
    except NotAnImage:
        with pytest.raises(Exception, match=r"End of file|unpack|ord\(\)|exceeds|invalid|segment"):
            esptools_view(bytes(content), ChipFamily.ESP32)
        return
    theirs = esptools_view(bytes(content), ChipFamily.ESP32)
    assert described(ours) == described_by_esptool(theirs)
    assert ours.checksum_holds is (theirs.checksum == theirs.calculate_checksum())
    assert ours.digest_holds is (theirs.stored_digest == theirs.calc_digest)
    assert not (ours.checksum_holds and ours.digest_holds)


@pytest.mark.parametrize("length", [1, 8, 23, 24, 31, 40, 4000])
def test_a_cut_off_image_is_refused_by_both(length: int) -> None:
    content = build_app("cut")[:length]
    assert isinstance(examine(content, Chip(ChipFamily.ESP32, 301), ROOM), ImageFlaw)
    with pytest.raises(NotAnImage):
        parse(content)
    with pytest.raises(Exception, match=r"End of file|unpack|ord\(\)|out of range|segment"):
        esptools_view(content, ChipFamily.ESP32)


@pytest.mark.parametrize("digest", [True, False], ids=["digest", "no-digest"])
@pytest.mark.parametrize("family", FAMILIES, ids=esptools_name)
def test_an_image_that_esptool_laid_out_is_sound(family: ChipFamily, digest: bool) -> None:
    written = reader_of(family)(append_digest=digest)
    written.entrypoint = 0x40380000
    written.flash_mode, written.flash_size_freq = SpiMode.DIO, 0x2F
    written.max_rev_full = 0xFFFF
    if written.ROM_LOADER.CHIP_NAME == "ESP32":
        written.min_rev_full = 300
    start = MAPPED_ADDRESSES[family][-1][0] + 0x20
    descriptor = AppDescriptor("4.5.6", "esptool's").encode()
    written.segments = [
        section(start, descriptor + noise("read only", 3000)),
        section(start + 2 * LARGEST_PAGE, noise("code", 70_000)),
        section(0x3FFB0000, noise("data", 1234 & ~3)),
        section(0x40380000, noise("ram code", 9000)),
    ]
    content = written.save(None)
    found = examine(content, Chip(family, 300), ROOM)
    assert isinstance(found, Esp32Image)
    assert found.size == len(content)
    assert described(found) == described_by_esptool(esptools_view(content, family))
    assert found.descriptor is not None
    assert (found.descriptor.version, found.descriptor.project_name) == ("4.5.6", "esptool's")
    assert (found.digest is None) is not digest
    assert found.sha256 == hashlib.sha256(content[: len(content) - 32 * digest]).hexdigest()


@pytest.mark.parametrize("family", FAMILIES, ids=esptools_name)
def test_what_we_lay_out_esptool_lays_out_alike(family: ChipFamily) -> None:
    start = MAPPED_ADDRESSES[family][-1][0] + 0x20
    segments = [Segment(start, noise("flash", 5000)), Segment(0x3FFB0000, noise("ram", 400))]
    ours = build(segments, family=family, entry=0x40380000, mode=SpiMode.DIO, size_and_speed=0x2F)
    theirs = reader_of(family)()
    theirs.entrypoint = 0x40380000
    theirs.flash_mode, theirs.flash_size_freq = SpiMode.DIO, 0x2F
    theirs.max_rev_full = 0xFFFF
    theirs.segments = [section(each.address, each.content) for each in segments]
    assert theirs.save(None) == ours


@pytest.mark.parametrize("family", FAMILIES, ids=esptools_name)
def test_esptools_command_says_the_same(family: ChipFamily, tmp_path: Path) -> None:
    content = build_app("7.8.9", 3, family=family, min_revision=2, max_revision=199)
    image = parse(content)
    path = tmp_path / "firmware.bin"
    path.write_bytes(content)
    printed = image_info(path)
    assert f"Detected image type: {family}" in printed
    assert f"Image size: {len(content)} bytes" in printed
    assert f"Entry point: {image.header.entry:#010x}" in printed
    assert f"Segments: {image.header.segments}" in printed
    assert f"Flash size: {FLASH_SIZES[image.header.size_and_speed & 0xF0]}" in printed
    assert f"Flash mode: {SpiMode(image.header.mode).name}" in printed
    assert f"Checksum: {image.checksum:#04x} (valid)" in printed
    assert image.digest is not None
    assert f"Validation hash: {image.digest.hex()} (valid)" in printed
    assert "Minimal chip revision: v0.2" in printed
    assert "Maximal chip revision: v1.99" in printed
    assert "Project name: bench" in printed
    assert "App version: 7.8.9" in printed
