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

from coldspark.core.types import Failure, FailureKind, RequestId, VariantName
from coldspark.runtime.ports import Invocation, Platform, Receipt, Sink, Ticket

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


class Asked(Struct, frozen=True, gc=False):
    """One attempt: what is asked for, under which id, and which attempt it says it is."""

    id: str
    attempt: str
    invocation: Invocation
    payload_hash: str | None
    """SHA-256 of a body that streams."""

    @property
    def is_last(self) -> bool:
        """Return whether its client says that it will not try again."""
        match = _LAST.search(self.attempt)
        return match is not None and int(match[1]) >= int(match[2])

    def digest(self) -> str:
        """Return the SHA-256 of the body."""
        return self.payload_hash or sha256(self.invocation.body).hexdigest()

    def without_body(self) -> "Asked":
        """Return it with the body's hash alone."""
        bare = replace(self.invocation, body=b"", stream=None)
        return Asked(self.id, self.attempt, bare, self.digest())

    def asks_the_same_as(self, other: "Asked") -> bool:
        """Return whether one answer answers both."""
        mine, theirs = self.invocation, other.invocation
        if (mine.variant, mine.content_type, mine.accept, mine.headers) != (
            theirs.variant,
            theirs.content_type,
            theirs.accept,
            theirs.headers,
        ):
            return False
        if self.payload_hash is None and other.payload_hash is None:
            return mine.body == theirs.body
        return self.digest() == other.digest()


def is_retried(headers: Mapping[str, str]) -> bool:
    """Return whether a request's client would send it again under the same id."""
    id = headers.get(INVOCATION_ID)
    return id is not None and ATTEMPT in headers and 0 < len(id) <= _ID_CHARS_MAX


def asked(invocation: Invocation, headers: Mapping[str, str], payload_hash: str | None) -> Asked:
    """Read what an attempt says about itself."""
    return Asked(headers[INVOCATION_ID], headers[ATTEMPT], invocation, payload_hash)


class Retries:
    """The runs that a further attempt may take over. One per gateway, on the loop's thread."""

    def __init__(self, grace_s: float = GRACE_S, later: "Later | None" = None) -> None:
        """``grace_s``: how long the next attempt is waited for; 0: not at all."""
        self.grace_s = grace_s
        self._later = later or _later
        self._runs: dict[_Id, Run] = {}
        self._left: dict[_Id, Run] = {}
        """Those that nobody listens to, the one left first first."""
        self._left_bytes = 0

    @property
    def left(self) -> int:
        """Return how many runs nobody listens to."""
        return len(self._left)

    def find(self, asked: Asked) -> "Run | None":
        """Return the run that an attempt belongs to."""
        run = self._runs.get(_id(asked))
        return run if run is not None and run.asked.asks_the_same_as(asked) else None

    def submit(
        self, platform: Platform, asked: Asked, sink: Sink, let_body_go: Callable[[], None] | None
    ) -> Ticket:
        """Run an invocation; ``let_body_go`` is called once nobody needs its body any more."""
        run = Run(self, asked, let_body_go)
        seat = run.seat(asked, sink)
        # One with another body under the same id keeps its listener, but nobody joins it.
        other = self._left.get(_id(asked))
        if other is not None:
            self.expire(other)
        self._runs[_id(asked)] = run
        run.ticket = platform.submit(asked.invocation, run)
        return seat

    def forget(self, run: "Run") -> None:
        """Let no further attempt take a run over."""
        id = _id(run.asked)
        if self._runs.get(id) is run:
            del self._runs[id]

    def is_open(self, run: "Run") -> bool:
        """Return whether a further attempt would find a run."""
        return self._runs.get(_id(run.asked)) is run

    def leave(self, run: "Run") -> None:
        """Wait for the next attempt of a run that nobody listens to."""
        self._left[_id(run.asked)] = run
        self.time(run)
        while len(self._left) > _LEFT_MAX:
            self.expire(next(iter(self._left.values())))

    def time(self, run: "Run") -> None:
        """Begin a grace, or begin it anew."""
        if run.timer is not None:
            run.timer.cancel()
        run.timer = self._later(self.grace_s, partial(self.expire, run))

    def hold(self, size_bytes: int) -> None:
        """Count what is held for a run that nobody listens to; the oldest make room."""
        self._left_bytes += size_bytes
        while self._left_bytes > _LEFT_BYTES_MAX and self._left:
            self.expire(next(iter(self._left.values())))

    def rejoin(self, run: "Run") -> None:
        """Wait no longer: somebody listens, or nobody shall."""
        if self._left.get(_id(run.asked)) is run:
            del self._left[_id(run.asked)]
        self._left_bytes -= run.held_bytes
        run.held_bytes = 0
        if run.timer is not None:
            run.timer.cancel()
            run.timer = None

    def expire(self, run: "Run") -> None:
        """Give a run up: nobody came for it."""
        self.rejoin(run)
        self.forget(run)
        run.give_up()


class Run:
    """One invocation, whoever listens. Implements ``Sink`` for the platform."""

    __slots__ = (
        "_is_begun",
        "_is_over",
        "_let_body_go",
        "_retries",
        "_said",
        "_seats",
        "asked",
        "held_bytes",
        "ticket",
        "timer",
    )

    def __init__(
        self, retries: Retries, asked: Asked, let_body_go: Callable[[], None] | None
    ) -> None:
        self._retries = retries
        self._let_body_go = let_body_go
        self._seats: list[Seat] = []
        self._said: list[_Word] = []
        """What was said while nobody listened."""
        self._is_begun = False
        self._is_over = False
        self.asked = asked
        self.ticket: Ticket | None = None
        self.timer: Timer | None = None
        self.held_bytes = 0

    @property
    def request(self) -> RequestId:
        """Return the id under which it is in the ledger: its first attempt's."""
        return self.asked.invocation.request

    def seat(self, asked: Asked, sink: Sink) -> "Seat":
        """Take an attempt in."""
        seat = Seat(self, asked, sink)
        self._seats.append(seat)
        return seat

    def attach(self, asked: Asked, sink: Sink) -> Ticket:
        """Take a further attempt in, and tell it what was said meanwhile."""
        self._retries.rejoin(self)
        seat = self.seat(asked, sink)
        said, self._said = self._said, []
        if self._is_begun or self._is_over:
            self._retries.forget(self)
        for word in said:
            word(sink)
        if self._is_begun and not self._is_over and self.ticket is not None:
            self.ticket.resume()
        return seat

    def leave(self, seat: "Seat") -> None:
        """Take note that an attempt's caller hung up."""
        if seat in self._seats:
            self._seats.remove(seat)
        if self._seats or self._is_over:
            return
        if seat.asked.is_last or self._retries.grace_s <= 0 or not self._retries.is_open(self):
            self._retries.forget(self)
            self.give_up()
        else:
            self._retries.leave(self)

    def give_up(self) -> None:
        """Stop what runs; forget what was said."""
        self._said = []
        if not self._is_over and self.ticket is not None:
            self.ticket.cancel()

    # --- Sink ---------------------------------------------------------------------------------

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        """Pass a whole reply on, or keep it."""
        self._end()
        if not self._seats:
            self._keep(lambda sink: sink.reply(status, headers, body, receipt), len(body))
            return
        self._retries.forget(self)
        for seat in self._seats:
            seat.sink.reply(status, headers, body, receipt)

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Pass the head of a stream on to the latest attempt; or keep it, and let it wait."""
        self._is_begun = True
        if self._seats:
            self._retries.forget(self)
            for seat in self._seats[:-1]:
                seat.sink.fail(_TAKEN_OVER, None)
            del self._seats[:-1]
            self._seats[0].sink.begin(status, headers)
            return
        self._keep(lambda sink: sink.begin(status, headers), 0)
        if self.ticket is not None:
            self.ticket.pause()

    def write(self, chunk: bytes) -> None:
        """Pass a piece of a stream on, or keep it."""
        if self._seats:
            self._seats[0].sink.write(chunk)
        else:
            self._keep(lambda sink: sink.write(chunk), len(chunk))

    def end(self, receipt: Receipt) -> None:
        """Pass the end of a stream on, or keep it."""
        self._end()
        if self._seats:
            self._seats[0].sink.end(receipt)
        else:
            self._keep(lambda sink: sink.end(receipt), 0)

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        """Pass a failure on, or keep it."""
        self._end()
        if not self._seats:
            self._keep(lambda sink: sink.fail(failure, receipt), 0)
            return
        self._retries.forget(self)
        for seat in self._seats:
            seat.sink.fail(failure, receipt)

    def _end(self) -> None:
        self._is_over = True
        self.ticket = None
        if self._let_body_go is not None:
            self._let_body_go()
            self._let_body_go = None

    def _keep(self, word: _Word, size_bytes: int) -> None:
        """Hold what nobody hears, unless nobody is waited for any more."""
        if not self._retries.is_open(self):
            return
        self._said.append(word)
        if self._is_over and self.timer is not None:
            # Its answer is here: from now on the grace is for that.
            self.asked = self.asked.without_body()
            self._retries.time(self)
        self.held_bytes += size_bytes
        self._retries.hold(size_bytes)


class Seat:
    """One attempt that listens to a run. Implements ``Ticket`` for its exchange."""

    __slots__ = ("_run", "asked", "sink")

    def __init__(self, run: Run, asked: Asked, sink: Sink) -> None:
        self._run = run
        self.asked = asked
        self.sink = sink

    @property
    def variant(self) -> VariantName | None:
        """Return which variant answers."""
        ticket = self._run.ticket
        return None if ticket is None else ticket.variant

    def cancel(self) -> None:
        """Say that this attempt's caller hung up."""
        self._run.leave(self)

    def break_off(self, failure: Failure) -> None:
        """Say that the body went wrong."""
        if self._run.ticket is not None:
            self._run.ticket.break_off(failure)

    def pause(self) -> None:
        """Say that the caller reads slowly."""
        if self._run.ticket is not None:
            self._run.ticket.pause()

    def resume(self) -> None:
        """Say that the caller keeps up again."""
        if self._run.ticket is not None:
            self._run.ticket.resume()


def _later(delay_s: float, act: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, act)


def _id(asked: Asked) -> _Id:
    invocation = asked.invocation
    return invocation.key, invocation.endpoint, asked.id
