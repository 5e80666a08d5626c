"""What the platform shows, as the native API's bodies."""

import msgspec

from coldspark.core.metering import Usage
from coldspark.gateway.native.definitions import spec_fields
from coldspark.gateway.native.schemas import (
    DecisionBody,
    DeployedBody,
    EndpointBody,
    LogLineBody,
    ReplicaBody,
    UsageBody,
    VariantState,
)
from coldspark.runtime.ports import EndpointView, LogLine, VariantView


def endpoint_body(view: EndpointView) -> EndpointBody:
    """Return one endpoint."""
    return EndpointBody(
        name=view.name,
        status=view.status,
        failure=view.failure,
        source=view.definition.source,
        created_ms=view.created_ms,
        updated_ms=view.updated_ms,
        variants=[_variant(variant) for variant in view.variants],
    )


def deployed_body(view: EndpointView, *, is_unchanged: bool) -> DeployedBody:
    """Return an endpoint after a deploy."""
    body = endpoint_body(view)
    return DeployedBody(**msgspec.structs.asdict(body), unchanged=is_unchanged)


def _variant(view: VariantView) -> VariantState:
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
    }
    return msgspec.convert(fields | spec_fields(view.revision.spec), VariantState)


def usage_body(usage: Usage) -> UsageBody:
    """Return one ledger line."""
    return msgspec.convert(usage, UsageBody, from_attributes=True)


def log_line_body(line: LogLine) -> LogLineBody:
    """Return one line of a log."""
    return LogLineBody(line.at_ms, line.replica, line.stream, line.text)
