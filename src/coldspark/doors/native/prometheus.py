"""``/metrics``: counts and views for Prometheus. Reading them wakes nothing."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from coldspark.http.counters import WAKE_BUCKETS_S, RequestCounters
from coldspark.platform.ports import Platform


def exposition(platform: Platform, tally: RequestCounters) -> bytes:
    """Return the metrics in Prometheus's text format. A registry of its own: no process globals."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Views(platform, tally))
    return generate_latest(registry)


class _Views(Collector):
    def __init__(self, platform: Platform, tally: RequestCounters) -> None:
        self._platform = platform
        self._tally = tally

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        yield self._requests()
        yield self._wakes()
        yield from self._endpoints()
        yield from self._taps()

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "coldspark_requests", "Requests answered.", labels=("endpoint", "status")
        )
        for (endpoint, status), count in self._tally.requests.items():
            family.add_metric((endpoint, str(status)), count)
        return family

    def _wakes(self) -> Metric:
        bounds = [*(str(float(bound)) for bound in WAKE_BUCKETS_S), "+Inf"]
        total, buckets = 0, []
        for bound, count in zip(bounds, self._tally.wakes, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return HistogramMetricFamily(
            "coldspark_wake_seconds",
            "How long cold requests waited for a start.",
            buckets=buckets,
            sum_value=self._tally.wake_s_sum,
        )

    def _endpoints(self) -> Iterable[Metric]:
        labels = ("endpoint", "variant")
        running = GaugeMetricFamily("coldspark_in_flight", "Requests on replicas.", labels=labels)
        queued = GaugeMetricFamily("coldspark_queue_depth", "Requests that wait.", labels=labels)
        replicas = GaugeMetricFamily(
            "coldspark_replicas", "Replicas by state.", labels=(*labels, "state")
        )
        for view in self._platform.endpoints():
            for variant in view.variants:
                names = (view.name, variant.name)
                running.add_metric(names, sum(one.running for one in variant.replicas))
                queued.add_metric(names, variant.queued)
                for state, count in Counter(one.state for one in variant.replicas).items():
                    replicas.add_metric((*names, state), count)
        return running, queued, replicas

    def _taps(self) -> Iterable[Metric]:
        """Yield what became of the requests that were to be copied or written down."""
        labels = ("endpoint", "outcome")
        copies = CounterMetricFamily(
            "coldspark_shadow_requests", "Requests meant for a shadow.", labels=labels
        )
        lines = CounterMetricFamily(
            "coldspark_captured_requests", "Requests meant to be captured.", labels=labels
        )
        for view in self._platform.endpoints():
            if (taps := view.taps) is not None:
                for outcome, count in (("copied", taps.copied), *taps.uncopied):
                    copies.add_metric((view.name, outcome), count)
                for outcome, count in (("written", taps.captured), *taps.uncaptured):
                    lines.add_metric((view.name, outcome), count)
        return copies, lines
