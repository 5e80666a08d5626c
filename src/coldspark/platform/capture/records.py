"""Captured requests as SageMaker writes them: one JSON object a line, in files by the hour."""

import base64
from collections import Counter
from datetime import UTC, datetime

import msgspec

from coldspark.spec.types import CaptureRule, EndpointName, RequestId, VariantName

_UNKNOWN_TYPE = "application/octet-stream"
_encode = msgspec.json.Encoder().encode


class CapturedBody(msgspec.Struct, frozen=True, gc=False):
    """What one side said: a request's body, or a reply's."""

    content_type: str | None
    body: bytes


class CapturedRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request and its reply, as far as they are captured."""

    rule: CaptureRule
    endpoint: EndpointName
    variant: VariantName
    request: RequestId
    inference_id: str | None
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


class CaptureCounts:
    """What became of an endpoint's lines."""

    __slots__ = ("captured", "uncaptured")

    def __init__(self) -> None:
        self.captured = 0
        self.uncaptured: Counter[str] = Counter()


def encode_line(captured: CapturedRequest) -> bytes:
    """Return its line, with the newline."""
    data: dict[str, object] = {}
    if captured.input is not None:
        data["endpointInput"] = _side(captured.rule, captured.input, "INPUT")
    if captured.output is not None:
        data["endpointOutput"] = _side(captured.rule, captured.output, "OUTPUT")
    event = {"eventId": captured.request, "inferenceTime": _time(captured.at_ms)}
    if captured.inference_id is not None:
        event["inferenceId"] = captured.inference_id
    return _encode({"captureData": data, "eventMetadata": event, "eventVersion": "0"}) + b"\n"


def file_name(at_ms: int, unique: str) -> str:
    """Return a file's name within its hour: minute, second, millisecond and what is unique."""
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return f"{at:%M-%S}-{at_ms % 1_000:03}-{unique}.jsonl"


def _side(rule: CaptureRule, side: CapturedBody, mode: str) -> dict[str, str]:
    encoding, data = _encoded(rule, side)
    return {
        "observedContentType": side.content_type or _UNKNOWN_TYPE,
        "mode": mode,
        "data": data,
        "encoding": encoding,
    }


def _encoded(rule: CaptureRule, side: CapturedBody) -> tuple[str, str]:
    """Return encoding and text: as it is for the types that are named, else base 64."""
    media = (side.content_type or "").partition(";")[0].strip().lower()
    for name, types in (("CSV", rule.csv_types), ("JSON", rule.json_types)):
        if media in types:
            try:
                return name, side.body.decode()
            except UnicodeDecodeError:
                break
    return "BASE64", base64.b64encode(side.body).decode()


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
