"""The only reader of time: durations by the monotonic clock, records by the wall clock."""

import time


def monotonic_s() -> float:
    """Return seconds on a clock that never jumps; the same clock as the event loop's."""
    return time.monotonic()


def monotonic_us() -> int:
    """Return whole microseconds on the clock of ``monotonic_s``."""
    return time.monotonic_ns() // 1_000


def wall_ms() -> int:
    """Return milliseconds since the epoch, for records that people read."""
    return time.time_ns() // 1_000_000
