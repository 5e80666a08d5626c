"""Jobs at work: run, answered where they asked, tried again, told of, and gone on with."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from gateway_fakes import fail, hold, receipt
from job_rig import ECHO, ORDER, Rig, a_rig
from msgspec.structs import replace

from coldspark.errors import NotFound, QueueFull
from coldspark.jobs.messages import JobPolicy, JobState
from coldspark.jobs.ports import JobCounter
from coldspark.platform.ports import Invocation, Sink
from coldspark.spec.types import FailureKind, ScalePolicy

Play = Callable[[Rig], Awaitable[None]]


def played(path: Path, play: Play, **given: object) -> None:
    """Play with a rig of one's own."""

    async def run() -> None:
        async with a_rig(path, **given) as rig:  # type: ignore[arg-type]
            await play(rig)

    asyncio.run(run())


def test_a_job_is_answered_and_its_answer_kept_with_it(tmp_path: Path) -> None:
    """Without URLs all lies here; the request carries the job's own limits."""

    async def play(rig: Rig) -> None:
        order = replace(ORDER, content_type="text/plain", headers=(("x-a", "1"),), key="k")
        id = await rig.accept(b"hello", order)
        job = await rig.end_of(id)

        assert (job.state, job.attempt) == (JobState.COMPLETED, 1)
        assert job.result is not None
        assert (job.result.status, job.result.content_type) == (200, "text/plain")
        assert await rig.runner.output(id) == b"hello"
        (sent,) = rig.platform.invocations
        assert (sent.headers, sent.key) == ((("x-a", "1"),), "k")
        assert sent.job is not None
        assert sent.job.run_s == 10.0
        assert 50.0 < sent.job.wait_s <= 60.0

    played(tmp_path, play)


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_input_and_output_may_lie_in_object_storage(tmp_path: Path, size: int) -> None:
    """A short body is read ahead, a long one while it is taken; both arrive whole."""

    async def play(rig: Rig) -> None:
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        await rig.objects.write("s3://out/in", body, content_type="application/x-npy")
        order = replace(ORDER, input_url="s3://out/in", output_url="s3://out/a/b.out")
        job = await rig.end_of(await rig.accept(b"", order))

        assert job.state is JobState.COMPLETED
        assert await rig.objects.read("s3://out/a/b.out", bytes_max=10**7) == body
        assert (await rig.objects.head("s3://out/a/b.out")).content_type == "application/x-npy"
        assert await rig.runner.output(job.id) == b""
        (times,) = rig.measures.timed
        assert times.fetch_us is not None
        assert times.write_us is not None

    played(tmp_path, play)


def test_an_answer_that_comes_in_pieces_is_stored_whole(tmp_path: Path) -> None:
    """One that breaks off leaves nothing at its place, and the job is tried again."""
    tries = []

    def script(invocation: Invocation, sink: Sink) -> None:
        tries.append(1)
        sink.begin(200, [("content-type", "text/event-stream")])
        sink.write(b"one ")
        if len(tries) == 1:
            fail(FailureKind.REPLICA_DIED)(invocation, sink)
            return
        sink.write(b"two")
        sink.end(receipt(invocation))

    async def play(rig: Rig) -> None:
        order = replace(ORDER, output_url="s3://out/pieces")
        job = await rig.end_of(await rig.accept(b"", order))

        assert (job.state, job.attempt, job.failures) == (JobState.COMPLETED, 2, 1)
        assert await rig.objects.read("s3://out/pieces", bytes_max=100) == b"one two"

    played(tmp_path, play, script=script)


def test_a_models_error_is_the_jobs_failure_and_lies_at_its_place(tmp_path: Path) -> None:
    """It is not tried again."""

    def script(invocation: Invocation, sink: Sink) -> None:
        sink.reply(500, [("content-type", "text/plain")], b"ValueError: no", receipt(invocation))

    async def play(rig: Rig) -> None:
        order = replace(ORDER, output_url="s3://out/o", failure_url="s3://out/failed")
        job = await rig.end_of(await rig.accept(b"", order))

        assert (job.state, job.attempt) == (JobState.FAILED, 1)
        assert job.result is not None
        assert (job.result.status, job.result.message) == (500, "ValueError: no")
        assert await rig.objects.read("s3://out/failed", bytes_max=100) == b"ValueError: no"
        with pytest.raises(NotFound):
            await rig.objects.head("s3://out/o")
        assert rig.measures.counted == [JobCounter.PROCESSED, JobCounter.FAILED]

    played(tmp_path, play, script=script)


def test_a_job_whose_input_is_missing_fails_at_once(tmp_path: Path) -> None:
    """What is not there will not be there a second later."""

    async def play(rig: Rig) -> None:
        order = replace(ORDER, input_url="s3://out/nothing")
        job = await rig.end_of(await rig.accept(b"", order))

        assert job.state is JobState.FAILED
        assert job.result is not None
        assert job.result.message is not None
        assert "s3://out/nothing" in job.result.message
        assert rig.platform.invocations == []
        assert JobCounter.FETCH_FAILED in rig.measures.counted

    played(tmp_path, play)


def test_a_full_backlog_refuses_and_the_platform_gets_its_depth(tmp_path: Path) -> None:
    """As many are handed in as the replicas run, and some ahead; the rest waits on disk."""

    async def play(rig: Rig) -> None:
        for _ in range(40):
            await rig.accept()
        with pytest.raises(QueueFull, match="22 jobs wait already"):
            await rig.accept()

        assert rig.platform.told[-1] >= 19
        await rig.submitted(18)
        assert len(rig.platform.invocations) == 18

    policy = JobPolicy(jobs_max=22)
    scale = ScalePolicy(replicas_max=2)
    played(tmp_path, play, script=hold, policy=policy, scale=scale)


def test_a_cancelled_job_cancels_its_request(tmp_path: Path) -> None:
    """And stays cancelled, whatever the request still brings."""

    async def play(rig: Rig) -> None:
        id = await rig.accept()
        await rig.submitted(1)

        await rig.runner.cancel(ECHO, id)

        assert (await rig.end_of(id)).state is JobState.CANCELLED
        (ticket,) = rig.platform.tickets
        assert ticket.said == ["cancel"]
        with pytest.raises(NotFound):
            await rig.runner.cancel(ECHO, id)

    played(tmp_path, play, script=hold)


def test_a_webhook_event_waits_on_disk_with_the_final_state(tmp_path: Path) -> None:
    """Of an answer for one, of a failure for another; without a URL for nobody."""

    async def play(rig: Rig) -> None:
        order = replace(ORDER, success_url="http://good/", error_url="http://bad/")
        job = await rig.end_of(await rig.accept(b"", order))
        await rig.end_of(await rig.accept())

        (notice,) = await rig.notices.due(10)
        assert (notice.url, notice.body, notice.job) == ("http://good/", b"completed", job.id)

    played(tmp_path, play)


def test_a_server_that_ends_leaves_its_jobs_to_the_next(tmp_path: Path) -> None:
    """Those that ran are run again, in their order, and nobody's failure is counted."""

    async def leave(rig: Rig) -> None:
        for number in range(30):
            await rig.accept(b"%d" % number)
        await rig.submitted(1)

    async def go_on(rig: Rig) -> None:
        jobs = [await rig.end_of(job.id) for job in await rig.jobs.newest(ECHO, None, 100)]
        assert len(jobs) == 30
        assert {job.state for job in jobs} == {JobState.COMPLETED}
        assert {job.failures for job in jobs} == {0}
        assert [sent.body for sent in rig.platform.invocations] == [b"%d" % n for n in range(30)]

    played(tmp_path, leave, script=hold)
    played(tmp_path, go_on)


def test_jobs_of_a_deleted_endpoint_fail(tmp_path: Path) -> None:
    """Also those that a restart finds."""

    async def leave(rig: Rig) -> None:
        await rig.accept()

    async def find(rig: Rig) -> None:
        (job,) = await rig.jobs.newest(ECHO, None, 10)
        ended = await rig.end_of(job.id)
        assert ended.result is not None
        assert (ended.state, ended.result.code) == (JobState.FAILED, "EndpointRetired")

    played(tmp_path, leave, script=hold)
    played(tmp_path, find, prepare=lambda rig: rig.platform.views.clear())
