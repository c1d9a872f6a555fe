"""A board with a page for uploads, as the Arduino core's WebUpdater example has.

Run it:    otaria virtual run --sketch examples/web_updater.py
Upload:    curl -F firmware=@firmware.bin http://127.0.0.1:8080/update
"""

from __future__ import annotations

from otaria.sketch import HTTPUpdateServer, Sketch, WebServer


class WebUpdater(Sketch):
    """Serves the page with the two upload forms."""

    async def setup(self) -> None:
        self.server = WebServer(self.board)
        HTTPUpdateServer(running=lambda: self.board.version).setup(self.server)
        await self.server.begin()
        self.board.print(f"{self.board.version}: HTTPUpdateServer ready\n")

    async def loop(self) -> None:
        await self.server.handle_client()
