"""Amazon resource names of what this door stores, and where a request says it is."""

import re
from dataclasses import dataclass

ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"

_SCOPE = re.compile(r"Credential=[^,\s]*/\d{8}/([a-z0-9-]{1,32})/[a-z0-9-]+/aws4_request")
_ARN = re.compile(
    r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:[0-9]{12}:(model|endpoint-config|endpoint)/(.+)"
)


@dataclass(frozen=True, slots=True)
class Resource:
    """A noun and a name: what an ARN points at."""

    noun: str
    name: str


def region_of(authorization: str) -> str:
    """Return the region of a signature's credential scope; us-east-1 where there is none."""
    match = _SCOPE.search(authorization)
    return match.group(1) if match else DEFAULT_REGION


def arn(noun: str, name: str, region: str) -> str:
    """Return the ARN of a model, an endpoint-config or an endpoint."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{noun}/{name}"


def parse_arn(text: str) -> Resource | None:
    """Return what an ARN points at, or None if it is not one of ours."""
    match = _ARN.fullmatch(text)
    return Resource(match.group(1), match.group(2)) if match else None


def log_group(endpoint: str) -> str:
    """Return the CloudWatch log group in which AWS keeps an endpoint's lines."""
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def log_stream_arn(endpoint: str, variant: str | None, region: str) -> str:
    """Return the ARN of a variant's log stream, or of the group where the variant is unknown."""
    group = f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{log_group(endpoint)}"
    return group if variant is None else f"{group}:log-stream:{variant}"
