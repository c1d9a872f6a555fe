"""What people see who open the server's address in a browser, until there is a dashboard."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = ["sketch_line", "start_page", "url_for_sketches"]

_HOST: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

_PAGE: Final = """\
Otaria {version}
Updates ESP8266 and ESP32 devices over the air.

An ESP8266 sketch fetches its updates from here with these lines:

    #include <ESP8266httpUpdate.h>
    WiFiClient client;
    {esp8266}

and an ESP32 sketch with these:

    #include <HTTPUpdate.h>
    WiFiClient client;
    {esp32}

{applications}
"""


def start_page(*, version: str, url: str, applications: list[str]) -> str:
    """The page.

    Args:
        version: of this program.
        url: where devices reach this server.
        applications: their names.
    """
    name = applications[0] if applications else "APPLICATION"
    known = (
        f"The applications here are: {', '.join(applications)}."
        if applications
        else "There is no application yet. Make one with `otaria application create NAME`."
    )
    return _PAGE.format(
        version=version,
        esp8266=sketch_line(url, name),
        esp32=sketch_line(url, name, client="httpUpdate"),
        applications=known,
    )


def sketch_line(url: str, application: str, *, client: str = "ESPhttpUpdate") -> str:
    """The line of a sketch that polls for its application."""
    return f'{client}.update(client, "{url}/update/{application}");'


def url_for_sketches(host: str, otherwise: str) -> str:
    """Where devices reach this server: where the asking browser does, unless that is this machine to itself.

    Args:
        host: the request's Host header, which may say anything.
        otherwise: the URL to fall back on.
    """
    match = _HOST.fullmatch(host)
    if match is None or _is_loopback(match["name"].strip("[]")):
        return otherwise
    return f"http://{host}"


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost" or name.lower().endswith(".localhost")
