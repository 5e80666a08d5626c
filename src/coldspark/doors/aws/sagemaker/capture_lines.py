"""Captured requests as SageMaker writes them: one JSON object a line."""

import base64
from datetime import UTC, datetime

import msgspec

from coldspark.platform.capture.records import CapturedBody, CapturedRequest, CaptureFormat
from coldspark.spec.types import CaptureRule

_UNKNOWN_TYPE = "application/octet-stream"
_encode = msgspec.json.Encoder().encode


def encode_line(captured: CapturedRequest) -> bytes:
    """Return its line, with the newline."""
    data: dict[str, object] = {}
    if captured.input is not None:
        data["endpointInput"] = _side(captured.rule, captured.input, "INPUT")
    if captured.output is not None:
        data["endpointOutput"] = _side(captured.rule, captured.output, "OUTPUT")
    event = {"eventId": captured.request, "inferenceTime": _time(captured.at_ms)}
    if captured.caller_id is not None:
        event["inferenceId"] = captured.caller_id
    return _encode({"captureData": data, "eventMetadata": event, "eventVersion": "0"}) + b"\n"


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


CAPTURE_FORMAT = CaptureFormat(encode=encode_line, id_header="x-amzn-sagemaker-inference-id")
