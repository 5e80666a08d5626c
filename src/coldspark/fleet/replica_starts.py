"""From the reservation request to a ready replica, or to a failed start and its consequences."""

from coldspark.fleet.deadlines import Deadlines
from coldspark.fleet.dispatch import RequestDispatch
from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.fleet.replica_lifecycle import ReplicaLifecycle
from coldspark.fleet.replica_scaling import ReplicaScaling
from coldspark.fleet.rollout import Rollout
from coldspark.fleet.state import FleetState
from coldspark.spec import failures
from coldspark.spec.messages import (
    FleetEffect,
    ReleaseReservation,
    StartReplica,
    UnparkReplica,
    YieldDevices,
)
from coldspark.spec.types import Exit, Failure, ReplicaId, RootCause


class ReplicaStarts:
    """The starts of one fleet: granted, refused, ready, over their limit, failed."""

    def __init__(
        self,
        state: FleetState,
        lifecycle: ReplicaLifecycle,
        rollout: Rollout,
        scaling: ReplicaScaling,
        dispatch: RequestDispatch,
    ) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._rollout = rollout
        self._scaling = scaling
        self._dispatch = dispatch
        self._limits: Deadlines[ReplicaId] = Deadlines()

    def grant(self, name: ReplicaId, now: float, effects: list[FleetEffect]) -> None:
        """Start a replica in its reservation; release a reservation that nobody needs any more."""
        replica = self._state.replicas.find(name)
        if replica is None or replica.state is not ReplicaState.PLACING:
            effects.append(ReleaseReservation(name))
            return
        replica.transition(ReplicaState.STARTING, now)
        replica.granted_s = now
        self._limits.add(name, now + replica.revision.spec.limits.start_timeout_s)
        is_new = replica.parked_s is None
        effects.append(StartReplica(name, replica.revision) if is_new else UnparkReplica(name))

    def refuse(self, name: ReplicaId, reason: str, now: float, effects: list[FleetEffect]) -> None:
        """Count a replica that fits nowhere as a failed start."""
        replica = self._state.replicas.find(name)
        if replica is None or replica.state is not ReplicaState.PLACING:
            return
        self._lifecycle.cancel_start(replica, now, reason, effects)
        self._count_failure(replica, failures.no_capacity(reason), now, effects)
        self._scaling.rescale(now, effects)

    def mark_ready(self, name: ReplicaId, now: float, effects: list[FleetEffect]) -> None:
        """Mark a started replica ready and dispatch waiting requests to it."""
        state = self._state
        replica = state.replicas.find(name)
        if replica is None or replica.state is not ReplicaState.STARTING:
            return
        assert replica.granted_s is not None
        self._limits.remove(name)
        # The time of a thaw is not that of a start.
        samples = state.starts_s if replica.parked_s is None else state.thaws_s
        samples.add(now - replica.granted_s)
        state.replicas.mark_ready(replica, now)
        state.start_budget.reset()
        self._dispatch.assign_queued(replica, now, effects)
        self._rollout.replica_ready(replica, now, effects)

    def mark_parked(self, name: ReplicaId, now: float, effects: list[FleetEffect]) -> None:
        """Release a parked replica's devices, and keep it while it may be of use."""
        state, replica = self._state, self._state.replicas.find(name)
        if replica is None or replica.state is not ReplicaState.PARKING:
            return
        state.replicas.mark_parked(replica, now)
        effects.append(YieldDevices(name))
        if state.is_retired or replica.revision.id != state.revision.id:
            self._lifecycle.stop(replica, now, "nobody will wake it", effects, grace_s=0.0)
        self._scaling.rescale(now, effects)

    def park_failed(
        self, name: ReplicaId, reason: str, now: float, effects: list[FleetEffect]
    ) -> None:
        """Stop a replica that cannot be parked."""
        replica = self._state.replicas.find(name)
        if replica is not None and replica.state is ReplicaState.PARKING:
            self._lifecycle.stop(replica, now, f"cannot be parked: {reason}", effects)

    def expire(self, now: float, effects: list[FleetEffect]) -> None:
        """Kill starts over their limit; they fail when their process has ended."""
        for name in self._limits.due(now):
            replica = self._state.replicas.starting.get(name)
            if replica is not None:
                limit_s = replica.revision.spec.limits.start_timeout_s
                reason = f"not ready after start_timeout_s={limit_s:g}"
                self._state.replicas.fail_start(replica, reason)
                self._lifecycle.stop(replica, now, reason, effects, grace_s=0.0)

    def exit(self, name: ReplicaId, exit: Exit, now: float, effects: list[FleetEffect]) -> None:
        """Remove a replica whose process has ended; it may have been a failed start."""
        replica = self._state.replicas.find(name)
        if replica is None:
            return
        was = replica.state
        self._limits.remove(name)
        self._dispatch.fail_running(replica, exit, effects)
        self._lifecycle.remove(replica, now, effects)
        if exit.cause is RootCause.NODE_LOST:
            # It says nothing of the revision: no start failed, nobody need back off.
            self._state.record_decision(now, f"{name} is lost", exit.message)
        elif was is ReplicaState.STARTING or replica.failed_start is not None:
            failure = failures.start_failed(_explained(replica, exit))
            self._count_failure(replica, failure, now, effects)
        elif was in (ReplicaState.READY, ReplicaState.DRAINING):
            self._state.record_decision(now, f"{name} died", exit.message)
            if replica.served == 0:
                self._count_failure(replica, failures.start_failed(exit), now, effects)
        self._scaling.rescale(now, effects)

    def _count_failure(
        self, replica: Replica, failure: Failure, now: float, effects: list[FleetEffect]
    ) -> None:
        """Back off; give up when the budget is spent; fail those who waited for this start."""
        state, budget = self._state, self._state.start_budget
        state.record_decision(now, f"{replica.id} could not start", failure.message)
        budget.record_failure(now)
        if self._rollout.includes(replica):
            self._rollout.count_failed_start(failure, now, effects)
            return
        if budget.failed >= state.scale.failed_starts_max:
            budget.exhaust(failure, now)
            state.record_decision(now, "FAILED", f"{budget.failed} failed starts in a row")
        if not state.replicas.ready and not state.replicas.starting:
            self._dispatch.fail_queue(failure, effects)

    def next_s(self, now: float) -> float:
        """Return when a start passes its limit, or when the next one may be tried.

        One that may be tried already and was not lacks capacity: an event will follow.
        """
        replicas, budget = self._state.replicas, self._state.start_budget
        next_s = self._limits.next_s()
        if (
            not budget.failed
            or budget.retry_s <= now
            or replicas.starting
            or replicas.failed_starts
        ):
            return next_s
        return min(next_s, budget.retry_s) if self._is_wanted() else next_s

    def _is_wanted(self) -> bool:
        state = self._state
        floor = state.scale.replicas_min
        is_below = state.replicas.ready < floor and not state.is_retired
        return bool(state.queue.queued) or self._rollout.is_underway or is_below


def _explained(replica: Replica, exit: Exit) -> Exit:
    """Return the exit, or the reason for which the platform itself ended the start."""
    if replica.failed_start is None:
        return exit
    return Exit(
        cause=RootCause.START_TIMED_OUT,
        message=replica.failed_start,
        exit_status=exit.exit_status,
        log_tail=exit.log_tail,
    )
