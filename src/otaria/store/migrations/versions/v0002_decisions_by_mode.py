"""A device asks about its sketch and about its file system in turn; what it was answered is kept for each.

Earlier answers are not carried over: every device asks again soon.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Give decisions a table of their own."""
    op.create_table(
        "decisions",
        sa.Column("mac", sa.String(17), sa.ForeignKey("devices.mac"), primary_key=True),
        sa.Column("mode", sa.String(16), primary_key=True),
        sa.Column("answer", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("explanation", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    for column in ("answer", "reason", "explanation", "decided_at"):
        op.drop_column("devices", column)
