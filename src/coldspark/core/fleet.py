"""Everything about one variant of one endpoint: its queue, its replicas, dispatch and scaling.

The law of this file:

1. State changes only inside ``step``; the caller performs the effects and posts what came of them.
2. Late binding: a request gets a replica only when one has a free slot. Nobody waits while a slot
   is free, and no replica ever holds more than its slots.
3. Every request that arrived leaves by exactly one of: finished by its replica, ``Reject``.
4. Every wait has an end: ``WakeAt`` is armed whenever time alone can change something.
5. A warm request costs O(1): no replica is scanned.
"""

from collections import deque
from dataclasses import dataclass
from typing import assert_never

from coldspark.core import failures
from coldspark.core.autoscaling import Observed, decide
from coldspark.core.messages import (
    Abort,
    AskRoom,
    EvictionAsked,
    FleetEffect,
    FleetEvent,
    Forward,
    Reject,
    ReleaseRoom,
    ReplicaExited,
    ReplicaReady,
    RequestArrived,
    RequestCancelled,
    RequestFinished,
    Retired,
    RevisionAdopted,
    RolledBack,
    RolledOut,
    RoomGranted,
    RoomRefused,
    StartReplica,
    StopReplica,
    Ticked,
    WakeAt,
)
from coldspark.core.replicas import Replica, ReplicaState
from coldspark.core.requests import NEVER, Request, RequestBook
from coldspark.core.roster import Roster
from coldspark.core.starts import StartBudget
from coldspark.core.types import (
    EndpointStatus,
    Exit,
    Failure,
    FleetId,
    ReplicaId,
    RequestId,
    Revision,
    RootCause,
)
from coldspark.core.windows import Samples

ABORT_GRACE_S = 2.0
"""A replica that has not given an aborted request up by then is killed."""
DECISIONS_KEPT = 50


@dataclass(slots=True)
class _Rollout:
    previous: Revision
    wanted: int
    failed_starts: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """Something the fleet did of its own accord, and why."""

    at_s: float
    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What placement may know of a replica when it chooses whom to ask for room."""

    idle_since_s: float | None
    is_evictable: bool
    """It is ready, and not one of ``replicas_min``."""
    is_superseded: bool
    """It runs a revision that is being replaced."""
    is_leaving: bool
    """It drains or stops already."""
    start_s: float
    """What starting it again would cost its endpoint."""


class Fleet:
    """One variant of one endpoint, decided in one place."""

    def __init__(self, fleet: FleetId, revision: Revision, *, replica_prefix: str = "") -> None:
        self.id = fleet
        self.revision = revision
        self.notes: deque[Note] = deque(maxlen=DECISIONS_KEPT)
        # Of its replicas' ids; they are numbered from 1.
        self.prefix = replica_prefix or f"{fleet}."
        self._born = 0
        self._book = RequestBook()
        self._roster = Roster()
        self._starts_s = Samples()
        self._services_s = Samples()
        self._budget = StartBudget()
        self._rollout: _Rollout | None = None
        self._rollout_failure: str | None = None
        self._is_retired = False
        self._armed_s = NEVER

    @property
    def status(self) -> EndpointStatus:
        """Return what the variant is now."""
        if self._is_retired:
            return EndpointStatus.RETIRING
        if self._budget.failure is not None:
            return EndpointStatus.FAILED
        return EndpointStatus.UPDATING if self._rollout else EndpointStatus.READY

    @property
    def failure(self) -> str | None:
        """Return why it FAILED, or why its last update was taken back."""
        failure = self._budget.failure
        return failure.message if failure else self._rollout_failure

    @property
    def queued(self) -> int:
        """Return how many requests wait."""
        return self._book.queued

    @property
    def running(self) -> int:
        """Return how many requests replicas work on."""
        return self._book.open - self._book.queued

    @property
    def is_gone(self) -> bool:
        """Return whether a retired fleet has nothing left."""
        return self._is_retired and not len(self._roster) and not self._book.open

    def replicas(self) -> list[Replica]:
        """Return the replicas, oldest first. Read only."""
        return list(self._roster)

    def start_s(self) -> float | None:
        """Return the median of the measured starts, in seconds."""
        return self._starts_s.quantile(0.5)

    def advise(self, replica: ReplicaId) -> Advice | None:
        """Return what placement may know, or None when it is not this fleet's."""
        found = self._roster.find(replica)
        if found is None:
            return None
        is_superseded = found.revision.id != self.revision.id
        return Advice(
            idle_since_s=found.idle_since_s,
            is_evictable=found.state is ReplicaState.READY
            and (is_superseded or self._roster.ready > self.revision.spec.scale.replicas_min),
            is_superseded=is_superseded,
            is_leaving=found.state in (ReplicaState.DRAINING, ReplicaState.STOPPING),
            start_s=self.start_s() or 1.0,
        )

    def step(self, event: FleetEvent, now: float) -> list[FleetEffect]:
        """Take one event at ``now`` (monotonic seconds); return what shall be done, in order."""
        effects: list[FleetEffect] = []
        match event:
            case RequestArrived():
                self._arrive(event, now, effects)
            case RequestFinished(request):
                self._finish(request, now, effects)
            case RequestCancelled(request):
                self._cancel(request, now, effects)
            case Ticked():
                self._tick(now, effects)
            case RoomGranted(replica):
                self._grant(replica, now, effects)
            case RoomRefused(replica, reason):
                self._refuse(replica, reason, now, effects)
            case ReplicaReady(replica):
                self._become_ready(replica, now, effects)
            case ReplicaExited(replica, exit):
                self._exit(replica, exit, now, effects)
            case EvictionAsked(replica, reason):
                self._evict(replica, reason, now, effects)
            case RevisionAdopted(revision):
                self._adopt(revision, now, effects)
            case Retired():
                self._retire(now, effects)
            case _:
                assert_never(event)
        self._arm(effects)
        return effects

    def _arrive(self, event: RequestArrived, now: float, effects: list[FleetEffect]) -> None:
        replica = self._roster.take_free()
        if replica is None or self._is_retired:
            refusal = self._refusal(event, now)
            if refusal is not None:
                effects.append(Reject(event.request, refusal))
                return
        request = Request(now, event.deadline_s, event.size_bytes)
        self._book.add(event.request, request)
        if replica is not None:
            self._forward(event.request, request, replica, now, effects)
            return
        self._book.wait(event.request)
        self._rescale(now, effects)

    def _refusal(self, event: RequestArrived, now: float) -> Failure | None:
        if self._is_retired:
            return failures.retired(self.id)
        failure = self._budget.failure
        if failure is not None and self._budget.wait_s(now) > 0 and not self._roster.ready:
            return failures.endpoint_failed(failure, self._budget.wait_s(now))
        limits, book = self.revision.spec.limits, self._book
        if book.queued >= limits.queue_max:
            return failures.queue_full(book.queued, limits.queue_max, self._wait_s())
        if book.queued and book.queued_bytes + event.size_bytes > limits.queue_bytes_max:
            return failures.queue_bytes_full(
                book.queued_bytes, limits.queue_bytes_max, self._wait_s()
            )
        return None

    def _wait_s(self) -> float | None:
        service_s = self._services_s.quantile(0.5)
        if service_s is None:
            return None
        slots = max(1, self._roster.ready) * self.revision.spec.scale.concurrency
        return service_s * self._book.queued / slots

    def _forward(
        self,
        name: RequestId,
        request: Request,
        replica: Replica,
        now: float,
        effects: list[FleetEffect],
    ) -> None:
        if not replica.running:
            self._roster.wake(replica)
        replica.running.add(name)
        request.replica, request.forwarded_s = replica, now
        if len(replica.running) < replica.slots:
            self._roster.offer(replica)
        effects.append(Forward(name, replica.id))

    def _finish(self, name: RequestId, now: float, effects: list[FleetEffect]) -> None:
        request = self._book.finish(name)
        if request is None:
            replica = self._book.given_up(name)
            if replica is not None:
                self._free_slot(name, replica, now, effects)
            return
        assert request.replica is not None
        self._services_s.add(now - request.forwarded_s)
        request.replica.served += 1
        self._free_slot(name, request.replica, now, effects)

    def _free_slot(
        self, name: RequestId, replica: Replica, now: float, effects: list[FleetEffect]
    ) -> None:
        replica.running.discard(name)
        if replica.state is ReplicaState.READY:
            self._feed(replica, now, effects)
        elif replica.state is ReplicaState.DRAINING:
            self._stop_drained(replica, now, effects)

    def _feed(self, replica: Replica, now: float, effects: list[FleetEffect]) -> None:
        """Give a ready replica waiting requests until it is full or nobody waits."""
        while self._book.queued and len(replica.running) < replica.slots:
            name, request = self._book.next()
            self._forward(name, request, replica, now, effects)
        if len(replica.running) < replica.slots:
            self._roster.offer(replica)
        if not replica.running:
            self._roster.rest(replica, now)

    def _cancel(self, name: RequestId, now: float, effects: list[FleetEffect]) -> None:
        if self._book.find(name) is None:
            return
        self._give_up(name, failures.cancelled(), now, effects)
        self._rescale(now, effects)

    def _give_up(
        self, name: RequestId, failure: Failure, now: float, effects: list[FleetEffect]
    ) -> None:
        """Answer an open request with a failure; a replica that has it must let go of it."""
        effects.append(Reject(name, failure))
        replica = self._book.drop(name, now + ABORT_GRACE_S)
        if replica is not None:
            effects.append(Abort(name, replica.id))

    def _expire_requests(self, now: float, effects: list[FleetEffect]) -> None:
        for name, request in self._book.expired(now):
            timeout_s = request.deadline_s - request.arrived_s
            failure = failures.timed_out(timeout_s, self._whereabouts(request))
            self._give_up(name, failure, now, effects)

    def _whereabouts(self, request: Request) -> str:
        if request.replica is not None:
            return "while the replica worked on it"
        states = {replica.state for replica in self._roster.starting.values()}
        if ReplicaState.STARTING in states:
            return "while its replica was starting"
        if ReplicaState.PLACING in states:
            return "while its replica waited for room on a device"
        return "while it waited for a free replica"

    def _expire_aborts(self, now: float, effects: list[FleetEffect]) -> None:
        """Take replicas that keep working on what nobody waits for out of service."""
        for replica in self._book.overdue(now):
            if replica.state is ReplicaState.READY:
                self._roster.leave(replica, ReplicaState.DRAINING, now)
            if replica.state is ReplicaState.DRAINING:
                self._stop_drained(replica, now, effects)

    def _stop_drained(self, replica: Replica, now: float, effects: list[FleetEffect]) -> None:
        if not replica.running:
            self._stop(replica, now, "drained", effects)
        elif self._book.is_stuck(replica):
            reason = f"did not give up an aborted request within {ABORT_GRACE_S:g} s"
            self._stop(replica, now, reason, effects, grace_s=0.0)

    def _rescale(self, now: float, effects: list[FleetEffect]) -> None:
        """Start what the rule asks for, or call back replicas that ask for room in vain."""
        if self._is_retired:
            return
        scale, roster = self.revision.spec.scale, self._roster
        verdict = decide(scale, self._observe(now))
        missing = verdict.replicas - roster.ready - len(roster.starting)
        starts = min(missing, scale.replicas_max - roster.live(self.revision.id))
        starts -= roster.failing()
        if starts > 0:
            allowed = self._budget.allowed(starts, now)
            self._ask(allowed, verdict.reason, now, effects)
        elif not self._book.queued and self._rollout is None:
            self._withdraw(now, effects)

    def _observe(self, now: float) -> Observed:
        first = self._book.first
        return Observed(
            queued=self._book.queued,
            ready=self._roster.ready,
            starting_ages_s=tuple(now - r.asked_s for r in self._roster.starting.values()),
            oldest_wait_s=0.0 if first is None else now - first.arrived_s,
            start_s=self._starts_s.quantile(0.25),
            service_s=self._services_s.quantile(0.75),
        )

    def _ask(self, count: int, reason: str, now: float, effects: list[FleetEffect]) -> None:
        if count > 0:
            self._note(now, f"start {count} of {self.revision.id}", reason)
        for _ in range(count):
            self._born += 1
            replica = Replica(ReplicaId(f"{self.prefix}{self._born}"), self.revision, now)
            self._roster.add(replica)
            effects.append(AskRoom(replica.id, self.revision, reason))

    def _withdraw(self, now: float, effects: list[FleetEffect]) -> None:
        """Nobody waits any more: stop asking for room beyond the floor."""
        roster = self._roster
        spare = roster.ready + len(roster.starting) - self.revision.spec.scale.replicas_min
        placing = [r for r in roster.starting.values() if r.state is ReplicaState.PLACING]
        for replica in placing[: max(0, spare)]:
            self._note(now, f"withdraw {replica.id}", "nobody waits any more")
            self._forget(replica, now, effects)

    def _expire_idle(self, now: float, effects: list[FleetEffect]) -> None:
        scale = self.revision.spec.scale
        while self._roster.ready > scale.replicas_min:
            replica = self._roster.longest_idle()
            if replica is None or replica.idle_since_s is None:
                return
            if now < replica.idle_since_s + scale.idle_timeout_s:
                return
            idle_s = now - replica.idle_since_s
            self._stop(replica, now, f"idle for {idle_s:.1f} s", effects)

    def _expire_starts(self, now: float, effects: list[FleetEffect]) -> None:
        for replica in list(self._roster.starting.values()):
            limit_s = replica.revision.spec.limits.start_timeout_s
            if replica.granted_s is not None and now >= replica.granted_s + limit_s:
                replica.failed_start = f"not ready after start_timeout_s={limit_s:g}"
                self._stop(replica, now, replica.failed_start, effects, grace_s=0.0)

    def _grant(self, name: ReplicaId, now: float, effects: list[FleetEffect]) -> None:
        replica = self._roster.find(name)
        if replica is None or replica.state is not ReplicaState.PLACING:
            effects.append(ReleaseRoom(name))
            return
        replica.move(ReplicaState.STARTING, now)
        replica.granted_s = now
        effects.append(StartReplica(name, replica.revision))

    def _refuse(self, name: ReplicaId, reason: str, now: float, effects: list[FleetEffect]) -> None:
        replica = self._roster.find(name)
        if replica is None or replica.state is not ReplicaState.PLACING:
            return
        self._forget(replica, now, effects)
        self._count_failed_start(replica, failures.no_room(reason), now, effects)
        self._rescale(now, effects)

    def _become_ready(self, name: ReplicaId, now: float, effects: list[FleetEffect]) -> None:
        replica = self._roster.find(name)
        if replica is None or replica.state is not ReplicaState.STARTING:
            return
        assert replica.granted_s is not None
        self._roster.become_ready(replica, now)
        self._starts_s.add(now - replica.granted_s)
        self._budget.succeed()
        self._feed(replica, now, effects)
        if self._rollout is not None and replica.revision.id == self.revision.id:
            self._advance_rollout(now, effects)

    def _exit(self, name: ReplicaId, exit: Exit, now: float, effects: list[FleetEffect]) -> None:
        replica = self._roster.find(name)
        if replica is None:
            return
        was = replica.state
        self._fail_running(replica, exit, effects)
        self._forget(replica, now, effects)
        if was is ReplicaState.STARTING or replica.failed_start is not None:
            failure = failures.start_failed(_explained(replica, exit))
            self._count_failed_start(replica, failure, now, effects)
        elif was in (ReplicaState.READY, ReplicaState.DRAINING):
            self._note(now, f"{name} died", exit.message)
            if replica.served == 0:
                self._count_failed_start(replica, failures.start_failed(exit), now, effects)
        self._rescale(now, effects)

    def _fail_running(self, replica: Replica, exit: Exit, effects: list[FleetEffect]) -> None:
        for name in sorted(replica.running):
            if self._book.finish(name) is None:
                self._book.given_up(name)
            else:
                effects.append(Reject(name, failures.replica_died(exit)))
        replica.running.clear()

    def _count_failed_start(
        self, replica: Replica, failure: Failure, now: float, effects: list[FleetEffect]
    ) -> None:
        """Back off; give up when the budget is spent; tell those who waited for this start."""
        self._note(now, f"{replica.id} could not start", failure.message)
        self._budget.fail(now)
        if self._rollout is not None and replica.revision.id == self.revision.id:
            self._fail_rollout(failure, now, effects)
            return
        if self._budget.failed >= self.revision.spec.scale.failed_starts_max:
            self._budget.give_up(failure, now)
            self._note(now, "FAILED", f"{self._budget.failed} failed starts in a row")
        if not self._roster.ready and not self._roster.starting:
            self._fail_queue(failure, effects)

    def _fail_queue(self, failure: Failure, effects: list[FleetEffect]) -> None:
        effects.extend(Reject(name, failure) for name in self._book.clear_queue())

    def _evict(self, name: ReplicaId, reason: str, now: float, effects: list[FleetEffect]) -> None:
        replica = self._roster.find(name)
        if replica is None or replica.state is not ReplicaState.READY:
            return
        self._send_away(replica, now, f"evicted: {reason}", effects)
        self._rescale(now, effects)

    def _send_away(
        self, replica: Replica, now: float, reason: str, effects: list[FleetEffect]
    ) -> None:
        """Stop a ready replica, after what it is working on."""
        if replica.running:
            self._roster.leave(replica, ReplicaState.DRAINING, now)
            self._note(now, f"drain {replica.id}", reason)
        else:
            self._stop(replica, now, reason, effects)

    def _stop(
        self,
        replica: Replica,
        now: float,
        reason: str,
        effects: list[FleetEffect],
        grace_s: float | None = None,
    ) -> None:
        self._roster.leave(replica, ReplicaState.STOPPING, now)
        self._note(now, f"stop {replica.id}", reason)
        if grace_s is None:
            grace_s = replica.revision.spec.limits.stop_grace_s
        effects.append(StopReplica(replica.id, grace_s, reason))

    def _forget(self, replica: Replica, now: float, effects: list[FleetEffect]) -> None:
        self._roster.leave(replica, ReplicaState.GONE, now)
        effects.append(ReleaseRoom(replica.id))

    def _adopt(self, revision: Revision, now: float, effects: list[FleetEffect]) -> None:
        """Run another revision: one new replica for each ready old one, then the old one goes."""
        previous, self.revision = self.revision, revision
        if revision.id != previous.id:
            self._budget = StartBudget()
            self._rollout_failure = None
            if self._rollout is not None:
                previous = self._rollout.previous
            self._rollout = None
            self._call_off_starts(now, effects)
            self._begin_rollout(previous, now, effects)
        self._rescale(now, effects)

    def _call_off_starts(self, now: float, effects: list[FleetEffect]) -> None:
        for replica in list(self._roster.starting.values()):
            if replica.revision.id == self.revision.id:
                continue
            if replica.state is ReplicaState.PLACING:
                self._forget(replica, now, effects)
            else:
                self._stop(replica, now, "another revision was adopted", effects)

    def _begin_rollout(self, previous: Revision, now: float, effects: list[FleetEffect]) -> None:
        scale, ready = self.revision.spec.scale, self._roster.ready_ones()
        old = sum(1 for replica in ready if replica.revision.id != self.revision.id)
        if not old:
            effects.append(RolledOut(self.revision))
            return
        wanted = max(scale.replicas_min, min(len(ready), scale.replicas_max))
        self._rollout = _Rollout(previous, wanted)
        missing = wanted - self._roster.live(self.revision.id)
        self._ask(missing, f"roll out over {old} of {previous.id}", now, effects)
        if missing <= 0:
            self._advance_rollout(now, effects)

    def _advance_rollout(self, now: float, effects: list[FleetEffect]) -> None:
        assert self._rollout is not None
        ready = self._roster.ready_ones()
        fresh = sum(1 for replica in ready if replica.revision.id == self.revision.id)
        old = [replica for replica in ready if replica.revision.id != self.revision.id]
        old.sort(key=lambda replica: len(replica.running))
        is_done = fresh >= self._rollout.wanted
        for replica in old if is_done else old[:1]:
            self._send_away(replica, now, f"replaced by {self.revision.id}", effects)
        if is_done:
            self._rollout = None
            effects.append(RolledOut(self.revision))

    def _fail_rollout(self, failure: Failure, now: float, effects: list[FleetEffect]) -> None:
        """Take the update back when the new revision has spent its budget of failed starts."""
        assert self._rollout is not None
        self._rollout.failed_starts += 1
        if self._rollout.failed_starts < self.revision.spec.scale.failed_starts_max:
            return
        failed, self.revision = self.revision, self._rollout.previous
        self._rollout = None
        self._budget = StartBudget()
        self._rollout_failure = f"update to {failed.id} taken back: {failure.message}"
        self._note(now, f"roll back to {self.revision.id}", failure.message)
        self._call_off_starts(now, effects)
        for replica in self._roster.ready_ones():
            if replica.revision.id == failed.id:
                self._send_away(replica, now, "its revision was taken back", effects)
        effects.append(RolledBack(self.revision, self._rollout_failure))

    def _retire(self, now: float, effects: list[FleetEffect]) -> None:
        self._is_retired = True
        self._rollout = None
        self._fail_queue(failures.retired(self.id), effects)
        for replica in self._roster:
            if replica.state is ReplicaState.PLACING:
                self._forget(replica, now, effects)
            elif replica.state is ReplicaState.STARTING:
                self._stop(replica, now, "endpoint deleted", effects)
            elif replica.state is ReplicaState.READY:
                self._send_away(replica, now, "endpoint deleted", effects)

    def _tick(self, now: float, effects: list[FleetEffect]) -> None:
        self._armed_s = NEVER
        self._expire_requests(now, effects)
        self._expire_aborts(now, effects)
        self._expire_starts(now, effects)
        self._expire_idle(now, effects)
        self._resume_rollout(now, effects)
        self._rescale(now, effects)

    def _resume_rollout(self, now: float, effects: list[FleetEffect]) -> None:
        if self._rollout is not None and not self._roster.starting:
            missing = self._rollout.wanted - self._roster.live(self.revision.id)
            self._ask(self._budget.allowed(missing, now), "roll out: try again", now, effects)

    def _arm(self, effects: list[FleetEffect]) -> None:
        """Ask for a tick at the next moment when time alone changes something."""
        next_s = min(self._book.next_s(), self._next_idle_s())
        if self._roster.starting or self._budget.failed:
            next_s = min(next_s, self._next_start_s())
        if next_s < self._armed_s:
            self._armed_s = next_s
            effects.append(WakeAt(next_s))

    def _next_idle_s(self) -> float:
        scale = self.revision.spec.scale
        if self._roster.ready <= scale.replicas_min:
            return NEVER
        first = self._roster.longest_idle()
        if first is None or first.idle_since_s is None:
            return NEVER
        return first.idle_since_s + scale.idle_timeout_s

    def _next_start_s(self) -> float:
        next_s = NEVER
        for replica in self._roster.starting.values():
            if replica.granted_s is not None:
                limit_s = replica.revision.spec.limits.start_timeout_s
                next_s = min(next_s, replica.granted_s + limit_s)
        roster = self._roster
        if (
            self._budget.failed
            and not (roster.starting or roster.failing())
            and self._wants_start()
        ):
            next_s = min(next_s, self._budget.retry_s)
        return next_s

    def _wants_start(self) -> bool:
        floor = self.revision.spec.scale.replicas_min
        below = self._roster.ready < floor and not self._is_retired
        return bool(self._book.queued) or self._rollout is not None or below

    def _note(self, now: float, what: str, reason: str) -> None:
        self.notes.append(Note(now, what, reason))

    def check(self) -> None:
        """Assert what must hold after every step."""
        self._roster.check()
        self._book.check(list(self._roster))
        scale = self.revision.spec.scale
        assert self._roster.live(self.revision.id) <= scale.replicas_max
        assert not (self._is_retired and self._book.queued)
        if self._book.queued:
            has_room = any(replica.has_room for replica in self._roster)
            assert not has_room, "a slot is free while a request waits"
            assert self._armed_s < NEVER, "a request waits and no tick is armed"
            assert len(self._roster) or self._budget.failed, "a request waits for nothing"


def _explained(replica: Replica, exit: Exit) -> Exit:
    """Return the exit, or what the platform itself ended the start for."""
    if replica.failed_start is None:
        return exit
    return Exit(
        cause=RootCause.START_TIMED_OUT,
        message=replica.failed_start,
        exit_status=exit.exit_status,
        log_tail=exit.log_tail,
    )
