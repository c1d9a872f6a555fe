"""A garden valve that is never left open by an update.

The bootloader needs seconds to copy a new sketch, and a failed update can take a minute to give up. Nobody closes the
valve meanwhile. So whatever way an update comes, it closes the valve before the first byte is written, and the valve
stays closed until the next watering is due: also when the update fails.

Run it:    otaria virtual run --sketch examples/garden_valve.py
Push:      otaria push firmware.bin 127.0.0.1:8266
Upload:    curl -F firmware=@firmware.bin http://127.0.0.1:8080/update
"""

from __future__ import annotations

from otaria.sketch import ArduinoOTA, HTTPUpdateServer, Sketch, WebServer

WATERING_S = 20.0
PAUSE_S = 40.0


class GardenValve(Sketch):
    """Waters now and then, and can be updated in two ways."""

    async def setup(self) -> None:
        self.is_open = False
        self.next_change_us = 0
        # The Updater is where all ways of updating end, so these call-backs cover them all.
        self.board.update.on_start(self.make_safe)
        self.board.update.on_error(lambda code: self.board.print(f"update failed ({code}), valve stays closed\n"))

        self.ota = ArduinoOTA(self.board)
        await self.ota.begin()
        self.server = WebServer(self.board)
        HTTPUpdateServer(running=lambda: self.board.version).setup(self.server)
        await self.server.begin()
        self.board.print(f"{self.board.version}: ready\n")

    async def loop(self) -> None:
        await self.ota.handle()
        await self.server.handle_client()
        if self.board.micros() >= self.next_change_us:
            self.close() if self.is_open else self.open()

    def open(self) -> None:
        self.is_open = True
        self.board.print("valve open\n")
        self.wait(WATERING_S)

    def close(self) -> None:
        self.is_open = False
        self.board.print("valve closed\n")
        self.wait(PAUSE_S)

    def make_safe(self) -> None:
        if self.is_open:
            self.close()

    def wait(self, seconds: float) -> None:
        self.next_change_us = self.board.micros() + int(seconds * 1_000_000)
