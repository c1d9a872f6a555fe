"""A board that waits for pushes, as the Arduino core's BasicOTA example does.

Run it:    otaria virtual run --sketch examples/basic_ota.py
Push:      OTARIA_PASSWORD=admin otaria push firmware.bin 127.0.0.1:8266
"""

from __future__ import annotations

from otaria.sketch import ArduinoOTA, OtaError, Sketch


class BasicOTA(Sketch):
    """Waits for pushes and tells the serial monitor how they go."""

    async def setup(self) -> None:
        self.board.print(f"Booting {self.board.version}\n")
        self.ota = ArduinoOTA(self.board)
        self.ota.set_hostname("basic-ota")
        self.ota.set_password("admin")
        self.ota.on_start(lambda: self.board.print(f"Start updating {self.ota.get_command().name.lower()}\n"))
        self.ota.on_end(lambda: self.board.print("End\n"))
        self.ota.on_progress(self.show_progress)
        self.ota.on_error(self.show_error)
        await self.ota.begin()
        self.board.print("Ready\n")

    async def loop(self) -> None:
        await self.ota.handle()

    def show_progress(self, done: int, total: int) -> None:
        if done in (0, total):
            self.board.print(f"Progress: {done} of {total} bytes\n")

    def show_error(self, error: OtaError) -> None:
        self.board.print(f"Error {int(error)}: {error.name.lower()} failed\n")
