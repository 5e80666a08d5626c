"""What is sampled: concurrency each 10 s, the machine's use each minute.

A variant without a replica and without a waiting request measures nothing: its metrics are absent,
not zero. What cannot be measured here (a shared GPU's share, a simulated one) is absent, too.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from coldspark import clock
from coldspark.node.replica_usage import ReplicaUsage
from coldspark.platform.metric_ports import (
    ENDPOINT_NAMESPACE,
    REPLICA_NAMESPACE,
    Dimensions,
    Metric,
)
from coldspark.platform.ports import EndpointView, VariantView
from coldspark.spec.types import ReplicaId
from coldspark.tasks import Tasks
from coldspark.telemetry.endpoint_metrics import (
    VariantContext,
    VariantContexts,
    dimensions_of,
)
from coldspark.telemetry.metric_service import MetricService

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 10
_MEASURE_EVERY_S = 60
_SERVING = ("ready", "busy")
_CLOSE_WITHIN_S = 5.0

See = Callable[[], Awaitable[Sequence[EndpointView]]]
Measure = Callable[[], Awaitable[Sequence[ReplicaUsage]]]


def variant_contexts(views: Iterable[EndpointView]) -> VariantContexts:
    """Return the facts of variants that ledger lines lack."""
    return {
        (view.name, variant.name): VariantContext(
            serving=sum(one.state in _SERVING for one in variant.replicas),
            is_provisioned=variant.floor.min > 0,
            is_component=view.definition.has_components,
        )
        for view in views
        for variant in view.variants
    }


class MetricSampler:
    """Looks at the platform and the machine, and measures."""

    def __init__(
        self, metrics: MetricService, see: See, measure: Measure, wall_ms: Callable[[], int]
    ) -> None:
        """Take the dependencies: views of endpoints, and what measures replicas."""
        self._metrics = metrics
        self._see = see
        self._measure = measure
        self._wall_ms = wall_ms
        self._tasks = Tasks()
        self._cpu: dict[ReplicaId, tuple[float, int]] = {}
        """When each replica was measured last, and its processor time then."""

    def open(self) -> None:
        """Sample from now on."""
        self._sample_every(_LOOK_EVERY_S, self.sample_concurrency)
        self._sample_every(_MEASURE_EVERY_S, self.sample_machine)

    async def close(self) -> None:
        """Stop sampling. Idempotent."""
        await self._tasks.close(_CLOSE_WITHIN_S)

    async def sample_concurrency(self) -> None:
        """Measure each variant's concurrency."""
        now_ms = self._wall_ms()
        for view in await self._see():
            for variant in view.variants:
                if variant.replicas or variant.queued:
                    self._concurrency(view, variant, now_ms)

    def _concurrency(self, view: EndpointView, variant: VariantView, now_ms: int) -> None:
        is_component = view.definition.has_components
        dimensions = dimensions_of(view.name, variant.name, is_component=is_component)
        scale = variant.revision.spec.scale
        running = sum(one.running for one in variant.replicas)

        def add(name: str, value: float, unit: str, count: int = 1) -> None:
            metric = Metric(namespace=ENDPOINT_NAMESPACE, name=name, dimensions=dimensions)
            self._metrics.add(
                metric, value, now_ms, unit=unit, count=count, resolution_s=_LOOK_EVERY_S
            )

        # As each replica would publish it: the average is per replica, the sum is of all.
        serving = max(1, sum(one.state in _SERVING for one in variant.replicas))
        each = "ConcurrentRequestsPerCopy" if is_component else "ConcurrentRequestsPerModel"
        add(each, (running + variant.queued) / serving, "None", serving)
        if is_component:
            return
        most = scale.replicas_max * scale.concurrency
        add("ServerlessConcurrentExecutionsUtilization", running / most, "None")
        provisioned = variant.floor.min * scale.concurrency
        if provisioned:
            within = min(running, provisioned)
            add("ServerlessProvisionedConcurrencyExecutions", within, "Count")
            add("ServerlessProvisionedConcurrencyUtilization", within / provisioned, "None")

    async def sample_machine(self) -> None:
        """Measure what running replicas use of the machine."""
        uses = await self._measure()
        now_s, now_ms = clock.monotonic_s(), self._wall_ms()
        before, self._cpu = self._cpu, {use.replica: (now_s, use.cpu_us) for use in uses}
        for use in uses:
            endpoint, _, variant = use.fleet.partition("/")
            # One that is seen for the first time is measured over all its life.
            since = before.get(use.replica, (now_s - use.age_s, 0))
            self._use(dimensions_of(endpoint, variant), use, since, now_ms)

    def _use(
        self,
        dimensions: Dimensions,
        use: ReplicaUsage,
        since: tuple[float, int],
        now_ms: int,
    ) -> None:
        passed_us = (self._cpu[use.replica][0] - since[0]) * 1e6
        used_us = max(0, use.cpu_us - since[1])
        values = {
            "CPUUtilization": 100 * used_us / passed_us if passed_us > 0 else None,
            "MemoryUtilization": use.memory_percent,
            "GPUUtilization": use.gpu_percent,
            "GPUMemoryUtilization": use.gpu_memory_percent,
        }
        for name, value in values.items():
            if value is not None:
                metric = Metric(namespace=REPLICA_NAMESPACE, name=name, dimensions=dimensions)
                self._metrics.add(metric, value, now_ms, unit="Percent")

    def _sample_every(self, every_s: int, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.every(lambda: _until_next(self._wall_ms(), every_s), work, "take a sample")


def _until_next(now_ms: int, every_s: int) -> float:
    """Return the seconds until half of the next period: at its edge clocks disagree."""
    period_ms = every_s * 1_000
    return (period_ms - (now_ms - period_ms // 2) % period_ms) / 1_000
