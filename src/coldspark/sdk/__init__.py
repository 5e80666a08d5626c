"""For users: a client of the native API, and deployment from Python."""

from coldspark.sdk.client import Answer, Client, ServerRefused
from coldspark.sdk.deploy import apply, deploy, plan, prepare
from coldspark.sdk.transport import ReplyBroken, ServerUnreachable

__all__ = [
    "Answer",
    "Client",
    "ReplyBroken",
    "ServerRefused",
    "ServerUnreachable",
    "apply",
    "deploy",
    "plan",
    "prepare",
]
