"""Jobs and notices on disk: durable, in groups, and with one final state each."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text

from coldspark.database.database import Database
from coldspark.database.group_commit import GroupCommit
from coldspark.jobs.jobs_table import Jobs, job_of, numbers_from
from coldspark.jobs.messages import Job, JobId, JobState
from coldspark.jobs.outbox import WebhookEventTable
from coldspark.jobs.records import JobOrder, JobResult, WebhookEvent
from coldspark.spec.types import EndpointName

ECHO = EndpointName("echo")
ORDER = JobOrder(door="native", label="mine", headers=(("x-a", "1"),), details={"k": "v"})
DONE = JobResult(status=200, size_bytes=2)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Open a database in a directory of its own."""
    opened = Database.open(tmp_path / "coldspark.db")
    yield opened
    opened.close()


def stores(database: Database) -> tuple[Jobs, WebhookEventTable]:
    """Return the two stores over one group."""
    group = GroupCommit(database)
    return Jobs(database, group), WebhookEventTable(database, group)


def job(number: int, **given: int) -> Job:
    """Return a new job."""
    values = {"size_bytes": 2, "accepted_ms": 5, "expires_ms": 100, "timeout_ms": 50}
    return Job(id=JobId(f"j{number}"), number=number, **(values | given))


def test_a_job_is_read_back_as_it_was_kept(database: Database) -> None:
    """Order, body and state; numbers go on behind it."""

    async def play() -> None:
        jobs, _ = stores(database)
        await jobs.add(job(7), ECHO, ORDER, b"hi")

        (found,) = await jobs.unfinished()
        assert found.order == ORDER
        assert job_of(found) == job(7)
        assert numbers_from([found])() == 8
        begun = await jobs.begin(found.id, 1, 900, 20)
        assert begun is not None
        assert (begun[0].state, begun[0].attempt, begun[0].started_ms) == (JobState.RUNNING, 1, 20)
        assert begun[1] == b"hi"

    asyncio.run(play())


def test_the_first_final_state_stays(database: Database) -> None:
    """Its answer replaces its body; a second end, begin or postponement does nothing."""

    async def play() -> None:
        jobs, _ = stores(database)
        await jobs.add(job(1), ECHO, ORDER, b"hi")
        id = JobId("j1")

        assert await jobs.end(id, JobState.COMPLETED, DONE, 30, body=b"yes")
        assert not await jobs.end(id, JobState.FAILED, JobResult(code="X"), 31)
        assert await jobs.begin(id, 2, 900, 32) is None
        await jobs.postpone(id, 1, 900)

        found = await jobs.find(id)
        assert found is not None
        assert (found.state, found.result, found.finished_ms) == (JobState.COMPLETED, DONE, 30)
        assert await jobs.output(id) == b"yes"
        assert await jobs.unfinished() == []

    asyncio.run(play())


def test_a_webhook_event_is_on_disk_exactly_if_the_end_is(database: Database) -> None:
    """One transaction: a job that had ended before leaves none."""

    async def play() -> None:
        jobs, notices = stores(database)
        await jobs.add(job(1), ECHO, ORDER, b"")
        for id in ("n1", "n2"):
            notice = WebhookEvent(
                id=id, endpoint=ECHO, url="http://a", body=b"b", created_ms=3, due_ms=3
            )
            await jobs.end(JobId("j1"), JobState.COMPLETED, DONE, 30, event=notice)

        assert [notice.id for notice in await notices.due(10)] == ["n1"]
        await notices.postpone("n1", 1, 99)
        (postponed,) = await notices.due(10)
        assert (postponed.attempts, postponed.due_ms, postponed.body) == (1, 99, b"b")
        await notices.drop("n1")
        assert await notices.due(10) == []

    asyncio.run(play())


def test_many_who_write_at_a_time_share_a_transaction(database: Database) -> None:
    """Two thousand jobs at once are a handful of commits, not two thousand."""
    commits = []
    event.listen(database._engine, "commit", lambda connection: commits.append(1))

    async def play() -> None:
        jobs, _ = stores(database)
        await asyncio.gather(
            *(jobs.add(job(number), ECHO, ORDER, b"hi") for number in range(2_000))
        )
        assert len(commits) <= 10
        assert len(await jobs.unfinished()) == 2_000

    asyncio.run(play())


def test_a_group_whose_transaction_fails_fails_for_all_of_its_callers(database: Database) -> None:
    """Nobody is told that something is durable that is not; the next group is not touched."""

    def breaks(connection: Connection) -> None:
        connection.execute(text("INSERT INTO no_such_table VALUES (1)"))

    async def play() -> None:
        group = GroupCommit(database)
        jobs = Jobs(database, group)
        results = await asyncio.gather(
            jobs.add(job(1), ECHO, ORDER, b""), group.run(breaks), return_exceptions=True
        )
        assert all(isinstance(result, Exception) for result in results)
        assert await jobs.unfinished() == []
        await jobs.add(job(2), ECHO, ORDER, b"")
        assert [one.id for one in await jobs.unfinished()] == ["j2"]

    asyncio.run(play())


def test_ended_jobs_are_kept_within_bounds(database: Database) -> None:
    """By age, by number and by the bytes of their answers; open ones are never forgotten."""

    async def play() -> None:
        jobs, _ = stores(database)
        for number in range(1, 7):
            await jobs.add(job(number), ECHO, ORDER, b"")
        for number in range(1, 6):
            id = JobId(f"j{number}")
            await jobs.end(id, JobState.COMPLETED, DONE, number * 100, body=b"x" * 10)

        assert await jobs.purge(150, 100, 1_000) == 1
        assert await jobs.purge(0, 3, 1_000) == 1
        assert await jobs.purge(0, 100, 20) == 1
        left = [one.id for one in await jobs.newest(ECHO, None, 10)]
        assert left == ["j6", "j5", "j4"]
        assert await jobs.output(JobId("j3")) == b""

    asyncio.run(play())
