"""Amazon resource names of what this door stores."""

from dataclasses import dataclass

from coldspark.doors.aws.protocol.arns import arn, parse_arn
from coldspark.doors.aws.protocol.names import LOG_GROUPS

_NOUNS = ("model", "endpoint-config", "endpoint", "inference-component")


@dataclass(frozen=True, slots=True)
class Resource:
    """A noun and a name: what an ARN points at."""

    noun: str
    name: str


def resource_arn(noun: str, name: str, region: str) -> str:
    """Return the ARN of a model, an endpoint-config or an endpoint."""
    return arn("sagemaker", region, f"{noun}/{name}")


def parse_resource(text: str) -> Resource | None:
    """Return what an ARN points at, or None if it is not one of ours."""
    found = parse_arn(text, "sagemaker")
    noun, _, name = ("", "", "") if found is None else found.resource.partition("/")
    return Resource(noun, name) if noun in _NOUNS and name else None


def log_group(endpoint: str) -> str:
    """Return the log group that has an endpoint's lines."""
    return f"{LOG_GROUPS}{endpoint}"


def log_stream_arn(endpoint: str, stream: str | None, region: str) -> str:
    """Return the ARN of a replica's log stream, or of the group where no replica is known."""
    group = f"log-group:{log_group(endpoint)}"
    return arn("logs", region, group if stream is None else f"{group}:log-stream:{stream}")
