"""The database's versions, in order: Alembic scripts that ship inside the package."""
