"""Alembic's environment: migrate in the connection and the transaction that `storage.migrate` hands over."""

from __future__ import annotations

from alembic import context

from victor_autotune_plugin.storage.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
