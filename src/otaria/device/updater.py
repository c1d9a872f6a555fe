"""The Updater: takes an image in pieces, stages it in flash and leaves the boot command (protocols §4.1).

::

    begin(size) -> set_md5(text) -> write(content)… -> end() -> the caller resets the machine

A sketch is staged as high as it fits below the file system, so the running one stays untouched until eboot copies.
A file system is written in place, unless the sketch was built with ATOMIC_FS_UPDATE. Every refusal sets ``error``,
fires the call-backs and forgets the update; ``error`` stays until the next ``begin`` or ``clear_error``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from typing import Final, Protocol

from otaria.device.core_version import Behaviour, Core
from otaria.device.rtc import RtcMemory
from otaria.device.spi import Spi
from otaria.device.update_error import UpdateError, update_error_text
from otaria.units import ByteCount, FlashOffset, round_up
from otaria.wire.arduino_ota import Command
from otaria.wire.eboot import BootCommand
from otaria.wire.esp_image import GZIP_MAGIC, MAGIC, FlashMode, flash_size_of
from otaria.wire.layouts import SECTOR_SIZE, Layout

__all__ = ["UNKNOWN_FLASH_MODE", "Board", "SignatureVerifier", "Updater", "known_flash_mode"]

LARGE_BUFFER: Final = SECTOR_SIZE
SMALL_BUFFER: Final = 256
ENOUGH_HEAP: Final = 2 * SECTOR_SIZE
"""Bytes of free heap above which the Updater takes its large buffer."""

UART_BOOT_MODE: Final = 1
"""The strap value under which a restart would end in the ROM's serial loader."""

UNKNOWN_FLASH_MODE: Final = 0xFF
"""What the core makes of a mode byte above 3."""

MODE_OFFSET: Final = 2
LENGTH_WORD: Final = 4
"""The last four bytes of a signed file: the signature's length."""


class SignatureVerifier(Protocol):
    """What ``installSignature`` is given."""

    @property
    def length(self) -> int:
        """Bytes of a signature; 0 for a scheme that needs no trailer."""
        ...

    def verify(self, digest: bytes, signature: bytes) -> bool:
        """Whether the signature is right for the payload's SHA-256."""
        ...


class Board(Protocol):
    """What the Updater asks the machine it runs on."""

    @property
    def core(self) -> Core:
        """The generation of the core."""
        ...

    @property
    def layout(self) -> Layout:
        """Where everything lies in flash."""
        ...

    @property
    def real_size(self) -> ByteCount:
        """The flash size that the chip's own id states."""
        ...

    @property
    def flash_chip_size(self) -> ByteCount:
        """The flash size that the running image was built for."""
        ...

    @property
    def flash_mode(self) -> int:
        """The running image's flash mode."""
        ...

    @property
    def sketch_size(self) -> ByteCount:
        """Bytes of the running image."""
        ...

    @property
    def boot_strap_mode(self) -> int:
        """The boot mode latched from the strapping pins."""
        ...

    @property
    def free_heap(self) -> int:
        """Bytes of memory left."""
        ...

    @property
    def atomic_file_system(self) -> bool:
        """Whether the sketch was built with ATOMIC_FS_UPDATE."""
        ...

    @property
    def flash_map(self) -> bool:
        """Whether the sketch was built with FLASH_MAP_SUPPORT."""
        ...


class Updater:
    """The running sketch's ``Update`` object.

    Attributes:
        on_start: called by a ``begin`` that succeeds.
        on_end: called whenever an update is forgotten, well or badly: also by ``begin`` before ``on_start``, and
            once more by an ``end`` that finds nothing running.
        on_progress: called by :meth:`write_stream` with the bytes in flash and the size.
        on_error: called with the error number, before ``on_end``.
    """

    def __init__(self, board: Board, spi: Spi, rtc: RtcMemory) -> None:
        self.on_start: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.on_progress: Callable[[int, int], None] | None = None
        self.on_error: Callable[[int], None] | None = None
        self._board = board
        self._spi = spi
        self._rtc = rtc
        self._verifier: SignatureVerifier | None = None
        self._error = UpdateError.OK
        self._expected_md5 = ""
        self._md5 = _new_md5()
        self._buffer = bytearray()
        self._buffer_size = LARGE_BUFFER
        self._start = self._current = self._size = 0
        self._command: int = Command.FLASH

    @property
    def error(self) -> int:
        """The last error's number (:class:`~otaria.device.update_error.UpdateError`), 0 for none."""
        return self._error

    @property
    def is_running(self) -> bool:
        """Between a ``begin`` that succeeded and the end, or an error."""
        return self._size > 0

    @property
    def is_finished(self) -> bool:
        """All bytes are in flash; also true of an Updater that does nothing."""
        return self._current == self._start + self._size

    @property
    def size(self) -> int:
        """What ``begin`` was told; 0 while nothing runs."""
        return self._size

    @property
    def progress(self) -> int:
        """Bytes in flash; those in the buffer do not count."""
        return self._current - self._start

    @property
    def remaining(self) -> int:
        """Bytes of the size that are not in flash."""
        return self._size - self.progress

    @property
    def buffered(self) -> int:
        """Bytes taken and not in flash; ``remaining - buffered`` is what :meth:`write` still accepts."""
        return len(self._buffer)

    def error_text(self) -> str:
        """What ``printError`` prints, without the line end: ``ERROR[n]: text``."""
        return update_error_text(
            self._error,
            plain=self._behaviour.plain_texts,
            expected=self._expected_md5,
            calculated=self._md5.hexdigest(),
            real=self._board.real_size,
            configured=self._board.flash_chip_size,
        )

    def clear_error(self) -> None:
        """Forget the last error; an update that it ended stays ended."""
        self._error = UpdateError.OK

    def install_signature(self, verifier: SignatureVerifier) -> None:
        """From now on accept only signed images; the MD5 is not looked at any more.

        Without effect on a core that has no ``installSignature``.
        """
        if self._behaviour.verifies_signatures:
            self._verifier = verifier

    def begin(self, size: int, command: int = Command.FLASH) -> bool:
        """Make room for an image; False with ``error`` set where there is none or something else forbids it."""
        if self.is_running:
            if self._behaviour.begin_breaks_running_update:
                self._fail(UpdateError.RUNNING_ALREADY)
            return False
        obstacle = self._obstacle(size)
        if obstacle is not None:
            return self._fail(obstacle)
        self._reset()
        self._error = UpdateError.OK
        self._expected_md5 = ""
        self._md5 = _new_md5()
        if command not in (Command.FLASH, Command.FILESYSTEM):
            return self._fail(UpdateError.UNKNOWN_COMMAND)
        start = self._start_address(size, command)
        if start is None:
            return self._fail(UpdateError.SPACE)
        return self._start_update(start, size, command)

    def set_md5(self, text: str) -> bool:
        """Expect this MD5 at the end; False for a text that has not 32 characters, and the old one stays."""
        if len(text) != 32:
            return False
        self._expected_md5 = text
        return True

    def write(self, content: bytes) -> int:
        """Take the next piece; returns how much of it was taken: all, or less after an error.

        A full buffer is flushed by the next byte only, or at once when it completes the update.
        """
        if self._error or not self.is_running:
            return 0
        if self.buffered + len(content) > self.remaining:
            self._fail(UpdateError.SPACE)
            return 0
        left = memoryview(content)
        while self.buffered + len(left) > self._buffer_size:
            room = self._buffer_size - self.buffered
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

        Yields how many bytes it can take, and is sent at most as many; None when the stream stayed silent for the
        time-out, which is error 6. Returns how much was taken.

        Args:
            first_byte: peeked at before anything is read; a sketch that cannot be one is error 10 right away.
        """
        if self._error or not self.is_running:
            return 0
        if self._command == Command.FLASH and first_byte not in (MAGIC, *self._gzip_magic[:1]):
            self._fail(UpdateError.MAGIC_BYTE)
            self._reset()
            return 0
        self._tell_progress()
        written = 0
        while self.remaining:
            taken = yield min(self._buffer_size, self.remaining) - self.buffered
            if taken is None:
                self._fail(UpdateError.STREAM)
                self._reset()
                return written
            self._buffer += taken
            if self.buffered in (self.remaining, self._buffer_size) and not self._flush():
                return written
            written += len(taken)
            self._tell_progress()
        self._tell_progress()
        return written

    def end(self, even_if_remaining: bool = False) -> bool:  # noqa: FBT001, FBT002 - the core's own signature
        """Check what was staged and leave the boot command; the reset is the caller's.

        Args:
            even_if_remaining: take what has come for the whole image.

        Returns:
            False where nothing ran, where an error came before, where bytes are missing (``error`` stays 0), or
            where a check fails. A flush that fails *here* is not looked at: the update still ends well, with
            ``error`` set and a boot command that copies nothing (as the core's own code does).
        """
        if not self.is_running:
            self._reset()
            return False
        if self.progress == 0 and self._knows(UpdateError.NO_DATA):
            self._fail(UpdateError.NO_DATA)
        if self._error or not (self.is_finished or even_if_remaining):
            self._reset()
            return False
        if even_if_remaining:
            if self._buffer:
                self._flush()
            self._size = self.progress
        if not self._is_genuine():
            return False
        flaw = self._flaw()
        if flaw is not None:
            self._fail(flaw)
            self._reset()
            return False
        self._leave_boot_command()
        self._reset()
        return True

    @property
    def _behaviour(self) -> Behaviour:
        return self._board.core.behaviour

    @property
    def _gzip_magic(self) -> bytes:
        return GZIP_MAGIC if self._behaviour.takes_gzip else b""

    def _knows(self, error: UpdateError) -> bool:
        return error <= self._behaviour.last_error

    def _obstacle(self, size: int) -> UpdateError | None:
        """What forbids any update, in the order in which ``begin`` looks."""
        board = self._board
        if self._behaviour.checks_boot_mode and board.boot_strap_mode == UART_BOOT_MODE:
            return UpdateError.BOOTSTRAP
        if size == 0:
            return UpdateError.SIZE
        return UpdateError.FLASH_CONFIG if board.flash_chip_size > board.real_size else None

    def _start_address(self, size: int, command: int) -> FlashOffset | None:
        """Where the first byte goes; None where there is no room."""
        layout = self._board.layout
        if command == Command.FILESYSTEM:
            if round_up(size, SECTOR_SIZE) > layout.file_system_size:
                return None
            if not self._board.atomic_file_system:
                return layout.file_system_start
        start = layout.staging_start(size)
        return start if start >= round_up(self._board.sketch_size, SECTOR_SIZE) else None

    def _start_update(self, start: int, size: int, command: int) -> bool:
        heap = self._board.free_heap
        small = self._behaviour.saves_memory and heap <= ENOUGH_HEAP
        self._buffer_size = SMALL_BUFFER if small else LARGE_BUFFER
        if heap < self._buffer_size:
            return self._fail(UpdateError.OOM)
        self._start = self._current = start
        self._size = size
        self._command = command
        self._call(self.on_start)
        return True

    def _flush(self) -> bool:
        if self._current % SECTOR_SIZE == 0 and not self._spi.erase(self._current // SECTOR_SIZE):
            return self._fail(UpdateError.ERASE)
        in_flash, in_digest = self._two_views(bytes(self._buffer))
        if not self._spi.write(self._current, in_flash):
            return self._fail(UpdateError.WRITE)
        self._md5.update(in_digest)
        self._current += len(in_flash)
        self._buffer.clear()
        return True

    def _two_views(self, piece: bytes) -> tuple[bytes, bytes]:
        """The piece as flash gets it and as the MD5 sees it.

        They differ in the mode byte: flash gets the running device's own. The MD5 sees what was sent, save for a
        mode above 3, which comes back as FF, so that the MD5 of such an image never holds.
        """
        first = self._current == self._start and len(piece) > MODE_OFFSET
        if not (first and self._patches_mode() and piece[0] != GZIP_MAGIC[0]):
            return piece, piece
        ours, theirs = self._board.flash_mode, known_flash_mode(piece[MODE_OFFSET])
        if ours == theirs:
            return piece, piece
        return _with_mode(piece, ours), _with_mode(piece, theirs)

    def _patches_mode(self) -> bool:
        if self._command == Command.FLASH:
            return self._behaviour.patches_flash_mode
        return self._behaviour.patches_file_system

    def _is_genuine(self) -> bool:
        if self._verifier is not None:
            payload = self._signed_payload(self._verifier)
            if payload is None:
                self._fail(UpdateError.SIGN)
                self._reset()
                return False
            self._size = payload if self._behaviour.cuts_signature else self._size
        elif self._expected_md5 and self._expected_md5.lower() != self._md5.hexdigest():
            return self._fail(UpdateError.MD5)
        return True

    def _signed_payload(self, verifier: SignatureVerifier) -> int | None:
        """Bytes of the payload, where what stands in flash ends in a good signature of it."""
        payload, length = self._size, verifier.length
        if length:
            word = self._spi.read(self._start + self._size - LENGTH_WORD, LENGTH_WORD) or b""
            payload -= length + LENGTH_WORD
            if int.from_bytes(word, "little") != length or payload < 0:
                return None
        content = self._spi.read(self._start, payload)
        signature = self._spi.read(self._start + payload, length)
        if content is None or signature is None:
            return None
        return payload if verifier.verify(hashlib.sha256(content).digest(), signature) else None

    def _flaw(self) -> UpdateError | None:
        """What is wrong with the beginning of what was staged."""
        if self._command != Command.FLASH:
            return None
        head = self._spi.read(self._start, 4)
        if head is None:
            return UpdateError.READ
        if self._gzip_magic and head.startswith(self._gzip_magic):
            return None
        if head[0] != MAGIC:
            return UpdateError.MAGIC_BYTE
        too_large = flash_size_of(head[3]) > self._board.real_size
        return UpdateError.NEW_FLASH_CONFIG if too_large and not self._board.flash_map else None

    def _leave_boot_command(self) -> None:
        """Tell eboot what to copy. The words that a real Updater leaves to chance are zero here."""
        if self._command == Command.FLASH:
            self._rtc.leave_boot_command(BootCommand.copy_raw(self._start, 0, self._size))
        elif self._board.atomic_file_system:
            destination = self._board.layout.file_system_start
            self._rtc.leave_boot_command(BootCommand.copy_raw(self._start, destination, self._size))

    def _fail(self, error: UpdateError) -> bool:
        """Set the error and forget the update. Always False, for the caller to return.

        An error that this core does not know comes only from ``begin``, when there is nothing to forget.
        """
        if self._knows(error):
            self._error = error
            if self._behaviour.has_callbacks and self.on_error is not None:
                self.on_error(error)
            self._reset()
        return False

    def _reset(self) -> None:
        self._buffer.clear()
        self._start = self._current = self._size = 0
        self._command = Command.FLASH
        self._call(self.on_end)

    def _call(self, callback: Callable[[], None] | None) -> None:
        if self._behaviour.has_callbacks and callback is not None:
            callback()

    def _tell_progress(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.progress, self._size)


def _new_md5() -> hashlib._Hash:
    return hashlib.md5()  # noqa: S324 - the device's protocol


def known_flash_mode(byte: int) -> int:
    """The mode as the core has it: :data:`UNKNOWN_FLASH_MODE` for a byte above 3."""
    return byte if byte <= max(FlashMode) else UNKNOWN_FLASH_MODE


def _with_mode(piece: bytes, mode: int) -> bytes:
    return piece[:MODE_OFFSET] + bytes((mode,)) + piece[MODE_OFFSET + 1 :]
