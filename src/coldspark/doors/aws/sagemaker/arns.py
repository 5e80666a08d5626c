"""Amazon resource names of what this door stores."""

import re
from dataclasses import dataclass

from coldspark.doors.aws.protocol.credential_scope import ACCOUNT
from coldspark.doors.aws.protocol.names import LOG_GROUPS

_ARN = re.compile(
    r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:[0-9]{12}:"
    r"(model|endpoint-config|endpoint|inference-component)/(.+)"
)


@dataclass(frozen=True, slots=True)
class Resource:
    """A noun and a name: what an ARN points at."""

    noun: str
    name: str


def arn(noun: str, name: str, region: str) -> str:
    """Return the ARN of a model, an endpoint-config or an endpoint."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{noun}/{name}"


def parse_arn(text: str) -> Resource | None:
    """Return what an ARN points at, or None if it is not one of ours."""
    match = _ARN.fullmatch(text)
    return Resource(match.group(1), match.group(2)) if match else None


def log_group(endpoint: str) -> str:
    """Return the CloudWatch log group in which AWS keeps an endpoint's lines."""
    return f"{LOG_GROUPS}{endpoint}"


def log_stream_arn(endpoint: str, stream: str | None, region: str) -> str:
    """Return the ARN of a replica's log stream, or of the group where no replica is known."""
    group = f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{log_group(endpoint)}"
    return group if stream is None else f"{group}:log-stream:{stream}"
