"""Jobs, the bodies that are kept for them, and the notices that follow their end."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        _big("number"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        _big("due_ms"),
        _big("accepted_ms"),
        _big("expires_ms"),
        _big("timeout_ms"),
        _big("size_bytes"),
        sa.Column("started_ms", sa.BigInteger),
        sa.Column("finished_ms", sa.BigInteger),
        sa.Column("kept_bytes", sa.BigInteger, nullable=False),
        sa.Column("order", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "number"])
    op.create_index("jobs_by_endpoint", "jobs", ["endpoint", "accepted_ms"])
    op.create_index("jobs_by_end", "jobs", ["finished_ms"])
    op.create_table(
        "job_bodies",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("job", sa.Text),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        _big("created_ms"),
        _big("due_ms"),
    )
    op.create_index("notices_by_time", "notices", ["due_ms"])


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)
