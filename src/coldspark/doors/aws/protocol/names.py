"""What the platform's own metrics and logs are called by clients of AWS."""

from coldspark.platform.metric_ports import ENDPOINT_NAMESPACE, REPLICA_NAMESPACE
from coldspark.telemetry.log_store import ENDPOINT_GROUPS

NAMESPACES = {
    ENDPOINT_NAMESPACE: "AWS/SageMaker",
    REPLICA_NAMESPACE: "/aws/sagemaker/Endpoints",
}
"""CloudWatch's namespace of each of the platform's own."""
LOG_GROUPS = "/aws/sagemaker/Endpoints/"
"""Before the name of an endpoint in the name of its log group."""
_STORED = {name: stored for stored, name in NAMESPACES.items()}


def to_namespace(stored: str) -> str:
    """Return a namespace as clients know it."""
    return NAMESPACES.get(stored, stored)


def from_namespace(sent: str) -> str:
    """Return a namespace as it is stored."""
    return _STORED.get(sent, sent)


def to_group(stored: str) -> str:
    """Return a log group's name as clients know it."""
    return _moved(stored, ENDPOINT_GROUPS, LOG_GROUPS)


def from_group(sent: str) -> str:
    """Return a log group's name as it is stored."""
    return _moved(sent, LOG_GROUPS, ENDPOINT_GROUPS)


def _moved(name: str, before: str, after: str) -> str:
    return after + name.removeprefix(before) if name.startswith(before) else name
