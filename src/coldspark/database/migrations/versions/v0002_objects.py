"""Object storage: buckets, objects and what they are made of, and uploads in parts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    _objects()
    _uploads()


def _objects() -> None:
    op.create_table("buckets", _name("name"), _big("created_ms"))
    op.create_table(
        "objects",
        _name("bucket"),
        _name("key"),
        _text("body"),
        _big("size_bytes"),
        _text("etag"),
        _big("modified_ms"),
        _text("description"),
    )
    op.create_table("pieces", _name("body"), _number("position"), _text("file"), _big("size_bytes"))
    op.create_index("pieces_by_file", "pieces", ["file"])


def _uploads() -> None:
    op.create_table(
        "uploads",
        _name("id"),
        _text("bucket"),
        _text("key"),
        _big("created_ms"),
        _big("touched_ms"),
        _text("description"),
    )
    op.create_index("uploads_by_key", "uploads", ["bucket", "key", "id"])
    op.create_table(
        "parts",
        _name("upload"),
        _number("number"),
        _text("file"),
        _big("size_bytes"),
        _text("etag"),
        sa.Column("checksum", sa.Text),
        _big("modified_ms"),
    )
    op.create_index("parts_by_file", "parts", ["file"])


def _name(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)
