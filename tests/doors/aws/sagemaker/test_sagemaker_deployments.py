"""Deployment configs, shadows and data capture: what is asked of the platform, what is shown."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from aws_door import Door
from aws_requests import create_config, create_endpoint, create_model, realtime, variant

from coldspark.doors.aws.sagemaker.operations import sagemaker
from coldspark.fleet.deployment import DeploymentPhase
from coldspark.platform import catalogue
from coldspark.platform.metric_ports import AlarmRule, OnAlarm
from coldspark.platform.ports import DeploymentView
from coldspark.spec.deployment_policy import (
    DeploymentPolicy,
    DeploymentStrategy,
    SizeUnit,
    StepSize,
)
from coldspark.spec.types import AlarmState, CaptureRule, EndpointName, EndpointStatus

CHURN = EndpointName("churn")
PERCENT = {"Type": "CAPACITY_PERCENT", "Value": 10}
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 30,
    "DestinationS3Uri": "s3://captured/here",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}


class FixedAlarms:
    """Alarms in states that never change. Implements ``Alarms``."""

    def __init__(self, **states: AlarmState) -> None:
        self.states = states

    async def put(self, rule: AlarmRule) -> None:
        raise AssertionError("the door makes no alarm")

    async def drop(self, name: str) -> None:
        raise AssertionError("the door drops no alarm")

    def state(self, name: str) -> AlarmState | None:
        return self.states.get(name)

    def watch(self, on_alarm: OnAlarm) -> Callable[[], None]:
        raise AssertionError("the door watches none")


def blue_green(kind: str, wait_s: int = 0, **members: object) -> dict[str, object]:
    """Return a blue/green DeploymentConfig; members in small letters are the policy's own."""
    routing = {name: value for name, value in members.items() if name.endswith("Size")}
    others = {name: value for name, value in members.items() if name not in routing}
    traffic = {"Type": kind, "WaitIntervalInSeconds": wait_s, **routing}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": traffic, **others}}


def rolling(**members: object) -> dict[str, object]:
    """Return a rolling DeploymentConfig."""
    size = {"Type": "INSTANCE_COUNT", "Value": 2}
    return {
        "RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": 5, **members}
    }


def watched(*names: str) -> dict[str, object]:
    """Return a DeploymentConfig with alarms."""
    return {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in names]}}


def update(door: Door, deployment: dict[str, object], **members: object) -> None:
    """Update the endpoint ``churn`` with a deployment config."""
    door.call(
        "UpdateEndpoint",
        EndpointName="churn",
        EndpointConfigName="churn",
        DeploymentConfig=deployment,
        **members,
    )


def described(door: Door) -> dict[str, object]:
    """Describe the endpoint ``churn``."""
    return door.call("DescribeEndpoint", EndpointName="churn")


@pytest.mark.parametrize(
    ("deployment", "policy"),
    [
        (blue_green("ALL_AT_ONCE", 60), DeploymentPolicy()),
        (
            blue_green("CANARY", 60, CanarySize=PERCENT, TerminationWaitInSeconds=120),
            DeploymentPolicy(
                kind=DeploymentStrategy.CANARY,
                step=StepSize(10, SizeUnit.PERCENT),
                wait_s=60.0,
                bake_s=120.0,
            ),
        ),
        (
            blue_green(
                "LINEAR",
                LinearStepSize={"Type": "INSTANCE_COUNT", "Value": 1},
                MaximumExecutionTimeoutInSeconds=600,
            ),
            DeploymentPolicy(
                kind=DeploymentStrategy.LINEAR, step=StepSize(1, SizeUnit.REPLICAS), timeout_s=600.0
            ),
        ),
        (
            rolling(RollbackMaximumBatchSize={"Type": "CAPACITY_PERCENT", "Value": 100}),
            DeploymentPolicy(
                kind=DeploymentStrategy.ROLLING,
                step=StepSize(2, SizeUnit.REPLICAS),
                wait_s=5.0,
                bake_s=5.0,
                rollback_step=StepSize(100, SizeUnit.PERCENT),
            ),
        ),
    ],
)
def test_a_deployment_config_is_the_policy_of_the_change(
    door: Door, deployment: dict[str, object], policy: DeploymentPolicy
) -> None:
    """And it is shown as it was sent."""
    create_endpoint(door)
    update(door, deployment)
    assert door.platform.endpoint(CHURN).definition.shift == policy
    assert described(door)["LastDeploymentConfig"] == deployment

    door.call(
        "UpdateEndpoint",
        EndpointName="churn",
        EndpointConfigName="churn",
        RetainDeploymentConfig=True,
    )
    assert door.platform.endpoint(CHURN).definition.shift == policy
    door.call("UpdateEndpoint", EndpointName="churn", EndpointConfigName="churn")
    assert door.platform.endpoint(CHURN).definition.shift is None


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        (blue_green("CANARY"), "A traffic routing of type CANARY needs CanarySize."),
        (blue_green("LINEAR", CanarySize=PERCENT), "CanarySize does not go with"),
        (blue_green("ALL_AT_ONCE", LinearStepSize=PERCENT), "LinearStepSize does not go with"),
        (
            blue_green("CANARY", CanarySize={"Type": "CAPACITY_PERCENT", "Value": 51}),
            "CanarySize 51 of type CAPACITY_PERCENT must lie between 5 and 50.",
        ),
        (
            blue_green(
                "CANARY",
                600,
                CanarySize=PERCENT,
                TerminationWaitInSeconds=600,
                MaximumExecutionTimeoutInSeconds=900,
            ),
            "must be more than all waits of the change together, 1200.",
        ),
        (blue_green("ALL_AT_ONCE") | rolling(), "not both"),
        (blue_green("SOON"), "Member must satisfy enum value set: [ALL_AT_ONCE, CANARY, LINEAR]"),
        (watched("errors"), "Alarms are not watched by this server"),
    ],
)
def test_a_deployment_config_that_cannot_be_is_refused(
    door: Door, deployment: dict[str, object], words: str
) -> None:
    """Before anything changes."""
    create_endpoint(door)
    before = door.platform.endpoint(CHURN)
    message = door.refusal(
        "UpdateEndpoint",
        EndpointName="churn",
        EndpointConfigName="churn",
        DeploymentConfig=deployment,
    )[1]
    assert words in message
    assert door.platform.endpoint(CHURN) == before


def test_an_alarm_must_be_there_and_quiet(door: Door) -> None:
    """One that is not there would never take a change back, one in ALARM always would."""
    states = {"quiet": AlarmState.OK, "new": AlarmState.INSUFFICIENT_DATA, "loud": AlarmState.ALARM}
    alarms = FixedAlarms(**states)
    door.serve(sagemaker(door.platform, door.documents, catalogue.load(), alarms))
    create_endpoint(door)
    update(door, watched("quiet", "new"))
    policy = door.platform.endpoint(CHURN).definition.shift
    assert policy == DeploymentPolicy(alarms=("quiet", "new"))

    members = {"EndpointName": "churn", "EndpointConfigName": "churn"}
    for name, words in (("gone", "Could not find alarm 'gone'"), ("loud", "state ALARM already")):
        assert words in door.refusal("UpdateEndpoint", **members, DeploymentConfig=watched(name))[1]


def shift(phase: DeploymentPhase, **fields: object) -> DeploymentView:
    """Return a change in a phase."""
    view = DeploymentView(
        phase=phase,
        share=0.25,
        step=1,
        steps=2,
        reason="",
        is_in_place=False,
        since_ms=1_700_000_000_500,
        variants=(),
    )
    return replace(view, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "status", "word", "message"),
    [
        (shift(DeploymentPhase.STARTING), "Updating", "Creating", "the new replicas start"),
        (
            shift(DeploymentPhase.SHIFTING),
            "Updating",
            "ActivatingTraffic",
            "step 1 of 2: the new repl",
        ),
        (shift(DeploymentPhase.BAKING), "Updating", "Baking", "the new replicas get all requests"),
        (
            shift(DeploymentPhase.REPLACING, is_in_place=True, reason="one T4"),
            "Updating",
            "Updating",
            "replaced in place, requests wait meanwhile: one T4",
        ),
        (
            shift(DeploymentPhase.REVERTING, reason="alarm errors"),
            "RollingBack",
            "Updating",
            "taken back: alarm errors",
        ),
    ],
)
def test_a_change_is_shown_while_it_is_under_way(
    door: Door, seen: DeploymentView, status: str, word: str, message: str
) -> None:
    """What serves is the endpoint, what comes is pending; no weights are changed meanwhile."""
    create_endpoint(door)
    create_config(door, "next", variant(InitialVariantWeight=2))
    old = door.platform.endpoint(CHURN)
    door.call("UpdateEndpoint", EndpointName="churn", EndpointConfigName="next")
    new = door.platform.endpoint(CHURN)
    door.platform.views["churn"] = replace(
        old,
        status=EndpointStatus.UPDATING,
        definition=replace(new.definition, previous=old.definition),
        shift=replace(seen, variants=new.variants),
    )

    answer = described(door)
    assert answer["EndpointStatus"] == status
    assert answer["EndpointConfigName"] == "churn"
    variants = answer["ProductionVariants"]
    assert isinstance(variants, list)
    assert variants[0]["VariantStatus"][0]["Status"] == word
    assert variants[0]["VariantStatus"][0]["StatusMessage"].startswith(message)
    pending = answer["PendingDeploymentSummary"]
    assert isinstance(pending, dict)
    assert pending["EndpointConfigName"] == "next"
    assert pending["ProductionVariants"][0]["DesiredWeight"] == 2
    words = door.refusal(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="churn",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredWeight": 3}],
    )[1]
    assert words.startswith("Cannot update in-progress endpoint")


def test_a_change_that_was_taken_back_says_why(door: Door) -> None:
    """The endpoint is in service, as it was before."""
    create_endpoint(door)
    view = door.platform.endpoint(CHURN)
    door.platform.views["churn"] = replace(view, failure="the change was taken back: alarm errors")
    assert described(door)["EndpointStatus"] == "InService"
    assert described(door)["FailureReason"] == "the change was taken back: alarm errors"


def test_other_counts_keep_the_revision(door: Door) -> None:
    """Its replicas serve on: only what is missing is started."""
    create_endpoint(door, "churn", realtime())
    before = door.platform.endpoint(CHURN).definition.variants[0].revision
    door.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="churn",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 4}],
    )
    after = door.platform.endpoint(CHURN).definition.variants[0].revision
    assert (after.id, after.spec.scale.replicas_max) == (before.id, 4)


def test_a_shadow_is_beside_one_variant_and_is_shown(door: Door) -> None:
    """One and one, as AWS; never two of one name."""
    create_model(door)
    members = {
        "EndpointConfigName": "churn",
        "ProductionVariants": [variant()],
        "ShadowProductionVariants": [variant(VariantName="dim", InitialVariantWeight=0.5)],
    }
    door.call("CreateEndpointConfig", **members)
    door.call("CreateEndpoint", EndpointName="churn", EndpointConfigName="churn")
    definition = door.platform.endpoint(CHURN).definition
    assert [(one.name, one.weight) for one in definition.shadows] == [("dim", 0.5)]
    echo = door.call("DescribeEndpointConfig", EndpointConfigName="churn")
    assert echo["ShadowProductionVariants"] == members["ShadowProductionVariants"]
    view = door.platform.endpoint(CHURN)
    named = replace(view.variants[0], name=definition.shadows[0].name)
    door.platform.views["churn"] = replace(view, shadows=(named,))
    shadows = described(door)["ShadowProductionVariants"]
    assert isinstance(shadows, list)
    assert shadows[0]["CurrentServerlessConfig"]["MaxConcurrency"] == 5

    two = members | {"ProductionVariants": [variant(), variant(VariantName="b")]}
    words = door.refusal("CreateEndpointConfig", **two | {"EndpointConfigName": "two"})[1]
    assert "beside one production variant, not beside 2" in words
    twins = members | {"ShadowProductionVariants": [variant()], "EndpointConfigName": "twins"}
    assert "was non-unique" in door.refusal("CreateEndpointConfig", **twins)[1]


def capturing(door: Door, name: str, **changes: object) -> None:
    """Create a config with data capture."""
    door.call(
        "CreateEndpointConfig",
        EndpointConfigName=name,
        ProductionVariants=[variant()],
        DataCaptureConfig=CAPTURE | changes,
    )


def test_data_capture_is_a_rule_and_is_shown(door: Door) -> None:
    """Both sides, a part of the requests, the types that are text."""
    create_model(door)
    capturing(door, "churn")
    door.call("CreateEndpoint", EndpointName="churn", EndpointConfigName="churn")
    assert door.platform.endpoint(CHURN).definition.capture == CaptureRule(
        percent=30,
        destination="s3://captured/here",
        has_input=True,
        has_output=True,
        csv_types=("text/csv",),
    )
    assert described(door)["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 30,
        "DestinationS3Uri": "s3://captured/here",
        "KmsKeyId": "",
    }
    echo = door.call("DescribeEndpointConfig", EndpointConfigName="churn")
    assert echo["DataCaptureConfig"] == CAPTURE


def test_data_capture_may_be_off_and_may_be_retained(door: Door) -> None:
    """RetainAllVariantProperties keeps it, unless it is excluded from that."""
    create_endpoint(door)
    capturing(door, "off", EnableCapture=False)
    capturing(door, "on")
    members = {"EndpointName": "churn", "RetainAllVariantProperties": True}
    door.call("UpdateEndpoint", EndpointName="churn", EndpointConfigName="off")
    assert door.platform.endpoint(CHURN).definition.capture is None
    summary = described(door)["DataCaptureConfig"]
    assert isinstance(summary, dict)
    assert (summary["EnableCapture"], summary["CaptureStatus"]) == (False, "Stopped")

    door.call("UpdateEndpoint", **members, EndpointConfigName="on")
    assert door.platform.endpoint(CHURN).definition.capture is None
    excluded = [{"VariantPropertyType": "DataCaptureConfig"}]
    door.call(
        "UpdateEndpoint",
        **members,
        EndpointConfigName="on",
        ExcludeRetainedVariantProperties=excluded,
    )
    assert door.platform.endpoint(CHURN).definition.capture is not None
    door.call("UpdateEndpoint", **members, EndpointConfigName="churn")
    assert door.platform.endpoint(CHURN).definition.capture is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DestinationS3Uri": "file:///tmp"}, "s3 alone here"),
        ({"KmsKeyId": "alias/mine"}, "kmsKeyId' is not supported yet"),
        ({"InitialSamplingPercentage": 101}, "less than or equal to 100"),
    ],
)
def test_a_capture_that_cannot_be_is_refused(
    door: Door, changes: dict[str, object], words: str
) -> None:
    """When the config is made."""
    create_model(door)
    message = door.refusal(
        "CreateEndpointConfig",
        EndpointConfigName="churn",
        ProductionVariants=[variant()],
        DataCaptureConfig=CAPTURE | changes,
    )[1]
    assert words in message
