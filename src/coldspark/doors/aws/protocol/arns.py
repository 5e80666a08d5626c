"""Amazon resource names: written in the caller's region, and taken apart."""

import re
from dataclasses import dataclass

from coldspark.doors.aws.protocol.credential_scope import ACCOUNT

_PARTITIONS = ("cn-", "us-gov-")
_ARN = re.compile(r"arn:(aws[a-z-]*):([a-z0-9-]+):([a-z0-9-]*):(\d{12}|):(.+)")


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


def arn(service: str, region: str, resource: str, account: str = ACCOUNT) -> str:
    """Return the ARN of something. A role's has no region: ``""``."""
    partition = next((f"aws-{one[:-1]}" for one in _PARTITIONS if region.startswith(one)), "aws")
    return str(Arn(partition, service, region, account, resource))


def alarm_arn(name: str, region: str, account: str = ACCOUNT) -> str:
    """Return an alarm's ARN: several services show it."""
    return arn("cloudwatch", region, f"alarm:{name}", account)


def parse_arn(text: str, service: str) -> Arn | None:
    """Return an ARN's parts, or None for what is no ARN of a service."""
    match = _ARN.fullmatch(text)
    return None if match is None or match[2] != service else Arn(*match.groups())
