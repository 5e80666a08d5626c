"""STS and IAM with boto3 unmodified: the calls that SDKs make before they deploy."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import boto3
import pytest
from boto3_rig import served
from botocore.exceptions import ClientError
from service_model import problems

from coldspark.platform.ports import Key

BUILDER = Key(id="BUILDER", name="the builder", scopes=("deploy",), created_ms=0)
CALLER = Key(id="CALLER", name="caller", scopes=("invoke",), created_ms=0)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return the address of a gateway with two keys."""
    with served([BUILDER, CALLER]) as address:
        yield address


def _client(service: str, url: str, key: str):  # type: ignore[no-untyped-def]
    client = boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=f"secret of {key}",
    )
    client.meta.events.register(f"after-call.{service}", _check)
    return client


def _check(http_response: Any, parsed: dict[str, Any], model: Any, **_: object) -> None:
    """Hold what botocore read of the XML against the service model."""
    if http_response.status_code < 300:
        body = {name: _plain(one) for name, one in parsed.items() if name != "ResponseMetadata"}
        assert problems(model.name, body, service=model.service_model.service_name) == []


def _plain(value: Any) -> Any:
    """Turn dates into seconds, as JSON has them, and policies back into the text they came as."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {
            name: json.dumps(one) if name.endswith("PolicyDocument") else _plain(one)
            for name, one in value.items()
        }
    return value


def test_the_caller_is_the_key(url: str) -> None:
    """A key of any scope may ask who it is."""
    identity = _client("sts", url, "CALLER").get_caller_identity()

    assert identity["UserId"] == "CALLER"
    assert identity["Account"] == "123456789012"
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/caller"


def test_a_role_is_a_name_and_says_so(url: str) -> None:
    """The SDKs look its ARN up."""
    role = _client("iam", url, "BUILDER").get_role(RoleName="SageMakerRole")["Role"]

    assert role["Arn"] == "arn:aws:iam::123456789012:role/SageMakerRole"
    assert "no roles" in role["Description"]


@pytest.mark.parametrize(
    ("key", "decisions"),
    [("BUILDER", ["allowed", "implicitDeny"]), ("CALLER", ["implicitDeny", "allowed"])],
)
def test_what_is_allowed_is_what_the_key_may_do(url: str, key: str, decisions: list[str]) -> None:
    """Whatever role is named."""
    found = _client("iam", url, key).simulate_principal_policy(
        PolicySourceArn="arn:aws:iam::123456789012:role/R",
        ActionNames=["sagemaker:CreateEndpoint", "sagemaker:InvokeEndpoint"],
    )

    assert [one["EvalDecision"] for one in found["EvaluationResults"]] == decisions


def test_what_is_not_served_is_named(url: str) -> None:
    """A role cannot be created: nothing would come of it."""
    with pytest.raises(ClientError) as refused:
        _client("iam", url, "BUILDER").create_role(RoleName="r", AssumeRolePolicyDocument="{}")

    assert refused.value.response["Error"]["Code"] == "InvalidAction"
    assert "GetRole" in refused.value.response["Error"]["Message"]


def test_an_unknown_key_is_told_in_xml(url: str) -> None:
    """STS speaks the query protocol, so do its errors."""
    with pytest.raises(ClientError) as refused:
        _client("sts", url, "NOBODY").get_caller_identity()

    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"


def test_policies_that_would_not_be_looked_at_are_refused(url: str) -> None:
    """An answer that ignored them would be a wrong one."""
    with pytest.raises(ClientError) as refused:
        _client("iam", url, "BUILDER").simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:role/R",
            ActionNames=["sagemaker:InvokeEndpoint"],
            PolicyInputList=["{}"],
        )

    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert "'policyInputList' is not supported yet" in refused.value.response["Error"]["Message"]
