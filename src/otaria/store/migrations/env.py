"""What Alembic runs: the steps, on the connection and in the transaction that the caller has opened."""

from __future__ import annotations

from alembic import context

from otaria.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can change a table only by making a new one.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
