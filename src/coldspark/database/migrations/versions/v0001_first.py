"""The first tables.

While nothing is released, they are those of ``schema``, written once and there. From the first
release on this file is as fixed as a release: what changes then is a version of its own, in
operations that are spelled out and name no table of ``schema``, which goes on changing.
"""

from alembic import op

from coldspark.database import schema

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make this version from an empty database."""
    schema.metadata.create_all(op.get_bind(), checkfirst=False)
