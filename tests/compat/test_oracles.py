"""The last test of a whole run: no operation is served whose answer no model has judged."""

import aws_page
import pytest
import whole_run

MODELS = {"monitoring": "cloudwatch"}
"""botocore's name of a service, where it is not the signing name."""


@pytest.mark.timeout(whole_run.DEADLINE_S + 60)
def test_every_operation_that_is_served_was_validated(request: pytest.FixtureRequest) -> None:
    """By botocore's model of its answer, at least once in this run, in any of its processes."""
    validated = whole_run.validated(request.config, others=len(request.session.items) - 1)
    served = {
        (MODELS.get(service.signing_name, service.signing_name), name)
        for service in aws_page.services()
        for name in service.operations
    }
    assert sorted(served - validated) == []
