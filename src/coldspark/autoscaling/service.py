"""Scalable targets as time passes: what callers change, and what policies and schedules do.

One task does it all, target by target: it sleeps until the next data point, the next scheduled
action or the next change of an alarm. A target that fails is logged and stops no other. What is
done is on disk before it is set on the platform; the platform forgets, so after a start, and
whenever a variant is found without its bound, it is set again.

An endpoint that is deleted takes its targets along; so does a variant that is no longer there.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from coldspark.autoscaling import replica_capacity, scheduled_actions, target_tracking, transitions
from coldspark.autoscaling.alarms import AlarmRepository
from coldspark.autoscaling.capacity import decide_capacity
from coldspark.autoscaling.causes import PolicyTriggered
from coldspark.autoscaling.policy_evaluation import evaluate_policies
from coldspark.autoscaling.repository import TargetRepository
from coldspark.autoscaling.scalable_target import ActivityStatus, ScalableTarget
from coldspark.errors import ColdsparkError, NotFound, RouterGone
from coldspark.platform.ports import DocumentStore, Platform, VariantView
from coldspark.spec.types import AlarmState
from coldspark.tasks import Tasks
from coldspark.telemetry.alarm_changes import AlarmChange

_log = logging.getLogger(__name__)

EVALUATE_EVERY_MS = 10_000
_SETTLE_MS = 1_500
"""So long after a data point's end its alarm has been evaluated."""
_UNDER_WAY_MS = 1_000
_PROMPT_MS = 60_000
"""The end of an activity that takes longer is found with the next data point."""
_SLEEP_MAX_MS = 30_000
"""A sleep counts no time for which the machine was suspended, and the clock may be set."""
_CLOSE_WITHIN_S = 5.0
_REASON_CHARS_MAX = 240

Explain = Callable[[ScalableTarget], str]
"""Put into words why the platform's bounds are what a target's capacity makes them."""


async def _nothing() -> None:
    """See what is here already."""


def new_id() -> str:
    """Return an id that nothing else has."""
    return str(uuid.uuid4())


class AutoscalingService:
    """All scalable targets. All calls are made on the event loop's thread."""

    def __init__(
        self,
        platform: Platform,
        documents: DocumentStore,
        alarms: AlarmRepository,
        *,
        wall_ms: Callable[[], int],
        explain: Explain,
        see: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        """Take the dependencies.

        ``see`` makes the platform's views what they are now. It raises RouterGone where they may
        lack an endpoint that there is: nothing is forgotten then.
        """
        self.platform = platform
        self.alarms = alarms
        self.wall_ms = wall_ms
        self.targets = TargetRepository(documents)
        self.turn_taken = asyncio.Lock()
        """Held by whoever changes a target."""
        self._see = see
        self._explain = explain
        self._tasks = Tasks()
        self._woken = asyncio.Event()
        self._end_watch: Callable[[], None] | None = None

    async def open(self, *, is_timed: bool = True) -> None:
        """Take up the targets there are: their capacity holds on return."""
        await self.targets.open()
        for target in self.targets.all():
            await self._safely(target, self._restore)
        self._end_watch = self.alarms.watch(self._on_alarm)
        if is_timed:
            self._tasks.every(
                self._delay_s, self._evaluate_in_time, "evaluate scaling", wake=self._woken
            )

    async def close(self) -> None:
        """Scale no more. Idempotent."""
        if self._end_watch is not None:
            self._end_watch()
            self._end_watch = None
        await self._tasks.close(_CLOSE_WITHIN_S)

    def wake(self) -> None:
        """Look at all targets soon."""
        self._woken.set()

    async def on_action(self, address: str, change: AlarmChange) -> None:
        """Take an alarm's action that names a policy. Raises NotFound for one that is gone."""
        policies = (policy for target in self.targets.all() for policy in target.policies)
        if self.alarms.policy_of(address) not in [policy.id for policy in policies]:
            raise NotFound(f"there is no scaling policy {address}")
        self.wake()

    async def evaluate_due(self, now_ms: int) -> None:
        """Do for every target what is due."""
        await self._see()
        for target in self.targets.all():
            await self._safely(target, self._evaluate, now_ms)

    async def drop_gone(self) -> None:
        """Forget targets whose variant is gone."""
        await self._see()
        async with self.turn_taken:
            for target in self.targets.all():
                if self._view(target) is None:
                    await self.forget(target)

    async def apply(self, target: ScalableTarget) -> None:
        """Set a target's capacity on the platform. Raises NotFound and InvalidRequest."""
        found = replica_capacity.find(self.platform, target.place)
        if found is None:
            raise NotFound(f"{target.place} is gone")
        least, most = replica_capacity.replicas_of(target, found[1])
        place, reason = target.place, self._reason(target)
        await self.platform.set_scale(place.endpoint, place.variant, least, most, reason)

    def _reason(self, target: ScalableTarget) -> str:
        return self._explain(target)[:_REASON_CHARS_MAX]

    async def forget(self, target: ScalableTarget) -> None:
        """Drop a target, its policies, their alarms and its scheduled actions."""
        for policy in target.policies:
            if policy.tracking is not None:
                for name in policy.tracking.alarms:
                    await self.alarms.drop(name)
        await self.targets.drop(target.place)

    def next_evaluation_ms(self, now_ms: int) -> int | None:
        """Return when something is due next; None while there is no target."""
        targets = self.targets.all()
        if not targets:
            return None
        moments = [now_ms // EVALUATE_EVERY_MS * EVALUATE_EVERY_MS + EVALUATE_EVERY_MS + _SETTLE_MS]
        edge = scheduled_actions.next_action_ms(targets)
        if edge is not None:
            moments.append(edge)
        if any(_is_under_way(target, now_ms) for target in targets):
            moments.append(now_ms + _UNDER_WAY_MS)
        return min(moments)

    async def _safely(
        self, target: ScalableTarget, work: Callable[..., Awaitable[None]], *arguments: int
    ) -> None:
        place = target.place
        async with self.turn_taken:
            current = self.targets.find(place)
            if current is None:
                return
            try:
                await work(current, *arguments)
            except ColdsparkError as error:
                _log.warning("scaling of %s: %s", place, error.message)
            except Exception:  # noqa: BLE001
                # One target's edge: the others are evaluated all the same.
                _log.exception("scaling of %s failed", place)

    async def _restore(self, target: ScalableTarget) -> None:
        """Let hold what was set last, and make alarms that a crash left unmade.

        A variant that is not there yet may belong to a router that is still starting.
        """
        if self._view(target) is None:
            self.wake()
        else:
            await self.apply(target)
        for policy in target.policies:
            if policy.tracking is not None:
                for rule in target_tracking.alarm_rules(policy):
                    if self.alarms.state(rule.name) is None:
                        await self.alarms.put(rule)

    async def _evaluate(self, target: ScalableTarget, now_ms: int) -> None:
        view = self._view(target)
        if view is None:
            _log.info("scaling of %s: it is gone, and so is its target", target.place)
            await self.forget(target)
            return
        before = target
        if replica_capacity.own_counts(view) != target.own:
            capacity = replica_capacity.capacity_of(
                target.place, view, view.revision.spec.scale.replicas_min
            )
            target = transitions.with_own_counts(target, view, capacity, new_id(), now_ms)
        target = transitions.with_finished_activity(target, view, now_ms)
        target = self._scheduled(target, now_ms)
        await self._persist(before, target)
        await self._persist(target, await self._decided(target, view, now_ms))

    async def _persist(self, before: ScalableTarget, target: ScalableTarget) -> None:
        """Store what has changed, and set on the platform what it lacks."""
        if target != before:
            await self.targets.save(target)
        view = self._view(target)
        if view is None:
            return
        floor, _ = replica_capacity.replicas_of(target, view)
        if (view.floor.min, view.floor.reason) != (floor, self._reason(target)):
            await self.apply(target)

    def _view(self, target: ScalableTarget) -> VariantView | None:
        found = replica_capacity.find(self.platform, target.place)
        if found is None or found[0].created_ms != target.endpoint_ms:
            return None
        return found[1]

    def _scheduled(self, target: ScalableTarget, now_ms: int) -> ScalableTarget:
        due = scheduled_actions.due(target, now_ms)
        if not due:
            return target
        names = {action.name for _, action in due}
        actions = tuple(
            replace(one, done_ms=now_ms) if one.name in names else one for one in target.actions
        )
        target = replace(target, actions=actions)
        if target.suspended.scheduled:
            return target
        for _, action in due:
            target = transitions.after_action(target, action, (new_id(), new_id()), now_ms)
        return target

    async def _decided(
        self, target: ScalableTarget, view: VariantView, now_ms: int
    ) -> ScalableTarget:
        if not target.policies:
            return target
        move = decide_capacity(
            target.capacity,
            target.bounds,
            target.suspended,
            await evaluate_policies(target, view, self.alarms, now_ms),
            target.cooldown,
            now_ms,
        )
        if move is None:
            return target
        cause = PolicyTriggered(move.proposal.policy, move.proposal.alarm)
        _log.info("%s: %d by the policy %s", target.place, move.capacity, cause.policy)
        return transitions.with_capacity(
            target, move.capacity, cause, new_id(), now_ms, move.cooldown
        )

    def _on_alarm(self, name: str, state: AlarmState, reason: str) -> None:
        if state is AlarmState.ALARM:
            self.wake()

    async def _evaluate_in_time(self) -> None:
        try:
            await self.evaluate_due(self.wall_ms())
        except RouterGone as error:
            _log.info("scaling waits: %s", error.message)
            await asyncio.sleep(_UNDER_WAY_MS / 1_000)
            self.wake()
        except Exception:
            # What is due already is not tried again at once.
            await asyncio.sleep(_UNDER_WAY_MS / 1_000)
            raise

    def _delay_s(self) -> float | None:
        now_ms = self.wall_ms()
        at_ms = self.next_evaluation_ms(now_ms)
        if at_ms is None:
            return None
        # A millisecond late is on time: one early would find that nothing is due.
        return min(max(0, at_ms - now_ms) + 1, _SLEEP_MAX_MS) / 1_000


def _is_under_way(target: ScalableTarget, now_ms: int) -> bool:
    """Return whether an activity is, that may end at any moment."""
    return any(
        one.status is ActivityStatus.IN_PROGRESS and now_ms - one.start_ms < _PROMPT_MS
        for one in target.activities
    )
