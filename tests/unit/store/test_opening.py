from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from tests.fleet_bench import MAC, NOW

from otaria.errors import DatabaseBusy, UnreadableFile
from otaria.fleet.model import Application
from otaria.store import migrations
from otaria.store.database import SqlStore
from otaria.store.opening import HEAD, open_engine
from otaria.store.schema import metadata

DOOR = Application("door", None, NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.sqlite3"


def test_the_migrations_make_exactly_the_tables_of_the_schema(path: Path) -> None:
    engine = open_engine(path)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_newest_migration_is_the_one_that_the_program_expects() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == HEAD


def test_a_database_is_opened_again_with_what_is_in_it(path: Path) -> None:
    with SqlStore(path) as store, store.writing() as fleet:
        fleet.add_application(DOOR)
    with SqlStore(path) as store, store.reading() as fleet:
        assert fleet.applications() == (DOOR,)


def test_a_database_of_every_earlier_step_is_brought_up_to_date(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", "otaria.store:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO applications (id, name, created_at) VALUES (1, 'door', '2026-07-01')"))
        connection.execute(
            text("INSERT INTO devices (mac, known_since, answer) VALUES ('18:FE:34:AA:BB:CC', '2026-07-01', 'keep')")
        )
    engine.dispose()
    with SqlStore(path) as store, store.reading() as fleet:
        assert [application.name for application in fleet.applications()] == ["door"]
        assert [(device.mac, device.decisions) for device in fleet.devices()] == [(MAC, ())]


def test_what_was_committed_is_flushed_to_disk_and_readers_do_not_block(path: Path) -> None:
    engine = open_engine(path)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2  # FULL
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    engine.dispose()


def test_a_database_that_another_program_holds_is_busy_and_stays_as_it_is(path: Path) -> None:
    with SqlStore(path, busy_timeout_s=0.1) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        held = pytest.raises(DatabaseBusy, match=r"Another program has held the database .* see what has it open")
        with held, store.writing() as fleet:
            fleet.add_application(DOOR)
        other.execute("ROLLBACK")
        other.close()
        with store.reading() as fleet:
            assert fleet.applications() == ()


def test_a_database_that_is_held_while_it_is_made_is_busy(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseBusy):
        SqlStore(path, busy_timeout_s=0.1)
    other.close()


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"these are my notes, " * 100)
    with pytest.raises(UnreadableFile, match="is damaged or no database"):
        SqlStore(path)
    assert path.read_bytes() == b"these are my notes, " * 100


def test_a_damaged_database_is_named(path: Path) -> None:
    with SqlStore(path) as store, store.writing() as fleet:
        fleet.add_application(DOOR)
    content = bytearray(path.read_bytes())
    content[100:] = b"\xa5" * (len(content) - 100)
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="is damaged or no database"):
        SqlStore(path)


def test_a_database_in_a_folder_that_is_not_there_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="cannot be used: unable to open database file"):
        SqlStore(tmp_path / "missing" / "fleet.sqlite3")


def test_a_folder_in_the_databases_place_cannot_be_used(path: Path) -> None:
    path.mkdir()
    with pytest.raises(UnreadableFile, match="cannot be used"):
        SqlStore(path)
    assert stat.S_ISDIR(path.stat().st_mode)


def test_a_database_of_a_newer_version_is_left_alone(path: Path) -> None:
    with SqlStore(path):
        pass
    with sqlite3.connect(path) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.close()
    with pytest.raises(UnreadableFile, match="was written by a newer version of Otaria"):
        SqlStore(path)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    other.close()


def test_a_writer_that_waits_too_long_for_another_of_this_program_is_told(path: Path) -> None:
    refused: list[DatabaseBusy] = []
    with SqlStore(path, busy_timeout_s=0.05) as store:

        def write() -> None:
            try:
                with store.writing():
                    pass
            except DatabaseBusy as error:
                refused.append(error)

        with store.writing():
            other = threading.Thread(target=write)
            other.start()
            other.join()
        assert "Too many are writing" in str(refused[0])
        with store.writing() as fleet:
            fleet.add_application(DOOR)
