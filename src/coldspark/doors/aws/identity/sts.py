"""STS: who the caller is."""

from coldspark.doors.aws.protocol.arns import arn
from coldspark.doors.aws.protocol.credential_scope import ACCOUNT
from coldspark.doors.aws.protocol.operations import AwsOperation, OperationRequest, Service
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.protocol.shapes import Structure
from coldspark.doors.door import DoorDependencies

ANYBODY = "anybody"
"""The caller where the server has no keys."""


def open_sts(_: DoorDependencies) -> Service:
    """Return the service: it needs nothing of the server."""
    return Service(
        signing_name="sts",
        query_version="2011-06-15",
        namespace="https://sts.amazonaws.com/doc/2011-06-15/",
        operations={
            "GetCallerIdentity": AwsOperation(run=_caller, shape=Structure({}), is_open=True)
        },
    )


async def _caller(asked: OperationRequest) -> Body:
    """GetCallerIdentity: the key, as a user of the one account."""
    key = asked.key
    name = ANYBODY if key is None else key.name
    return {
        "UserId": ANYBODY if key is None else key.id,
        "Account": ACCOUNT,
        "Arn": arn("iam", "", f"user/{_spelt(name)}"),
    }


def _spelt(name: str) -> str:
    """Return a key's name as an ARN may spell it."""
    return "".join(letter if letter.isalnum() or letter in "+=,.@-_/" else "-" for letter in name)
