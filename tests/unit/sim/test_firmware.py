from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaria.device.flash import Flash
from otaria.device.machine import Machine
from otaria.errors import BadInput, NoSuchThing, NotAnImage, UnreadableFile
from otaria.sim.firmware import build, images
from otaria.sim.firmware.marker import Marker, find_marker
from otaria.units import MacAddress
from otaria.wire.esp_image import FlashMode, Segment, parse
from otaria.wire.layouts import find_layout

NAMES = ["valve-1.0", "valve-2.0", "valve-2.0-new-boot", "greenhouse-1.0"]
MARKERS = {
    "valve-1.0": Marker("garden-valve", "valve-1.0"),
    "valve-2.0": Marker("garden-valve", "valve-2.0"),
    "valve-2.0-new-boot": Marker("garden-valve", "valve-2.0"),
    "greenhouse-1.0": Marker("greenhouse", "greenhouse-1.0"),
}
BOOT_PART = slice(0, 0x1000)
UPLOAD_BUFFER = 4096
MARKER_OFFSET = 0x1018

needs_the_compiler = pytest.mark.skipif(
    shutil.which(build.COMPILER) is None, reason=f"{build.COMPILER} is not installed (Debian: gcc-xtensa-lx106)"
)


def marker_bytes(name: bytes = b"lamp", version: bytes = b"1.0") -> bytes:
    return b"\x89OTARIA\n" + name.ljust(24, b"\0") + version.ljust(32, b"\0") + b"\nAIRATO\x89"


def is_within(address: int, start: int, segments: tuple[Segment, ...]) -> bool:
    return any(segment.address == start and start <= address < start + len(segment.content) for segment in segments)


def test_these_are_the_images() -> None:
    assert list(images.names()) == NAMES == [recipe.name for recipe in build.RECIPES]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_whole_and_lies_where_the_chip_expects_it(name: str) -> None:
    image = parse(images.load(name))
    assert image.has_length_and_crc
    assert image.trailer == b""
    assert image.boot.header.mode == image.app.header.mode == FlashMode.DIO
    assert image.boot.header.flash_size == 4 * 1024 * 1024
    assert [segment.address for segment in image.boot.segments] == [0x4010F000]
    irom, text, variables, constants = image.app.segments
    assert (irom.address, text.address, variables.address) == (0x40201010, 0x40100000, 0x3FFE8000)
    assert constants.address == variables.address + len(variables.content)
    assert all(len(segment.content) % 4 == 0 for segment in image.boot.segments + image.app.segments)


@pytest.mark.parametrize("name", NAMES)
def test_both_entries_lie_in_code(name: str) -> None:
    image = parse(images.load(name))
    assert is_within(image.boot.header.entry, 0x4010F000, image.boot.segments)
    assert is_within(image.app.header.entry, 0x40100000, image.app.segments)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_large_enough_for_every_way_and_small_enough_for_the_repository(name: str) -> None:
    content = images.load(name)
    assert UPLOAD_BUFFER < len(gzip.compress(content, 9)) < len(content) < 64 * 1024


@pytest.mark.parametrize("name", NAMES)
def test_an_image_says_what_it_is_behind_the_length_and_crc_words(name: str) -> None:
    content = images.load(name)
    marker = MARKERS[name]
    assert find_marker(content) == marker
    assert content[MARKER_OFFSET:].startswith(marker_bytes(marker.name.encode(), marker.version.encode()))


def test_the_versions_have_the_same_boot_part_but_for_the_one_that_is_about_it() -> None:
    boot_parts = {name: images.load(name)[BOOT_PART] for name in NAMES}
    assert boot_parts["valve-1.0"] == boot_parts["valve-2.0"] == boot_parts["greenhouse-1.0"]
    assert boot_parts["valve-2.0-new-boot"] != boot_parts["valve-2.0"]


@pytest.mark.parametrize(("name", "console"), [("valve-2.0", "@cp:B0\nld\n"), ("valve-2.0-new-boot", "@cp:0\nld\n")])
def test_a_virtual_device_runs_the_first_version_and_installs_the_second(name: str, console: str) -> None:
    layout = find_layout("4m2m")
    flash = Flash(layout.flash_size)
    flash.load(images.load("valve-1.0"))
    machine = Machine(flash, layout, MacAddress("18:FE:34:AA:BB:CC"))
    assert machine.power_on(bytes(512)).running
    update = images.load(name)
    assert machine.updater.begin(len(update))
    assert machine.updater.write(update) == len(update)
    assert machine.updater.end()
    boot = machine.reset()
    assert boot.running
    assert boot.console.endswith(console)
    assert find_marker(machine.flash.read(0, machine.sketch_size)) == MARKERS[name]


def test_an_image_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(NoSuchThing, match=r"no demo image 'valve-3\.0'; there are valve-1\.0, .*greenhouse-1\.0\."):
        images.load("valve-3.0")


def test_a_damaged_image_is_refused() -> None:
    content = bytearray(images.load("valve-1.0"))
    content[5000] ^= 1
    with pytest.raises(UnreadableFile, match=r"'valve-1\.0' is damaged: its SHA-256 is .* Install Otaria again"):
        images.check("valve-1.0", bytes(content), images.prebuilt().sha256["valve-1.0"])


def test_an_image_that_is_not_there_any_more_is_refused() -> None:
    with pytest.raises(UnreadableFile, match=r"valve-0\.0\.bin of the demo firmware cannot be read .* Install Otaria"):
        images._read("valve-0.0.bin")


def test_the_list_names_every_file_and_every_file_is_listed() -> None:
    folder = Path(images.__file__).parent / images.PREBUILT
    files = {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.bin")}
    assert files == images.prebuilt().sha256


@needs_the_compiler
@pytest.mark.parametrize("recipe", build.RECIPES, ids=lambda recipe: recipe.name)
def test_a_fresh_build_is_the_prebuilt_image(recipe: build.Recipe) -> None:
    fresh, kept = build.build(recipe), images.load(recipe.name)
    if build.compiler_version() == images.prebuilt().compiler:
        assert fresh == kept
    else:
        assert skeleton(fresh) == skeleton(kept)


def skeleton(content: bytes) -> tuple[list[int], list[int], Marker | None]:
    """What every compiler must make the same."""
    image = parse(content)
    addresses = [[segment.address for segment in part.segments] for part in (image.boot, image.app)]
    return addresses[0], addresses[1][:3], find_marker(content)


@needs_the_compiler
def test_neither_the_folder_nor_the_moment_gets_into_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.build(build.RECIPES[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert build.build(build.RECIPES[0]) == first
    assert b"valve.c" not in first


@needs_the_compiler
def test_rewriting_makes_every_image_and_the_list_anew(tmp_path: Path) -> None:
    build.rewrite(tmp_path)
    listed = tomllib.loads((tmp_path / images.DIGESTS).read_text(encoding="ascii"))
    assert listed["compiler"] == build.compiler_version()
    assert list(listed["sha256"]) == NAMES
    for name, digest in listed["sha256"].items():
        assert hashlib.sha256((tmp_path / f"{name}.bin").read_bytes()).hexdigest() == digest


@needs_the_compiler
def test_a_source_that_does_not_compile_is_refused_with_the_compilers_words() -> None:
    with pytest.raises(BadInput, match=r"(?s)does not compile: .*chains for 16 or 32 beds"):
        build.build(build.Recipe("odd", "garden-valve", "valve-9", beds=17))


@needs_the_compiler
def test_a_name_too_long_for_the_marker_does_not_compile() -> None:
    with pytest.raises(BadInput, match="does not compile"):
        build.build(build.Recipe("long", "x" * 25, "valve-9"))


def test_without_the_compiler_a_build_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSuchThing, match="package gcc-xtensa-lx106"):
        build.build(build.RECIPES[0])


@pytest.mark.parametrize("linked", [b"", b"\x7fELF\x02\x01" + bytes(100), b"!<arch>\n"])
def test_what_is_no_elf_file_for_the_chip_is_refused(linked: bytes) -> None:
    with pytest.raises(NotAnImage, match="no ELF file for the ESP8266"):
        build.read_program(linked)


def test_a_marker_is_found_anywhere() -> None:
    assert find_marker(b"\xff" * 777 + marker_bytes() + b"rest") == Marker("lamp", "1.0")


def test_the_first_whole_marker_counts() -> None:
    assert find_marker(marker_bytes(b"one") + marker_bytes(b"two")) == Marker("one", "1.0")
    damaged = marker_bytes(b"one")[:-1] + b"\xff"
    assert find_marker(damaged + marker_bytes(b"two")) == Marker("two", "1.0")


@settings(deadline=None)
@given(st.binary(max_size=100), st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=100))
def test_any_bytes_around_and_inside_a_marker_are_read_without_stumbling(
    before: bytes, name: bytes, version: bytes, behind: bytes
) -> None:
    found = find_marker(before + marker_bytes(name, version) + behind)
    assert found is None or (found.name.isprintable() and found.version.isprintable())


def test_names_may_fill_their_fields() -> None:
    assert find_marker(marker_bytes(b"n" * 24, b"v" * 32)) == Marker("n" * 24, "v" * 32)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89OTARIA\n",
        marker_bytes()[:-1],
        marker_bytes(name=b""),
        marker_bytes(version=b""),
        marker_bytes(name=b"la\0mp"),
        marker_bytes(name=b"l\xe4mp"),
        marker_bytes(version=b"1.0\n"),
        marker_bytes().replace(b"AIRATO", b"airato"),
    ],
)
def test_anything_less_is_no_marker(content: bytes) -> None:
    assert find_marker(content) is None
    assert find_marker(content + b"\xff" * 100) is None
