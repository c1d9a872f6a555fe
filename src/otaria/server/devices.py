"""The device lane: polls and files, answered as stock update clients need it (protocols §2.2)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, assert_never

from litestar.enums import MediaType
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Scope
from structlog.typing import FilteringBoundLogger

from otaria.errors import OtariaError, UnreadableFile
from otaria.fleet.decide import Keep, Refuse, Serve
from otaria.fleet.deployment import Event
from otaria.fleet.model import Image, Release
from otaria.server.downloads import Downloads, ImageBody
from otaria.service.check_ins import Change, Outcome, check_in, check_in_for_file, find_file, record
from otaria.service.ports import Blobs, Clock, Store
from otaria.units import MacAddress
from otaria.wire.http_update import CheckIn, Mode, NotADevice, parse_check_in, serve_headers

__all__ = ["TEXT_HEADERS", "DeviceLane", "text_answer"]

TEXT_HEADERS: Final = {"X-Content-Type-Options": "nosniff"}
"""Text that quotes what devices say must never be taken for HTML."""

NOT_MODIFIED: Final = 304
NOT_FOUND: Final = 404
LOST: Final = 500


@dataclass(frozen=True, slots=True)
class DeviceLane:
    """Answers devices.

    Args:
        store: the fleet's memory.
        blobs: the images' files.
        clock: the time.
        log: where changes go.
    """

    store: Store
    blobs: Blobs
    clock: Clock
    log: FilteringBoundLogger
    downloads: Downloads = field(default_factory=Downloads)

    async def poll(self, scope: Scope, asked_for: str | None) -> ASGIApp:
        """Answer a device that asks what is new.

        Raises:
            NotADevice: it is none.
            BadInput: a header says what no device can.
        """
        said = parse_check_in(_headers(scope))
        await self.downloads.settled(said.mac)
        outcome = await asyncio.to_thread(check_in, self.store, self.clock, said, asked_for=asked_for)
        return await self._answer(outcome)

    async def file(self, scope: Scope, name: str) -> ASGIApp:
        """Answer whoever asks for a file by name; a device that has it already keeps it.

        Raises:
            NoSuchThing: no image was published under that name.
        """
        try:
            said = parse_check_in(_headers(scope))
        except NotADevice:
            release, image = await asyncio.to_thread(find_file, self.store, name)
            return await self._body(release, image, None)
        await self.downloads.settled(said.mac)
        outcome = await asyncio.to_thread(check_in_for_file, self.store, self.clock, said, name)
        return await self._answer(outcome)

    async def _answer(self, outcome: Outcome) -> ASGIApp:
        self._log(outcome)
        match outcome.decision:
            case Keep():
                return ASGIResponse(status_code=NOT_MODIFIED)
            case Refuse(explanation=explanation):
                return text_answer(NOT_FOUND, explanation)
            case Serve(release=release, image=image):
                if outcome.check_in.mode is Mode.VERSION:
                    return _version_answer(release, image)
                return await self._body(release, image, outcome.device.mac)
            case _:
                assert_never(outcome.decision)

    async def _body(self, release: Release, image: Image, mac: MacAddress | None) -> ASGIApp:
        async def ended(taken: bool) -> None:  # noqa: FBT001 - the one thing there is to say
            if mac is not None:
                await self._keep_end(mac, release, image, Event.DELIVERY if taken else Event.BREAK_OFF)

        try:
            file = await asyncio.to_thread(self.blobs.open, image.sha256)
        except UnreadableFile as error:
            await ended(taken=False)
            self.log.warning("lost", file=image.file_name, explanation=str(error))
            return text_answer(LOST, f"The server has lost the file {image.file_name!r}; its log says more.")
        headers = serve_headers(file_name=image.file_name, size=image.size, md5=image.md5, version=release.version)
        return ImageBody(headers, file, image.size, self.downloads, mac, ended)

    async def _keep_end(self, mac: MacAddress, release: Release, image: Image, event: Event) -> None:
        about = {"device": mac, "application": release.application, "release": release.version, "file": image.file_name}
        try:
            await asyncio.to_thread(record, self.store, self.clock, mac, image.id, event)
        except OtariaError as error:
            self.log.warning("not recorded", **about, event_lost=event, explanation=str(error))
            return
        self.log.info("delivered" if event is Event.DELIVERY else "broken off", **about)

    def _log(self, outcome: Outcome) -> None:
        """One line for each thing that changed."""
        device, decision = outcome.device, outcome.decision
        about = {"device": device.mac, "application": device.application}
        for change in outcome.changes:
            match change, decision:
                case Change.OFFERED, Serve():
                    self.log.info(change, **about, release=decision.release.version, file=decision.image.file_name)
                case Change.DECISION, Keep() | Refuse():
                    self.log.info(change, **about, reason=decision.reason, explanation=decision.explanation)
                case ((Change.FIRST_SEEN | Change.ENROLLED | Change.CONFIRMED), _):
                    self.log.info(change, **about, **_says(outcome.check_in))


def text_answer(status: int, sentence: str) -> ASGIResponse:
    """One paragraph of plain text."""
    return ASGIResponse(
        status_code=status,
        body=f"{sentence}\n",
        media_type=MediaType.TEXT,
        headers=TEXT_HEADERS,
    )


def _version_answer(release: Release, image: Image) -> ASGIResponse:
    """What ``getAvailableVersion()`` reads; it wants no body (protocols §2.1)."""
    headers = serve_headers(file_name=image.file_name, size=0, md5=image.md5, version=release.version)
    return ASGIResponse(headers=headers, media_type="application/octet-stream")


def _headers(scope: Scope) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]


def _says(said: CheckIn) -> dict[str, object]:
    return {"chip": said.family, "sketch_md5": said.sketch_md5, "version": said.version}
