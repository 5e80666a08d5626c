"""ARNs are written in the caller's partition, and only whole ones of a service are read."""

import pytest

from coldspark.doors.aws.protocol.arns import Arn, arn, parse_arn


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("", "aws")],
)
def test_an_arn_is_of_its_regions_partition_and_comes_back(region: str, partition: str) -> None:
    """Also one without a region, and with colons in what it names."""
    text = arn("logs", region, "log-group:a:b")

    assert text == f"arn:{partition}:logs:{region}:123456789012:log-group:a:b"
    assert parse_arn(text, "logs") == Arn(
        partition, "logs", region, "123456789012", "log-group:a:b"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model/churn",
        "arn:aws:logs:us-east-1:123456789012:x",
        "arn:aws:sagemaker:us-east-1:12:model/churn",
        "arn:gcp:sagemaker:us-east-1:123456789012:model/churn",
        "arn:aws:sagemaker:us-east-1:123456789012:",
    ],
)
def test_what_is_no_arn_of_a_service_is_none(text: str) -> None:
    """Whatever is short, of another service, or names nothing."""
    assert parse_arn(text, "sagemaker") is None
