"""Device behaviour in Python, with the calls of the Arduino libraries.

A sketch derives from :class:`Sketch`, builds what it needs in ``setup`` and looks after it in ``loop``::

    from otaria.sketch import ArduinoOTA, Sketch

    class Blink(Sketch):
        async def setup(self) -> None:
            self.ota = ArduinoOTA(self.board)
            await self.ota.begin()

        async def loop(self) -> None:
            await self.ota.handle()

``otaria virtual run --sketch blink.py`` runs it on a virtual board.
"""

from otaria.protocols.arduino_push import OtaError
from otaria.protocols.http_pull import HttpError, HttpUpdateResult
from otaria.sketch.arduino_ota import ArduinoOTA
from otaria.sketch.board import Board, Sketch
from otaria.sketch.esp import ESP
from otaria.sketch.http_update import ESPhttpUpdate
from otaria.sketch.mdns import MDNS
from otaria.sketch.restart import Restart
from otaria.sketch.update import U_FLASH, U_FS, Update
from otaria.sketch.web_server import HTTPUpdateServer, WebServer

__all__ = [
    "ESP",
    "MDNS",
    "U_FLASH",
    "U_FS",
    "ArduinoOTA",
    "Board",
    "ESPhttpUpdate",
    "HTTPUpdateServer",
    "HttpError",
    "HttpUpdateResult",
    "OtaError",
    "Restart",
    "Sketch",
    "Update",
    "WebServer",
]
