"""Background tasks that come again."""

import asyncio

import pytest

from coldspark.tasks import Tasks


def played(rounds: int, fails: bool, *, at_once: bool = False) -> tuple[list[float], int]:
    """Return the waits of so many rounds, and how often the work was done."""
    waits: list[float] = []
    done = 0

    async def run() -> None:
        nonlocal done
        over = asyncio.Event()

        async def sleep(delay_s: float) -> None:
            waits.append(delay_s)
            if done == rounds:
                over.set()
                await asyncio.Event().wait()

        async def work() -> None:
            nonlocal done
            done += 1
            if fails:
                raise OSError("the disk is full")

        tasks = Tasks()
        tasks.every(lambda: 2.0 + done, work, "sweep", at_once=at_once, sleep=sleep)
        await asyncio.wait_for(over.wait(), 5)
        await tasks.close(1.0)

    asyncio.run(run())
    return waits, done


def test_work_comes_again_after_each_interval() -> None:
    """And an interval may change from round to round."""
    assert played(3, fails=False) == ([2.0, 3.0, 4.0, 5.0], 3)


def test_work_that_needs_no_wait_begins_with_it() -> None:
    """The first wait comes after it."""
    assert played(2, fails=False, at_once=True) == ([3.0, 4.0], 2)


def test_a_round_that_fails_is_told_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With what could not be done."""
    assert played(2, fails=True)[1] == 2
    assert [record.getMessage() for record in caplog.records] == ["could not sweep"] * 2
