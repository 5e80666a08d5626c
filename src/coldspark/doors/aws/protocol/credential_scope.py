"""The account, and what a signature's credential scope says of region and service."""

import re
from dataclasses import dataclass

ACCOUNT = "123456789012"
"""There is one account; this is the number that AWS's own examples use."""
DEFAULT_REGION = "us-east-1"

_SCOPE = re.compile(
    r"Credential=[^,\s]*/\d{8}/(?P<region>[a-z0-9-]{1,32})/(?P<service>[a-z0-9-]+)/aws4_request"
)


@dataclass(frozen=True, slots=True)
class CallerScope:
    """Where a caller believes to be, and whom he believes to ask."""

    region: str
    service: str | None
    """The signing name (``sagemaker``, ``monitoring``, …); None for an unsigned request."""


def scope_of(authorization: str) -> CallerScope:
    """Return the scope of an ``Authorization`` header; us-east-1 where there is none."""
    match = _SCOPE.search(authorization)
    if match is None:
        return CallerScope(DEFAULT_REGION, None)
    return CallerScope(match["region"], match["service"])
