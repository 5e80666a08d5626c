"""Which requests and replies of an endpoint are written down, and where."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRule:
    """What is captured of an endpoint."""

    percent: int
    """Of its requests."""
    destination: str
    """Where the lines go: ``s3://bucket/prefix``."""
    has_input: bool
    has_output: bool
    csv_types: tuple[str, ...] = ()
    """Content types that are written as text, under the name CSV."""
    json_types: tuple[str, ...] = ()
    """As text, under the name JSON. All others are written in base 64."""

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError(f"percent={self.percent} must lie in 0..100")
        if not self.destination.startswith("s3://"):
            raise ValueError(f"destination={self.destination!r} must begin with s3://")
        if not self.has_input and not self.has_output:
            raise ValueError("a capture of neither input nor output captures nothing")
