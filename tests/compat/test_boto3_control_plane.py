"""SageMaker's control plane as unmodified boto3 sees it, in this process and over TCP."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from boto3_rig import WAYS, Aws, reached, refusal
from botocore.exceptions import ClientError, ParamValidationError, WaiterError

from coldspark.errors import NoRoom
from coldspark.spec.types import EndpointStatus

from aws_requests import ROLE, SERVERLESS, arn, container, variant  # isort: skip  (boto3_rig makes it importable)

INVALID = (400, "ValidationException")


@pytest.fixture(params=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Aws]:
    """Return a door, reached in each way, without keys."""
    with reached(request.param) as running:
        yield running


def create_model(aws: Any, name: str = "churn", **members: object) -> dict[str, Any]:
    """Create a model."""
    request = {"PrimaryContainer": container(), "ExecutionRoleArn": ROLE} | members
    made: dict[str, Any] = aws.create_model(ModelName=name, **request)
    return made


def create_endpoint(aws: Any, name: str = "churn", *variants: dict[str, object]) -> None:
    """Create the model ``churn``, and a config and an endpoint of one name."""
    create_model(aws)
    sent = list(variants) or [variant()]
    aws.create_endpoint_config(EndpointConfigName=name, ProductionVariants=sent)
    aws.create_endpoint(EndpointName=name, EndpointConfigName=name)


def refused(call: Callable[..., object], **members: object) -> str:
    """Make a call that is refused as invalid; return the message."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    status, code, message = refusal(caught.value)
    assert (status, code) == INVALID
    return message


def test_a_model_a_config_and_an_endpoint_live_and_go(server: Aws) -> None:
    """The whole life, with every answer as AWS's model has it."""
    aws = server.client()
    assert create_model(aws)["ModelArn"] == arn("model", "churn")
    variants = [variant(InitialVariantWeight=1.0)]
    made = aws.create_endpoint_config(EndpointConfigName="c", ProductionVariants=variants)
    assert made["EndpointConfigArn"] == arn("endpoint-config", "c")
    made = aws.create_endpoint(EndpointName="e", EndpointConfigName="c")
    assert made["EndpointArn"] == arn("endpoint", "e")

    assert aws.describe_model(ModelName="churn")["PrimaryContainer"] == container()
    config = aws.describe_endpoint_config(EndpointConfigName="c")
    assert config["ProductionVariants"] == variants
    endpoint = aws.describe_endpoint(EndpointName="e")
    assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == ("InService", "c")
    assert endpoint["ProductionVariants"][0]["CurrentServerlessConfig"] == SERVERLESS
    assert endpoint["CreationTime"] == endpoint["LastModifiedTime"]

    aws.delete_endpoint(EndpointName="e")
    aws.delete_endpoint_config(EndpointConfigName="c")
    aws.delete_model(ModelName="churn")
    assert server.documents.rows == {}
    assert server.platform.views == {}


@pytest.mark.parametrize(
    ("noun", "words", "call", "member"),
    [
        ("model", "model", "describe_model", "ModelName"),
        ("model", "model", "delete_model", "ModelName"),
        (
            "endpoint-config",
            "endpoint configuration",
            "describe_endpoint_config",
            "EndpointConfigName",
        ),
        (
            "endpoint-config",
            "endpoint configuration",
            "delete_endpoint_config",
            "EndpointConfigName",
        ),
        ("endpoint", "endpoint", "describe_endpoint", "EndpointName"),
        ("endpoint", "endpoint", "delete_endpoint", "EndpointName"),
    ],
)
def test_a_missing_name_is_a_validation_exception(
    server: Aws, noun: str, words: str, call: str, member: str
) -> None:
    """Not a 404: that is what AWS's clients and waiters look for; the ARN has the region."""
    aws = server.client(region="eu-west-1")
    there = arn(noun, "nope").replace("us-east-1", "eu-west-1")

    assert refused(getattr(aws, call), **{member: "nope"}) == f'Could not find {words} "{there}".'


def test_a_taken_name_is_a_validation_exception(server: Aws) -> None:
    """In AWS's own sentence, for each of the three."""
    aws = server.client()
    create_endpoint(aws)

    words = 'Cannot create already existing {} "{}".'
    message = refused(aws.create_model, ModelName="churn", PrimaryContainer=container())
    assert message == words.format("model", arn("model", "churn"))
    message = refused(
        aws.create_endpoint_config, EndpointConfigName="churn", ProductionVariants=[variant()]
    )
    assert message == words.format("endpoint configuration", arn("endpoint-config", "churn"))
    message = refused(aws.create_endpoint, EndpointName="churn", EndpointConfigName="churn")
    assert message == words.format("endpoint", arn("endpoint", "churn"))


def test_what_boto3_does_not_check_is_checked_here(server: Aws) -> None:
    """Patterns, enums and upper bounds; what boto3 does check never reaches the server."""
    aws = server.client()
    assert refused(aws.create_model, ModelName="no_underscore", PrimaryContainer=container()) == (
        "1 validation error detected: Value 'no_underscore' at 'modelName' failed to satisfy "
        "constraint: Member must satisfy regular expression pattern: "
        r"[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?"
    )
    message = refused(aws.list_models, SortOrder="Sideways")
    assert message.endswith("Member must satisfy enum value set: [Ascending, Descending]")
    message = refused(aws.list_models, MaxResults=101)
    assert message.endswith("Member must have value less than or equal to 100")
    with pytest.raises(ParamValidationError):
        aws.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[])


def test_an_update_and_other_weights_show_in_describe(server: Aws) -> None:
    """A new config, then new bounds of the serverless variant."""
    aws = server.client()
    create_endpoint(aws)
    sent = [variant(ServerlessConfig={"MemorySizeInMB": 4096, "MaxConcurrency": 9})]
    aws.create_endpoint_config(EndpointConfigName="second", ProductionVariants=sent)

    aws.update_endpoint(EndpointName="churn", EndpointConfigName="second")
    aws.update_endpoint_weights_and_capacities(
        EndpointName="churn",
        DesiredWeightsAndCapacities=[
            {
                "VariantName": "AllTraffic",
                "DesiredWeight": 2,
                "ServerlessUpdateConfig": {"ProvisionedConcurrency": 3},
            }
        ],
    )

    endpoint = aws.describe_endpoint(EndpointName="churn")
    assert endpoint["EndpointConfigName"] == "second"
    assert endpoint["LastModifiedTime"] > endpoint["CreationTime"]
    (shown,) = endpoint["ProductionVariants"]
    assert shown["CurrentWeight"] == 2
    assert shown["CurrentServerlessConfig"] == {
        "MemorySizeInMB": 4096,
        "MaxConcurrency": 9,
        "ProvisionedConcurrency": 3,
    }


def test_what_no_device_holds_is_refused_and_leaves_nothing(server: Aws) -> None:
    """The platform's words reach the caller, and the name stays free."""
    aws = server.client()
    server.platform.refusal = NoRoom("no device here holds 80 GB: the smallest is A100-80GB")
    with pytest.raises(ClientError, match="the smallest is A100-80GB"):
        create_endpoint(aws)

    server.platform.refusal = None
    aws.create_endpoint(EndpointName="churn", EndpointConfigName="churn")


def test_the_waiter_sees_an_endpoint_come_into_service(server: Aws) -> None:
    """It polls while the endpoint is Creating, and ends when it is not."""
    aws = server.client()
    create_endpoint(aws)
    server.platform.become("churn", EndpointStatus.UPDATING)
    seen: list[str] = []

    def polled(parsed: dict[str, Any], **_: object) -> None:
        seen.append(parsed["EndpointStatus"])
        server.platform.become("churn", EndpointStatus.READY)

    aws.meta.events.register("after-call.sagemaker.DescribeEndpoint", polled)
    aws.get_waiter("endpoint_in_service").wait(
        EndpointName="churn", WaiterConfig={"Delay": 0, "MaxAttempts": 5}
    )

    assert seen == ["Creating", "InService"]


def test_the_waiter_tells_why_an_endpoint_failed(server: Aws) -> None:
    """It ends at once, with the root cause in the last response."""
    aws = server.client()
    create_endpoint(aws)
    server.platform.become("churn", EndpointStatus.FAILED, "model file missing: model.pt")

    with pytest.raises(WaiterError) as caught:
        aws.get_waiter("endpoint_in_service").wait(EndpointName="churn")
    assert caught.value.last_response["FailureReason"] == "model file missing: model.pt"


def test_the_waiter_sees_an_endpoint_go(server: Aws) -> None:
    """Its success is the ValidationException of a name that is not there."""
    aws = server.client()
    create_endpoint(aws)
    aws.delete_endpoint(EndpointName="churn")

    aws.get_waiter("endpoint_deleted").wait(EndpointName="churn")


def test_paginators_give_every_row_once(server: Aws) -> None:
    """In the order asked for, over pages of two."""
    aws = server.client()
    names = [f"m{number}" for number in range(5)]
    for name in names:
        create_model(aws, name)

    paging = {"PageSize": 2}
    pages = list(aws.get_paginator("list_models").paginate(PaginationConfig=paging))
    assert [len(page["Models"]) for page in pages] == [2, 2, 1]
    assert [row["ModelName"] for page in pages for row in page["Models"]] == names[::-1]
    pages = aws.get_paginator("list_models").paginate(
        SortBy="Name", SortOrder="Ascending", NameContains="M", PaginationConfig=paging
    )
    assert [row["ModelName"] for page in pages for row in page["Models"]] == names


def test_paginators_walk_every_list(server: Aws) -> None:
    """Three nouns, in pages of two."""
    aws = server.client()
    create_model(aws)
    for name in ("a", "b", "c"):
        create_model(aws, name)
        aws.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant()])
        aws.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.delete_model(ModelName="churn")
    for operation, member, key in [
        ("list_models", "Models", "ModelName"),
        ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
        ("list_endpoints", "Endpoints", "EndpointName"),
    ]:
        pages = aws.get_paginator(operation).paginate(
            SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
        )
        assert [[row[key] for row in page[member]] for page in pages] == [["a", "b"], ["c"]]


def test_endpoints_and_configs_are_listed_by_time_and_status(server: Aws) -> None:
    """boto3 sends a datetime as seconds; both bounds are open."""
    aws = server.client()
    create_endpoint(aws)
    made = aws.describe_endpoint(EndpointName="churn")["CreationTime"]

    assert len(aws.list_endpoints(StatusEquals="InService")["Endpoints"]) == 1
    assert aws.list_endpoints(CreationTimeAfter=made)["Endpoints"] == []
    assert aws.list_endpoints(LastModifiedTimeBefore=made)["Endpoints"] == []
    (row,) = aws.list_endpoint_configs(CreationTimeBefore=made)["EndpointConfigs"]
    assert row["EndpointConfigArn"] == arn("endpoint-config", "churn")


def test_tags_come_change_and_go(server: Aws) -> None:
    """Through their paginator too, and with the resource itself."""
    aws = server.client()
    own = create_model(aws, Tags=[{"Key": "team", "Value": "a"}])["ModelArn"]
    for start in (0, 30):
        more = [{"Key": f"k{n}", "Value": ""} for n in range(start, start + 30)]
        aws.add_tags(ResourceArn=own, Tags=more)
    aws.delete_tags(ResourceArn=own, TagKeys=["team", "never there"])

    pages = list(aws.get_paginator("list_tags").paginate(ResourceArn=own))
    assert [len(page["Tags"]) for page in pages] == [50, 10]
    aws.delete_model(ModelName="churn")
    assert refused(aws.list_tags, ResourceArn=own) == f'Could not find model "{own}".'


def test_an_operation_that_is_not_served_is_named(server: Aws) -> None:
    """AWS's code for it, and what there is."""
    with pytest.raises(ClientError) as caught:
        server.client().list_training_jobs()
    status, code, message = refusal(caught.value)
    assert (status, code) == (400, "UnknownOperationException")
    assert "SageMaker.ListTrainingJobs" in message
