"""Opening the SQLite database: how it is configured, brought up to date, and what its failures are called here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from otaria.errors import DatabaseBusy, OtariaError, UnreadableFile

__all__ = ["BUSY_TIMEOUT_S", "HEAD", "foreign_errors", "open_engine", "writing_engine"]

BUSY_TIMEOUT_S: Final = 5.0
"""How long to wait for another program. A command holds the lock for milliseconds; a device's patience is 8 s."""

HEAD: Final = "0002"
"""The newest step in ``migrations``; knowing it saves every command the loading of Alembic."""

_BEGIN: Final = "otaria_begin"

_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def open_engine(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Engine:
    """Open the database, make it if there is none, and bring its tables up to date.

    Raises:
        DatabaseBusy: another program holds it.
        UnreadableFile: it cannot be opened, is damaged, or was written by a newer version.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        pool_timeout=busy_timeout_s,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    try:
        with foreign_errors(path):
            _bring_up_to_date(engine, path)
    except OtariaError:
        engine.dispose()
        raise
    return engine


def writing_engine(engine: Engine) -> Engine:
    """The same database, in transactions that hold the write lock from their beginning.

    One that took it only when it first writes could find its snapshot outdated and fail without waiting.
    """
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


@contextmanager
def foreign_errors(path: Path) -> Iterator[None]:
    """Turn the database's own errors into ours."""
    try:
        yield
    except PoolExhausted as error:
        raise _busy(path) from error
    except DBAPIError as error:
        raise _translated(path, error) from error


def _busy(path: Path) -> DatabaseBusy:
    return DatabaseBusy(
        f"Another program has held the database {path} for longer than we wait. Try again; if that does not help, "
        "see what has it open (a backup, a database browser, a second otaria) and close that."
    )


def _translated(path: Path, error: DBAPIError) -> OtariaError:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return _busy(path)
    if code in _DAMAGED:
        return UnreadableFile(
            f"{path} is damaged or no database ({error.orig}). Restore it from a backup, or move it away to begin anew."
        )
    return UnreadableFile(
        f"The database {path} cannot be used: {error.orig}. Look at its folder's owner and free space."
    )


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own idea of when a transaction begins is switched off; see _begin.
    connection.isolation_level = None
    # A reader never waits for a writer, nor a writer for a reader.
    connection.execute("PRAGMA journal_mode = WAL")
    # What was acknowledged survives a power cut, at the price of one flush to disk per transaction.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    options: dict[str, Any] = dict(connection.get_execution_options())
    connection.exec_driver_sql(options.get(_BEGIN, "BEGIN"))


def _bring_up_to_date(engine: Engine, path: Path) -> None:
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    from alembic import command  # noqa: PLC0415 - slow to load, and needed once in a database's life
    from alembic.config import Config  # noqa: PLC0415 - as above
    from alembic.util import CommandError  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", "otaria.store:migrations")
    with writing_engine(engine).begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, HEAD)
        except CommandError as error:
            raise UnreadableFile(
                f"The database {path} was written by a newer version of Otaria ({error}). Install that version."
            ) from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
