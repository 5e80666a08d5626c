"""Scheduled actions and activities of a target: what is due, and what is kept."""

from msgspec.structs import replace

from coldspark.autoscaling.capacity import CapacityBounds
from coldspark.autoscaling.causes import PolicyTriggered
from coldspark.autoscaling.scalable_target import (
    ActivityStatus,
    ScalableDimension,
    ScalableTarget,
    ScheduledAction,
    TargetId,
)
from coldspark.autoscaling.scheduled_actions import due, next_action_ms
from coldspark.autoscaling.transitions import (
    ACTIVITIES_MAX,
    after_action,
    with_capacity,
    within_bounds,
)
from coldspark.doors.aws.autoscaling.activities import explain_cause
from coldspark.spec.types import EndpointName, VariantName

NOON_MS = 1_800_000_000_000
MINUTE_MS = 60_000


def action(name: str, schedule: str, **members: object) -> ScheduledAction:
    whole = {"id": "i", "least": 2, "created_ms": NOON_MS, "done_ms": NOON_MS, **members}
    return ScheduledAction(name=name, schedule=schedule, **whole)  # type: ignore[arg-type]


def target(*actions: ScheduledAction) -> ScalableTarget:
    place = TargetId(
        endpoint=EndpointName("e"), variant=VariantName("v"), dimension=ScalableDimension.REPLICAS
    )
    return ScalableTarget(
        place=place,
        id="t",
        created_ms=0,
        endpoint_ms=0,
        bounds=CapacityBounds(1, 4),
        capacity=1,
        own=(1, 1),
        actions=actions,
    )


def test_of_what_was_missed_the_last_time_counts_in_the_order_of_time() -> None:
    """A server that was down for an hour does each action once, and the latest one last."""
    often = action("often", "rate(5 minutes)")
    once = action("once", "at(2027-01-15T08:30:00)")
    later = action("later", "rate(1 day)")

    found = due(target(often, once, later), NOON_MS + 59 * MINUTE_MS)

    assert [(at_ms - NOON_MS, one.name) for at_ms, one in found] == [
        (30 * MINUTE_MS, "once"),
        (55 * MINUTE_MS, "often"),
    ]


def test_a_recurring_action_keeps_to_its_start_and_end() -> None:
    """Both included; afterwards nothing is due for ever."""
    start_ms, end_ms = NOON_MS + 10 * MINUTE_MS, NOON_MS + 20 * MINUTE_MS
    bounded_one = action("a", "rate(5 minutes)", start_ms=start_ms, end_ms=end_ms)

    assert next_action_ms([target(bounded_one)]) == start_ms
    ((at_ms, _),) = due(target(bounded_one), NOON_MS + 60 * MINUTE_MS)
    assert at_ms == end_ms
    assert next_action_ms([target(replace(bounded_one, done_ms=end_ms))]) is None


def test_bounds_that_cannot_be_are_a_failed_activity() -> None:
    """A minimum over the maximum that was registered changes nothing."""
    found = after_action(target(), action("a", "rate(1 day)", least=9), ("x", "y"), NOON_MS)

    assert (found.bounds, found.capacity) == (CapacityBounds(1, 4), 1)
    assert [one.status for one in found.activities] == [ActivityStatus.FAILED]


def test_the_newest_activities_are_kept_and_one_is_under_way() -> None:
    """A target that moves for ever does not grow for ever."""
    found = target()
    for number in range(ACTIVITIES_MAX + 20):
        found = with_capacity(
            found,
            1 + number % 3,
            PolicyTriggered(f"policy {number}", None),
            f"id{number}",
            NOON_MS + number,
        )

    assert len(found.activities) == ACTIVITIES_MAX
    assert found.activities[-1].cause == PolicyTriggered(f"policy {ACTIVITIES_MAX + 19}", None)
    statuses = [one.status for one in found.activities]
    assert statuses == [ActivityStatus.OVERRIDDEN] * (ACTIVITIES_MAX - 1) + [
        ActivityStatus.IN_PROGRESS
    ]


def test_a_capacity_within_its_bounds_does_not_move() -> None:
    """And one outside goes to the nearest."""
    assert within_bounds(target(), "i", NOON_MS) == target()
    assert within_bounds(replace(target(), bounds=CapacityBounds(3, 4)), "i", NOON_MS).capacity == 3
    down = replace(target(), bounds=CapacityBounds(0, 4), capacity=6)
    cause = within_bounds(down, "i", NOON_MS).activities[0].cause
    assert explain_cause(down.place, cause) == "maximum capacity was set to 4"
