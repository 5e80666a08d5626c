"""Amazon resource names: written in the caller's region, and taken apart."""

from dataclasses import dataclass

from coldspark.doors.aws.protocol.credential_scope import ACCOUNT

_PARTITIONS = ("cn-", "us-gov-")
_PARTS = 6


@dataclass(frozen=True, slots=True)
class Arn:
    """An ARN's parts; ``resource`` is all that follows the account."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    def __str__(self) -> str:
        """Return the ARN."""
        return ":".join(
            ("arn", self.partition, self.service, self.region, self.account, self.resource)
        )


def arn(service: str, region: str, resource: str) -> str:
    """Return the ARN of something of the one account. A role's has no region: ``""``."""
    partition = next((f"aws-{one[:-1]}" for one in _PARTITIONS if region.startswith(one)), "aws")
    return str(Arn(partition, service, region, ACCOUNT, resource))


def alarm_arn(name: str, region: str) -> str:
    """Return an alarm's ARN: several services show it."""
    return arn("cloudwatch", region, f"alarm:{name}")


def parse_arn(text: str, service: str) -> Arn | None:
    """Return an ARN's parts, or None for what is no ARN of a service."""
    parts = text.split(":", _PARTS - 1)
    if len(parts) < _PARTS or parts[0] != "arn":
        return None
    found = Arn(*parts[1:])
    return found if found.service == service and found.partition.startswith("aws") else None
