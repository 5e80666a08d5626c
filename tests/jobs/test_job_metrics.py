"""What is measured of jobs, under the names that CloudWatch's users know."""

from collections.abc import Sequence

from coldspark.doors.aws.protocol.names import to_namespace
from coldspark.jobs.metrics import JobMetrics
from coldspark.jobs.ports import BacklogDepth, JobCounter, JobTimes
from coldspark.platform.metric_ports import Metric, Period
from coldspark.spec.types import EndpointName, VariantName

ECHO, MAIN = EndpointName("echo"), VariantName("main")
OF_BOTH = (("EndpointName", "echo"), ("VariantName", "main"))
OF_ENDPOINT = (("EndpointName", "echo"),)


class Kept:
    """Implements ``Metrics`` in memory."""

    def __init__(self) -> None:
        self.added: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[float, str]] = {}

    def add(
        self, metric: Metric, value: float, at_ms: int, *, unit: str = "None", count: float = 1.0
    ) -> None:
        """Keep it."""
        assert to_namespace(metric.namespace) == "AWS/SageMaker"
        self.added[metric.name, metric.dimensions] = value, unit

    async def periods(
        self, metric: Metric, start_ms: int, end_ms: int, period_s: int
    ) -> Sequence[Period]:
        """Nobody asks."""
        raise AssertionError


def test_depth_is_measured_of_the_endpoint() -> None:
    """Without a replica a backlog has no capacity, and there is nothing to divide by."""
    kept = Kept()
    metrics = JobMetrics(kept)

    metrics.depth(ECHO, BacklogDepth(waiting=7, oldest_s=3.5, replicas=0))
    assert kept.added == {
        ("ApproximateBacklogSize", OF_ENDPOINT): (7, "Count"),
        ("ApproximateAgeOfOldestRequest", OF_ENDPOINT): (3.5, "Seconds"),
        ("HasBacklogWithoutCapacity", OF_ENDPOINT): (1.0, "Count"),
    }
    metrics.depth(ECHO, BacklogDepth(waiting=7, oldest_s=3.5, replicas=2))
    assert kept.added["HasBacklogWithoutCapacity", OF_ENDPOINT] == (0.0, "Count")
    assert kept.added["ApproximateBacklogSizePerInstance", OF_ENDPOINT] == (3.5, "Count")


def test_times_and_counts_are_measured_of_the_variant() -> None:
    """In AWS's units, and in AWS's spelling."""
    kept = Kept()
    metrics = JobMetrics(kept)

    metrics.times(ECHO, MAIN, JobTimes(waited_ms=5, total_ms=9, fetch_us=None, write_us=700))
    metrics.count(ECHO, MAIN, JobCounter.PROCESSED)

    assert kept.added == {
        ("TimeInBacklog", OF_BOTH): (5, "Milliseconds"),
        ("TotalProcessingTime", OF_BOTH): (9, "Milliseconds"),
        ("ResponseUploadLatency", OF_BOTH): (700, "Microseconds"),
        ("InvocationsProcesssed", OF_BOTH): (1.0, "Count"),
    }
