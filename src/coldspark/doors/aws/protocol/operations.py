"""What a service of AWS is here: names of operations, what each takes, and what runs for it.

A door builds a ``Service``; ``front`` finds the one that a request is for, checks who asks and
what he sent, runs the operation and tells the answer in the protocol that the request came in.
"""

import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from coldspark.doors.aws.protocol.errors import DEFAULT_TYPES
from coldspark.doors.aws.protocol.request import AwsRequest, Body
from coldspark.doors.aws.protocol.shapes import Structure
from coldspark.http.auth.scopes import KeyAction
from coldspark.platform.ports import Key


class Timestamp:
    """A point in time in an answer, which JSON writes as seconds and XML as a date.

    No dataclass: those the JSON encoder would write as objects.
    """

    __match_args__ = ("at_ms",)
    __slots__ = ("at_ms",)

    def __init__(self, at_ms: int) -> None:
        """Take milliseconds since the epoch."""
        self.at_ms = at_ms

    def __str__(self) -> str:
        """Return the date as XML and messages to topics have it."""
        at = dt.datetime.fromtimestamp(self.at_ms / 1_000, dt.UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Pairs(dict[str, object]):
    """A map in an answer, of which the keys are data: XML writes it otherwise than members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequest(AwsRequest):
    """One call as the front hands it to a service."""

    key: Key | None
    host: str
    """The server as the caller addressed it, such as ``localhost:7117``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsOperation:
    """What runs for an operation's name, and what its body must look like.

    ``run`` returns None where AWS's operation has no output shape. Changes run one at a time
    (they read, decide and write, with awaits between); reads run freely.
    """

    run: Callable[[OperationRequest], Awaitable[Body | None]]
    shape: Structure
    is_change: bool = False
    action: KeyAction = KeyAction.DEPLOY
    """The scope that a caller needs."""
    is_open: bool = False
    """Whoever has a key may ask, whatever its scopes."""
    names: Callable[[Body], Iterable[str]] = lambda body: ()
    """The endpoints (or what is deployed as such) that a checked body is about.

    The caller needs the scope for each of them; for a body that is about none, without a name.
    """


Call = TypeVar("Call")
Table = Mapping[str, Callable[[Call], Awaitable[Body | None]]]
"""By name: what runs for an operation, on a door's own view of the call."""


def operations(
    reads: Table[Call],
    changes: Table[Call],
    shapes: Mapping[str, Structure],
    call_of: Callable[[OperationRequest], Call],
    names: Callable[[Body], Iterable[str]] = lambda body: (),
) -> dict[str, AwsOperation]:
    """Return a door's operations, made of its tables; ``call_of`` adds the door's neighbours."""

    def operation(name: str, run: Callable[[Call], Awaitable[Body | None]]) -> AwsOperation:
        async def answer(asked: OperationRequest) -> Body | None:
            return await run(call_of(asked))

        return AwsOperation(run=answer, shape=shapes[name], is_change=name in changes, names=names)

    return {name: operation(name, run) for name, run in (*reads.items(), *changes.items())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of AWS on this port."""

    signing_name: str
    """In the credential scope: ``sagemaker``, ``monitoring``, ``logs``, …"""
    target: str | None = None
    """``X-Amz-Target`` up to and including the dot, for the JSON protocols."""
    json_version: str = "1.1"
    query_version: str | None = None
    """``Version`` of the query protocol, such as 2010-08-01."""
    namespace: str = ""
    """Of the query protocol's XML."""
    operations: Mapping[str, AwsOperation]
    types: Mapping[str, str] = field(default_factory=lambda: DEFAULT_TYPES)
    """This service's error type for each of our codes that it can meet."""
    invalid_type: str = "ValidationException"
    """This service's error type for a body that breaks its shape."""
    body_bytes_max: int = 1024 * 1024
    """After decompression."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """Operations of AWS's that are not served, and what to use in place of each."""
