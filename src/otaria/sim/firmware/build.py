"""Compiles the demo firmware: ``python -m otaria.sim.firmware.build`` writes the images and their digest list anew.

It needs ``xtensa-lx106-elf-gcc``, on Debian the package ``gcc-xtensa-lx106``. The same compiler gives the same bytes
every time: nothing of the date, the machine or the folder gets into an image.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from otaria.errors import BadInput, NoSuchThing, NotAnImage
from otaria.sim.firmware.images import DIGESTS, PREBUILT
from otaria.wire.esp_image import FlashMode, Segment
from otaria.wire.esp_image import build as lay_out

__all__ = ["RECIPES", "Program", "Recipe", "build", "compiler", "compiler_version", "read_program", "rewrite"]

COMPILER: Final = "xtensa-lx106-elf-gcc"

FLAGS: Final = (
    "-std=c11",
    "-Os",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-mlongcalls",  # instruction RAM and flash are a megabyte apart
    "-mtext-section-literals",  # constants beside the code that loads them, within its short reach
    "-ffreestanding",
    "-fno-tree-loop-distribute-patterns",  # or a clearing loop becomes a call of memset, which nothing here has
    "-ffunction-sections",
    "-nostdlib",
    "-Wl,--gc-sections",
    "-Wl,--build-id=none",
    "-Wl,--fatal-warnings",
)

BOOT_SECTIONS: Final = (".text",)
APP_SECTIONS: Final = (".irom0.text", ".text", ".data", ".rodata")
"""In the order in which the core's own tool puts them into the file."""

FOUR_MEGABYTES_AT_40_MHZ: Final = 0x40

_HERE: Final = Path(__file__).parent
_ELF_32_LITTLE_ENDIAN: Final = b"\x7fELF\x01\x01"
_ELF_HEADER: Final = struct.Struct("<16sHHIIIII6H")
_SECTION_HEADER: Final = struct.Struct("<10I")
_HAS_CONTENT: Final = 1
_HAS_A_PLACE_IN_MEMORY: Final = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """What distinguishes one image from another.

    Args:
        name: the image's name, and its file's.
        application: the name in the marker.
        version: the version in the marker.
        beds: how many beds are watered, 16 or 32; the watering plan grows with it.
        rain_switch: whether the program heeds the rain switch.
        boot_revision: 1 or 2; they differ in the code of the boot part.
    """

    name: str
    application: str
    version: str
    beds: int = 16
    rain_switch: bool = False
    boot_revision: int = 1


RECIPES: Final = (
    Recipe("valve-1.0", "garden-valve", "valve-1.0"),
    Recipe("valve-2.0", "garden-valve", "valve-2.0", rain_switch=True),
    Recipe("valve-2.0-new-boot", "garden-valve", "valve-2.0", rain_switch=True, boot_revision=2),
    Recipe("greenhouse-1.0", "greenhouse", "greenhouse-1.0", beds=32),
)


@dataclass(frozen=True, slots=True)
class Program:
    """What the linker made: the entry, and the sections that have a place in memory, by name."""

    entry: int
    sections: dict[str, Segment]

    def segments(self, names: Sequence[str]) -> list[Segment]:
        """The sections of these names, in this order, without those that are empty."""
        found = (self.sections.get(name) for name in names)
        return [segment for segment in found if segment is not None and segment.content]


def compiler() -> Path:
    """Where the compiler is.

    Raises:
        NoSuchThing: it is not installed.
    """
    found = shutil.which(COMPILER)
    if found is None:
        raise NoSuchThing(f"{COMPILER} is not installed; on Debian it comes with the package gcc-xtensa-lx106.")
    return Path(found)


def compiler_version() -> str:
    """The compiler's own first words about itself."""
    return _run([str(compiler()), "--version"]).splitlines()[0]


def build(recipe: Recipe) -> bytes:
    """Compile and lay out one image.

    Raises:
        NoSuchThing: the compiler is not installed.
        BadInput: the compiler refused the source.
    """
    boot = _compile("boot", {"BOOT_REVISION": str(recipe.boot_revision)})
    app = _compile(
        "valve",
        {
            "APPLICATION": f'"{recipe.application}"',
            "VERSION": f'"{recipe.version}"',
            "BEDS": str(recipe.beds),
            "RAIN_SWITCH": str(int(recipe.rain_switch)),
        },
    )
    return lay_out(
        boot.segments(BOOT_SECTIONS),
        app.segments(APP_SECTIONS),
        boot_entry=boot.entry,
        app_entry=app.entry,
        mode=FlashMode.DIO,
        size_and_frequency=FOUR_MEGABYTES_AT_40_MHZ,
    )


def _compile(name: str, definitions: dict[str, str]) -> Program:
    source = _HERE / "source"
    with tempfile.TemporaryDirectory() as folder:
        linked = Path(folder) / f"{name}.elf"
        defined = [f"-D{key}={value}" for key, value in definitions.items()]
        script = ["-T", str(source / f"{name}.ld")]
        _run([str(compiler()), *FLAGS, *defined, *script, str(source / f"{name}.c"), "-o", str(linked)])
        return read_program(linked.read_bytes())


def _run(command: Sequence[str]) -> str:
    # The compiler's own full path and our own arguments.
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode != 0:
        raise BadInput(f"The demo firmware does not compile: {done.stderr.strip()}")
    return done.stdout


def read_program(linked: bytes) -> Program:
    """Take the sections out of a linked program, a 32-bit little-endian ELF file.

    Raises:
        NotAnImage: it is no such file.
    """
    if not linked.startswith(_ELF_32_LITTLE_ENDIAN):
        raise NotAnImage(f"The linker's output begins with {linked[:6].hex(' ')} and is no ELF file for the ESP8266.")
    _, _, _, _, entry, _, table, _, _, _, _, size, count, names_index = _ELF_HEADER.unpack_from(linked)
    sections = [_Section(*_SECTION_HEADER.unpack_from(linked, table + index * size)) for index in range(count)]
    names = sections[names_index].content(linked)
    placed = [section for section in sections if section.has_content_in_memory]
    return Program(
        entry,
        {_name_at(names, section.name): Segment(section.address, section.content(linked)) for section in placed},
    )


class _Section(NamedTuple):
    """One row of the section table, in the order of its words in the file."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    extra: int
    alignment: int
    entry_size: int

    @property
    def has_content_in_memory(self) -> bool:
        return self.kind == _HAS_CONTENT and bool(self.flags & _HAS_A_PLACE_IN_MEMORY)

    def content(self, linked: bytes) -> bytes:
        return linked[self.offset : self.offset + self.size]


def _name_at(names: bytes, start: int) -> str:
    return names[start : names.index(0, start)].decode("ascii")


def rewrite(folder: Path) -> None:
    """Build every image, then write them into the folder and the digest list beside them."""
    built = {recipe.name: build(recipe) for recipe in RECIPES}
    for name, content in built.items():
        (folder / f"{name}.bin").write_bytes(content)
    digests = [f'"{name}" = "{hashlib.sha256(content).hexdigest()}"' for name, content in built.items()]
    lines = ["# Written by otaria.sim.firmware.build.", f'compiler = "{compiler_version()}"', "", "[sha256]", *digests]
    (folder / DIGESTS).write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    rewrite(_HERE / PREBUILT)
    sys.stdout.write((_HERE / PREBUILT / DIGESTS).read_text(encoding="ascii"))
