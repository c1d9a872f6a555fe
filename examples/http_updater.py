"""A board that asks a server for updates, as the Arduino core's httpUpdate example does.

Run a server:   otaria serve
Tell where:     export OTARIA_EXAMPLE_URL=http://127.0.0.1:8700/update/door
Run the board:  otaria virtual run --sketch examples/http_updater.py
"""

from __future__ import annotations

import os

from otaria.sketch import ESPhttpUpdate, HttpUpdateResult, Sketch

POLL_S = 10.0


class HttpUpdater(Sketch):
    """Asks at once after each start, and then every ten seconds."""

    async def setup(self) -> None:
        self.url = os.environ.get("OTARIA_EXAMPLE_URL", "http://127.0.0.1:8700/update/door")
        self.updates = ESPhttpUpdate(self.board)
        self.updates.on_start(lambda: self.board.print("HTTP update started\n"))
        self.updates.on_end(lambda: self.board.print("HTTP update finished\n"))
        self.board.print(f"{self.board.version} asks {self.url}\n")

    async def loop(self) -> None:
        result = await self.updates.update(self.url, self.board.version)
        if result is HttpUpdateResult.FAILED:
            code, text = self.updates.get_last_error(), self.updates.get_last_error_string()
            self.board.print(f"HTTP update failed ({code}): {text}\n")
        elif result is HttpUpdateResult.NO_UPDATES:
            self.board.print("No updates\n")
        await self.board.delay(POLL_S)
