"""A call's end, as memory sees it."""

import gc
from collections.abc import Callable, Iterator, Sequence

import pytest

from coldspark.billing.replica_accounts import ReplicaAccount
from coldspark.billing.usage import Usage
from coldspark.fleet.fleet import Fleet
from coldspark.platform.call import Call
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.ports import Invocation, Receipt
from coldspark.spec.types import (
    Command,
    EndpointName,
    Failure,
    FailureKind,
    FleetId,
    RequestId,
    Revision,
    RevisionId,
    Spec,
    VariantName,
)
from coldspark.spec.waterfall import StartTimeline


class Desk:
    """A controller that bills nothing and answers at once."""

    def settle_call(self, call: Call, now_s: float) -> int:
        """Nothing was used."""
        return 0

    def charge_start(self, account: ReplicaAccount) -> int:
        """Nothing was started."""
        return 0

    def timeline_of(self, call: Call) -> StartTimeline | None:
        """Nobody waited."""
        return None

    def record(self, usage: Usage) -> None:
        """Nobody reads it."""

    def record_then(self, usage: Usage, done: Callable[[], None]) -> None:
        """Nobody reads it."""
        done()

    def let_go(self, call: Call) -> None:
        """There is no fleet."""

    def cancel(self, call: Call) -> None:
        """There is no fleet."""


class Caller:
    """Takes whatever comes."""

    def __init__(self) -> None:
        self.ends = 0

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        """Count an end."""
        self.ends += 1

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """A head is no end."""

    def write(self, chunk: bytes) -> None:
        """Nor is a piece."""

    def end(self, receipt: Receipt) -> None:
        """Count an end."""
        self.ends += 1

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        """Count an end."""
        self.ends += 1


class Flow:
    """A replica's side of a call, which knows its call as the real ones do."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def pause(self) -> None:
        """Nothing flows."""

    def resume(self) -> None:
        """Nothing flows."""


def reply(call: Call) -> None:
    """End a call with a whole reply."""
    call.on_reply(200, [], b"", 1)


def stream(call: Call) -> None:
    """End it with a stream."""
    call.on_head(200, [])
    call.on_chunk(b"x")
    call.on_end(1)


def fail(call: Call) -> None:
    """End it with a failure."""
    call.on_failure(Failure(kind=FailureKind.HANDLER_FAILED, message="no"))


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Keep the collector away; what was there before is not looked at."""
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("end", [reply, stream, fail])
@pytest.mark.parametrize("is_early", [False, True])
def test_a_call_that_ended_leaves_no_cycle(end: Callable[[Call], None], is_early: bool) -> None:
    """Cycles of every request made the collector stop the router for tens of milliseconds."""
    spec = Spec(command=Command(argv=("serve",)))
    fleet = Fleet(FleetId("e/main"), Revision(id=RevisionId("0"), spec=spec))
    hosted = HostedFleet(EndpointName("e"), VariantName("main"), fleet)
    caller = Caller()
    for number in range(10):
        request = RequestId(str(number))
        invocation = Invocation(endpoint=hosted.endpoint, started_s=0.0, request=request)
        call = Call(Desk(), hosted, invocation, caller, 600.0)
        flow = Flow(call)
        if is_early:
            end(call)
        call.sent(flow)
        if not is_early:
            end(call)
        del call, flow
    assert caller.ends == 10
    assert gc.collect() == 0
