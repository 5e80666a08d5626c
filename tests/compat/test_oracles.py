"""The last test of a whole run: no operation is served whose answer no model has judged."""

import sys
from pathlib import Path

import boto3_rig  # noqa: F401  (it makes service_model importable)
from service_model import VALIDATED

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import aws_page

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
