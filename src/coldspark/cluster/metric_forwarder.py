"""Forward a router's measurements to the primary, which stores them."""

import asyncio
import logging
from collections.abc import Callable

from coldspark.cluster.messages import Measurement, Measurements, Message
from coldspark.platform.metric_ports import Metric

_log = logging.getLogger(__name__)
_SEND_EVERY_S = 0.5
_HELD_MAX = 20_000
"""Between two messages: some 4 MB."""


class MetricForwarder:
    """Implements ``Metrics``."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._held: list[Measurement] = []
        self._dropped = 0

    def add(
        self, metric: Metric, value: float, at_ms: int, *, unit: str = "None", count: float = 1.0
    ) -> None:
        """Record a measurement: buffered, never blocks."""
        if len(self._held) >= _HELD_MAX:
            self._dropped += 1
            return
        if not self._held:
            asyncio.get_running_loop().call_later(_SEND_EVERY_S, self.flush)
        self._held.append(Measurement(metric, value, at_ms, unit, count))

    def flush(self) -> None:
        """Send what is buffered."""
        held, self._held = self._held, []
        if held:
            self._send(Measurements(held))
        if self._dropped:
            _log.warning("metrics: %d measurements were dropped, too many came", self._dropped)
            self._dropped = 0
