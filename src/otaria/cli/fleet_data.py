"""The fleet in its data folder, as the commands open it. The server may run meanwhile: the database sees to that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter

from otaria.cli.places import DATA_VARIABLE, data_folder
from otaria.errors import UnreadableFile
from otaria.store.blobs import FileBlobs
from otaria.store.database import SqlStore

__all__ = ["DataFolder", "FleetData", "open_fleet", "utc_now"]

DATABASE: Final = "otaria.sqlite3"
IMAGES: Final = "images"

DataFolder: TypeAlias = Annotated[
    Path | None,
    Parameter(name="--data", env_var=DATA_VARIABLE),
]


@dataclass(frozen=True, slots=True)
class FleetData:
    """What a command works on."""

    folder: Path
    store: SqlStore
    blobs: FileBlobs


@contextmanager
def open_fleet(folder: Path | None) -> Iterator[FleetData]:
    """Open the fleet in this folder, or in the usual one; make it where there is none.

    Raises:
        UnreadableFile: the folder or the database cannot be used.
        DatabaseBusy: another program holds the database.
    """
    folder = folder or data_folder()
    try:
        # What is in it may become secret; what is there already keeps its permissions.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnreadableFile(
            f"Cannot use {folder} as the data folder: {error.strerror or error}. Name another with --data."
        ) from error
    with SqlStore(folder / DATABASE) as store:
        yield FleetData(folder, store, FileBlobs(folder / IMAGES))


def utc_now() -> datetime:
    """The time; satisfies ``service.ports.Clock``."""
    return datetime.now(UTC)
