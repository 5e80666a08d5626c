"""Composite alarms between AWS's members and ours."""

from coldspark.errors import Conflict, InvalidRequest
from coldspark.gateway.aws.errors import AwsError
from coldspark.gateway.cloudwatch import tags
from coldspark.gateway.cloudwatch.alarm_documents import actions_of, shown_state
from coldspark.gateway.cloudwatch.calls import Body, Call, arn, bad_value, not_valid
from coldspark.runtime.metrics.composites import Composite, CompositeDefinition
from coldspark.runtime.metrics.definitions import Actions

_SCALING = ":autoscaling:"


async def put_composite_alarm(call: Call) -> None:
    """Create or replace a composite alarm. Tags count at its creation alone."""
    body = call.body
    name, actions = str(body["AlarmName"]), actions_of(body)
    _refuse_scaling(actions)
    is_new = call.composites.find(name) is None
    definition = CompositeDefinition(
        name=name,
        rule=str(body["AlarmRule"]),
        description=body.get("AlarmDescription"),
        actions=actions,
        is_acting=bool(body.get("ActionsEnabled", True)),
    )
    try:
        await call.composites.define(definition)
    except Conflict as error:
        raise AwsError("ResourceConflict", error.message, status=409) from None
    except InvalidRequest as error:
        not_valid(error.message)
    if is_new:
        await tags.put(call.documents, arn("alarm", name, call.region), body.get("Tags", []))


def _refuse_scaling(actions: Actions) -> None:
    for address in (*actions.ok, *actions.alarm, *actions.insufficient_data):
        if _SCALING in address:
            bad_value(
                f"{address} scales by how far a metric is beyond its threshold, and a composite"
                " alarm has none: name it in a metric alarm."
            )


def shown_composite(one: Composite, region: str) -> Body:
    """Return a composite alarm as DescribeAlarms has it."""
    return shown_state(one, region) | {"AlarmRule": one.definition.rule}
