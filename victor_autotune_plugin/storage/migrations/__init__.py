"""Alembic's environment for the store's schema; `storage.migrate` runs it."""
