"""What a device's error means and what to do about it (protocols §4.1, §4.2, §12; field.md §2)."""

from __future__ import annotations

import re
from typing import Final

from otaria.errors import DoesNotFit, Refused

__all__ = ["refusal", "remedy"]

_CODE: Final = re.compile(r"ERROR\[(\d+)\]")

_NO_SPACE: Final = 4

_REMEDIES: Final = {
    0: "The device gave up without a reason, as it does when the connection breaks: push again, closer to the access "
    "point if you can.",
    1: "Its flash would not take the image: push again, and if it stays so, the flash chip is worn out.",
    2: "A sector of its flash would not erase: push again, and if it stays so, the flash chip is worn out.",
    3: "Its flash could not be read back: push again, and if it stays so, the flash chip is worn out.",
    _NO_SPACE: "Image and running sketch must fit side by side: send it gzip-compressed, build it smaller, or build "
    "with a layout that has a smaller file system.",
    5: "The image is empty or its size does not suit the device: check the file.",
    6: "The device waited a minute for the next bytes: push again, closer to the access point if you can.",
    7: "The image arrived damaged: push again.",
    8: "The sketch that runs was built for a larger flash chip than the device has: build it with the right flash "
    "size and flash it over the cable once.",
    9: "The image was built for a larger flash chip than the device has: choose the right flash size and build again.",
    10: "The device does not take this file for a sketch: a gzip file needs a sketch built on core 2.7.0 or later, a "
    "file system is pushed with --filesystem.",
    11: "Its boot pins are still latched from flashing over the cable: press its reset button once, then push again.",
    12: "The device takes only images signed with its key: sign the image and push it again.",
    13: "No data reached the device's flash: push again; a file of 4096 bytes or less cannot be sent this way.",
    14: "The device has too little free memory to update: restart it and push again.",
    15: "Another update was running on the device and has been dropped: push again.",
    16: "The device knows no update of this kind: push a sketch without --filesystem.",
}

_ESP32_REMEDIES: Final = {
    "Flash Write Failed": _REMEDIES[1],
    "Flash Erase Failed": _REMEDIES[2],
    "Flash Read Failed": _REMEDIES[3],
    "Not Enough Space": "More came than was announced: push again.",
    "Bad Size Given": "The image is larger than the slot it is meant for: build it smaller, or choose a partition "
    "table with larger app partitions and flash it over the cable once.",
    "Stream Read Timeout": "The device waited in vain for the next bytes: push again, closer to the access point if "
    "you can.",
    "MD5 Check Failed": _REMEDIES[7],
    "Wrong Magic Byte": "The device does not take this file for a sketch: an ESP32 takes no compressed one, and a "
    "file system is pushed with --filesystem.",
    "Could Not Activate The Firmware": "The chip found the image unfit to start: it is built for another chip, or "
    "damaged. Check it with 'otaria image inspect', and build it for this chip.",
    "Partition Could Not be Found": "The device has no second app partition to write to, or none for a file system: "
    "choose a partition table that has one and flash it over the cable once.",
    "Bad Argument": _REMEDIES[16],
    "Aborted": "The connection broke before everything had come: push again, closer to the access point if you can.",
    "Decryption error": "The device takes this file for an encrypted sketch and has no key: an ESP32 takes no "
    "compressed one, and a file system is pushed with --filesystem.",
    "Signature Verification Failed": _REMEDIES[12],
    "Wrong origin received!": "The page takes uploads only from a browser that has it open: upload to the address "
    "under which the device knows itself.",
}
"""By the texts of an ESP32, which come without a number."""

_TOO_LARGE: Final = frozenset({"Bad Size Given"})


def remedy(code: int | None) -> str:
    """One or two sentences on what to do next; a general one where the number says nothing."""
    return _REMEDIES.get(code if code is not None else -1, "Look at the device's serial monitor, then push again.")


def refusal(device: str, text: str) -> Refused:
    """The error for a device that said no.

    Args:
        device: the name by which the user called it.
        text: what it said, such as ``ERROR[4]: Not Enough Space``.
    """
    match = _CODE.search(text)
    code = int(match.group(1)) if match else None
    printable = "".join(letter if letter.isprintable() else "?" for letter in text.strip())[:200]
    kind = DoesNotFit if code == _NO_SPACE or printable in _TOO_LARGE else Refused
    advice = _ESP32_REMEDIES.get(printable) or remedy(code)
    return kind(f"{device} refused the update: {printable}. {advice}", code=code)
