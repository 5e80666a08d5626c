"""Attempts of one invocation: one run and one answer, whoever hung up meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest
from example_counts import examples
from gateway_fakes import FakePlatform, FakeTicket, hold, receipt
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from coldspark.http import retries
from coldspark.http.retries import Retries, is_retried
from coldspark.platform.ports import Invocation, Ticket
from coldspark.spec.types import EndpointName, Failure, FailureKind, RequestId

GRACE_S = 10.0


@dataclass
class Caller:
    """A sink that keeps what it hears."""

    heard: list[Any] = field(default_factory=list)

    def reply(self, status: int, headers: Any, body: bytes, receipt: Any) -> None:
        self.heard.append(("reply", body))

    def begin(self, status: int, headers: Any) -> None:
        self.heard.append(("begin", status))

    def write(self, chunk: bytes) -> None:
        self.heard.append(("write", chunk))

    def end(self, receipt: Any) -> None:
        self.heard.append(("end",))

    def fail(self, failure: Failure, receipt: Any) -> None:
        self.heard.append(("fail", failure.kind))


@dataclass
class Alarm:
    """What will happen unless it is called off."""

    act: Callable[[], None] | None

    def cancel(self) -> None:
        self.act = None

    def ring(self) -> None:
        if self.act is not None:
            self.act()


class House:
    """Retries over a platform that leaves everything open, and a clock that a test rings."""

    def __init__(self) -> None:
        self.alarms: list[Alarm] = []
        self.platform = FakePlatform(hold)
        self.retries = Retries(GRACE_S, self._later)
        self.bodies_gone = 0
        self._requests = 0

    def _later(self, delay_s: float, act: Callable[[], None]) -> Alarm:
        assert delay_s == GRACE_S
        self.alarms.append(Alarm(act))
        return self.alarms[-1]

    def attempt(
        self, number: int = 1, of: str = "; max=3", id: str = "i-1", **fields: Any
    ) -> tuple[Ticket, Caller]:
        """Send an attempt, as the exchange does."""
        self._requests += 1
        given: dict[str, Any] = {"endpoint": EndpointName("churn"), "body": b"x"} | fields
        invocation = Invocation(started_s=0.0, request=RequestId(f"r-{self._requests}"), **given)
        headers = {"amz-sdk-invocation-id": id, "amz-sdk-request": f"attempt={number}{of}"}
        caller, retries = Caller(), self.retries
        run = retries.find(headers, invocation, None)
        if run is not None:
            return run.subscribe(headers, caller), caller
        ticket = retries.submit(
            self.platform, headers, invocation, caller, let_body_go=self._body_gone
        )
        return ticket, caller

    def _body_gone(self) -> None:
        self.bodies_gone += 1

    def answer(self, ticket: FakeTicket, body: bytes = b"answer") -> None:
        """Let a replica answer whole."""
        ticket.sink.reply(200, [], body, receipt(ticket.invocation))

    @property
    def runs(self) -> list[FakeTicket]:
        """Return what was submitted."""
        return self.platform.tickets

    def ring(self) -> None:
        """Let every grace pass."""
        for alarm in list(self.alarms):
            alarm.ring()


def test_only_what_an_sdk_marks_is_waited_for() -> None:
    """Both headers, and an id that is none too long to be kept."""
    assert is_retried({"amz-sdk-invocation-id": "i", "amz-sdk-request": "attempt=1"})
    assert not is_retried({"amz-sdk-invocation-id": "i"})
    assert not is_retried({"amz-sdk-request": "attempt=1"})
    assert not is_retried({"amz-sdk-invocation-id": "", "amz-sdk-request": "attempt=1"})
    assert not is_retried({"amz-sdk-invocation-id": "i" * 129, "amz-sdk-request": "attempt=1"})


def test_a_retry_gets_the_answer_of_the_run_that_its_first_attempt_began() -> None:
    """It runs once; the one who hung up hears nothing."""
    house = House()
    first, gone = house.attempt(1)
    first.cancel()
    _, second = house.attempt(2)
    (run,) = house.runs
    house.answer(run)

    assert (gone.heard, second.heard) == ([], [("reply", b"answer")])
    assert run.said == []
    house.ring()
    assert run.said == []
    assert house.retries.abandoned_count == 0
    assert house.bodies_gone == 1


def test_an_answer_that_came_meanwhile_is_there_at_once() -> None:
    """Once: it is forgotten with that."""
    house = House()
    first, _ = house.attempt(1)
    first.cancel()
    house.answer(house.runs[0])
    _, second = house.attempt(2)
    _, third = house.attempt(3)

    assert second.heard == [("reply", b"answer")]
    assert third.heard == []
    assert len(house.runs) == 2


def test_a_failure_that_came_meanwhile_is_told_too() -> None:
    """It ran: a further run would only cost its caller twice."""
    house = House()
    first, _ = house.attempt(1)
    first.cancel()
    house.runs[0].sink.fail(Failure(kind=FailureKind.HANDLER_FAILED, message="no"), None)
    _, second = house.attempt(2)

    assert second.heard == [("fail", FailureKind.HANDLER_FAILED)]
    assert len(house.runs) == 1


def test_who_does_not_come_back_within_the_grace_has_the_run_cancelled() -> None:
    """Until then it goes on."""
    house = House()
    first, _ = house.attempt(1)
    first.cancel()
    assert house.runs[0].said == []
    house.ring()
    assert house.runs[0].said == ["cancel"]
    house.attempt(2)
    assert len(house.runs) == 2


@pytest.mark.parametrize("number", [3, 4])
def test_the_last_attempt_is_not_waited_for(number: int) -> None:
    """Nobody comes after it."""
    house = House()
    last, _ = house.attempt(number)
    last.cancel()
    assert house.runs[0].said == ["cancel"]
    assert house.alarms == []


def test_an_attempt_that_does_not_say_how_many_there_are_is_waited_for() -> None:
    """Some SDKs leave the most out."""
    house = House()
    first, _ = house.attempt(7, of="")
    first.cancel()
    assert house.runs[0].said == []
    assert house.retries.abandoned_count == 1


@pytest.mark.parametrize(
    "other",
    [
        {"body": b"y"},
        {"accept": "text/csv"},
        {"headers": (("x-amzn-sagemaker-inference-id", "7"),)},
        {"key": "CSK2"},
        {"endpoint": EndpointName("else")},
        {"id": "i-2"},
    ],
)
def test_what_differs_in_anything_runs_anew(other: dict[str, Any]) -> None:
    """An id is its client's word alone: nobody gets another's answer by it."""
    house = House()
    first, gone = house.attempt(1)
    _, second = house.attempt(2, **other)
    house.answer(house.runs[1], b"second")
    house.answer(house.runs[0], b"first")
    assert gone.heard == [("reply", b"first")]
    assert second.heard == [("reply", b"second")]
    first.cancel()


def test_another_body_under_the_same_id_gives_up_what_nobody_listens_to() -> None:
    """The first can be asked for no more."""
    house = House()
    first, _ = house.attempt(1)
    first.cancel()
    house.attempt(1, body=b"y")
    assert house.runs[0].said == ["cancel"]
    assert house.retries.abandoned_count == 0


def test_bodies_on_disk_are_told_apart_by_their_hash() -> None:
    """Also from one that came whole."""
    house = House()
    first, _ = house.attempt(1)
    headers = {"amz-sdk-invocation-id": "i-1", "amz-sdk-request": "attempt=2"}
    spooled = structs.replace(house.runs[0].invocation, body=b"")
    right, wrong = sha256(b"x").hexdigest(), sha256(b"y").hexdigest()
    assert house.retries.find(headers, spooled, right) is not None
    assert house.retries.find(headers, spooled, wrong) is None
    first.cancel()
    house.answer(house.runs[0])
    assert house.retries.find(headers, spooled, right) is not None
    assert house.retries.find(headers, spooled, wrong) is None


def test_two_attempts_that_both_listen_are_both_answered() -> None:
    """Whichever hangs up, the other keeps the run."""
    house = House()
    first, one = house.attempt(1)
    _, other = house.attempt(2)
    _, third = house.attempt(3)
    first.cancel()
    house.answer(house.runs[0])
    assert (one.heard, other.heard, third.heard) == ([], [("reply", b"answer")], other.heard)
    assert len(house.runs) == 1


def test_a_stream_that_began_while_nobody_listened_waits_for_its_next_attempt() -> None:
    """Paused, so that little of it has to be held."""
    house = House()
    first, _ = house.attempt(1)
    first.cancel()
    (run,) = house.runs
    run.sink.begin(200, [])
    assert run.said == ["pause"]
    run.sink.write(b"one")
    second, caller = house.attempt(2)
    assert caller.heard == [("begin", 200), ("write", b"one")]
    assert run.said == ["pause", "resume"]
    run.sink.write(b"two")
    second.cancel()
    assert caller.heard[-1] == ("write", b"two")
    assert run.said == ["pause", "resume", "cancel"]


def test_a_stream_goes_to_the_latest_attempt_alone() -> None:
    """The others are told that; a further one runs anew."""
    house = House()
    _, one = house.attempt(1)
    _, other = house.attempt(2)
    sink = house.runs[0].sink
    sink.begin(200, [])
    sink.write(b"one")
    sink.end(receipt(house.runs[0].invocation))
    assert one.heard == [("fail", FailureKind.CANCELLED)]
    assert other.heard == [("begin", 200), ("write", b"one"), ("end",)]
    house.attempt(3)
    assert len(house.runs) == 2


def test_what_is_held_is_bounded_and_the_oldest_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In number and in bytes, whether it runs or was answered."""
    monkeypatch.setattr(retries, "_LEFT_MAX", 3)
    monkeypatch.setattr(retries, "_LEFT_BYTES_MAX", 100)
    house = House()
    for number in range(5):
        ticket, _ = house.attempt(1, id=f"i-{number}")
        ticket.cancel()
    assert [run.said for run in house.runs] == [["cancel"], ["cancel"], [], [], []]
    house.answer(house.runs[2], bytes(60))
    house.answer(house.runs[3], bytes(60))
    assert house.retries.abandoned_count == 2
    assert house.attempt(2, id="i-3")[1].heard == [("reply", bytes(60))]
    assert house.attempt(2, id="i-2")[1].heard == []


class Attempts(RuleBasedStateMachine):
    """Any order of attempts, hang-ups, answers and graces."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House()
        self.open: list[tuple[Ticket, Caller]] = []
        self.answered: set[int] = set()

    @rule(id=st.sampled_from("ab"), body=st.sampled_from([b"x", b"y"]), number=st.integers(1, 3))
    def attempt(self, id: str, body: bytes, number: int) -> None:
        self.open.append(self.house.attempt(number, id=id, body=body))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        ticket, caller = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        if not caller.heard:
            ticket.cancel()

    @rule(data=st.data(), is_good=st.booleans())
    def finish(self, data: st.DataObject, is_good: bool) -> None:
        runs = [n for n, run in enumerate(self.house.runs) if n not in self.answered]
        if not runs:
            return
        number = data.draw(st.sampled_from(runs))
        self.answered.add(number)
        run = self.house.runs[number]
        if is_good and "cancel" not in run.said:
            self.house.answer(run)
        else:
            run.sink.fail(Failure(kind=FailureKind.CANCELLED, message="no"), None)

    @rule()
    def ring(self) -> None:
        self.house.ring()

    @invariant()
    def everybody_hears_one_end_at_most(self) -> None:
        assert all(len(caller.heard) <= 1 for _, caller in self.open)

    @invariant()
    def nobody_waits_for_a_run_that_is_over_or_cancelled(self) -> None:
        over = {n for n, run in enumerate(self.house.runs) if "cancel" in run.said} | self.answered
        waiting = [caller for _, caller in self.open if not caller.heard]
        assert len(over) < len(self.house.runs) or not waiting

    @invariant()
    def what_is_left_is_timed(self) -> None:
        due = sum(alarm.act is not None for alarm in self.house.alarms)
        assert self.house.retries.abandoned_count <= due

    def teardown(self) -> None:
        for ticket, caller in self.open:
            if not caller.heard:
                ticket.cancel()
        self.house.ring()
        assert self.house.retries.abandoned_count == 0
        ended = [run for n, run in enumerate(self.house.runs) if n not in self.answered]
        assert all("cancel" in run.said for run in ended)


TestAttempts = Attempts.TestCase
TestAttempts.settings = settings(max_examples=examples(60), stateful_step_count=30, deadline=None)
