"""Callers' own log groups, their streams and events."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make this version from the one before."""
    op.create_table(
        "log_groups",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("retention_days", sa.Integer),
        sa.Column("tags", sa.Text, nullable=False),
    )
    op.create_table(
        "log_streams",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("log_group", sa.Integer, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("first_ms", sa.BigInteger),
        sa.Column("last_ms", sa.BigInteger),
        sa.Column("ingested_ms", sa.BigInteger),
        sa.Column("stored_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("log_streams_by_name", "log_streams", ["log_group", "name"], unique=True)
    op.create_table(
        "log_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("log_group", sa.Integer, nullable=False),
        sa.Column("stream", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("ingested_ms", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_index("log_events_by_stream", "log_events", ["stream", "at_ms", "id"])
    op.create_index("log_events_by_group", "log_events", ["log_group", "at_ms", "id"])
