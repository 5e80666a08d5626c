"""The first tables: endpoints, documents, keys and the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STAGES = (
    "received_us",
    "queued_us",
    "placed_us",
    "fetched_us",
    "booted_us",
    "loaded_us",
    "inferred_us",
    "returned_us",
    "unaccounted_us",
)


def upgrade() -> None:
    """Make this version from an empty database."""
    _definitions()
    _ledger()


def _definitions() -> None:
    op.create_table(
        "endpoints",
        sa.Column("name", sa.Text, primary_key=True),
        _text("definition"),
        _big("created_ms"),
        _big("updated_ms"),
    )
    op.create_table(
        "revisions",
        sa.Column("id", sa.Text, primary_key=True),
        _text("spec"),
        _big("created_ms"),
    )
    op.create_table(
        "documents",
        sa.Column("door", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        _text("body"),
        _big("created_ms"),
        _big("updated_ms"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, primary_key=True),
        _text("name"),
        _text("scopes"),
        _big("created_ms"),
        sa.Column("revoked_ms", sa.BigInteger),
    )


def _ledger() -> None:
    op.create_table(
        "boots",
        _number("boot"),
        _big("opened_ms"),
        sa.Column("closed_ms", sa.BigInteger),
    )
    op.create_table(
        "usages",
        sa.Column("request", sa.Text, primary_key=True),
        sa.Column("boot", sa.Integer, nullable=False),
        _text("endpoint"),
        _text("variant"),
        sa.Column("revision", sa.Text),
        *_device(),
        _big("arrived_ms"),
        _big("duration_ms"),
        _big("busy_ms"),
        _big("bytes_in"),
        _big("bytes_out"),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        _flag("is_cold"),
        sa.Column("key", sa.Text),
        _big("busy_nanos"),
        *(_big(stage) for stage in STAGES),
    )
    op.create_index("usages_by_time", "usages", ["arrived_ms"])
    op.create_index("usages_by_endpoint", "usages", ["endpoint", "arrived_ms"])
    op.create_index("usages_by_boot", "usages", ["boot"])
    op.create_table(
        "holdings",
        _number("boot"),
        _number("segment"),
        _number("position"),
        _text("state"),
        sa.Column("endpoint", sa.Text),
        sa.Column("variant", sa.Text),
        *_device(),
        _flag("is_provisioned"),
        _big("from_ms"),
        _big("to_ms"),
        _big("nanos"),
    )
    op.create_index("holdings_by_time", "holdings", ["from_ms"])


def _device() -> tuple[sa.Column[str], sa.Column[str], sa.Column[float], sa.Column[bool]]:
    return (
        sa.Column("replica", sa.Text),
        sa.Column("gpu", sa.Text),
        sa.Column("gpu_count", sa.Float, nullable=False),
        _flag("is_simulated"),
    )


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)
