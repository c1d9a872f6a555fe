"""Uploads one image through a device's own web page, over sockets."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from otaria.aio.driver import Surroundings, run_stream
from otaria.aio.streams import connect
from otaria.errors import BadInput
from otaria.protocols.exchange import Address
from otaria.protocols.web_upload import Login, upload_image

__all__ = ["Page", "upload_to_page"]

CONNECT_TIMEOUT_S: Final = 10.0
"""A device whose loop() is busy accepts late."""


@dataclass(frozen=True, slots=True)
class Page:
    """A device's update page.

    Args:
        address: host and port.
        path: where the page is.
        user: from ``http://user@host/``; empty where the URL names none.
    """

    address: Address
    path: str
    user: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``http://[user@]host[:port][/path]``; the path is ``/update`` where none is given.

        Raises:
            BadInput: it is no such address, or it holds a password, which others could read on the command line.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 80
        except ValueError as error:
            raise BadInput(f"{url!r} is no address: {error}.") from None
        if parts.scheme != "http" or not host:
            raise BadInput(f"{url!r} is no address of a device's update page; write http://HOST/update.")
        if parts.password is not None:
            raise BadInput("A password does not belong on the command line: put it into OTARIA_PASSWORD.")
        return cls(
            (host, port), parts.path if parts.path not in {"", "/"} else "/update", unquote(parts.username or "")
        )

    def __str__(self) -> str:
        host, port = self.address
        return host if port == 80 else f"{host}:{port}"


async def upload_to_page(
    image: bytes, page: Page, *, file_system: bool = False, password: str | None = None, around: Surroundings
) -> None:
    """Upload an image and return once the page says that it is installed; the device restarts then.

    Args:
        image: the file.
        page: where to.
        file_system: the image is a file system.
        password: belongs to the page's user; None where the page asks for none.
        around: who watches the progress.

    Raises:
        Unreachable: nobody accepts a connection there.
        Denied: user or password are missing or wrong.
        Refused: the device said why it will not.
        ProtocolViolation: what answered is no update page, or the connection broke.
        OutcomeUnknown: everything was sent and no verdict came.
    """
    exchange = upload_image(
        image,
        name=str(page),
        host=str(page),
        boundary=f"otaria-{secrets.token_hex(16)}",
        path=page.path,
        file_system=file_system,
        login=None if password is None else Login(page.user, password),
    )
    stream = await connect(page.address, CONNECT_TIMEOUT_S)
    try:
        await run_stream(exchange, stream, around)
    finally:
        await stream.close()
