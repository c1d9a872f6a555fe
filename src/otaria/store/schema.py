"""The tables. A migration makes each of them; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

__all__ = ["UtcDateTime", "applications", "decisions", "deployments", "devices", "images", "metadata", "releases"]


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. SQLite keeps no time zone, so every moment is kept in UTC and comes back as such."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the signature
        """To the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the signature
        """From the database."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

applications: Final = Table(
    "applications",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("chip", String(16)),
    Column("created_at", UtcDateTime, nullable=False),
)

releases: Final = Table(
    "releases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("application_id", ForeignKey("applications.id"), nullable=False),
    Column("version", String(64), nullable=False),
    Column("order", Integer, nullable=False),
    Column("notes", Text, nullable=False),
    Column("published_at", UtcDateTime, nullable=False),
    UniqueConstraint("application_id", "version", name="uq_releases_version"),
    UniqueConstraint("application_id", "order", name="uq_releases_order"),
)

images: Final = Table(
    "images",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("release_id", ForeignKey("releases.id"), nullable=False),
    Column("file_name", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("family", String(16)),
    Column("compressed", Boolean, nullable=False),
    Column("signed", Boolean, nullable=False),
    Column("size", Integer, nullable=False),
    Column("payload_size", Integer, nullable=False),
    Column("staging_floor", Integer, nullable=False),
    Column("md5", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("flash_size", Integer),
    Column("has_length_and_crc", Boolean, nullable=False),
    Column("installed_md5s", LargeBinary, nullable=False),
    Index("ix_images_release_id", "release_id"),
    Index("ix_images_file_name", "file_name"),
    Index("ix_images_sha256", "sha256"),
    # An id is never given to a second image: deployments and caches know images by it.
    sqlite_autoincrement=True,
)

devices: Final = Table(
    "devices",
    metadata,
    Column("mac", String(17), primary_key=True),
    Column("application_id", ForeignKey("applications.id")),
    Column("known_since", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime),
    Column("check_in", Text),
    Index("ix_devices_application_id", "application_id"),
)

decisions: Final = Table(
    "decisions",
    metadata,
    Column("mac", ForeignKey("devices.mac"), primary_key=True),
    Column("mode", String(16), primary_key=True),
    Column("answer", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("explanation", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

deployments: Final = Table(
    "deployments",
    metadata,
    Column("mac", ForeignKey("devices.mac"), primary_key=True),
    Column("image_id", ForeignKey("images.id"), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("deliveries", Integer, nullable=False),
    Column("since", UtcDateTime, nullable=False),
)
