"""Why an alarm is in its state: AWS's sentences, and the same as data."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass

from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_definition import AlarmDefinition
from coldspark.telemetry.alarm_rules import AlarmTest
from coldspark.telemetry.alarms_table import StoredAlarm

_WORDS = {
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "GreaterThanThreshold": "greater than",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEvaluation:
    """What an evaluation saw."""

    points: Sequence[float | None]
    times: Sequence[int]
    test: AlarmTest


def explain(
    definition: AlarmDefinition, state: AlarmState, looked: AlarmEvaluation, now_ms: int
) -> tuple[str, str]:
    """Return the reason for a state, and its data as JSON."""
    known = [
        (at_ms, point)
        for at_ms, point in zip(looked.times, looked.points, strict=True)
        if point is not None
    ][-looked.test.evaluation_periods :]
    data = {
        "version": "1.0",
        "queryDate": format_time(now_ms),
        "startDate": format_time(known[0][0]) if known else None,
        "statistic": None if definition.watched.stat is None else definition.watched.stat.statistic,
        "period": definition.period_s,
        "recentDatapoints": [point for _, point in known],
        "threshold": definition.threshold,
    }
    told = {name: value for name, value in data.items() if value is not None}
    return _sentence(state, known, looked.test), json.dumps(told)


def _sentence(state: AlarmState, known: list[tuple[int, float]], test: AlarmTest) -> str:
    lacking = max(0, test.evaluation_periods - len(known))
    noun = "datapoint was" if lacking == 1 else "datapoints were"
    if not known:
        treated = "unknown" if state is AlarmState.INSUFFICIENT_DATA else f"[{test.missing}]"
        return (
            f"{'Insufficient Data' if treated == 'unknown' else 'Threshold Crossed'}:"
            f" {lacking} {noun} {treated}."
        )
    beyond = [pair for pair in known if test.breaches(pair[1])]
    is_alarm = state is AlarmState.ALARM
    shown = beyond if is_alarm else [pair for pair in known if pair not in beyond]
    points = ", ".join(f"{value} ({_short(at_ms)})" for at_ms, value in shown[-_SHOWN_MAX:])
    was = "was" if len(shown) == 1 else "were"
    points_noun = "datapoint" if test.datapoints_to_alarm == 1 else "datapoints"
    return (
        f"Threshold Crossed: {len(shown)} out of the last {len(known)} datapoints [{points}] {was}"
        f"{'' if is_alarm else ' not'} {_WORDS[test.comparison]} the threshold ({test.threshold})"
        f" (minimum {test.datapoints_to_alarm} {points_noun} for OK -> ALARM transition)."
    )


def history_data(before: StoredAlarm, after: StoredAlarm) -> str:
    """Return the data of a change of state in an alarm's history."""
    return json.dumps(
        {
            "version": "1.0",
            "oldState": {"stateValue": before.state.value, "stateReason": before.reason},
            "newState": {"stateValue": after.state.value, "stateReason": after.reason},
        }
    )


def format_time(at_ms: int) -> str:
    """Return a moment as CloudWatch's texts have it."""
    at = dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03}+0000"


def _short(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC):%d/%m/%y %H:%M:%S}"
