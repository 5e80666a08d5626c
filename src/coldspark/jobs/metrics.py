"""What is measured of jobs, as CloudWatch's users know it from SageMaker."""

from coldspark import clock
from coldspark.jobs.ports import BacklogDepth, JobCounter, JobTimes
from coldspark.platform.metric_ports import Metric, Metrics
from coldspark.spec.types import EndpointName, VariantName

NAMESPACE = "AWS/SageMaker"
_COUNTS = {
    # Three letters s: AWS's own spelling.
    JobCounter.PROCESSED: "InvocationsProcesssed",
    JobCounter.FAILED: "InvocationFailures",
    JobCounter.EXPIRED: "ExpiredRequests",
    JobCounter.FETCH_FAILED: "RequestDownloadFailures",
    JobCounter.WRITE_FAILED: "ResponseUploadFailures",
    JobCounter.NOTICE_FAILED: "NotificationFailures",
}


class JobMetrics:
    """Implements ``JobMetricsSink`` over the metrics on disk."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(self, endpoint: EndpointName, variant: VariantName | None, what: JobCounter) -> None:
        """Add one to what is counted."""
        self._add(_COUNTS[what], endpoint, variant, 1.0, "Count")

    def times(self, endpoint: EndpointName, variant: VariantName | None, times: JobTimes) -> None:
        """Add the times of one job."""
        add = self._add
        add("TimeInBacklog", endpoint, variant, times.waited_ms, "Milliseconds")
        add("TotalProcessingTime", endpoint, variant, times.total_ms, "Milliseconds")
        if times.fetch_us is not None:
            add("RequestDownloadLatency", endpoint, variant, times.fetch_us, "Microseconds")
        if times.write_us is not None:
            add("ResponseUploadLatency", endpoint, variant, times.write_us, "Microseconds")

    def depth(self, endpoint: EndpointName, depth: BacklogDepth) -> None:
        """Add how deep a backlog is."""
        waiting, add = depth.waiting, self._add
        add("ApproximateBacklogSize", endpoint, None, waiting, "Count")
        add("ApproximateAgeOfOldestRequest", endpoint, None, depth.oldest_s, "Seconds")
        is_stuck = waiting > 0 and depth.replicas == 0
        add("HasBacklogWithoutCapacity", endpoint, None, float(is_stuck), "Count")
        if depth.replicas:
            each = waiting / depth.replicas
            add("ApproximateBacklogSizePerInstance", endpoint, None, each, "Count")

    def _add(self, name: str, endpoint: str, variant: str | None, value: float, unit: str) -> None:
        dimensions = [("EndpointName", endpoint)]
        if variant is not None:
            dimensions.append(("VariantName", variant))
        metric = Metric(namespace=NAMESPACE, name=name, dimensions=tuple(dimensions))
        self._metrics.add(metric, value, clock.wall_ms(), unit=unit)
