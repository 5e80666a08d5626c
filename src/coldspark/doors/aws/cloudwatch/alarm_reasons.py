"""Why an alarm is in its state, and what happened to it, in CloudWatch's sentences and JSON."""

import datetime as dt
import json
from typing import assert_never

from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_events import (
    AlarmActed,
    AlarmEdit,
    AlarmEdited,
    AlarmEvent,
    AlarmMoved,
    AlarmReason,
    Evaluation,
    GivenReason,
    NotEvaluated,
    kind_of,
)
from coldspark.telemetry.alarms_table import AlarmHistoryItem

KINDS: dict[str, str] = {
    kind_of(AlarmEdited): "ConfigurationUpdate",
    kind_of(AlarmMoved): "StateUpdate",
    kind_of(AlarmActed): "Action",
}
"""HistoryItemType by the kind of an event."""
_COMPARISONS = {
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "GreaterThanThreshold": "greater than",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
_EDITS = {AlarmEdit.CREATED: "Create", AlarmEdit.UPDATED: "Update"}
_SHOWN_MAX = 5


def explain(state: AlarmState, reason: AlarmReason) -> str:
    """Return StateReason."""
    match reason:
        case NotEvaluated():
            return "Unchecked: Initial alarm creation"
        case GivenReason(text):
            return text
        case Evaluation():
            return _evaluated(state, reason)
        case _:
            assert_never(reason)


def reason_data(reason: AlarmReason) -> str | None:
    """Return StateReasonData: JSON."""
    if isinstance(reason, GivenReason):
        return reason.data
    if not isinstance(reason, Evaluation):
        return None
    points = reason.points
    data = {
        "version": "1.0",
        "queryDate": format_time(reason.at_ms),
        "startDate": format_time(points[0][0]) if points else None,
        "statistic": reason.statistic,
        "period": reason.period_s,
        "recentDatapoints": [point for _, point in points],
        "threshold": reason.test.threshold,
    }
    return json.dumps({name: value for name, value in data.items() if value is not None})


def _evaluated(state: AlarmState, reason: Evaluation) -> str:
    known, test = reason.points, reason.test
    lacking = max(0, test.evaluation_periods - len(known))
    noun = "datapoint was" if lacking == 1 else "datapoints were"
    if not known:
        treated = "unknown" if state is AlarmState.INSUFFICIENT_DATA else f"[{test.missing}]"
        return (
            f"{'Insufficient Data' if treated == 'unknown' else 'Threshold Crossed'}:"
            f" {lacking} {noun} {treated}."
        )
    beyond = [pair for pair in known if pair[1] is not None and test.breaches(pair[1])]
    is_alarm = state is AlarmState.ALARM
    shown = beyond if is_alarm else [pair for pair in known if pair not in beyond]
    points = ", ".join(f"{value} ({_short(at_ms)})" for at_ms, value in shown[-_SHOWN_MAX:])
    was = "was" if len(shown) == 1 else "were"
    points_noun = "datapoint" if test.datapoints_to_alarm == 1 else "datapoints"
    return (
        f"Threshold Crossed: {len(shown)} out of the last {len(known)} datapoints [{points}] {was}"
        f"{'' if is_alarm else ' not'} {_COMPARISONS[test.comparison]} the threshold"
        f" ({test.threshold}) (minimum {test.datapoints_to_alarm} {points_noun} for OK -> ALARM"
        " transition)."
    )


def history_summary(item: AlarmHistoryItem) -> str:
    """Return HistorySummary."""
    event: AlarmEvent = item.event
    match event:
        case AlarmEdited(edit):
            return f'Alarm "{item.alarm}" {edit}'
        case AlarmMoved(before=before, after=after):
            return f"Alarm updated from {before} to {after}"
        case AlarmActed(address=address, error=None):
            return f"Successfully executed action {address}"
        case AlarmActed(address=address):
            return f"Failed to execute action {address}"
        case _:
            assert_never(event)


def history_data(event: AlarmEvent) -> str:
    """Return HistoryData: JSON."""
    match event:
        case AlarmEdited(edit):
            return json.dumps({"version": "1.0", "type": _EDITS[edit]} if edit in _EDITS else {})
        case AlarmMoved():
            return json.dumps(
                {
                    "version": "1.0",
                    "oldState": _state(event.before, event.before_reason),
                    "newState": _state(event.after, event.after_reason),
                }
            )
        case AlarmActed(address=address, error=error):
            data = {
                "actionState": "Failed" if error else "Succeeded",
                "notificationResource": address,
            }
            return json.dumps(data | ({"error": error} if error else {}))
        case _:
            assert_never(event)


def _state(state: AlarmState, reason: AlarmReason) -> dict[str, str]:
    return {"stateValue": state.value, "stateReason": explain(state, reason)}


def format_time(at_ms: int) -> str:
    """Return a moment as CloudWatch's texts have it."""
    at = dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03}+0000"


def _short(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC):%d/%m/%y %H:%M:%S}"
