"""The fleet's memory in a database; satisfies ``service.ports.Store``."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import msgspec
from sqlalchemy import Connection, Row, Select, Table, delete, func, insert, select, update

from otaria.errors import DatabaseBusy
from otaria.fleet.deployment import Deployment, State
from otaria.fleet.device import Device, PastDecision
from otaria.fleet.model import Application, Catalogue, Image, ImageId, Release
from otaria.fleet.reasons import Answer, Reason
from otaria.store.opening import BUSY_TIMEOUT_S, foreign_errors, open_engine, writing_engine
from otaria.store.schema import applications, decisions, deployments, devices, images, releases
from otaria.units import ByteCount, FlashOffset, MacAddress, Md5, Sha256
from otaria.wire.chips import ChipFamily
from otaria.wire.http_update import CheckIn, Mode
from otaria.wire.image_file import ImageKind

__all__ = ["FleetView", "SqlStore"]


class SqlStore:
    """A SQLite database of one fleet.

    Args:
        path: the database file; made if it is not there.
        busy_timeout_s: how long to wait for another program.
    """

    def __init__(self, path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = busy_timeout_s
        self._engine = open_engine(path, busy_timeout_s=busy_timeout_s)
        self._writing_engine = writing_engine(self._engine)
        # SQLite makes writers wait by trying again and again; within this process they can form a queue.
        self._writer = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[FleetView]:
        """Look at the fleet."""
        with foreign_errors(self._path), self._engine.begin() as connection:
            yield FleetView(connection)

    @contextmanager
    def writing(self) -> Iterator[FleetView]:
        """Change the fleet, all or nothing."""
        if not self._writer.acquire(timeout=self._timeout_s):
            raise DatabaseBusy(f"Too many are writing to the database {self._path} at once. Try again.")
        try:
            with foreign_errors(self._path), self._writing_engine.begin() as connection:
                yield FleetView(connection)
        finally:
            self._writer.release()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FleetView:
    """The fleet in one transaction; satisfies ``service.ports.Writing``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def application(self, name: str) -> Application | None:
        """The application of that name."""
        row = self._connection.execute(select(applications).where(applications.c.name == name)).one_or_none()
        return None if row is None else _application(row)

    def applications(self) -> tuple[Application, ...]:
        """All applications, by name."""
        return tuple(map(_application, self._connection.execute(select(applications).order_by(applications.c.name))))

    def catalogue(self, application: str | None) -> Catalogue:
        """The application's releases; nothing for None or a name that nothing has."""
        return Catalogue(self._releases(_RELEASES.where(applications.c.name == application)))

    def newest_file(self, file_name: str) -> tuple[Release, Image] | None:
        """The image published last under that file name, in whatever application."""
        newest = select(images).where(images.c.file_name == file_name).order_by(images.c.id.desc()).limit(1)
        row = self._connection.execute(newest).one_or_none()
        if row is None:
            return None
        (release,) = self._releases(_RELEASES.where(releases.c.id == row.release_id))
        return release, _image(row)

    def releases_with(self, sha256: Sha256) -> tuple[Release, ...]:
        """The releases, of any application, that have an image with this content."""
        having = select(images.c.release_id).where(images.c.sha256 == sha256)
        return self._releases(_RELEASES.where(releases.c.id.in_(having)))

    def device(self, mac: MacAddress) -> Device | None:
        """The device with that MAC."""
        found = self._devices(mac)
        return found[0] if found else None

    def devices(self) -> tuple[Device, ...]:
        """All devices, by MAC."""
        return self._devices(None)

    def count_unassigned(self) -> int:
        """How many devices have no application."""
        count = select(func.count()).select_from(devices).where(devices.c.application_id.is_(None))
        return self._connection.execute(count).scalar_one()

    def add_application(self, application: Application) -> None:
        """Make one; its name must be free."""
        self._connection.execute(
            insert(applications).values(name=application.name, chip=application.chip, created_at=application.created_at)
        )

    def add_release(self, release: Release) -> None:
        """Make one, without its images; its version must be free in its application."""
        self._connection.execute(
            insert(releases).values(
                application_id=_application_id(release.application),
                version=release.version,
                order=release.order,
                notes=release.notes,
                published_at=release.published_at,
            )
        )

    def add_image(self, release: Release, image: Image) -> Image:
        """Give a release an image; returns it with its own id."""
        release_id = _RELEASE_IDS.where(applications.c.name == release.application).where(
            releases.c.version == release.version
        )
        values = {name: getattr(image, name) for name in _IMAGE_COLUMNS}
        result = self._connection.execute(
            insert(images).values(
                values | {"release_id": release_id.scalar_subquery(), "installed_md5s": _pack(image.installed_md5s)}
            )
        )
        (image_id,) = result.inserted_primary_key or (None,)
        row = self._connection.execute(select(images).where(images.c.id == image_id)).one()
        return _image(row)

    def save_device(self, device: Device) -> None:
        """Keep a device as it is now, without its decisions and deployments."""
        values = {
            "application_id": _application_id(device.application),
            "known_since": device.known_since,
            "last_seen": device.last_seen,
            "check_in": None
            if device.check_in is None
            else msgspec.json.encode(device.check_in, enc_hook=str).decode(),
        }
        self._put(devices, {"mac": device.mac}, values)

    def save_decision(self, mac: MacAddress, decision: PastDecision) -> None:
        """Keep what a device was answered, in place of the last answer to the same question."""
        key = {"mac": mac, "mode": decision.mode}
        values = {
            "answer": decision.answer,
            "reason": decision.reason,
            "explanation": decision.explanation,
            "at": decision.at,
        }
        self._put(decisions, key, values)

    def save_deployment(self, mac: MacAddress, deployment: Deployment) -> None:
        """Keep a deployment as it is now."""
        values = {"state": deployment.state, "deliveries": deployment.deliveries, "since": deployment.since}
        self._put(deployments, {"mac": mac, "image_id": deployment.image}, values)

    def remove_deployments(self, mac: MacAddress, images: frozenset[ImageId]) -> None:
        """Forget what was offered to a device."""
        chosen = deployments.c.image_id.in_(images)
        self._connection.execute(delete(deployments).where(deployments.c.mac == mac, chosen))

    def _put(self, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
        changed = self._connection.execute(update(table).filter_by(**key).values(values))
        if changed.rowcount == 0:
            self._connection.execute(insert(table).values(values | key))

    def _releases(self, query: Select[Any]) -> tuple[Release, ...]:
        rows = self._connection.execute(query.order_by(releases.c.application_id, releases.c.order)).all()
        wanted = select(images).where(images.c.release_id.in_([row.id for row in rows])).order_by(images.c.id)
        by_release: dict[int, list[Image]] = {}
        for row in self._connection.execute(wanted):
            by_release.setdefault(row.release_id, []).append(_image(row))
        return tuple(_release(row, by_release.get(row.id, [])) for row in rows)

    def _devices(self, mac: MacAddress | None) -> tuple[Device, ...]:
        """One device, or all of them where None is asked for."""
        of_deployments, of_decisions = self._by_device(deployments, mac), self._by_device(decisions, mac)
        rows = self._connection.execute(_only(_DEVICES, devices, mac).order_by(devices.c.mac))
        return tuple(_device(row, of_decisions.get(row.mac, []), of_deployments.get(row.mac, [])) for row in rows)

    def _by_device(self, table: Table, mac: MacAddress | None) -> dict[str, list[Row[Any]]]:
        grouped: dict[str, list[Row[Any]]] = {}
        for row in self._connection.execute(_only(select(table), table, mac).order_by(*table.primary_key)):
            grouped.setdefault(row.mac, []).append(row)
        return grouped


_RELEASES = select(releases, applications.c.name.label("application")).join_from(releases, applications)
_RELEASE_IDS = select(releases.c.id).join_from(releases, applications)
_DEVICES = select(devices, applications.c.name.label("application")).join_from(devices, applications, isouter=True)
_IMAGE_COLUMNS = [column.name for column in images.c if column.name not in {"id", "release_id", "installed_md5s"}]


def _only(query: Select[Any], table: Table, mac: MacAddress | None) -> Select[Any]:
    return query if mac is None else query.where(table.c.mac == mac)


def _application_id(name: str | None) -> Any:
    if name is None:
        return None
    return select(applications.c.id).where(applications.c.name == name).scalar_subquery()


def _application(row: Row[Any]) -> Application:
    return Application(row.name, _family(row.chip), row.created_at)


def _family(name: str | None) -> ChipFamily | None:
    return None if name is None else ChipFamily(name)


def _release(row: Row[Any], of: Sequence[Image]) -> Release:
    return Release(row.application, row.version, row.order, row.notes, row.published_at, tuple(of))


def _image(row: Row[Any]) -> Image:
    return Image(
        id=ImageId(row.id),
        file_name=row.file_name,
        kind=ImageKind(row.kind),
        family=_family(row.family),
        compressed=row.compressed,
        signed=row.signed,
        size=ByteCount(row.size),
        payload_size=ByteCount(row.payload_size),
        staging_floor=FlashOffset(row.staging_floor),
        md5=Md5(row.md5),
        sha256=Sha256(row.sha256),
        flash_size=None if row.flash_size is None else ByteCount(row.flash_size),
        has_length_and_crc=row.has_length_and_crc,
        installed_md5s=_unpack(row.installed_md5s),
    )


def _pack(md5s: frozenset[Md5]) -> bytes:
    return b"".join(sorted(bytes.fromhex(md5) for md5 in md5s))


@lru_cache(maxsize=1024)
def _unpack(packed: bytes) -> frozenset[Md5]:
    """The digests of one image. It is asked for at every check-in, and an image never changes."""
    return frozenset(Md5(packed[start : start + 16].hex()) for start in range(0, len(packed), 16))


def _device(row: Row[Any], of_decisions: Sequence[Row[Any]], of_deployments: Sequence[Row[Any]]) -> Device:
    return Device(
        mac=MacAddress(row.mac),
        application=row.application,
        known_since=row.known_since,
        last_seen=row.last_seen,
        check_in=None if row.check_in is None else _check_in(row.check_in),
        decisions=tuple(map(_past_decision, of_decisions)),
        deployments=tuple(map(_deployment, of_deployments)),
    )


def _check_in(text: str) -> CheckIn:
    # Only the canonical values with a form of their own (MAC, MD5) come to the hook.
    def parse(kind: type[MacAddress | Md5], value: str) -> MacAddress | Md5:
        return kind.parse(value)

    return msgspec.json.decode(text, type=CheckIn, dec_hook=parse)


def _past_decision(row: Row[Any]) -> PastDecision:
    return PastDecision(Mode(row.mode), Answer(row.answer), Reason(row.reason), row.explanation, row.at)


def _deployment(row: Row[Any]) -> Deployment:
    return Deployment(ImageId(row.image_id), State(row.state), row.deliveries, row.since)
