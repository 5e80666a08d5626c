"""The tables as the code sees them; the first migration makes them on disk as they stand here.

Only types that SQLite and Postgres both have: money and bytes are 64-bit integers, JSON is text.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
)

from coldspark.database.dialect import ROW_NUMBER, Text
from coldspark.spec.waterfall import STAGES

HEAD = "v0001"
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
    Column("number", ROW_NUMBER, primary_key=True),
    Column("request", Text, nullable=False, unique=True),
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

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("accepted_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Column("kept_bytes", BigInteger, nullable=False),
    Column("order", Text, nullable=False),
    Column("result", Text),
    Index("jobs_by_state", "state", "number"),
    Index("jobs_by_endpoint", "endpoint", "accepted_ms"),
    Index("jobs_by_end", "finished_ms"),
)

job_bodies = Table(
    "job_bodies",
    metadata,
    Column("job", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

notices = Table(
    "notices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("job", Text),
    Column("url", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Index("notices_by_time", "due_ms"),
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

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("dimensions", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    UniqueConstraint("namespace", "name", "dimensions", "unit"),
    Index("series_by_age", "last_ms"),
)

measurements = Table(
    "measurements",
    metadata,
    Column("series", Integer, primary_key=True, autoincrement=False),
    Column("resolution_s", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("samples", Float, nullable=False),
    Column("total", Float, nullable=False),
    Column("least", Float, nullable=False),
    Column("most", Float, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    Index("measurements_by_age", "resolution_s", "at_ms"),
)

marks = Table(
    "marks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("place", BigInteger, nullable=False),
)

alarms = Table(
    "alarms",
    metadata,
    Column("name", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state_ms", BigInteger, nullable=False),
    Column("moved_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)

alarm_history = Table(
    "alarm_history",
    metadata,
    Column("id", ROW_NUMBER, primary_key=True),
    Column("alarm", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("event", Text, nullable=False),
    Index("alarm_history_by_alarm", "alarm", "at_ms"),
)

log_groups = Table(
    "log_groups",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("retention_days", Integer),
    Column("tags", Text, nullable=False),
)

log_streams = Table(
    "log_streams",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("log_group", Integer, nullable=False),
    Column("name", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("first_ms", BigInteger),
    Column("last_ms", BigInteger),
    Column("ingested_ms", BigInteger),
    Column("stored_bytes", BigInteger, nullable=False),
    Index("log_streams_by_name", "log_group", "name", unique=True),
)

log_events = Table(
    "log_events",
    metadata,
    Column("id", ROW_NUMBER, primary_key=True),
    Column("log_group", Integer, nullable=False),
    Column("stream", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("ingested_ms", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Index("log_events_by_stream", "stream", "at_ms", "id"),
    Index("log_events_by_group", "log_group", "at_ms", "id"),
)
