"""Dispatch: which request goes to which replica, waits or is refused, and how each one ends.

Late binding: a request gets a replica only when one has a free slot. Nobody waits while a slot is
free, and no replica ever holds more than its slots.
"""

from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.fleet.replica_lifecycle import ReplicaLifecycle
from coldspark.fleet.replica_scaling import ReplicaScaling
from coldspark.fleet.request_queue import OpenRequest
from coldspark.fleet.state import FleetState
from coldspark.spec import failures
from coldspark.spec.messages import Abort, FleetEffect, Forward, Reject, RequestArrived
from coldspark.spec.types import Exit, Failure, RequestId

# Looking a member up on its Enum takes longer than the comparison; every request does it.
_READY = ReplicaState.READY
ABORT_GRACE_S = 2.0
"""A replica that has not given an aborted request up by then is killed."""


class RequestDispatch:
    """The requests of one fleet, from arrival to their end."""

    def __init__(
        self, state: FleetState, lifecycle: ReplicaLifecycle, scaling: ReplicaScaling
    ) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._scaling = scaling
        self._queue = state.queue
        self._replicas = state.replicas

    def arrive(self, event: RequestArrived, now: float, effects: list[FleetEffect]) -> bool:
        """Forward a new request, let it wait, or refuse it; return whether it was forwarded."""
        target = event.target
        if target is None:
            replica = self._replicas.take_free()
        else:
            replica = self._replicas.take_free_for(target)
        if replica is None or self._state.is_retired:
            refusal = self._refusal(event, now)
            if refusal is not None:
                effects.append(Reject(event.request, refusal))
                return False
        request = OpenRequest(now, event.deadline_s, event.size_bytes, target, run_s=event.run_s)
        self._queue.add(event.request, request)
        if replica is not None:
            self._forward(event.request, request, replica, now, effects)
            if len(replica.running) < replica.slots:
                self._replicas.mark_free(replica)
            return True
        self._queue.enqueue(event.request)
        self._scaling.rescale(now, effects)
        return False

    def _refusal(self, event: RequestArrived, now: float) -> Failure | None:
        state, queue = self._state, self._queue
        if state.is_retired:
            return failures.retired(state.id)
        failure, pause_s = state.start_budget.failure, state.start_budget.retry_in_s(now)
        if failure is not None and pause_s > 0 and not self._replicas.ready:
            return failures.endpoint_failed(failure, pause_s)
        limits = state.revision.spec.limits
        if queue.queued >= limits.queue_max:
            return failures.queue_full(queue.queued, limits.queue_max, self._wait_s())
        if queue.queued and queue.queued_bytes + event.size_bytes > limits.queue_bytes_max:
            return failures.queue_bytes_full(
                queue.queued_bytes, limits.queue_bytes_max, self._wait_s()
            )
        return None

    def _wait_s(self) -> float | None:
        service_s = self._state.services_s.quantile(0.5)
        if service_s is None:
            return None
        slots = max(1, self._replicas.ready) * self._state.revision.spec.scale.concurrency
        return service_s * self._queue.queued / slots

    def _forward(
        self,
        name: RequestId,
        request: OpenRequest,
        replica: Replica,
        now: float,
        effects: list[FleetEffect],
    ) -> None:
        if not replica.running:
            self._replicas.mark_busy(replica)
        replica.running.add(name)
        if request.target is not None:
            replica.record_target(request.target)
        request.replica, request.forwarded_s = replica, now
        if request.run_s is not None:
            self._queue.set_deadline(name, now + request.run_s)
        effects.append(Forward(name, replica.id))

    def assign_queued(self, replica: Replica, now: float, effects: list[FleetEffect]) -> None:
        """Assign waiting requests to a ready replica until it is full or nobody waits."""
        while self._queue.queued and len(replica.running) < replica.slots:
            name, request = self._queue.dequeue()
            self._forward(name, request, replica, now, effects)
        if len(replica.running) < replica.slots:
            self._replicas.mark_free(replica)
        if not replica.running:
            self._replicas.mark_idle(replica, now)

    def finish(self, name: RequestId, now: float, effects: list[FleetEffect]) -> bool:
        """Free the slot of a request that its replica has finished or aborted.

        Return whether nothing else follows: the replica stays ready and busy, and nobody waited.
        """
        request = self._queue.finish(name)
        if request is None:
            replica = self._queue.complete_abort(name)
            if replica is not None:
                self._free_slot(name, replica, now, effects)
            return False
        replica = request.replica
        assert replica is not None
        self._state.services_s.add(now - request.forwarded_s)
        replica.served += 1
        self._free_slot(name, replica, now, effects)
        return bool(replica.running) and not effects and replica.state is _READY

    def _free_slot(
        self, name: RequestId, replica: Replica, now: float, effects: list[FleetEffect]
    ) -> None:
        replica.running.discard(name)
        if replica.state is _READY:
            self.assign_queued(replica, now, effects)
        elif replica.state is ReplicaState.DRAINING:
            self._stop_drained(replica, now, effects)

    def cancel(self, name: RequestId, now: float, effects: list[FleetEffect]) -> None:
        """Remove a request whose caller disconnected."""
        if self._queue.find(name) is not None:
            self._give_up(name, failures.cancelled(), now, effects)
            self._scaling.rescale(now, effects)

    def _give_up(
        self, name: RequestId, failure: Failure, now: float, effects: list[FleetEffect]
    ) -> None:
        """Fail an open request; a replica that runs it must abort it."""
        effects.append(Reject(name, failure))
        replica = self._queue.abort(name, now + ABORT_GRACE_S)
        if replica is not None:
            effects.append(Abort(name, replica.id))

    def expire(self, now: float, effects: list[FleetEffect]) -> None:
        """End requests past their deadline, and replicas that do not abort such a request."""
        for name, request in self._queue.expired(now):
            failure = self._timed_out(request)
            self._give_up(name, failure, now, effects)
        for replica in self._queue.overdue_replicas(now):
            if replica.state is ReplicaState.READY:
                self._replicas.take_out_of_service(replica, ReplicaState.DRAINING, now)
            if replica.state is ReplicaState.DRAINING:
                self._stop_drained(replica, now, effects)

    def _timed_out(self, request: OpenRequest) -> Failure:
        where, run_s = self._whereabouts(request), request.run_s
        if run_s is not None and request.replica is not None:
            return failures.timed_out(run_s, where, "the job's time to run")
        waited_s = request.deadline_s - request.arrived_s
        limit = "request_timeout_s" if run_s is None else "the job's time to live"
        return failures.timed_out(waited_s, where, limit)

    def _whereabouts(self, request: OpenRequest) -> str:
        if request.replica is not None:
            return "while the replica worked on it"
        states = {replica.state for replica in self._replicas.starting.values()}
        if ReplicaState.STARTING in states:
            return "while its replica was starting"
        if ReplicaState.PLACING in states:
            return "while its replica waited for room on a device"
        return "while it waited for a free replica"

    def _stop_drained(self, replica: Replica, now: float, effects: list[FleetEffect]) -> None:
        if not replica.running:
            self._lifecycle.stop(replica, now, "drained", effects)
        elif self._queue.is_stuck(replica):
            reason = f"did not give up an aborted request within {ABORT_GRACE_S:g} s"
            self._lifecycle.stop(replica, now, reason, effects, grace_s=0.0)

    def fail_running(self, replica: Replica, exit: Exit, effects: list[FleetEffect]) -> None:
        """Fail whatever a replica that is gone was working on."""
        for name in sorted(replica.running):
            if self._queue.finish(name) is None:
                self._queue.complete_abort(name)
            else:
                effects.append(Reject(name, failures.replica_died(exit)))
        replica.running.clear()

    def fail_queue(self, failure: Failure, effects: list[FleetEffect]) -> None:
        """Fail every waiting request."""
        effects.extend(Reject(name, failure) for name in self._queue.clear_queue())
