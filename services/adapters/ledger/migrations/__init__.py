"""Alembic revisions of the ledger's schema, applied when a ledger is opened."""
