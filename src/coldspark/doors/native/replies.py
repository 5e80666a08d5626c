"""What the platform shows, as the native API's bodies."""

import msgspec

from coldspark.billing.usage import Usage
from coldspark.doors.native.coldstart.operations import warmth_body
from coldspark.doors.native.coldstart.shapes import (
    DeployedBody,
    RequestBody,
    StartBody,
    WarmEndpoint,
    WarmVariant,
)
from coldspark.doors.native.definitions import spec_fields
from coldspark.doors.native.shapes import (
    DecisionBody,
    FloorBody,
    LogLineBody,
    ReplicaBody,
    UsageBody,
)
from coldspark.doors.ports import WarmthReader
from coldspark.node.warmth import StartView
from coldspark.platform.ports import EndpointView, LogLine, VariantView


def endpoint_body(view: EndpointView, reader: WarmthReader) -> WarmEndpoint:
    """Return one endpoint."""
    return WarmEndpoint(
        name=view.name,
        status=view.status,
        failure=view.failure,
        source=view.definition.source,
        created_ms=view.created_ms,
        updated_ms=view.updated_ms,
        variants=[_variant(variant, reader) for variant in view.variants],
        router=view.router,
    )


def deployed_body(view: EndpointView, reader: WarmthReader, *, is_unchanged: bool) -> DeployedBody:
    """Return an endpoint after a deploy."""
    body = endpoint_body(view, reader)
    return DeployedBody(**msgspec.structs.asdict(body), unchanged=is_unchanged)


def _variant(view: VariantView, reader: WarmthReader) -> WarmVariant:
    fields = {
        "name": view.name,
        "weight": view.weight,
        "status": view.status,
        "failure": view.failure,
        "queued": view.queued,
        "revision": view.revision.id,
        "replicas": [
            msgspec.convert(one, ReplicaBody, from_attributes=True) for one in view.replicas
        ],
        "decisions": [
            msgspec.convert(one, DecisionBody, from_attributes=True) for one in view.decisions
        ],
        "floor": msgspec.convert(view.floor, FloorBody, from_attributes=True),
        "warmth": warmth_body(view, reader),
    }
    return msgspec.convert(fields | spec_fields(view.revision.spec), WarmVariant)


def request_body(usage: Usage, start: StartView | None) -> RequestBody:
    """Return one ledger line with what its replica was started from."""
    return RequestBody(
        **msgspec.structs.asdict(usage_body(usage)),
        start=None if start is None else msgspec.convert(start, StartBody, from_attributes=True),
        start_nanos_estimated=_start_nanos(usage),
    )


def _start_nanos(usage: Usage) -> int | None:
    """Estimate what the wait for a start cost, from what the busy time did.

    Worked number: 9 ms busy for 1_800 nanos and 20 ms of start make 4_000 nanos.
    """
    fall = usage.waterfall
    busy_us = fall.inferred_us + fall.unaccounted_us
    if not usage.is_cold or busy_us == 0:
        return None
    return usage.busy_nanos * (fall.fetched_us + fall.booted_us + fall.loaded_us) // busy_us


def usage_body(usage: Usage) -> UsageBody:
    """Return one ledger line."""
    return msgspec.convert(usage, UsageBody, from_attributes=True)


def log_line_body(line: LogLine) -> LogLineBody:
    """Return one line of a log."""
    return LogLineBody(line.at_ms, line.replica, line.stream, line.text)
