"""What requests measured: CloudWatch's endpoint metrics out of the ledger's lines.

A request counts in the minute in which it ended. All of it is derived, so kill -9 loses none:

- ``ModelLatency``: the handler's time and the way to it and back (``inferred`` + ``unaccounted``).
- ``OverheadLatency``: all the rest, also queueing and the cold start.
- ``ModelSetupTime``: what a cold request waited for its start; absent for warm ones.
- ``Invocation4XXErrors``, ``Invocation5XXErrors``: 0 or 1 of each request, by the status that was
  sent, so their average is the error rate. Who hangs up (499) made no error.
- ``InvocationModelErrors``: 0 or 1; 1 where the replica was reached and did not answer with 2XX.
- ``InvocationsPerInstance``: 1/N of each request, N being the replicas that take requests.
- ``ServerlessProvisionedConcurrency…``: where ``replicas_min`` is set, a request that waited for no
  start is one of the provisioned concurrency's, and one that waited spilled over.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coldspark.core.measurements import Measured
from coldspark.core.waterfall import STAGES
from coldspark.store.ledger_tail import Line
from coldspark.store.metrics import Entry, SeriesKey

NAMESPACE = "AWS/SageMaker"
MINUTE_MS = 60_000
_MODEL_STAGES = ("inferred_us", "unaccounted_us")
_SETUP_STAGES = ("placed_us", "fetched_us", "booted_us", "loaded_us")
_OVERHEAD_STAGES = tuple(stage for stage in STAGES if stage not in _MODEL_STAGES)
_CANCELLED = 499

UNITS: Mapping[str, str] = {
    "Invocations": "None",
    "Invocation4XXErrors": "None",
    "Invocation5XXErrors": "None",
    "InvocationModelErrors": "None",
    "InvocationsPerInstance": "None",
    "ModelLatency": "Microseconds",
    "OverheadLatency": "Microseconds",
    "ModelSetupTime": "Microseconds",
    "ServerlessProvisionedConcurrencyInvocations": "Count",
    "ServerlessProvisionedConcurrencySpilloverInvocations": "Count",
}
"""What is derived from the ledger."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a line does not say: how a variant stands now."""

    serving: int
    """Replicas that take requests."""
    is_provisioned: bool
    """``replicas_min`` is over zero."""


Standings = Mapping[tuple[str, str], Standing]
"""By endpoint and variant."""


def fold(lines: Sequence[Line], standings: Standings) -> Iterable[Entry]:
    """Return what lines measured, by variant, metric and minute."""
    periods: defaultdict[tuple[str, str, int], defaultdict[str, Measured]]
    periods = defaultdict(lambda: defaultdict(Measured))
    reached: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for line in lines:
        if line.replica is not None:
            reached[line.endpoint, line.variant].add(line.replica)
    for line in lines:
        variant = (line.endpoint, line.variant)
        standing = standings.get(variant)
        serving = max(1, len(reached[variant]), 0 if standing is None else standing.serving)
        ended_ms = (line.arrived_ms + line.duration_ms) // MINUTE_MS * MINUTE_MS
        period = periods[line.endpoint, line.variant, ended_ms]
        _count(period, line, 1 / serving)
        if standing is not None and standing.is_provisioned:
            _provisioned(period, line)
    for (endpoint, name, at_ms), metrics in periods.items():
        dimensions = dimensions_of(endpoint, name)
        for metric, measured in metrics.items():
            key = SeriesKey(
                namespace=NAMESPACE, name=metric, dimensions=dimensions, unit=UNITS[metric]
            )
            yield Entry(key=key, resolution_s=60, at_ms=at_ms, measured=measured)


def dimensions_of(endpoint: str, variant: str) -> tuple[tuple[str, str], ...]:
    """Return the dimensions under which a variant is measured."""
    return (("EndpointName", endpoint), ("VariantName", variant))


def _count(period: defaultdict[str, Measured], line: Line, share: float) -> None:
    status = line.status
    is_failure = line.replica is not None and not 200 <= status < 300 and status != _CANCELLED
    period["Invocations"].add(1.0)
    period["InvocationsPerInstance"].add(share)
    period["Invocation4XXErrors"].add(float(400 <= status < 500 and status != _CANCELLED))
    period["Invocation5XXErrors"].add(float(status >= 500))
    period["InvocationModelErrors"].add(float(is_failure))
    if line.replica is not None:
        period["ModelLatency"].add(float(sum(getattr(line, one) for one in _MODEL_STAGES)))
    period["OverheadLatency"].add(float(sum(getattr(line, one) for one in _OVERHEAD_STAGES)))
    if line.is_cold:
        period["ModelSetupTime"].add(float(sum(getattr(line, one) for one in _SETUP_STAGES)))


def _provisioned(period: defaultdict[str, Measured], line: Line) -> None:
    spilt = "Spillover" if line.is_cold else ""
    period[f"ServerlessProvisionedConcurrency{spilt}Invocations"].add(1.0)
