"""Jobs on disk: what a call returns is committed, and the first final state of a job stays.

Writes go through a group commit, so that accepting ten thousand jobs costs some twenty
transactions. Whoever owns an endpoint alone writes its jobs; anybody may read them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select, update

from coldspark.database import schema
from coldspark.database.database import Database
from coldspark.database.dialect import PreparedStatement, insert_new, total
from coldspark.database.group_commit import GroupCommit
from coldspark.jobs.messages import FINAL, Job, JobId, JobState
from coldspark.jobs.outbox import insert_webhook_event
from coldspark.jobs.records import JobOrder, JobResult, StoredJob, WebhookEvent
from coldspark.spec.types import EndpointName

_TABLE, _BODIES = schema.jobs, schema.job_bodies
_INPUT, _OUTPUT = "input", "output"
_OPEN = (JobState.ACCEPTED.value, JobState.RUNNING.value)
_CHANGE = update(_TABLE).where(_TABLE.c.id == bindparam("job"), _TABLE.c.finished_ms.is_(None))
"""The first final state stays."""
_OF_JOB = _BODIES.c.job == bindparam("job")
_INSERT, _PUT_BODY = insert_new(_TABLE), insert_new(_BODIES)
_BEGIN = PreparedStatement(_CHANGE, ("state", "attempt", "due_ms", "started_ms", "job"))
_POSTPONE = PreparedStatement(_CHANGE, ("state", "failures", "due_ms", "job"))
_END = PreparedStatement(_CHANGE, ("state", "finished_ms", "kept_bytes", "result", "job"))
_COLUMNS = tuple(_TABLE.columns.keys())
_FIND = PreparedStatement(select(_TABLE).where(_TABLE.c.id == bindparam("job")), ("job",))
_FIND_BODY = PreparedStatement(
    select(_BODIES.c.body).where(_OF_JOB, _BODIES.c.kind == bindparam("kind")), ("job", "kind")
)
_DROP_BODIES = PreparedStatement(delete(_BODIES).where(_OF_JOB), ("job",))
_PURGED_AT_ONCE = 500


class Jobs:
    """The jobs on disk."""

    def __init__(self, database: Database, group: GroupCommit) -> None:
        self._database = database
        self._group = group

    async def add(self, job: Job, endpoint: EndpointName, order: JobOrder, body: bytes) -> None:
        """Store a new job with its body; durable on return."""
        text = msgspec.json.encode(order).decode()
        row = (
            *(job.id, endpoint, job.number, job.state.value, job.attempt, job.failures),
            *(job.due_ms, job.accepted_ms, job.expires_ms, job.timeout_ms, job.size_bytes),
            *(None, None, 0, text, None),
        )

        def work(connection: Connection) -> None:
            _INSERT.run(connection, row)
            if body:
                _put_body(connection, job.id, _INPUT, body)

        await self._group.run(work)

    async def begin(
        self, id: JobId, attempt: int, lease_ms: int, now_ms: int
    ) -> tuple[StoredJob, bytes] | None:
        """Record that an attempt begins; return the job and its body, None if it has ended."""

        def work(connection: Connection) -> tuple[StoredJob, bytes] | None:
            values = (JobState.RUNNING.value, attempt, lease_ms, now_ms, id)
            if not _BEGIN.run(connection, values).rowcount:
                return None
            job = _find(connection, id)
            assert job is not None
            return job, _body(connection, id, _INPUT) if job.size_bytes else b""

        return await self._group.run(work)

    async def postpone(self, id: JobId, failures: int, due_ms: int) -> None:
        """Record that a job waits for its next attempt."""
        values = (JobState.ACCEPTED.value, failures, due_ms, id)
        await self._group.run(lambda connection: _POSTPONE.run(connection, values))

    async def end(
        self,
        id: JobId,
        state: JobState,
        result: JobResult,
        now_ms: int,
        *,
        body: bytes | None = None,
        event: WebhookEvent | None = None,
    ) -> bool:
        """Give a job its final state, with its answer and its webhook event, in one transaction.

        Return whether it had none yet: the first one stays.
        """
        assert state in FINAL
        text = msgspec.json.encode(result).decode()
        values = (state.value, now_ms, len(body or b""), text, id)

        def work(connection: Connection) -> bool:
            if not _END.run(connection, values).rowcount:
                return False
            _DROP_BODIES.run(connection, (id,))
            if body:
                _put_body(connection, id, _OUTPUT, body)
            if event is not None:
                insert_webhook_event(connection, event)
            return True

        return await self._group.run(work)

    async def unfinished(
        self, owns: Callable[[EndpointName], bool] = lambda endpoint: True
    ) -> list[StoredJob]:
        """Return the jobs without a final state of those endpoints, in order."""
        return await self._database.run(_unfinished, owns)

    async def find(self, id: JobId) -> StoredJob | None:
        """Return one job."""
        return await self._database.run(_find, id)

    async def output(self, id: JobId) -> bytes:
        """Return the answer that is stored with a job; none where it is elsewhere."""
        return await self._database.run(_body, id, _OUTPUT)

    async def newest(
        self, endpoint: EndpointName | None, state: JobState | None, limit: int
    ) -> list[StoredJob]:
        """Return the newest jobs, newest first."""
        return await self._database.run(_newest, endpoint, state, limit)

    async def counts(self, endpoint: EndpointName) -> dict[JobState, int]:
        """Count an endpoint's jobs by state."""
        return await self._database.run(_counts, endpoint)

    async def purge(self, ended_before_ms: int, jobs_max: int, bytes_max: int) -> int:
        """Delete ended jobs: those of long ago, and the oldest over a bound; return how many."""
        purged = 0
        while True:
            count = await self._group.run(
                lambda connection: _purge(connection, ended_before_ms, jobs_max, bytes_max)
            )
            purged += count
            if count < _PURGED_AT_ONCE:
                return purged


def job_of(stored: StoredJob) -> Job:
    """Return the part of a stored job that the rules need."""
    return Job(
        id=stored.id,
        number=stored.number,
        size_bytes=stored.size_bytes,
        accepted_ms=stored.accepted_ms,
        expires_ms=stored.expires_ms,
        timeout_ms=stored.timeout_ms,
        state=stored.state,
        attempt=stored.attempt,
        failures=stored.failures,
        due_ms=stored.due_ms,
    )


def numbers_from(jobs: Sequence[StoredJob]) -> Callable[[], int]:
    """Return the sequence number after those of open jobs."""
    last = max((job.number for job in jobs), default=0)

    def following() -> int:
        nonlocal last
        last += 1
        return last

    return following


def _put_body(connection: Connection, id: JobId, kind: str, body: bytes) -> None:
    _PUT_BODY.run(connection, (id, kind, body))


def _body(connection: Connection, id: JobId, kind: str) -> bytes:
    row = _FIND_BODY.run(connection, (id, kind)).first()
    return b"" if row is None else bytes(row[0])


def _unfinished(connection: Connection, owns: Callable[[EndpointName], bool]) -> list[StoredJob]:
    statement = select(_TABLE).where(_TABLE.c.state.in_(_OPEN)).order_by(_TABLE.c.number)
    rows = connection.execute(statement)
    return [_read(tuple(row)) for row in rows if owns(row.endpoint)]


def _find(connection: Connection, id: JobId) -> StoredJob | None:
    row = _FIND.run(connection, (id,)).first()
    return None if row is None else _read(tuple(row))


def _newest(
    connection: Connection, endpoint: EndpointName | None, state: JobState | None, limit: int
) -> list[StoredJob]:
    statement = select(_TABLE)
    if endpoint is not None:
        statement = statement.where(_TABLE.c.endpoint == endpoint)
    if state is not None:
        statement = statement.where(_TABLE.c.state == state.value)
    newest = statement.order_by(_TABLE.c.accepted_ms.desc(), _TABLE.c.number.desc()).limit(limit)
    return [_read(tuple(row)) for row in connection.execute(newest)]


def _counts(connection: Connection, endpoint: EndpointName) -> dict[JobState, int]:
    statement = select(_TABLE.c.state, func.count()).where(_TABLE.c.endpoint == endpoint)
    rows = connection.execute(statement.group_by(_TABLE.c.state))
    return {JobState(state): count for state, count in rows}


def _purge(connection: Connection, ended_before_ms: int, jobs_max: int, bytes_max: int) -> int:
    ended = _TABLE.c.finished_ms.is_not(None)
    count, kept_bytes = connection.execute(
        select(func.count(), total(_TABLE.c.kept_bytes)).where(ended)
    ).one()
    old = select(_TABLE.c.id, _TABLE.c.finished_ms, _TABLE.c.kept_bytes).where(ended)
    rows = connection.execute(old.order_by(_TABLE.c.finished_ms).limit(_PURGED_AT_ONCE)).all()
    doomed = []
    for id, finished_ms, size_bytes in rows:
        if finished_ms >= ended_before_ms and count <= jobs_max and kept_bytes <= bytes_max:
            break
        doomed.append(id)
        count, kept_bytes = count - 1, kept_bytes - size_bytes
    if doomed:
        connection.execute(delete(_BODIES).where(_BODIES.c.job.in_(doomed)))
        connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(doomed)))
    return len(doomed)


def _read(row: tuple[Any, ...]) -> StoredJob:
    values = dict(zip(_COLUMNS, row, strict=True))
    del values["kept_bytes"]
    values["order"] = msgspec.json.decode(values["order"], type=JobOrder)
    if values["result"] is not None:
        values["result"] = msgspec.json.decode(values["result"], type=JobResult)
    values["state"] = JobState(values["state"])
    return StoredJob(**values)
