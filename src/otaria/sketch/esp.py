"""``ESP``: what a sketch asks its chip, with the calls of the original in Python spelling."""

from __future__ import annotations

from typing import NoReturn

from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine, ResetReason
from otaria.errors import BadInput
from otaria.sketch.restart import Restart
from otaria.units import ByteCount, Md5

__all__ = ["ESP"]


class ESP:
    """The chip, as ``board.esp``.

    Some calls exist in the ESP8266's library only; on an ESP32 they raise BadInput.
    """

    def __init__(self, machine: Machine | Esp32Machine) -> None:
        self._machine = machine

    @property
    def _esp8266(self) -> Machine:
        if isinstance(self._machine, Machine):
            return self._machine
        raise BadInput("The ESP32's ESP library has no such call; the ESP8266's has.")

    def restart(self) -> NoReturn:
        """Restart the board; what is after this call never runs.

        Raises:
            Restart: always; whoever runs the board resets it.
        """
        raise Restart(ResetReason.SOFTWARE_RESTART)

    def reset(self) -> NoReturn:
        """Restart the board the hard way.

        Raises:
            Restart: always.
        """
        raise Restart(ResetReason.SOFTWARE_WATCHDOG)

    def get_chip_id(self) -> int:
        """The low three bytes of the MAC."""
        return self._esp8266.chip_id

    def get_free_heap(self) -> int:
        """Bytes of memory that are free."""
        return self._esp8266.free_heap

    def get_sketch_size(self) -> ByteCount:
        """Bytes of the running sketch."""
        return self._machine.sketch_size

    def get_sketch_md5(self) -> Md5 | None:
        """Digest of the running sketch as it lies in flash."""
        return self._machine.sketch_md5

    def get_free_sketch_space(self) -> ByteCount:
        """Room for another sketch, in bytes."""
        return self._machine.free_sketch_space

    def get_flash_chip_size(self) -> ByteCount:
        """The flash size that the running sketch was built for."""
        return self._machine.flash_chip_size

    def get_flash_chip_real_size(self) -> ByteCount:
        """What the flash chip's id says."""
        return self._machine.real_size

    def get_flash_chip_mode(self) -> int:
        """How the flash is wired (``wire.esp_image.FlashMode``)."""
        return self._esp8266.flash_mode

    def check_flash_crc(self) -> bool:
        """Whether the sketch in flash is the one that was built; another flash mode makes it fail."""
        return self._esp8266.check_flash_crc()

    def rtc_user_memory_read(self, offset: int, length: int) -> bytes | None:
        """Bytes of RTC memory, which survive a restart; None where the range is none.

        Args:
            offset: in bytes, a multiple of four; the first 128 belong to the bootloader.
            length: in bytes, a multiple of four.
        """
        return self._esp8266.rtc.read(offset, length)

    def rtc_user_memory_write(self, offset: int, content: bytes) -> bool:
        """Put bytes into RTC memory; False where the range is none."""
        return self._esp8266.rtc.write(offset, content)
