"""The gateway's fakes as the AWS door's tests script them: a function from request to answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway_fakes import FakePlatform, receipt
from msgspec.structs import replace

from coldspark.platform.ports import Invocation, Receipt, Sink
from coldspark.spec.types import Failure, FailureKind


class Clock:
    """Wall milliseconds that move on by one second each time they are read."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        self.now_ms += 1_000
        return self.now_ms


@dataclass(frozen=True)
class Reply:
    """What a replica answers."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


Script = Callable[[Invocation], Reply | Failure | None]
"""None leaves the request open: the test answers through its ticket's sink."""


def echo(invocation: Invocation) -> Reply:
    """Answer with the body, its content type and its custom attributes."""
    headers = [("content-type", invocation.content_type or "application/octet-stream")]
    return Reply(200, [*headers, *invocation.headers], invocation.body)


class AnsweringPlatform(FakePlatform):
    """A platform that knows its endpoints, at zero replicas, and answers for them."""

    script: Script  # type: ignore[assignment]

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock=clock, replicas=())
        self.script = echo

    def _answer(self, invocation: Invocation, sink: Sink) -> None:
        if invocation.endpoint not in self.views:
            failure = Failure(kind=FailureKind.NOT_FOUND, message="no such endpoint")
            sink.fail(failure, None)
            return
        answer = self.script(invocation)
        if answer is None:
            return
        if isinstance(answer, Failure):
            sink.fail(answer, self.receipt(invocation))
        else:
            sink.reply(answer.status, answer.headers, answer.body, self.receipt(invocation))

    def receipt(self, invocation: Invocation) -> Receipt:
        """Return what is told of a request."""
        made = receipt(invocation)
        variant = self.views[invocation.endpoint].variants[0].name
        return replace(made, usage=replace(made.usage, variant=variant))
