"""The meter with names: which replica holds which share, and its cost in ledger lines.

Idle and starting time is summed in memory and goes to the ledger at each settlement; a crash in
between leaves a gap that the next start closes with a line of overhead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from coldspark import clock
from coldspark.billing.meter import Meter, MeteredInterval, share_ppm
from coldspark.billing.usage import IdleUsage, IdleUsageState
from coldspark.spec.messages import NodeJoined, Reservation
from coldspark.spec.types import (
    EndpointName,
    ReplicaId,
    RequestId,
    Resources,
    Revision,
    RevisionId,
    VariantName,
)

_NO_CPU = 0.001
"""The least that resources may name; a frozen process uses none."""


@dataclass(slots=True, kw_only=True)
class ReplicaAccount:
    """One replica: its endpoint, its share, and its cost since the last settlement."""

    replica: ReplicaId
    revision: RevisionId
    endpoint: EndpointName
    variant: VariantName
    since_us: int
    """Begin of the present unpaid interval."""
    resources: Resources
    memory_ppm: int
    """Its share of the machine while it is parked."""
    gpu: str | None = None
    gpu_count: float = 0.0
    is_simulated: bool = False
    active: int = 0
    ready_s: float = inf
    """When its latest start was over."""
    start_nanos: int = 0
    """What the start cost, until the request that caused it takes it."""
    sums: dict[IdleUsageState, tuple[int, int]] = field(default_factory=dict)
    """Microseconds and nanos by state since the last settlement."""

    def set_devices(self, grant: Reservation) -> None:
        """Record the devices of a reservation."""
        self.gpu = grant.devices[0].type if grant.devices else None
        self.gpu_count = len(grant.devices) * grant.fraction
        self.is_simulated = any(device.is_simulated for device in grant.devices)


class ReplicaAccounts:
    """One machine's meter, and the names behind its replicas."""

    def __init__(
        self,
        rate_nanos_per_hour: int,
        *,
        has_overhead: bool = True,
        on_shares: Callable[[int], None] = lambda shares_ppm: None,
    ) -> None:
        """Begin to meter.

        Where several processes meter one machine, one alone ``has_overhead``: what nobody holds.
        ``on_shares`` is called when what this meter's replicas hold together has changed.
        """
        self._has_overhead = has_overhead
        self._on_shares = on_shares
        now_us = clock.monotonic_us()
        self._meter = Meter(rate_nanos_per_hour, now_us)
        self._accounts: dict[ReplicaId, ReplicaAccount] = {}
        self._closed: list[IdleUsage] = []
        self._settled_us = now_us

    @property
    def charged_nanos(self) -> int:
        """Return what was charged since the meter began, open requests included."""
        return self._meter.charged_nanos

    def set_shares_elsewhere(self, shares_ppm: int) -> None:
        """Share the node from here with what other meters' replicas hold."""
        self._meter.set_elsewhere_share(shares_ppm, clock.monotonic_us())

    def charge_elsewhere(self, nanos: int) -> None:
        """Set what other meters have charged since the bill began, which is no overhead."""
        self._meter.elsewhere_nanos = nanos

    def add_replica(
        self,
        endpoint: EndpointName,
        variant: VariantName,
        revision: Revision,
        node: NodeJoined,
        grant: Reservation,
    ) -> None:
        """Begin to charge a replica that starts in its reservation."""
        now_us, resources = clock.monotonic_us(), revision.spec.resources
        self._meter.add_replica(grant.replica, share_ppm(node, grant, resources), now_us)
        memory_ppm = share_ppm(node, replace(grant, devices=()), replace(resources, vcpus=_NO_CPU))
        account = ReplicaAccount(
            replica=grant.replica,
            revision=revision.id,
            endpoint=endpoint,
            variant=variant,
            since_us=now_us,
            resources=resources,
            memory_ppm=memory_ppm,
        )
        account.set_devices(grant)
        self._accounts[grant.replica] = account
        self._on_shares(self._meter.shares_ppm)

    def park(self, replica: ReplicaId) -> None:
        """Charge a parked replica for the memory that it keeps, and nothing else."""
        account = self._accounts.get(replica)
        if account is not None:
            self._reshare(replica, account, account.memory_ppm)

    def unpark(self, replica: ReplicaId, node: NodeJoined, grant: Reservation) -> None:
        """Charge a replica for all of its reservation again."""
        account = self._accounts[replica]
        account.set_devices(grant)
        self._reshare(replica, account, share_ppm(node, grant, account.resources))

    def _reshare(self, replica: ReplicaId, account: ReplicaAccount, share: int) -> None:
        now_us = clock.monotonic_us()
        self._sum(account, self._meter.set_share(replica, share, now_us), now_us)
        self._on_shares(self._meter.shares_ppm)

    def ready(self, replica: ReplicaId) -> None:
        """End the start."""
        account = self._accounts.get(replica)
        if account is not None:
            account.ready_s = clock.monotonic_s()
            now_us = clock.whole_us(account.ready_s)
            interval = self._meter.mark_ready(replica, now_us)
            account.start_nanos += interval.nanos
            self._sum(account, interval, now_us)

    def begin(self, request: RequestId, replica: ReplicaId, now_s: float) -> ReplicaAccount:
        """Charge a request from here; return the account that it belongs to."""
        now_us = self._now_us(now_s)
        account = self._accounts[replica]
        interval = self._meter.begin_request(request, replica, now_us)
        account.active += 1
        if interval is not None:
            self._sum(account, interval, now_us)
        return account

    def finish(self, request: RequestId, account: ReplicaAccount, now_s: float) -> int:
        """Return what the request cost in nanos."""
        now_us = self._now_us(now_s)
        nanos = self._meter.finish_request(request, now_us)
        account.active -= 1
        if account.active == 0:
            account.since_us = now_us
        return nanos

    def _now_us(self, now_s: float) -> int:
        """Return a moment for the meter, which may have seen a later one meanwhile."""
        now_us, latest_us = clock.whole_us(now_s), self._meter.now_us
        return now_us if now_us > latest_us else latest_us

    def take_start(self, account: ReplicaAccount) -> int:
        """Return what the replica's start cost, once: to the request that caused it."""
        nanos, account.start_nanos = account.start_nanos, 0
        return nanos

    def release(self, replica: ReplicaId) -> None:
        """Stop charging a replica."""
        account = self._accounts.pop(replica, None)
        if account is None:
            return
        now_us = clock.monotonic_us()
        interval = self._meter.remove_replica(replica, now_us)
        if interval is not None:
            self._sum(account, interval, now_us)
        self._closed += self._lines(replica, account, False)
        self._on_shares(self._meter.shares_ppm)

    def settle(self, provisioned: frozenset[ReplicaId]) -> Sequence[IdleUsage]:
        """Return ledger lines of all idle usage since the last settlement."""
        now_us = clock.monotonic_us()
        intervals, overhead_nanos = self._meter.settle(now_us)
        for interval in intervals:
            self._sum(self._accounts[interval.replica], interval, now_us)
        lines, self._closed = self._closed, []
        for replica, account in self._accounts.items():
            lines += self._lines(replica, account, replica in provisioned)
        if self._has_overhead and (overhead_nanos or now_us > self._settled_us):
            lines.append(overhead(now_us - self._settled_us, overhead_nanos))
        self._settled_us = now_us
        return lines

    def _sum(self, account: ReplicaAccount, interval: MeteredInterval, now_us: int) -> None:
        elapsed_us, nanos = account.sums.get(interval.state, (0, 0))
        elapsed_us += now_us - account.since_us
        account.sums[interval.state] = (elapsed_us, nanos + interval.nanos)
        account.since_us = now_us

    def _lines(
        self, replica: ReplicaId, account: ReplicaAccount, provisioned: bool
    ) -> list[IdleUsage]:
        now_ms = clock.wall_ms()
        sums, account.sums = account.sums, {}
        return [
            IdleUsage(
                state=state,
                endpoint=account.endpoint,
                variant=account.variant,
                replica=replica,
                gpu=account.gpu,
                gpu_count=account.gpu_count,
                is_simulated=account.is_simulated,
                is_provisioned=provisioned and state is IdleUsageState.IDLE,
                from_ms=now_ms - round(elapsed_us / 1000),
                to_ms=now_ms,
                nanos=nanos,
            )
            for state, (elapsed_us, nanos) in sums.items()
        ]


def overhead(elapsed_us: int, nanos: int, until_ms: int | None = None) -> IdleUsage:
    """Return the line of what the node cost beyond all that was held."""
    to_ms = clock.wall_ms() if until_ms is None else until_ms
    return IdleUsage(
        state=IdleUsageState.OVERHEAD,
        endpoint=None,
        variant=None,
        replica=None,
        gpu=None,
        gpu_count=0.0,
        is_simulated=False,
        is_provisioned=False,
        from_ms=to_ms - round(elapsed_us / 1000),
        to_ms=to_ms,
        nanos=nanos,
    )
