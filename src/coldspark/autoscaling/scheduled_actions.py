"""When scheduled actions are due. Nothing here reads a clock."""

from collections.abc import Iterable
from functools import lru_cache

from coldspark.autoscaling.scalable_target import ScalableTarget, ScheduledAction
from coldspark.platform.schedule_expressions import Schedule, parse_schedule


def schedule_of(action: ScheduledAction) -> Schedule:
    """Return an action's schedule. Raises ValueError."""
    since_ms = action.created_ms if action.start_ms is None else action.start_ms
    return _parsed(action.schedule, action.time_zone or "UTC", since_ms)


@lru_cache(maxsize=1024)
def _parsed(schedule: str, time_zone: str, since_ms: int) -> Schedule:
    return parse_schedule(schedule, time_zone, since_ms=since_ms)


@lru_cache(maxsize=10_000)
def next_ms(action: ScheduledAction, after_ms: int) -> int | None:
    """Return when an action is due next after a moment. Raises ValueError.

    It is cached: every evaluation asks it of each action.
    """
    if action.start_ms is not None:
        after_ms = max(after_ms, action.start_ms - 1)
    at_ms = schedule_of(action).next_after(after_ms)
    return None if at_ms is None or _is_over(action, at_ms) else at_ms


def due(target: ScalableTarget, now_ms: int) -> list[tuple[int, ScheduledAction]]:
    """Return what has become due since the last evaluation, oldest first.

    Of an action that missed several of its times, the last one counts: bounds hold until others do.
    """
    found: list[tuple[int, ScheduledAction]] = []
    for action in target.actions:
        first = next_ms(action, action.done_ms)
        if first is None or first > now_ms:
            continue
        until_ms = now_ms if action.end_ms is None else min(now_ms, action.end_ms)
        last = schedule_of(action).previous_at_or_before(until_ms)
        found.append((first if last is None else max(first, last), action))
    return sorted(found, key=lambda one: (one[0], one[1].name))


def next_action_ms(targets: Iterable[ScalableTarget]) -> int | None:
    """Return when the next scheduled action of all targets is due."""
    edges = [next_ms(action, action.done_ms) for one in targets for action in one.actions]
    return min((edge for edge in edges if edge is not None), default=None)


def _is_over(action: ScheduledAction, at_ms: int) -> bool:
    return action.end_ms is not None and at_ms > action.end_ms
