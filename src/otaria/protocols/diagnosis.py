"""What a device's error means and what to do about it (protocols §4.1, §12; field.md §2)."""

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
    kind = DoesNotFit if code == _NO_SPACE else Refused
    return kind(f"{device} refused the update: {printable}. {remedy(code)}", code=code)
