"""Log groups, streams and events, wherever they lie: in the database or in replicas' files."""

from dataclasses import dataclass, field

Position = tuple[int, int, int]
"""Where an event stands in its stream: its time, and two numbers that rise among equal times."""
BEFORE_ALL: Position = (0, 0, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """A stretch of time: ``start_ms <= t < end_ms``."""

    start_ms: int = 0
    end_ms: int | None = None

    def after(self, start_ms: int) -> "TimeRange":
        """Return what of it is not before a moment."""
        return TimeRange(start_ms=max(self.start_ms, start_ms), end_ms=self.end_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """How much of a stream or a group is read at once."""

    events: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line, or what a caller put as one."""

    at_ms: int
    ingested_ms: int
    message: str
    position: Position
    stream: str = ""
    """The stream's name, where events of several are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStream:
    """A stream of a group."""

    name: str
    created_ms: int
    first_ms: int | None
    last_ms: int | None
    ingested_ms: int | None
    stored_bytes: int
    id: int = 0
    """In the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGroup:
    """What is kept of a group besides its events."""

    name: str
    created_ms: int
    retention_days: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    id: int = 0
    """In the database; 0 for one that stands there only by its replicas' files."""
    stored_bytes: int = 0
