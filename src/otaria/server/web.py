"""The web application: addresses, and what becomes of errors."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.enums import MediaType
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.types import ASGIApp
from structlog.typing import FilteringBoundLogger

from otaria.errors import OtariaError, UnreadableFile
from otaria.server.devices import TEXT_HEADERS, DeviceLane, text_answer
from otaria.server.pages import start_page, url_for_sketches
from otaria.service.ports import Store

__all__ = ["web_application"]

_LANE: Final = "lane"
_STORE: Final = "store"
_URL: Final = "url"
_LOG: Final = "log"

SERVERS_OWN: Final = 500
"""From this status on a failure is the server's, and its details are for the owner only."""

AnyRequest = Request[Any, Any, Any]


def web_application(lane: DeviceLane, *, url: str) -> Litestar:
    """Join the handlers.

    Args:
        lane: answers devices.
        url: where devices reach this server.
    """
    application = Litestar(
        [start, poll, poll_for_application, file],
        exception_handlers={OtariaError: _ours, HTTPException: _frameworks, Exception: _unexpected},
        openapi_config=None,
        logging_config=None,
    )
    application.state.update({_LANE: lane, _STORE: lane.store, _URL: url, _LOG: lane.log})
    return application


@get("/", sync_to_thread=True)
def start(request: AnyRequest) -> ASGIApp:
    """Say what this is and how a sketch uses it."""
    store: Store = request.app.state[_STORE]
    with store.reading() as fleet:
        names = [application.name for application in fleet.applications()]
    url = url_for_sketches(request.headers.get("host", ""), otherwise=request.app.state[_URL])
    return text_answer(200, start_page(version=version("otaria"), url=url, applications=names))


@get("/update")
async def poll(request: AnyRequest) -> ASGIApp:
    """A device asks what is new for the application it is assigned to."""
    lane: DeviceLane = request.app.state[_LANE]
    return await lane.poll(request.scope, None)


@get("/update/{application:str}")
async def poll_for_application(request: AnyRequest, application: FromPath[str]) -> ASGIApp:
    """A device asks what is new for the application that its sketch names."""
    lane: DeviceLane = request.app.state[_LANE]
    return await lane.poll(request.scope, application)


@get("/files/{name:str}")
async def file(request: AnyRequest, name: FromPath[str]) -> ASGIApp:
    """A device or a person asks for a file."""
    lane: DeviceLane = request.app.state[_LANE]
    return await lane.file(request.scope, name)


def _ours(request: AnyRequest, error: OtariaError) -> Response[str]:
    # Whoever polls names no file of ours: one that cannot be read is the server's own trouble.
    status = SERVERS_OWN if isinstance(error, UnreadableFile) else error.http_status
    if status < SERVERS_OWN:
        return _paragraph(status, str(error))
    log: FilteringBoundLogger = request.app.state[_LOG]
    log.warning("failed", method=request.method, path=request.url.path, explanation=str(error))
    return _paragraph(status, "The server cannot answer just now; its log says why. Try again later.")


def _frameworks(_: AnyRequest, error: HTTPException) -> Response[str]:
    return _paragraph(error.status_code, error.detail)


def _unexpected(request: AnyRequest, error: Exception) -> Response[str]:
    log: FilteringBoundLogger = request.app.state[_LOG]
    log.error("failed", method=request.method, path=request.url.path, exc_info=error)
    return _paragraph(SERVERS_OWN, "Something went wrong in the server; its log says what.")


def _paragraph(status: int, sentence: str) -> Response[str]:
    return Response(f"{sentence}\n", status_code=status, media_type=MediaType.TEXT, headers=TEXT_HEADERS)
