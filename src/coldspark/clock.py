"""The only reader of time: durations by the monotonic clock, records by the wall clock."""

import time

monotonic_s = time.monotonic
"""Seconds on a clock that never jumps; the same clock as the event loop's.

The function itself and no wrapper: every request asks several times.
"""


def monotonic_us() -> int:
    """Return whole microseconds on the clock of ``monotonic_s``."""
    return whole_us(monotonic_s())


def whole_us(moment_s: float) -> int:
    """Return the microseconds of a moment. What is later never becomes an earlier number."""
    return int(moment_s * 1e6)


def wall_ms() -> int:
    """Return milliseconds since the epoch, for records that people read."""
    return time.time_ns() // 1_000_000
