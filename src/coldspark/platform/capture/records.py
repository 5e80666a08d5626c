"""Captured requests, one line each, in files by the hour."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from coldspark.spec.types import CaptureRule, EndpointName, RequestId, VariantName


class CapturedBody(msgspec.Struct, frozen=True, gc=False):
    """The body of one side, a request or a reply."""

    content_type: str | None
    body: bytes


class CapturedRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request and its reply, as far as they are captured."""

    rule: CaptureRule
    endpoint: EndpointName
    variant: VariantName
    request: RequestId
    caller_id: str | None
    """What the caller names the request by."""
    at_ms: int
    input: CapturedBody | None
    output: CapturedBody | None

    @property
    def size_bytes(self) -> int:
        """Return what its bodies hold in memory."""
        return sum(len(side.body) for side in (self.input, self.output) if side is not None)

    @property
    def folder(self) -> str:
        """Return where its line belongs: ``s3://bucket/prefix/endpoint/variant/yyyy/mm/dd/hh``."""
        hour = datetime.fromtimestamp(self.at_ms / 1_000, UTC).strftime("%Y/%m/%d/%H")
        return f"{self.rule.destination.rstrip('/')}/{self.endpoint}/{self.variant}/{hour}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureFormat:
    """How lines are written: a door's."""

    encode: Callable[[CapturedRequest], bytes]
    """Return a line, with the newline."""
    id_header: str
    """The header by which callers name a request; lower-case."""


class CaptureCounts:
    """What became of an endpoint's lines."""

    __slots__ = ("captured", "uncaptured")

    def __init__(self) -> None:
        self.captured = 0
        self.uncaptured: Counter[str] = Counter()


def file_name(at_ms: int, unique: str) -> str:
    """Return a file's name within its hour: minute, second, millisecond and what is unique."""
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return f"{at:%M-%S}-{at_ms % 1_000:03}-{unique}.jsonl"
