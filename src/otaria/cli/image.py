"""``otaria image``: what a file is, and signing and checking it."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from otaria.cli.files import read_file, write_file
from otaria.cli.keys import read_private_key, read_public_key
from otaria.cli.rendering import AsJson, print_facts, print_json, print_remark, print_sentence
from otaria.errors import BadInput, NotAnImage, WrongChip, WrongSignature
from otaria.units import human_size
from otaria.wire.chips import ChipFamily
from otaria.wire.image_file import ImageFile, ImageKind, read_image_file
from otaria.wire.signed import SignaturePadding, split
from otaria.wire.signed import sign as signed_file
from otaria.wire.signed import verify as verified_padding

__all__ = ["app", "compressed"]

app = App(name="image", help="What a file is, and what a device would make of it.")

_SUFFIXES: Final = {SignaturePadding.DIGEST_INFO: ".signed", SignaturePadding.LEGACY: ".legacy_sig"}
"""As the core's own build names what it signs."""

_CORES: Final = {SignaturePadding.DIGEST_INFO: "since 2.6.0", SignaturePadding.LEGACY: "up to 2.5.2"}


@app.command
def inspect(
    file: Path,
    /,
    *,
    filesystem: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what an image file is: chip, kind, sizes, digests, compression, signature.

    Args:
        file: The .bin or .bin.gz.
        filesystem: It is a file system, not a sketch.
        as_json: Print JSON.
    """
    image = _analysed(file, read_file(file), filesystem=filesystem)
    if as_json:
        print_json(_members(image))
    else:
        print_facts(_facts(image))


@app.command
def sign(
    file: Path,
    /,
    *,
    key: Path,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    legacy: Annotated[bool, Parameter(negative="")] = False,
    compress: Annotated[bool, Parameter(name="--gzip", negative="")] = False,
    filesystem: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Sign an ESP8266 image, for devices whose sketch was built with the public key of the pair.

    Args:
        file: The .bin that the build made, or a .bin.gz.
        key: The private key, PEM or DER.
        output: The file to write; by default the image's name with .signed behind it, or .legacy_sig.
        legacy: For devices that run a sketch of core 2.5.2 or older; they accept no other signature.
        compress: Compress it first.
        filesystem: It is a file system, not a sketch.
    """
    content = read_file(file)
    image = _analysed(file, content, filesystem=filesystem)
    _require_signable(file, image, legacy=legacy, compress=compress)
    private = read_private_key(key)
    padding = SignaturePadding.LEGACY if legacy else SignaturePadding.DIGEST_INFO
    signed = signed_file(compressed(content) if compress else content, private, padding)
    target = output or file.with_name(f"{file.name}{'.gz' if compress else ''}{_SUFFIXES[padding]}")
    if target.resolve() == file.resolve():
        raise BadInput(f"{target} is the image itself. Name another file with -o.")
    write_file(target, signed)
    print_sentence(
        f"Signed {file.name} with RSA-{private.public_key.bits} for cores {_CORES[padding]}: {target}, "
        f"{human_size(len(signed))}."
    )
    remark = _remark(image, is_compressed=image.compressed or compress)
    if remark is not None:
        print_remark(remark)


@app.command
def verify(file: Path, /, *, key: Path, as_json: AsJson = False) -> None:
    """Check a signed image as a device does. The exit code is 4 where the signature does not hold.

    Args:
        file: The signed image.
        key: The public key, PEM or DER.
        as_json: Print JSON.
    """
    content, public = read_file(file), read_public_key(key)
    try:
        padding = verified_padding(content, public)
    except WrongSignature as error:
        raise WrongSignature(f"{file.name}: {error}") from error
    signed = split(content)
    payload = b"" if signed is None else signed.payload
    facts = {
        "key": f"RSA-{public.bits}",
        "padding": padding,
        "accepted_by": f"cores {_CORES[padding]}",
        "payload_size": len(payload),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
    }
    if as_json:
        print_json(facts)
        return
    print_sentence(f"{file.name} is signed with this key, {facts['key']}. Accepted by {facts['accepted_by']}.")


def compressed(content: bytes) -> bytes:
    """A gzip of it as small as can be, the same each time."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def _analysed(file: Path, content: bytes, *, filesystem: bool) -> ImageFile:
    try:
        return read_image_file(content, ImageKind.FILESYSTEM if filesystem else ImageKind.SKETCH)
    except NotAnImage as refusal:
        raise NotAnImage(f"{file.name}: {refusal}") from refusal


def _require_signable(file: Path, image: ImageFile, *, legacy: bool, compress: bool) -> None:
    if image.family not in (None, ChipFamily.ESP8266):
        raise WrongChip(
            f"{file.name} is for the {image.family}, whose core wants another signature; use its own bin_signing.py."
        )
    if image.signed:
        raise BadInput(f"{file.name} is signed already. Sign the .bin that the build made.")
    if compress and image.compressed:
        raise BadInput(f"{file.name} is compressed already. Leave --gzip out.")
    if image.kind is ImageKind.FILESYSTEM and (compress or image.compressed):
        raise BadInput("Devices write a file system as it comes and do not unpack it. Sign it uncompressed.")
    if legacy and (compress or image.compressed):
        raise BadInput("No core that wants a legacy signature can unpack an image. Sign it uncompressed.")


def _remark(image: ImageFile, *, is_compressed: bool) -> str | None:
    if is_compressed:
        return (
            "Send it only to devices whose sketch checks signatures: compressed and signed, it destroys the bootloader "
            "of any other."
        )
    if image.flash_mode is None:
        return None
    return (
        f"Its flash mode is {image.flash_mode.name}. A device that checks signatures and runs with another one refuses "
        "it with error 12; `otaria rehearse` tells."
    )


def _facts(image: ImageFile) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("kind", image.kind.value),
        ("chip", image.family.value if image.family else "not said"),
        ("size as sent", f"{image.size} bytes ({human_size(image.size)})"),
    ]
    if image.compressed:
        rows.append(("compressed", f"unpacks to {image.payload_size} bytes ({human_size(image.payload_size)})"))
    rows.append(("signed", "yes" if image.signed else "no"))
    if image.flash_size is not None:
        rows.append(("built for", f"{human_size(image.flash_size)} of flash"))
    if image.flash_mode is not None:
        rows.append(("flash mode", image.flash_mode.name))
    if image.kind is ImageKind.SKETCH:
        present = "present and right" if image.has_length_and_crc else "not present (cores before 2.7.0 write none)"
        rows.append(("length and CRC", present))
        rows.append(("sketch-MD5s", f"{len(image.installed_md5s)} that a device may report once it is installed"))
    return [*rows, ("MD5", image.md5), ("SHA-256", image.sha256)]


def _members(image: ImageFile) -> dict[str, Any]:
    return {
        "kind": image.kind,
        "chip": image.family,
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
    }
