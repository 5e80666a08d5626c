"""The last test of a whole run: no operation is served whose answer no model has judged."""

import aws_page
import boto3_rig  # noqa: F401  (it makes service_model importable)
from service_model import VALIDATED

MODELS = {"monitoring": "cloudwatch"}
"""botocore's name of a service, where it is not the signing name."""


def test_every_operation_that_is_served_was_validated() -> None:
    """By botocore's model of its answer, at least once in this run."""
    served = {
        (MODELS.get(service.signing_name, service.signing_name), name)
        for service, _ in aws_page.services()
        for name in service.operations
    }
    assert sorted(served - VALIDATED) == []
