"""The machine's bill, split so that it adds up to the nano-dollar.

Two virtual clocks make it cheap (the idea of fair queueing's virtual time). The machine's clock
runs at ``rate / held share``, so what a replica cost between two moments is its share times the
difference of two readings. Each replica's own clock divides that among the requests it serves at
the moment. Both change slope only when a replica or a request comes or goes: every call is O(1).

Rounding happens here alone, and always down; what rounding leaves over is overhead. So
``busy + starting + idle + overhead == bill`` holds exactly, by construction.
"""

from dataclasses import dataclass

from coldspark.billing.usage import IdleUsageState
from coldspark.spec.messages import NodeJoined, Reservation
from coldspark.spec.types import ReplicaId, RequestId, Resources

WHOLE_PPM = 1_000_000
_HOUR_US = 3_600_000_000
_SCALE = 10**12
_WHOLE_HOUR = _HOUR_US * WHOLE_PPM


@dataclass(slots=True)
class _Held:
    share_ppm: int
    is_starting: bool
    opened: int
    """Machine clock at the begin of the present unpaid interval."""
    clock: int = 0
    """The replica's own clock, per request."""
    read_at: int = 0
    """Machine clock when ``clock`` was last moved."""
    active: int = 0


@dataclass(frozen=True, slots=True)
class MeteredInterval:
    """An unpaid interval that ended: the replica's state and what it cost."""

    replica: ReplicaId
    state: IdleUsageState
    nanos: int


class Meter:
    """Split one machine's running bill over its replicas and requests.

    Times are integer microseconds of a monotonic clock and never go back. ``rate`` is the
    machine's cost in nano-dollars an hour. Worked number: at $0.36/h (360_000_000 nanos an hour)
    a replica that holds half the machine (500_000 ppm) and serves one request for 10 s is charged
    360_000_000 * 10/3600 * 0.5 = 500_000 nanos = $0.0005.
    """

    def __init__(self, rate_nanos_per_hour: int, now_us: int) -> None:
        assert rate_nanos_per_hour >= 0
        self._rate = rate_nanos_per_hour
        self._scaled_rate = rate_nanos_per_hour * _SCALE
        self._began_us = now_us
        self.now_us = now_us
        """The latest moment that it heard of. Read only."""
        self._clock = 0
        self._held: dict[ReplicaId, _Held] = {}
        self._requests: dict[RequestId, tuple[_Held, int]] = {}
        self._shares_ppm = 0
        self._recorded = 0
        self._overhead = 0
        self._elsewhere_ppm = 0
        self.elsewhere_nanos = 0
        """What other meters of the same machine have charged: it is no overhead. Theirs to tell."""

    @property
    def shares_ppm(self) -> int:
        """Return what all replicas hold together."""
        return self._shares_ppm

    @property
    def charged_nanos(self) -> int:
        """Return all that was recorded, and what open requests owe so far."""
        return self._recorded + sum(self._owed(request) for request in self._requests)

    def set_elsewhere_share(self, shares_ppm: int, now_us: int) -> None:
        """Share the machine from here with replicas that other meters charge."""
        assert shares_ppm >= 0
        self._advance(now_us)
        self._elsewhere_ppm = shares_ppm

    def total_nanos(self, now_us: int) -> int:
        """Return what the machine cost since the meter began."""
        return self._rate * (now_us - self._began_us) // _HOUR_US

    def add_replica(self, replica: ReplicaId, share_ppm: int, now_us: int) -> None:
        """Begin to charge a starting replica for its share of the machine."""
        assert replica not in self._held
        assert 0 <= share_ppm <= WHOLE_PPM
        self._advance(now_us)
        self._held[replica] = _Held(share_ppm, True, self._clock)
        self._shares_ppm += share_ppm

    def mark_ready(self, replica: ReplicaId, now_us: int) -> MeteredInterval:
        """End the starting interval; the replica is idle from here."""
        self._advance(now_us)
        interval = self._close(replica)
        self._held[replica].is_starting = False
        return interval

    def set_share(self, replica: ReplicaId, share_ppm: int, now_us: int) -> MeteredInterval:
        """Set an idle replica's share from here; return the interval that ends."""
        assert 0 <= share_ppm <= WHOLE_PPM
        self._advance(now_us)
        interval = self._close(replica)
        held = self._held[replica]
        self._shares_ppm += share_ppm - held.share_ppm
        held.share_ppm = share_ppm
        return interval

    def begin_request(
        self, request: RequestId, replica: ReplicaId, now_us: int
    ) -> MeteredInterval | None:
        """Charge the request from here; return the idle interval that ends, if one does."""
        self._advance(now_us)
        held = self._held[replica]
        interval = self._close(replica) if held.active == 0 else None
        self._advance_clock(held)
        held.active += 1
        self._requests[request] = (held, held.clock)
        return interval

    def finish_request(self, request: RequestId, now_us: int) -> int:
        """Return what the request cost in nanos; the replica is idle if it was the last."""
        self._advance(now_us)
        held, clock = self._requests.pop(request)
        self._advance_clock(held)
        held.active -= 1
        if held.active == 0:
            held.opened = self._clock
        nanos = (held.clock - clock) // _SCALE
        self._recorded += nanos
        return nanos

    def remove_replica(self, replica: ReplicaId, now_us: int) -> MeteredInterval | None:
        """Stop charging the replica; return its last unpaid interval. No request may be open."""
        self._advance(now_us)
        assert self._held[replica].active == 0
        interval = self._close(replica)
        self._shares_ppm -= self._held.pop(replica).share_ppm
        return interval

    def settle(self, now_us: int) -> tuple[list[MeteredInterval], int]:
        """Cut every unpaid interval here; return them and the overhead since the last settlement.

        Overhead is the bill less everything recorded and less what open requests owe so far.
        """
        self._advance(now_us)
        intervals = [
            self._close(replica) for replica, held in self._held.items() if not held.active
        ]
        total = self.total_nanos(now_us) - self.charged_nanos - self.elsewhere_nanos
        fresh, self._overhead = total - self._overhead, total
        return intervals, fresh

    def check(self) -> None:
        """Assert what must always hold."""
        assert self._shares_ppm == sum(held.share_ppm for held in self._held.values())
        assert sum(held.active for held in self._held.values()) == len(self._requests)
        assert self.charged_nanos <= self.total_nanos(self.now_us)

    def _advance(self, now_us: int) -> None:
        elapsed_us = now_us - self.now_us
        assert elapsed_us >= 0, "time went back"
        shares_ppm = self._shares_ppm + self._elsewhere_ppm
        hours = _WHOLE_HOUR if shares_ppm <= WHOLE_PPM else _HOUR_US * shares_ppm
        self._clock += self._scaled_rate * elapsed_us // hours
        self.now_us = now_us

    def _advance_clock(self, held: _Held) -> None:
        if held.active:
            held.clock += held.share_ppm * (self._clock - held.read_at) // held.active
        held.read_at = self._clock

    def _close(self, replica: ReplicaId) -> MeteredInterval:
        held = self._held[replica]
        assert held.active == 0
        nanos = held.share_ppm * (self._clock - held.opened) // _SCALE
        held.opened = self._clock
        self._recorded += nanos
        state = IdleUsageState.STARTING if held.is_starting else IdleUsageState.IDLE
        return MeteredInterval(replica, state, nanos)

    def _owed(self, request: RequestId) -> int:
        held, clock = self._requests[request]
        now = held.clock + held.share_ppm * (self._clock - held.read_at) // held.active
        return (now - clock) // _SCALE


def share_ppm(node: NodeJoined, grant: Reservation, resources: Resources) -> int:
    """Return the part of the machine that a replica holds: its largest share of any resource.

    This is the dominant share of Ghodsi et al., "Dominant Resource Fairness" (NSDI 2011).
    """
    devices = len(grant.devices) * grant.fraction / max(1, len(node.devices))
    memory = resources.memory_bytes / node.memory_bytes
    vcpus = resources.vcpus / node.vcpus
    return min(WHOLE_PPM, round(WHOLE_PPM * max(devices, memory, vcpus)))
