"""Applications, releases, images, devices and deployments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "applications",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("chip", sa.String(16)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("name", name="uq_applications_name"),
    )
    op.create_table(
        "releases",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("application_id", sa.Integer, sa.ForeignKey("applications.id"), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("order", sa.Integer, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("application_id", "version", name="uq_releases_version"),
        sa.UniqueConstraint("application_id", "order", name="uq_releases_order"),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("release_id", sa.Integer, sa.ForeignKey("releases.id"), nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("family", sa.String(16)),
        sa.Column("compressed", sa.Boolean, nullable=False),
        sa.Column("signed", sa.Boolean, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("payload_size", sa.Integer, nullable=False),
        sa.Column("staging_floor", sa.Integer, nullable=False),
        sa.Column("md5", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("flash_size", sa.Integer),
        sa.Column("has_length_and_crc", sa.Boolean, nullable=False),
        sa.Column("installed_md5s", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "devices",
        sa.Column("mac", sa.String(17), primary_key=True),
        sa.Column("application_id", sa.Integer, sa.ForeignKey("applications.id")),
        sa.Column("known_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True)),
        sa.Column("check_in", sa.Text),
        sa.Column("answer", sa.String(16)),
        sa.Column("reason", sa.String(32)),
        sa.Column("explanation", sa.Text),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "deployments",
        sa.Column("mac", sa.String(17), sa.ForeignKey("devices.mac"), primary_key=True),
        sa.Column("image_id", sa.Integer, sa.ForeignKey("images.id"), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("deliveries", sa.Integer, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_images_release_id", "images", ["release_id"])
    op.create_index("ix_images_file_name", "images", ["file_name"])
    op.create_index("ix_images_sha256", "images", ["sha256"])
    op.create_index("ix_devices_application_id", "devices", ["application_id"])
