"""The ESP32's Updater: writes an image into the slot that does not run, and then chooses it (protocols §4.2).

::

    begin(size) -> set_md5(text) -> write(content)… -> end() -> the caller resets the machine

The first 16 bytes of a sketch are kept back and written by ``end`` alone, so that a slot which is only partly written
does not even begin like an image. ``end`` then has the framework check the whole image before it chooses the slot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from typing import Final, Protocol

from otaria.device.esp32_core_version import Esp32Behaviour
from otaria.device.esp32_slots import EspError, Slots
from otaria.device.esp32_update_error import UPDATE_ERROR_TEXTS, Esp32UpdateError
from otaria.device.flash import ERASED
from otaria.device.spi import Spi
from otaria.units import KIB
from otaria.wire.arduino_ota import Command
from otaria.wire.esp_image import MAGIC
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.partitions import Partition, PartitionType

__all__ = ["UNKNOWN_SIZE", "Esp32SignatureVerifier", "Esp32Updater"]

UNKNOWN_SIZE: Final = 0xFFFFFFFF
"""``UPDATE_SIZE_UNKNOWN``: as much as the partition holds."""

BUFFER_SIZE: Final = SECTOR_SIZE
BLOCK_SIZE: Final = 64 * KIB
"""Erased at once where the image fills it; here sector by sector, so that each can be interrupted."""

WITHHELD: Final = 16
"""Bytes kept back: one block of flash encryption."""

_WORD_RANGE: Final = 1 << 32

SIGNATURE_SIZE: Final = 512
"""Bytes of the trailer of a signed image, whatever the signature's own length (protocols §8.2)."""


class Esp32SignatureVerifier(Protocol):
    """What ``installSignature`` is given."""

    @property
    def hash_name(self) -> str:
        """``sha256``, ``sha384`` or ``sha512``."""
        ...

    def verify(self, digest: bytes, trailer: bytes) -> bool:
        """Whether the trailer's signature is right for the digest of what precedes it."""
        ...


class Esp32Updater:
    """The running sketch's ``Update`` object.

    Args:
        spi: the flash.
        slots: what can be done with it.
        running: where the sketch runs.
        behaviour: of the core that it was built with.
        verifier: the key that it was built with; only signed images are taken then.

    Attributes:
        on_progress: called with the bytes in flash and the size: before the first bytes, and after each flush.
    """

    def __init__(
        self,
        spi: Spi,
        slots: Slots,
        running: Partition,
        behaviour: Esp32Behaviour,
        verifier: Esp32SignatureVerifier | None = None,
    ) -> None:
        self.on_progress: Callable[[int, int], None] | None = None
        self._spi = spi
        self._slots = slots
        self._running = running
        self._behaviour = behaviour
        self._verifier = verifier if behaviour.verifies_signatures else None
        self._error = Esp32UpdateError.OK
        self._expected_md5 = ""
        self._md5 = _new_md5()
        self._signed = hashlib.new(self._verifier.hash_name) if self._verifier else None
        self._buffer = bytearray()
        self._withheld = b""
        self._size = self._progress = 0
        self._command: int = Command.FLASH
        self._target = running

    @property
    def error(self) -> int:
        """The last error's number (:class:`~otaria.device.esp32_update_error.Esp32UpdateError`), 0 for none."""
        return self._error

    @property
    def is_running(self) -> bool:
        """Between a ``begin`` that succeeded and the end, or an error."""
        return self._size > 0

    @property
    def is_finished(self) -> bool:
        """All bytes are in flash; also true of an Updater that does nothing."""
        return self._progress == self._size

    @property
    def size(self) -> int:
        """What ``begin`` was told, or the partition's size; 0 while nothing runs."""
        return self._size

    @property
    def progress(self) -> int:
        """Bytes in flash, those kept back among them; those in the buffer do not count."""
        return self._progress

    @property
    def remaining(self) -> int:
        """Bytes of the size that are not in flash; wraps around where more is there than was announced."""
        return (self._size - self._progress) % _WORD_RANGE

    @property
    def buffered(self) -> int:
        """Bytes taken and not in flash."""
        return len(self._buffer)

    def error_text(self) -> str:
        """What ``printError`` prints, without the line end: the bare text, no number."""
        return UPDATE_ERROR_TEXTS[self._error]

    def clear_error(self) -> None:
        """Forget the last error; an update that it ended stays ended."""
        self._error = Esp32UpdateError.OK

    def install_signature(self, verifier: Esp32SignatureVerifier) -> bool:
        """From the next ``begin`` on take only signed images; False during an update, or where the core cannot."""
        if self.is_running or not self._behaviour.verifies_signatures:
            return False
        self._verifier = verifier
        return True

    def begin(self, size: int, command: int = Command.FLASH) -> bool:
        """Choose a partition; False with ``error`` set where there is none, or with a running update left alone.

        Nothing is erased yet: that happens as the bytes come.
        """
        if self.is_running:
            return False
        self._reset()
        self._error = Esp32UpdateError.OK
        self._expected_md5 = ""
        self._md5 = _new_md5()
        self._signed = hashlib.new(self._verifier.hash_name) if self._verifier else None
        if size == 0 or (self._verifier is not None and size < SIGNATURE_SIZE):
            return self._refuse(Esp32UpdateError.SIZE)
        if command != Command.FLASH and command not in self._behaviour.file_systems:
            return self._refuse(Esp32UpdateError.BAD_ARGUMENT)
        target = self.target_of(command)
        if target is None:
            return self._refuse(Esp32UpdateError.NO_PARTITION)
        if size != UNKNOWN_SIZE and size > target.size:
            return self._refuse(Esp32UpdateError.SIZE)
        self._size = target.size if size == UNKNOWN_SIZE else size
        self._command = command
        self._target = target
        return True

    def target_of(self, command: int) -> Partition | None:
        """The partition that such an update is written to; None where there is none but the running one."""
        if command == Command.FLASH:
            slot = self._slots.next_update(self._running)
            return None if slot == self._running else slot
        kinds = self._behaviour.file_systems.get(command, ())
        found = (self._slots.table.find(PartitionType.DATA, kind) for kind in kinds)
        return next((partition for partition in found if partition is not None), None)

    def set_md5(self, text: str) -> bool:
        """Expect this MD5 at the end, in either case; False for a text that has not 32 characters."""
        if len(text) != 32:
            return False
        self._expected_md5 = text.lower()
        return True

    def write(self, content: bytes) -> int:
        """Take the next piece; returns how much of it was taken: all, or less after an error.

        A full buffer is flushed by the next byte only, or at once when it completes the update. Only what is in flash
        is counted against the size, so a piece too many may be taken; such an update never comes to its end, unless
        that of its partition.
        """
        if self._error or not self.is_running:
            return 0
        if len(content) > self.remaining:
            self._abort(Esp32UpdateError.SPACE)
            return 0
        left = memoryview(content)
        while self.buffered + len(left) > BUFFER_SIZE:
            room = BUFFER_SIZE - self.buffered
            self._buffer += left[:room]
            if not self._flush():
                return len(content) - len(left)
            left = left[room:]
        self._buffer += left
        if self.buffered == self.remaining and not self._flush():
            return len(content) - len(left)
        return len(content)

    def write_stream(self, first_byte: int) -> Generator[int, bytes | None, int]:
        """Take the whole image from a stream, as ``writeStream`` does.

        Yields how many bytes it can take, and is sent at most as many; None when the stream stayed silent for 300 times
        100 ms, which is error 6. Returns how much was taken. A stream that brings more than was announced is read on,
        because what is in the buffer is not counted.

        Args:
            first_byte: peeked at before anything is read, by the cores that do.
        """
        if self._error or not self.is_running:
            return 0
        peeks = self._behaviour.looks_before_stream and self._command == Command.FLASH
        if peeks and first_byte != MAGIC:
            self._abort(Esp32UpdateError.MAGIC_BYTE)
            return 0
        written = 0
        while self.remaining:
            room = min(BUFFER_SIZE - self.buffered, self.remaining)
            # With a full buffer the library asks for nothing, gets nothing, and gives up in the end.
            taken = (yield room) if room else None
            if taken is None:
                self._abort(Esp32UpdateError.STREAM)
                return written
            self._buffer += taken
            if self.buffered in (self.remaining, BUFFER_SIZE) and not self._flush():
                return written
            written += len(taken)
        return written

    def abort(self) -> None:
        """Give up; what was written stays in the slot, which is not chosen."""
        self._abort(Esp32UpdateError.ABORT)

    def end(self, even_if_remaining: bool = False) -> bool:  # noqa: FBT001, FBT002 - the core's own signature
        """Check what was written and choose its slot; the reset is the caller's.

        Args:
            even_if_remaining: take what has come for the whole image.

        Returns:
            False where nothing ran, where an error came before, where bytes are missing (error 12), or where a check
            fails. A flush that fails *here* is not looked at; the checks that follow then fail in its stead.
        """
        if self._error or not self.is_running:
            return False
        if not (self.is_finished or even_if_remaining):
            self._abort(Esp32UpdateError.ABORT)
            return False
        if even_if_remaining:
            if self._buffer:
                self._flush()
            self._size = self._progress
        if self._expected_md5 and self._expected_md5 != self._md5.hexdigest():
            self._abort(Esp32UpdateError.MD5)
            return False
        if not self._is_genuine():
            self._abort(Esp32UpdateError.SIGN)
            return False
        flaw = self._activate() if self._command == Command.FLASH else None
        if flaw is not None:
            self._abort(flaw)
            return False
        self._reset()
        return True

    def _flush(self) -> bool:
        content = bytes(self._buffer)
        first = self._progress == 0
        skip = WITHHELD if first and self._command == Command.FLASH else 0
        if skip and content[0] != MAGIC:
            return self._abort(self._behaviour.wrong_magic)
        if skip:
            self._withheld = content[:WITHHELD]
        if first:
            self._tell_progress()
        if not self._make_room():
            return self._abort(Esp32UpdateError.ERASE)
        if not self._program(self._target.offset + self._progress + skip, content, skip):
            return self._abort(Esp32UpdateError.WRITE)
        self._md5.update(content)
        if self._signed is not None:
            self._signed.update(content[: max(0, self._size - SIGNATURE_SIZE - self._progress)])
        self._progress += len(content)
        self._buffer.clear()
        self._tell_progress()
        return True

    def _make_room(self) -> bool:
        """Erase a whole block where one begins and will be filled, else sectors at the edges of the image."""
        start, offset = self._target.offset, self._target.offset + self._progress
        whole_block = self.remaining >= BLOCK_SIZE and offset % BLOCK_SIZE == 0
        at_head = start % BLOCK_SIZE and offset < (start // BLOCK_SIZE + 1) * BLOCK_SIZE
        at_tail = offset >= (start + self._size) // BLOCK_SIZE * BLOCK_SIZE
        if not (whole_block or at_head or at_tail):
            return True
        sectors = BLOCK_SIZE // SECTOR_SIZE if whole_block else 1
        first = offset // SECTOR_SIZE
        inside = (first + sectors) * SECTOR_SIZE <= self._target.end
        return inside and all(self._spi.erase(sector) for sector in range(first, first + sectors))

    def _program(self, offset: int, content: bytes, skip: int) -> bool:
        """Write what follows the bytes kept back; whole words of FF are there already."""
        body = content[skip:]
        if len(content) < skip or offset + len(body) > self._target.end:
            return False  # fewer bytes than are kept back make a length that wraps around
        is_blank = len(body) % 4 == 0 and body.count(ERASED) == len(body)
        return is_blank or self._spi.write(offset, body)

    def _is_genuine(self) -> bool:
        if self._verifier is None or self._signed is None:
            return True
        start = self._target.offset + self._size - SIGNATURE_SIZE
        trailer = self._spi.read(start, SIGNATURE_SIZE) if self._size >= SIGNATURE_SIZE else None
        return trailer is not None and self._verifier.verify(self._signed.digest(), trailer)

    def _activate(self) -> Esp32UpdateError | None:
        """Write the bytes kept back, and choose the slot; what went wrong."""
        offset = self._target.offset
        enabled = bool(self._withheld) and self._spi.write(offset, self._withheld)
        if not enabled or self._spi.read(offset, 1) != bytes((MAGIC,)):
            return Esp32UpdateError.READ
        chosen = self._slots.set_boot_partition(self._target)
        return None if chosen is EspError.OK else Esp32UpdateError.ACTIVATE

    def _refuse(self, error: Esp32UpdateError) -> bool:
        self._error = error
        return False

    def _abort(self, error: Esp32UpdateError) -> bool:
        """Forget the update. Always False, for the caller to return."""
        self._reset()
        self._error = error
        return False

    def _reset(self) -> None:
        self._buffer.clear()
        self._withheld = b""
        self._size = self._progress = 0
        self._command = Command.FLASH

    def _tell_progress(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self._progress, self._size)


def _new_md5() -> hashlib._Hash:
    return hashlib.md5()  # noqa: S324 - the device's protocol
