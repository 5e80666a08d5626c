"""The tables as the code sees them; ``migrations/`` makes them on disk.

Only types that SQLite and Postgres both have: money and bytes are 64-bit integers, JSON is text.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

from coldspark.core.waterfall import STAGES

HEAD = "0004"
"""The newest migration: a database at this version needs nothing done."""

metadata = MetaData()

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", Text, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)

revisions = Table(
    "revisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("door", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)

boots = Table(
    "boots",
    metadata,
    Column("boot", Integer, primary_key=True, autoincrement=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger),
)

usages = Table(
    "usages",
    metadata,
    Column("request", Text, primary_key=True),
    Column("boot", Integer, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("variant", Text, nullable=False),
    Column("revision", Text),
    Column("replica", Text),
    Column("gpu", Text),
    Column("gpu_count", Float, nullable=False),
    Column("is_simulated", Boolean, nullable=False),
    Column("arrived_ms", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("busy_ms", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", Text),
    Column("is_cold", Boolean, nullable=False),
    Column("key", Text),
    Column("busy_nanos", BigInteger, nullable=False),
    *(Column(stage, BigInteger, nullable=False) for stage in STAGES),
    Index("usages_by_time", "arrived_ms"),
    Index("usages_by_endpoint", "endpoint", "arrived_ms"),
    Index("usages_by_boot", "boot"),
)

holdings = Table(
    "holdings",
    metadata,
    Column("boot", Integer, primary_key=True, autoincrement=False),
    Column("segment", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("endpoint", Text),
    Column("variant", Text),
    Column("replica", Text),
    Column("gpu", Text),
    Column("gpu_count", Float, nullable=False),
    Column("is_simulated", Boolean, nullable=False),
    Column("is_provisioned", Boolean, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("nanos", BigInteger, nullable=False),
    Index("holdings_by_time", "from_ms"),
)

buckets = Table(
    "buckets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
)

objects = Table(
    "objects",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("etag", Text, nullable=False),
    Column("modified_ms", BigInteger, nullable=False),
    Column("description", Text, nullable=False),
)

pieces = Table(
    "pieces",
    metadata,
    Column("body", Text, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("file", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Index("pieces_by_file", "file"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("bucket", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("touched_ms", BigInteger, nullable=False),
    Column("description", Text, nullable=False),
    Index("uploads_by_key", "bucket", "key", "id"),
)

parts = Table(
    "parts",
    metadata,
    Column("upload", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("etag", Text, nullable=False),
    Column("checksum", Text),
    Column("modified_ms", BigInteger, nullable=False),
    Index("parts_by_file", "file"),
)
