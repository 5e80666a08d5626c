"""Where a request's time went: every microsecond of wall time belongs to exactly one stage."""

from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

_US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTimeline:
    """When a replica's start passed each point, in monotonic seconds; None: not passed (yet)."""

    requested_s: float
    granted_s: float | None = None
    fetched_s: float | None = None
    """Model data and environment are on this machine."""
    booted_s: float | None = None
    """The process exists and begins to load."""
    ready_s: float | None = None


class Waterfall(Struct, frozen=True, kw_only=True, gc=False):
    """Stages of one request in integer microseconds; their sum is the wall time."""

    received_us: int = 0
    """The caller was still sending the body."""
    queued_us: int = 0
    """Waited while no replica was starting: for a slot, for a decision, or for its batch."""
    placed_us: int = 0
    """Waited for a reservation on a node."""
    fetched_us: int = 0
    """Waited for model data and the environment."""
    booted_us: int = 0
    """Waited for the process: forked or started."""
    loaded_us: int = 0
    """Waited for imports and the model."""
    inferred_us: int = 0
    """The handler's own time, or the HTTP server's as seen from here."""
    returned_us: int = 0
    """The reply was being written to the caller."""
    unaccounted_us: int = 0
    """What no stage explains: mostly the channel to the replica."""

    @property
    def total_us(self) -> int:
        """Return the wall time."""
        return sum(getattr(self, name) for name in STAGES)

    def stages(self) -> dict[str, int]:
        """Return microseconds by stage name, in order, without the unit suffix."""
        return {name.removesuffix("_us"): getattr(self, name) for name in STAGES}


STAGES: tuple[str, ...] = Waterfall.__struct_fields__


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimeline:
    """When a request passed each point, in monotonic seconds; None: never passed."""

    started_s: float
    """The request's head was read."""
    arrived_s: float
    """The whole body was read and passed to the fleet."""
    forwarded_s: float | None = None
    answered_s: float | None = None
    """The last byte came from the replica, or the failure was decided."""
    returned_s: float
    """The last byte was written to the caller's socket."""
    handler_us: int | None = None
    """The handler's own time as its process measured it."""


def to_waterfall(timeline: RequestTimeline, start: StartTimeline | None) -> Waterfall:
    """Split the wall time of a request over its stages.

    ``start`` is the timeline of the replica that served it, or of the start it died waiting for.
    Worked number: arrived 0.0, requested 0.0, granted 0.001, fetched 0.001, booted 0.015, ready
    0.020, forwarded 0.020 gives placed 1000, booted 14000, loaded 5000, queued 0 microseconds.
    """
    started, arrived = _us(timeline.started_s), _us(timeline.arrived_s)
    returned = _us(timeline.returned_s)
    answered = returned if timeline.answered_s is None else _us(timeline.answered_s)
    forwarded = answered if timeline.forwarded_s is None else _us(timeline.forwarded_s)
    placed, fetched, booted, loaded = _overlaps(arrived, forwarded, start)
    served = max(0, answered - forwarded)
    inferred = served if timeline.handler_us is None else min(served, timeline.handler_us)
    return Waterfall(
        received_us=max(0, arrived - started),
        queued_us=max(0, forwarded - arrived) - placed - fetched - booted - loaded,
        placed_us=placed,
        fetched_us=fetched,
        booted_us=booted,
        loaded_us=loaded,
        inferred_us=inferred,
        returned_us=max(0, returned - answered),
        unaccounted_us=served - inferred,
    )


def to_warm_waterfall(
    started_s: float, arrived_s: float, forwarded_s: float, answered_s: float, us: int | None
) -> Waterfall:
    """Split the wall time of a request that waited for no start, and whose reply leaves at once.

    ``us`` is the handler's own time, if it is known. What ``to_waterfall`` returns to within a
    microsecond, for nearly all requests and a quarter of the work. Worked number: started 0.0,
    arrived 0.001, forwarded 0.002, answered 0.009, handler 6000 gives received 1000, queued 1000,
    inferred 6000, unaccounted 1000 microseconds.
    """
    arrived = int((arrived_s - started_s) * _US)
    forwarded = int((forwarded_s - started_s) * _US)
    served = int((answered_s - started_s) * _US) - forwarded
    inferred = served if us is None or us > served else us
    return Waterfall(
        received_us=arrived,
        queued_us=forwarded - arrived,
        inferred_us=inferred,
        unaccounted_us=served - inferred,
    )


def with_batch_wait(fall: Waterfall, waited_us: int) -> Waterfall:
    """Count as queued what a request waited in its replica until its batch began.

    Worked number: forwarded to answered 9000, handler 6000 leaves unaccounted 3000; 2800 of them
    waited makes queued 2800, inferred 6000, unaccounted 200 microseconds.
    """
    waited_us = min(waited_us, fall.unaccounted_us)
    return replace(
        fall,
        queued_us=fall.queued_us + waited_us,
        unaccounted_us=fall.unaccounted_us - waited_us,
    )


def _us(seconds: float) -> int:
    return round(seconds * _US)


def _overlaps(low: int, high: int, start: StartTimeline | None) -> tuple[int, int, int, int]:
    """Return how much of ``[low, high]`` each leg of the start covers."""
    if start is None:
        return (0, 0, 0, 0)
    edges = [_us(start.requested_s)]
    for mark in (start.granted_s, start.fetched_s, start.booted_s, start.ready_s):
        edges.append(high if mark is None else max(edges[-1], _us(mark)))
    clipped = [min(max(edge, low), max(low, high)) for edge in edges]
    one, two, three, four = (clipped[i + 1] - clipped[i] for i in range(4))
    return (one, two, three, four)
