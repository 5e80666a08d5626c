"""What requests measured: the endpoint metrics, derived from the ledger's lines.

A request counts in the minute in which it ended. All of it is derived, so kill -9 loses none:

- ``ModelLatency``: the handler's time and the way to it and back (``inferred`` + ``unaccounted``).
- ``OverheadLatency``: all the rest, also queueing and the cold start.
- ``ModelSetupTime``: what a cold request waited for its start; absent for warm ones.
- ``Invocation4XXErrors``, ``Invocation5XXErrors``: 0 or 1 of each request, by the status that was
  sent, so their average is the error rate. Who hangs up (499) made no error.
- ``InvocationModelErrors``: 0 or 1; 1 where the replica was reached and did not answer with 2XX.
- ``InvocationsPerInstance``: 1/N of each request, N being the replicas that take requests; of a
  component it is ``InvocationsPerCopy``.
- ``ServerlessProvisionedConcurrency…``: where ``replicas_min`` is set, a request that waited for no
  start is one of the provisioned concurrency's, and one that waited spilled over.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coldspark.platform.metric_ports import ENDPOINT_NAMESPACE
from coldspark.telemetry.metrics_table import MetricRow, SeriesKey
from coldspark.telemetry.usage_metrics import Row
from coldspark.telemetry.value_sketch import ValueSketch

UNITS: Mapping[str, str] = {
    "Invocations": "None",
    "Invocation4XXErrors": "None",
    "Invocation5XXErrors": "None",
    "InvocationModelErrors": "None",
    "InvocationsPerInstance": "None",
    "InvocationsPerCopy": "None",
    "ModelLatency": "Microseconds",
    "OverheadLatency": "Microseconds",
    "ModelSetupTime": "Microseconds",
    "ServerlessProvisionedConcurrencyInvocations": "Count",
    "ServerlessProvisionedConcurrencySpilloverInvocations": "Count",
}
"""What is derived from the ledger."""

SPELLINGS: Mapping[str, str] = {
    "Invocations4XXErrors": "Invocation4XXErrors",
    "Invocations5XXErrors": "Invocation5XXErrors",
    "InvocationsProcessed": "InvocationsProcesssed",
}
"""Names that are documented otherwise than they are measured: both are answered."""


@dataclass(frozen=True, slots=True)
class VariantContext:
    """Facts of a variant that ledger lines lack."""

    serving: int
    """Replicas that take requests."""
    is_provisioned: bool
    """``replicas_min`` is over zero."""
    is_component: bool = False
    """It is measured under its own name alone."""


VariantContexts = Mapping[tuple[str, str], VariantContext]
"""By endpoint and variant."""


def fold(
    counts: Sequence[Row], times: Sequence[Row], standings: VariantContexts
) -> Iterable[MetricRow]:
    """Return what lines measured, by variant, metric and minute."""
    periods: defaultdict[tuple[str, str, int], defaultdict[str, ValueSketch]]
    periods = defaultdict(lambda: defaultdict(ValueSketch))
    for row in counts:
        standing = standings.get((row.endpoint, row.variant))
        _count(periods[row.endpoint, row.variant, row.at_ms], row, standing)
    for metric, endpoint, variant, at_ms, value, *summary in times:
        periods[endpoint, variant, at_ms][metric].add_rounded(value, *summary)
    for (endpoint, variant, at_ms), metrics in periods.items():
        standing = standings.get((endpoint, variant))
        is_component = standing is not None and standing.is_component
        dimensions = dimensions_of(endpoint, variant, is_component=is_component)
        for metric, measured in metrics.items():
            key = SeriesKey(
                namespace=ENDPOINT_NAMESPACE, name=metric, dimensions=dimensions, unit=UNITS[metric]
            )
            yield MetricRow(key=key, resolution_s=60, at_ms=at_ms, measured=measured)


def dimensions_of(
    endpoint: str, variant: str, *, is_component: bool = False
) -> tuple[tuple[str, str], ...]:
    """Return the dimensions under which a variant is measured."""
    if is_component:
        return (("InferenceComponentName", variant),)
    return (("EndpointName", endpoint), ("VariantName", variant))


def _count(
    period: defaultdict[str, ValueSketch], row: Row, standing: VariantContext | None
) -> None:
    serving = max(1, row.replicas, 0 if standing is None else standing.serving)
    period["Invocations"].add(1.0, row.requests)
    is_component = standing is not None and standing.is_component
    each = "InvocationsPerCopy" if is_component else "InvocationsPerInstance"
    period[each].add(1 / serving, row.requests)
    _share(period["Invocation4XXErrors"], row.client_errors, row.requests)
    _share(period["Invocation5XXErrors"], row.server_errors, row.requests)
    _share(period["InvocationModelErrors"], row.model_errors, row.requests)
    if standing is not None and standing.is_provisioned and not is_component:
        name = "ServerlessProvisionedConcurrency{}Invocations"
        if row.cold:
            period[name.format("Spillover")].add(1.0, row.cold)
        if row.requests > row.cold:
            period[name.format("")].add(1.0, row.requests - row.cold)


def _share(measured: ValueSketch, ones: int, requests: int) -> None:
    """Take 1 of some requests, and 0 of the others."""
    if ones:
        measured.add(1.0, ones)
    if requests > ones:
        measured.add(0.0, requests - ones)
