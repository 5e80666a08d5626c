"""Invocations that are sent again: they run once, and the next attempt gets the first one's answer.

An SDK that got no answer in time hangs up and sends the same invocation again, under the same id.
So one who hangs up is waited for, for a grace: the run goes on, and its answer is kept. An attempt
that comes in time takes the run over. One that says it is the last is not waited for.

Rules: an attempt belongs to a run only if caller, endpoint, id, headers and body are the same. What
nobody listens to is bounded in number and bytes; the oldest is given up first. A stream that has
begun has its listener, and no other.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from coldspark.platform.ports import Invocation, Platform, Receipt, Sink, Ticket
from coldspark.spec.types import Failure, FailureKind, RequestId, VariantName

INVOCATION_ID = "amz-sdk-invocation-id"
ATTEMPT = "amz-sdk-request"
GRACE_S = 10.0
"""botocore waits for less than 1, 2, 4 and 8 s between its attempts."""
_LEFT_MAX = 1_000
_LEFT_BYTES_MAX = 64 * 1024 * 1024
_ID_CHARS_MAX = 128
_LAST = re.compile(r"attempt=(\d{1,4}); *max=(\d{1,4})")
_TAKEN_OVER = Failure(
    kind=FailureKind.CANCELLED, message="a later attempt of this invocation has its answer"
)


class Timer(Protocol):
    """Something that will happen, unless it is called off."""

    def cancel(self) -> None:
        """Call it off."""


Later = Callable[[float, Callable[[], None]], Timer]
_Id = tuple[str | None, str, str]
"""The caller's key, the endpoint, the id that the client made."""
_Word = Callable[[Sink], None]


def is_retried(headers: Mapping[str, str]) -> bool:
    """Return whether a request's client would send it again under the same id."""
    id = headers.get(INVOCATION_ID)
    return id is not None and ATTEMPT in headers and 0 < len(id) <= _ID_CHARS_MAX


class Retries:
    """The runs that a further attempt may take over. One per gateway, on the loop's thread."""

    def __init__(self, grace_s: float = GRACE_S, later: "Later | None" = None) -> None:
        """``grace_s``: how long the next attempt is waited for; 0: not at all."""
        self.grace_s = grace_s
        self._later = later or _later
        self._runs: dict[_Id, InFlightInvocation] = {}
        self._left: dict[_Id, InFlightInvocation] = {}
        """Those that nobody listens to, the one left first first."""
        self._left_bytes = 0

    @property
    def abandoned_count(self) -> int:
        """Return how many runs nobody listens to."""
        return len(self._left)

    def find(
        self, headers: Mapping[str, str], invocation: Invocation, payload_hash: str | None
    ) -> "InFlightInvocation | None":
        """Return the run that an attempt belongs to. ``payload_hash``: of a body that streams."""
        run = self._runs.get((invocation.key, invocation.endpoint, headers[INVOCATION_ID]))
        if run is not None and run.answers(invocation, payload_hash):
            return run
        return None

    def submit(
        self,
        platform: Platform,
        headers: Mapping[str, str],
        invocation: Invocation,
        sink: Sink,
        payload_hash: str | None = None,
        let_body_go: Callable[[], None] | None = None,
    ) -> Ticket:
        """Run an invocation; ``let_body_go`` is called once nobody needs its body any more."""
        id = invocation.key, invocation.endpoint, headers[INVOCATION_ID]
        if self._left and (other := self._left.get(id)) is not None:
            # It has another body, and now nobody can join it any more.
            self.expire(other)
        run = InFlightInvocation(
            self, id, headers[ATTEMPT], invocation, sink, payload_hash, let_body_go
        )
        self._runs[id] = run
        run.ticket = platform.submit(invocation, run)
        return run

    def close_to_retries(self, run: "InFlightInvocation") -> None:
        """Let no further attempt take a run over."""
        if self._runs.get(run.id) is run:
            del self._runs[run.id]

    def is_open(self, run: "InFlightInvocation") -> bool:
        """Return whether a further attempt would find a run."""
        return self._runs.get(run.id) is run

    def await_retry(self, run: "InFlightInvocation") -> None:
        """Wait for the next attempt of a run that nobody listens to."""
        self._left[run.id] = run
        self.restart_grace(run)
        while len(self._left) > _LEFT_MAX:
            self.expire(next(iter(self._left.values())))

    def restart_grace(self, run: "InFlightInvocation") -> None:
        """Begin a grace, or begin it anew."""
        if run.timer is not None:
            run.timer.cancel()
        run.timer = self._later(self.grace_s, partial(self.expire, run))

    def buffer(self, run: "InFlightInvocation", size_bytes: int) -> None:
        """Count what is held for a run that nobody listens to; the oldest make room."""
        run.buffered_bytes += size_bytes
        self._left_bytes += size_bytes
        while self._left_bytes > _LEFT_BYTES_MAX and self._left:
            self.expire(next(iter(self._left.values())))

    def reclaim(self, run: "InFlightInvocation") -> None:
        """Wait no longer: somebody listens, or nobody shall."""
        if self._left.get(run.id) is run:
            del self._left[run.id]
        self._left_bytes -= run.buffered_bytes
        run.buffered_bytes = 0
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None

    def expire(self, run: "InFlightInvocation") -> None:
        """Give a run up: nobody came for it."""
        self.reclaim(run)
        self.close_to_retries(run)
        run.give_up()


class InFlightInvocation(Struct, eq=False):
    """One invocation, whoever listens: the platform's ``Sink``, and its first attempt's ``Ticket``.

    A Struct, and the ticket as well, as one is made for every request of an SDK.
    """

    retries: Retries
    id: _Id
    attempt: str
    """Which one the first was, and of how many."""
    invocation: Invocation
    first: Sink | None
    """The first attempt, unless its caller hung up."""
    payload_hash: str | None = None
    """SHA-256 of a body that streams, or that was let go."""
    release_body: Callable[[], None] | None = None
    ticket: Ticket | None = None
    subscribers: "tuple[Subscriber, ...]" = ()
    """Further attempts that listen, the latest last."""
    buffered: tuple[_Word, ...] = ()
    """What was said while nobody listened."""
    buffered_bytes: int = 0
    timer: Timer | None = None
    is_streaming: bool = False
    is_over: bool = False

    @property
    def request(self) -> RequestId:
        """Return the id under which it is in the ledger: its first attempt's."""
        return self.invocation.request

    @property
    def has_listeners(self) -> bool:
        """Return whether anybody listens."""
        return self.first is not None or bool(self.subscribers)

    def answers(self, theirs: Invocation, payload_hash: str | None) -> bool:
        """Return whether an attempt asks for what this one does."""
        mine = self.invocation
        if (mine.variant, mine.content_type, mine.accept, mine.headers) != (
            theirs.variant,
            theirs.content_type,
            theirs.accept,
            theirs.headers,
        ):
            return False
        if self.payload_hash is None and payload_hash is None:
            return mine.body == theirs.body
        return _digest(mine, self.payload_hash) == _digest(theirs, payload_hash)

    def subscribe(self, headers: Mapping[str, str], sink: Sink) -> Ticket:
        """Take a further attempt in, and tell it what was said meanwhile."""
        self.retries.reclaim(self)
        seat = Subscriber(self, headers[ATTEMPT], sink)
        self.subscribers = (*self.subscribers, seat)
        said, self.buffered = self.buffered, ()
        if self.is_streaming or self.is_over:
            self.retries.close_to_retries(self)
        for word in said:
            word(sink)
        if self.is_streaming and not self.is_over and self.ticket is not None:
            self.ticket.resume()
        return seat

    def detach(self, attempt: str) -> None:
        """Take note that an attempt's caller hung up."""
        if self.has_listeners or self.is_over:
            return
        retries = self.retries
        if _is_last(attempt) or retries.grace_s <= 0 or not retries.is_open(self):
            retries.close_to_retries(self)
            self.give_up()
        else:
            retries.await_retry(self)

    def give_up(self) -> None:
        """Stop what runs; forget what was said."""
        self.buffered = ()
        if not self.is_over and self.ticket is not None:
            self.ticket.cancel()

    # --- Ticket, for the first attempt --------------------------------------------------------

    @property
    def variant(self) -> VariantName | None:
        """Return which variant answers."""
        return None if self.ticket is None else self.ticket.variant

    def cancel(self) -> None:
        """Say that the first attempt's caller hung up."""
        if self.first is not None:
            self.first = None
            self.detach(self.attempt)

    def break_off(self, failure: Failure) -> None:
        """Say that the body went wrong."""
        if self.ticket is not None:
            self.ticket.break_off(failure)

    def pause(self) -> None:
        """Say that the caller reads slowly."""
        if self.ticket is not None:
            self.ticket.pause()

    def resume(self) -> None:
        """Say that the caller keeps up again."""
        if self.ticket is not None:
            self.ticket.resume()

    # --- Sink ---------------------------------------------------------------------------------

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        """Pass a whole reply on, or keep it."""
        first, others = self.first, self.subscribers
        self._end()
        if first is None and not others:
            self._keep(lambda sink: sink.reply(status, headers, body, receipt), len(body))
            return
        self.retries.close_to_retries(self)
        if first is not None:
            first.reply(status, headers, body, receipt)
        for seat in others:
            seat.sink.reply(status, headers, body, receipt)

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Pass the head of a stream on to the latest attempt; or keep it, and let it wait."""
        self.is_streaming = True
        if self.has_listeners:
            self.retries.close_to_retries(self)
            self._leave_one().begin(status, headers)
            return
        self._keep(lambda sink: sink.begin(status, headers), 0)
        if self.ticket is not None:
            self.ticket.pause()

    def _leave_one(self) -> Sink:
        """Tell all attempts but the latest that they have no part in the stream; return that."""
        *early, latest = self._listeners()
        self.subscribers = self.subscribers[-1:]
        if self.subscribers:
            self.first = None
        for sink in early:
            sink.fail(_TAKEN_OVER, None)
        return latest

    def write(self, chunk: bytes) -> None:
        """Pass a piece of a stream on, or keep it."""
        if self.has_listeners:
            self._listeners()[-1].write(chunk)
        else:
            self._keep(lambda sink: sink.write(chunk), len(chunk))

    def end(self, receipt: Receipt) -> None:
        """Pass the end of a stream on, or keep it."""
        listeners = self._listeners()
        self._end()
        if listeners:
            listeners[-1].end(receipt)
        else:
            self._keep(lambda sink: sink.end(receipt), 0)

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        """Pass a failure on, or keep it."""
        listeners = self._listeners()
        self._end()
        if not listeners:
            self._keep(lambda sink: sink.fail(failure, receipt), 0)
            return
        self.retries.close_to_retries(self)
        for sink in listeners:
            sink.fail(failure, receipt)

    def _listeners(self) -> list[Sink]:
        first = [] if self.first is None else [self.first]
        return [*first, *(seat.sink for seat in self.subscribers)]

    def _end(self) -> None:
        """Hold nothing that holds this: no cycle is to be left for the collector."""
        self.is_over = True
        self.ticket = self.first = None
        self.subscribers = ()
        if self.release_body is not None:
            self.release_body()
            self.release_body = None

    def _keep(self, word: _Word, size_bytes: int) -> None:
        """Hold what nobody hears, unless nobody is waited for any more."""
        if not self.retries.is_open(self):
            return
        self.buffered = (*self.buffered, word)
        if self.is_over:
            # Its answer is here: from now on the grace is for that, and its body is not needed.
            self.payload_hash = _digest(self.invocation, self.payload_hash)
            self.invocation = replace(self.invocation, body=b"", stream=None)
            self.retries.restart_grace(self)
        self.retries.buffer(self, size_bytes)


class Subscriber:
    """A further attempt that listens to a run. Implements ``Ticket`` for its exchange."""

    __slots__ = ("_attempt", "_run", "sink")

    def __init__(self, run: InFlightInvocation, attempt: str, sink: Sink) -> None:
        self._run = run
        self._attempt = attempt
        self.sink = sink

    @property
    def variant(self) -> VariantName | None:
        """Return which variant answers."""
        return self._run.variant

    def cancel(self) -> None:
        """Say that this attempt's caller hung up."""
        run = self._run
        if self in run.subscribers:
            run.subscribers = tuple(seat for seat in run.subscribers if seat is not self)
            run.detach(self._attempt)

    def break_off(self, failure: Failure) -> None:
        """Say that the body went wrong."""
        self._run.break_off(failure)

    def pause(self) -> None:
        """Say that the caller reads slowly."""
        self._run.pause()

    def resume(self) -> None:
        """Say that the caller keeps up again."""
        self._run.resume()


def _is_last(attempt: str) -> bool:
    """Return whether a client says that it will not try again."""
    match = _LAST.search(attempt)
    return match is not None and int(match[1]) >= int(match[2])


def _digest(invocation: Invocation, payload_hash: str | None) -> str:
    return payload_hash or sha256(invocation.body).hexdigest()


def _later(delay_s: float, act: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, act)
