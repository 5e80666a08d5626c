"""Bring a database to the version of this code, by the migrations that ship in the package."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from coldspark.database import schema
from coldspark.errors import Conflict

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, inside the caller's transaction.

    Raises Conflict when the database was made by a newer coldspark.
    """
    version = current(connection)
    if version == schema.HEAD:
        return
    # Alembic costs some 0.3 s to import, and an existing database rarely needs it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise Conflict(
            f"the database is at version {version}, made by a newer coldspark; this one knows"
            f" versions up to {schema.HEAD}. Install the newer coldspark, or use another data"
            " directory."
        )
    command.upgrade(config, "head")


def current(connection: Connection) -> str | None:
    """Return the database's version, or None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
