"""``Update``: the flash-writing library, with the calls of the original in Python spelling.

All three ways of updating end in here. What must happen before *any* update, such as closing a valve, belongs into
:meth:`Update.on_start`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.device.updater import SignatureVerifier, Updater
from otaria.errors import BadInput
from otaria.wire.arduino_ota import Command

__all__ = ["U_FLASH", "U_FS", "Update"]

U_FLASH: Final = Command.FLASH
U_FS: Final = Command.FILESYSTEM

STREAM_TIMEOUT_S: Final = 60.0
"""How long ``write_stream`` waits for the next bytes."""


class Update:
    """The board's one Updater, as ``board.update``.

    Some calls exist in the ESP8266's library only; on an ESP32 they raise BadInput.
    """

    def __init__(self, machine: Machine | Esp32Machine) -> None:
        self._updater = machine.updater

    @property
    def _esp8266(self) -> Updater:
        if isinstance(self._updater, Updater):
            return self._updater
        raise BadInput("The ESP32's Update library has no such call; use the call-backs of ArduinoOTA there.")

    def begin(self, size: int, command: int = U_FLASH) -> bool:
        """Make room for ``size`` bytes of a sketch or a file system; False where there is none."""
        return self._updater.begin(size, command)

    def set_md5(self, digest: str) -> bool:
        """Expect this digest; False for a text that has not 32 characters."""
        return self._updater.set_md5(digest)

    def install_signature(self, verifier: SignatureVerifier) -> None:
        """From now on accept only images that are signed so."""
        self._esp8266.install_signature(verifier)

    def write(self, content: bytes) -> int:
        """Take bytes; fewer than given after an error."""
        return self._updater.write(content)

    async def write_stream(self, stream: asyncio.StreamReader, timeout_s: float = STREAM_TIMEOUT_S) -> int:
        """Take the whole image from a stream; returns how many bytes were taken."""
        first = await _read(stream, 1, timeout_s)
        taking = self._updater.write_stream(first[0] if first else 0)
        taken: bytes | None = None
        try:
            wanted = next(taking)
            while True:
                taken = first + await _read(stream, wanted - len(first), timeout_s) if wanted > len(first) else first
                first = b""
                wanted = taking.send(taken or None)
        except StopIteration as done:
            written: int = done.value
            return written

    def end(self, *, even_if_remaining: bool = False) -> bool:
        """Check the image and leave the boot command; the restart is the sketch's."""
        return self._updater.end(even_if_remaining)

    def is_running(self) -> bool:
        """Whether an update is under way."""
        return self._updater.is_running

    def is_finished(self) -> bool:
        """Whether every byte is in flash."""
        return self._updater.is_finished

    def size(self) -> int:
        """Bytes announced."""
        return self._updater.size

    def progress(self) -> int:
        """Bytes in flash."""
        return self._updater.progress

    def remaining(self) -> int:
        """Bytes that are not in flash."""
        return self._updater.remaining

    def has_error(self) -> bool:
        """Whether the last update failed."""
        return self._updater.error != 0

    def get_error(self) -> int:
        """The error's number."""
        return self._updater.error

    def get_error_string(self) -> str:
        """The error as ``printError`` prints it: ``ERROR[n]: text``."""
        return self._updater.error_text()

    def clear_error(self) -> None:
        """Forget the last error."""
        self._updater.clear_error()

    def on_start(self, call_back: Callable[[], None]) -> None:
        """Called when an update begins, whichever way it comes: bring the device into a safe state here."""
        self._esp8266.on_start = call_back

    def on_end(self, call_back: Callable[[], None]) -> None:
        """Called when an update is over, well or badly, and once before each one begins."""
        self._esp8266.on_end = call_back

    def on_progress(self, call_back: Callable[[int, int], None]) -> None:
        """Called by :meth:`write_stream` with the bytes in flash and the bytes announced."""
        self._updater.on_progress = call_back

    def on_error(self, call_back: Callable[[int], None]) -> None:
        """Called with the error's number when an update fails."""
        self._esp8266.on_error = call_back


async def _read(stream: asyncio.StreamReader, limit: int, timeout_s: float) -> bytes:
    """Some bytes; none at the end of the stream or at the timeout."""
    try:
        async with asyncio.timeout(timeout_s):
            return await stream.read(limit)
    except TimeoutError:
        return b""
