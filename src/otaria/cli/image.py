"""``otaria image``: what a file is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from otaria.cli.files import read_file
from otaria.units import human_size
from otaria.wire.image_file import ImageFile, ImageKind, read_image_file

__all__ = ["app"]

app = App(name="image", help="What a file is, and what a device would make of it.")


@app.command
def inspect(
    file: Path,
    /,
    *,
    filesystem: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Say what an image file is: chip, kind, sizes, digests, compression, signature.

    Args:
        file: The .bin or .bin.gz.
        filesystem: It is a file system, not a sketch.
        as_json: Print JSON.
    """
    image = read_image_file(read_file(file), ImageKind.FILESYSTEM if filesystem else ImageKind.SKETCH)
    if as_json:
        print(_as_json(image))  # noqa: T201 - JSON goes out as it is, without a console's wrapping
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _rows(image):
        table.add_row(name, value)
    Console(highlight=False).print(table)


def _rows(image: ImageFile) -> list[tuple[str, str]]:
    rows = [
        ("kind", image.kind.value),
        ("chip", image.family.value if image.family else "not said"),
        ("size as sent", f"{image.size} bytes ({human_size(image.size)})"),
    ]
    if image.compressed:
        rows.append(("compressed", f"unpacks to {image.payload_size} bytes ({human_size(image.payload_size)})"))
    rows.append(("signed", "yes" if image.signed else "no"))
    if image.flash_size is not None:
        rows.append(("built for flash of", human_size(image.flash_size)))
    if image.flash_mode is not None:
        rows.append(("flash mode", image.flash_mode.name))
    if image.kind is ImageKind.SKETCH:
        present = "present and right" if image.has_length_and_crc else "not present (cores before 2.7.0 write none)"
        rows.append(("length and CRC", present))
        rows.append(("sketch-MD5s", f"{len(image.installed_md5s)} that a device may report once it is installed"))
    return [*rows, ("MD5", image.md5), ("SHA-256", image.sha256)]


def _as_json(image: ImageFile) -> str:
    return json.dumps(
        {
            "kind": image.kind.value,
            "chip": image.family.value if image.family else None,
            "size": image.size,
            "payload_size": image.payload_size,
            "compressed": image.compressed,
            "signed": image.signed,
            "flash_size": image.flash_size,
            "flash_mode": image.flash_mode.name if image.flash_mode is not None else None,
            "has_length_and_crc": image.has_length_and_crc,
            "md5": image.md5,
            "sha256": image.sha256,
            "installed_md5s": sorted(image.installed_md5s),
        },
        indent=2,
    )
