"""Any history of one fleet keeps its law: bounds, order, no lost request, no endless wait."""

from example_counts import examples
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from worlds import CRASH, NODE_LOST, revision

from coldspark.fleet.fleet import Fleet
from coldspark.spec.messages import (
    Abort,
    BacklogChanged,
    EvictionRequested,
    FleetEffect,
    FleetEvent,
    Forward,
    ParkFailed,
    ParkReplica,
    Reject,
    ReleaseReservation,
    ReplicaExited,
    ReplicaParked,
    ReplicaReady,
    RequestArrived,
    RequestCancelled,
    RequestFinished,
    RequestReservation,
    ReservationGranted,
    ReservationRefused,
    Retired,
    RevisionAdopted,
    RolledBack,
    ScaleBoundsChanged,
    StartReplica,
    StopReplica,
    Ticked,
    UnparkReplica,
    WakeAt,
    YieldDevices,
)
from coldspark.spec.scaling_rules import (
    Histogram,
    KeepAlive,
    Knative,
    QueueDelay,
    RayServe,
    RequestCount,
    TargetTracking,
)
from coldspark.spec.types import (
    EndpointStatus,
    Exit,
    FleetId,
    Limits,
    ReplicaId,
    RequestId,
    ScalePolicy,
)

LEARNED = st.builds(
    lambda low, extra, slots, idle, parked, waste, failed: ScalePolicy(
        replicas_min=low,
        replicas_max=low + extra,
        concurrency=slots,
        idle_timeout_s=idle,
        park_timeout_s=parked,
        waste_budget=waste,
        failed_starts_max=failed,
    ),
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([None, 0.0, 1.0, 5.0]),
    st.sampled_from([None, 0.0, 3.0]),
    st.sampled_from([0.0, 1.0]),
    st.integers(1, 3),
)
RULES = st.sampled_from(
    [
        KeepAlive(keep_s=0.0),
        KeepAlive(keep_s=5.0),
        Histogram(),
        Knative(),
        Knative(target=1.0, stable_s=10.0),
        RayServe(up_s=0.0, down_s=5.0),
        QueueDelay(delay_s=0.5, idle_s=0.0),
        RequestCount(requests=0.5, idle_s=1.0),
        TargetTracking(out_minutes=1, in_minutes=1, out_cooldown_s=0.0),
    ]
)
RULED = st.builds(
    lambda rule, low, extra, slots, parked: ScalePolicy(
        rule=rule,
        replicas_min=low,
        replicas_max=low + extra,
        concurrency=slots,
        park_timeout_s=parked,
    ),
    RULES,
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([0.0, 3.0]),
)
POLICIES = LEARNED | RULED
MOVES = st.builds(
    lambda floor, extra: ScaleBoundsChanged(
        floor, None if extra is None else max(1, (floor or 0) + extra), "window"
    ),
    st.none() | st.integers(0, 3),
    st.none() | st.integers(0, 2),
)
TICKS_AT_ONCE_MAX = 20
"""So many ticks at one moment, and still another asked for: it would never end."""
DAY_S = 86_400.0


class FleetHistory(RuleBasedStateMachine):
    """Play the world around one fleet: callers, placement, processes and time."""

    requests = Bundle("requests")

    @initialize(policy=POLICIES, queue_max=st.integers(1, 6))
    def begin(self, policy: ScalePolicy, queue_max: int) -> None:
        self.limits = Limits(queue_max=queue_max, start_timeout_s=8.0)
        self.now = 0.0
        self.revisions = [revision(scale=policy, limits=self.limits)]
        self.arrived = 0
        self.fleet = Fleet(FleetId("e/v"), self.revisions[0])
        self.open: dict[RequestId, float] = {}
        self.order: list[RequestId] = []
        self.runs_s: dict[RequestId, float] = {}
        """Of those that jobs make: their deadline moves when a replica takes them."""
        self.at: dict[RequestId, ReplicaId] = {}
        self.aborted: dict[RequestId, ReplicaId] = {}
        self.placing: list[ReplicaId] = []
        self.starting: list[ReplicaId] = []
        self.ready: list[ReplicaId] = []
        self.parking: list[ReplicaId] = []
        self.parked: set[ReplicaId] = set()
        """Frozen: they hold no room, and take no request before they are thawed in a new one."""
        self.stopping: set[ReplicaId] = set()
        self.wake_s: float | None = None
        self.is_retired = False

    def step(self, event: FleetEvent) -> None:
        for effect in self.fleet.step(event, self.now):
            self.perform(effect)

    def perform(self, effect: FleetEffect) -> None:
        match effect:
            case Forward(request, replica):
                waiting = [name for name in self.order if name not in self.at]
                assert waiting[0] == request, "not first come, first served"
                assert replica in self.ready
                assert replica not in self.stopping
                self.at[request] = replica
                if request in self.runs_s:
                    self.open[request] = self.now + self.runs_s[request]
            case Reject(request):
                del self.open[request]
                self.order.remove(request)
                replica = self.at.pop(request, None)
                if replica is not None and replica in self.ready:
                    self.aborted[request] = replica
            case Abort(request, replica):
                assert self.aborted[request] == replica
            case RequestReservation(replica):
                self.placing.append(replica)
            case ReleaseReservation(replica):
                if replica in self.placing:
                    self.placing.remove(replica)
            case StartReplica(replica):
                self.starting.append(replica)
            case ParkReplica(replica):
                assert replica not in self.at.values()
                self.ready.remove(replica)
                self.parking.append(replica)
            case YieldDevices(replica):
                assert replica in self.parked
                if replica in self.placing:
                    self.placing.remove(replica)
            case UnparkReplica(replica):
                self.parked.remove(replica)
                self.starting.append(replica)
            case StopReplica(replica):
                assert replica in self.processes
                self.stopping.add(replica)
            case WakeAt(at_s):
                self.wake_s = at_s
            case RolledBack():
                pass

    @rule(target=requests, timeout_s=st.sampled_from([0.5, 3.0, 20.0]))
    def arrive(self, timeout_s: float) -> RequestId:
        self.arrived += 1
        name = RequestId(f"{self.arrived:04}")
        self.open[name] = self.now + timeout_s
        self.order.append(name)
        self.step(RequestArrived(name, self.now + timeout_s, 1))
        return name

    @rule(
        target=requests,
        wait_s=st.sampled_from([0.5, 50.0]),
        run_s=st.sampled_from([0.5, 3.0, 50.0]),
    )
    def arrive_for_a_job(self, wait_s: float, run_s: float) -> RequestId:
        self.arrived += 1
        name = RequestId(f"{self.arrived:04}")
        self.open[name], self.runs_s[name] = self.now + wait_s, run_s
        self.order.append(name)
        self.step(RequestArrived(name, self.now + wait_s, 1, run_s=run_s))
        return name

    @rule(jobs=st.sampled_from([0, 1, 7, 1_000]))
    def see_backlog(self, jobs: int) -> None:
        self.step(BacklogChanged(jobs))

    @rule(name=consumes(requests))
    def hang_up(self, name: RequestId) -> None:
        self.step(RequestCancelled(name))
        assert name not in self.open

    @rule(pick=st.integers(0, 99))
    def finish(self, pick: int) -> None:
        busy = sorted(self.at.items())
        if busy:
            name, _ = busy[pick % len(busy)]
            del self.at[name], self.open[name]
            self.order.remove(name)
            self.step(RequestFinished(name))

    @rule(pick=st.integers(0, 99))
    def let_go(self, pick: int) -> None:
        if self.aborted:
            name = sorted(self.aborted)[pick % len(self.aborted)]
            del self.aborted[name]
            self.step(RequestFinished(name))

    @rule(refuse=st.booleans())
    def place(self, refuse: bool) -> None:
        if self.placing:
            replica = self.placing.pop(0)
            event = ReservationRefused(replica, "full") if refuse else ReservationGranted(replica)
            self.step(event)

    @rule()
    def grant_all(self) -> None:
        while self.placing:
            self.step(ReservationGranted(self.placing.pop(0)))

    @rule()
    def become_ready(self) -> None:
        if self.starting:
            replica = self.starting.pop(0)
            self.ready.append(replica)
            self.step(ReplicaReady(replica))

    @rule()
    def warm_up(self) -> None:
        """All that is on its way becomes ready: histories get past the first start."""
        self.grant_all()
        while self.starting:
            self.become_ready()

    @rule(pick=st.integers(0, 99))
    def die(self, pick: int) -> None:
        if self.processes:
            self.end(self.processes[pick % len(self.processes)])

    @property
    def processes(self) -> list[ReplicaId]:
        return self.starting + self.ready + self.parking + sorted(self.parked)

    @rule(fails=st.booleans())
    def park(self, fails: bool) -> None:
        if self.parking:
            replica = self.parking.pop(0)
            if fails:
                self.ready.append(replica)
                self.step(ParkFailed(replica, "it holds a GPU"))
            else:
                self.parked.add(replica)
                self.step(ReplicaParked(replica))

    @rule()
    def end_stopping(self) -> None:
        for replica in sorted(self.stopping):
            self.end(replica)

    def end(self, replica: ReplicaId, exit: Exit = CRASH) -> None:
        self.stopping.discard(replica)
        self.parked.discard(replica)
        for processes in (self.starting, self.ready, self.parking):
            if replica in processes:
                processes.remove(replica)
        self.aborted = {name: at for name, at in self.aborted.items() if at != replica}
        lost = {name for name, at in self.at.items() if at == replica}
        self.step(ReplicaExited(replica, exit))
        assert not lost & self.open.keys()

    @rule(picks=st.sets(st.integers(0, 4), min_size=1))
    def lose_node(self, picks: set[int]) -> None:
        """Some replicas are gone at once, whatever they were doing."""
        there = self.starting + self.ready + self.parking + sorted(self.parked | self.stopping)
        for replica in [name for at, name in enumerate(there) if at in picks]:
            self.end(replica, NODE_LOST)

    @rule(pick=st.integers(0, 99))
    def evict(self, pick: int) -> None:
        holders = self.ready + self.parking + sorted(self.parked)
        if holders:
            self.step(EvictionRequested(holders[pick % len(holders)], "room"))

    @rule(policy=POLICIES, moved=st.none() | MOVES)
    def update(self, policy: ScalePolicy, moved: ScaleBoundsChanged | None) -> None:
        name = f"r{len(self.revisions) + 1}"
        self.revisions.append(revision(name, scale=policy, limits=self.limits))
        self.step(RevisionAdopted(self.revisions[-1], moved))

    @rule(moved=MOVES)
    def move_floor(self, moved: ScaleBoundsChanged) -> None:
        self.step(moved)
        floor, ceiling = self.fleet.replicas_min, self.fleet.replicas_max
        assert moved.replicas_min in (None, floor)
        assert moved.replicas_max in (None, ceiling)
        assert 0 <= floor <= ceiling

    @rule(pick=st.integers(0, 99))
    def go_back(self, pick: int) -> None:
        self.step(RevisionAdopted(self.revisions[pick % len(self.revisions)]))

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        """Tick whenever the fleet asked for it; at the end no deadline is overdue."""
        self.tick_until(self.now + seconds)
        assert all(deadline_s >= self.now for deadline_s in self.open.values())

    def tick_until(self, end: float) -> int:
        """Let time pass; return how often the fleet wanted to hear of it."""
        ticks, at_once = 0, 0
        while self.wake_s is not None and self.wake_s <= end:
            at_once = at_once + 1 if self.wake_s <= self.now else 0
            assert at_once <= TICKS_AT_ONCE_MAX, "ticks without end"
            self.now, self.wake_s = max(self.now, self.wake_s), None
            ticks += 1
            self.step(Ticked())
        self.now = end
        return ticks

    def settle(self) -> None:
        """Let everything that was begun come to its end."""
        while self.at or self.aborted or self.placing or self.starting:
            self.finish(0)
            self.let_go(0)
            self.warm_up()
        while self.parking:
            self.park(fails=False)
        self.end_stopping()

    def teardown(self) -> None:
        """Nobody comes any more: in the end there is nothing to do, and nobody asks for the time.

        What is woken ahead of a request that then does not come is woken once.
        """
        if not hasattr(self, "fleet"):
            return
        # As the controller does when it opens one, in case that nothing has happened at all.
        self.step(Ticked())
        # What is provisioned stays, under rules that look every second: a while says it all.
        for _ in range(30 if self.fleet.replicas_min == 0 else 6):
            self.settle()
            self.tick_until(self.now + DAY_S / 10)
            self.fleet.check()
        self.settle()
        assert self.fleet.queued == 0
        if not self.is_retired and self.fleet.status is not EndpointStatus.FAILED:
            assert len(self.ready) >= self.fleet.replicas_min, "below the floor for ever"
        if self.fleet.replicas_min == 0 or self.is_retired:
            held = [r for r in self.ready if r not in self.parked]
            assert not held, f"kept for nobody: {held}"
            assert self.tick_until(self.now + DAY_S) <= 2

    @rule()
    def retire(self) -> None:
        if self.now > 300.0:
            self.is_retired = True
            self.step(Retired())

    @invariant()
    def keeps_its_law(self) -> None:
        if not hasattr(self, "fleet"):
            return
        self.fleet.check()
        assert self.fleet.queued + self.fleet.running == len(self.open)
        if self.is_retired and not (self.processes or self.open):
            assert self.fleet.is_gone
        assert not (self.is_retired and self.fleet.status is not EndpointStatus.RETIRING)


TestFleetHistory = FleetHistory.TestCase
TestFleetHistory.settings = settings(
    max_examples=examples(120),
    stateful_step_count=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
