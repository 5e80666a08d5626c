"""What an owner of background tasks can rely on: nothing here waits in earnest."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from coldspark.tasks import Tasks


class Sleeper:
    """A sleep that is over at once, noted; after the last of them the loop is cancelled."""

    def __init__(self, rounds: int) -> None:
        self.slept_s: list[float] = []
        self._rounds = rounds

    async def sleep(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)
        if len(self.slept_s) > self._rounds:
            raise asyncio.CancelledError
        await asyncio.sleep(0)


class Work:
    """Work that notes its rounds, and fails in some of them."""

    def __init__(self, *failing: int) -> None:
        self.rounds = 0
        self._failing = failing

    async def do(self) -> None:
        self.do_now()

    def do_now(self) -> None:
        self.rounds += 1
        if self.rounds in self._failing:
            raise OSError(f"round {self.rounds}")


async def _until_cancelled(task: "asyncio.Task[None]") -> None:
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("at_once", [False, True])
def test_work_is_done_at_once_or_after_the_first_interval(at_once: bool) -> None:
    """And then after each interval, until the task is cancelled."""
    sleeper, work = Sleeper(3), Work()

    async def play() -> None:
        sweeping = Tasks().every(60.0, work.do, "sweep", at_once=at_once, sleep=sleeper.sleep)
        await _until_cancelled(sweeping)

    asyncio.run(play())
    assert sleeper.slept_s == [60.0] * 4
    assert work.rounds == (4 if at_once else 3)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_round_that_fails_is_logged_and_the_next_one_comes(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With what its owner says of it, and the error itself."""
    sleeper, work = Sleeper(2), Work(1, 2)
    does: Callable[[], Awaitable[None] | None] = work.do if is_async else work.do_now

    async def play() -> None:
        await _until_cancelled(Tasks().every(1.0, does, "sweep", sleep=sleeper.sleep))

    with caplog.at_level(logging.ERROR):
        asyncio.run(play())
    assert work.rounds == 2
    assert [record.message for record in caplog.records] == ["could not sweep"] * 2
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "round 1",
        "round 2",
    ]


def test_an_interval_may_be_asked_for_anew_after_each_round() -> None:
    """As those need it that end at a moment of the day, or grow."""
    sleeper, work = Sleeper(2), Work()

    async def play() -> None:
        sweeping = Tasks().every(
            lambda: 10.0 * work.rounds, work.do, "sweep", at_once=True, sleep=sleeper.sleep
        )
        await _until_cancelled(sweeping)

    asyncio.run(play())
    assert sleeper.slept_s == [10.0, 20.0, 30.0]


def test_an_interval_ends_early_for_whoever_wakes_it() -> None:
    """Once for all who did meanwhile; without an interval nothing else ends it."""
    work, wake = Work(), asyncio.Event()

    async def settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def play() -> None:
        tasks = Tasks()
        tasks.every(None, work.do, "sweep", wake=wake)
        await settle()
        assert work.rounds == 0
        wake.set()
        wake.set()
        await settle()
        assert (work.rounds, wake.is_set()) == (1, False)
        wake.set()
        await settle()
        assert work.rounds == 2
        await tasks.close(1.0)

    asyncio.run(play())


def test_what_wakes_it_while_it_works_has_a_round_of_its_own() -> None:
    """Nothing that came after the round had begun is missed."""
    wake, rounds = asyncio.Event(), []

    async def do() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            wake.set()

    async def play() -> None:
        tasks = Tasks()
        tasks.every(None, do, "sweep", at_once=True, wake=wake)
        for _ in range(5):
            await asyncio.sleep(0)
        await tasks.close(1.0)

    asyncio.run(play())
    assert rounds == [0, 1]


def test_an_interval_that_is_over_needs_nobody_to_wake_it() -> None:
    """An event is a way to end it earlier, not the only one."""
    done = asyncio.Event()

    async def play() -> None:
        tasks = Tasks()
        tasks.every(0.0, done.set, "sweep", wake=asyncio.Event())
        async with asyncio.timeout(10.0):
            await done.wait()
        await tasks.close(1.0)

    asyncio.run(play())


def test_closing_ends_the_loop_in_the_middle_of_its_work() -> None:
    """Cancellation is no error of the work's: it is neither logged nor outlived."""
    begun = asyncio.Event()

    async def do() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def play() -> None:
        tasks = Tasks()
        task = tasks.every(1.0, do, "sweep", at_once=True)
        await begun.wait()
        await tasks.close(1.0)
        assert task.cancelled()

    asyncio.run(play())


def test_the_failure_of_a_task_is_logged_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Unlike in a group that ends with its first failure."""
    work = Work(1)

    async def play() -> None:
        tasks = Tasks()
        tasks.spawn(work.do())
        tasks.spawn(work.do())
        await tasks.drain(1.0)

    with caplog.at_level(logging.ERROR):
        asyncio.run(play())
    assert work.rounds == 2
    assert [record.message for record in caplog.records] == ["a background task failed"]
