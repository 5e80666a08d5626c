"""Metrics and alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make this version from the one before."""
    _metrics()
    _alarms()


def _metrics() -> None:
    op.create_table(
        "series",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("namespace"),
        _text("name"),
        _text("dimensions"),
        _text("unit"),
        _big("last_ms"),
        sa.UniqueConstraint("namespace", "name", "dimensions", "unit"),
    )
    op.create_index("series_by_age", "series", ["last_ms"])
    op.create_table(
        "measurements",
        sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("resolution_s", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Float, nullable=False) for name in _SUMS),
        sa.Column("counts", sa.LargeBinary, nullable=False),
    )
    op.create_index("measurements_by_age", "measurements", ["resolution_s", "at_ms"])
    op.create_table("marks", sa.Column("name", sa.Text, primary_key=True), _big("place"))


def _alarms() -> None:
    op.create_table(
        "alarms",
        sa.Column("name", sa.Text, primary_key=True),
        _text("body"),
        _text("state"),
        _text("reason"),
        sa.Column("reason_data", sa.Text),
        _big("state_ms"),
        _big("moved_ms"),
        _big("updated_ms"),
    )
    op.create_table(
        "alarm_history",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("alarm"),
        _big("at_ms"),
        _text("kind"),
        _text("summary"),
        _text("data"),
    )
    op.create_index("alarm_history_by_alarm", "alarm_history", ["alarm", "at_ms"])


_SUMS = ("samples", "total", "least", "most")


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)
