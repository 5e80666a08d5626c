"""Bring a database to the version of this code, by the migrations that ship in the package."""

from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from coldspark.database import schema
from coldspark.errors import Conflict

_SCRIPTS = Path(__file__).parent / "migrations"
_VERSIONS = table("alembic_version")


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, inside the caller's transaction.

    Raises Conflict when another coldspark made the database: a newer one, or one from before the
    first release.
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
            f"the database {connection.engine.url.database} is at version {version}, which this"
            f" coldspark does not know (its own is {schema.HEAD}): a newer one made it, or one from"
            " before the first release. Install the coldspark that made it, use another data"
            " directory, or move the file away to begin anew."
        )
    command.upgrade(config, "head")


def current(connection: Connection) -> str | None:
    """Return the database's version, or None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(select(column("version_num")).select_from(_VERSIONS))
    return version
