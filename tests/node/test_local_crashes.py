"""What dies on this machine, and what must not survive or suffer from it."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from local_rig import ECHO, SLOW, Rig, alive, gone, play

from coldspark.spec.types import MIB, FailureKind, RootCause

pytestmark = pytest.mark.process


def test_a_replica_killed_in_a_call_voids_the_call(tmp_path: Path) -> None:
    """kill -9 from outside: the exit speaks, the sink hears nothing, and calls after it neither."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler(SLOW))
        sink = rig.call(replica, b"sleep")
        await rig.printed(replica, "began")
        os.kill(rig.pid(replica), signal.SIGKILL)
        end = await rig.exited(replica)
        assert (end.cause, end.exit_status) == (RootCause.KILLED, -signal.SIGKILL)
        assert end.log_tail == ("began",)
        late = rig.call(replica, b"sleep")
        await asyncio.sleep(0)
        assert not sink.over.is_set()
        assert not late.over.is_set()

    play(tmp_path, scenario)


def test_an_abort_frees_the_replica(tmp_path: Path) -> None:
    """The handler is interrupted; the sink hears one word; the replica serves on."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler(SLOW))
        sink = rig.call(replica, b"sleep")
        rig.engine.abort(replica, sink.request)  # type: ignore[attr-defined]
        await sink.ended()
        assert sink.failure is not None
        assert sink.failure.kind is FailureKind.CANCELLED

    play(tmp_path, scenario)


def test_what_a_replica_forks_does_not_outlive_it(tmp_path: Path) -> None:
    """Also a child in a session of its own."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler(SLOW))
        child = int((await rig.call(replica, b"fork").ended()).body)
        assert alive(child)
        rig.engine.stop(replica, 0)
        await rig.exited(replica)
        await gone(child)

    play(tmp_path, scenario)


def test_too_much_memory_is_named_with_the_limit(tmp_path: Path) -> None:
    """The cgroup's count, not a guess from the signal."""

    async def scenario(rig: Rig) -> None:
        if "memory limits" in rig.engine.describe():
            pytest.skip("no memory controller here")
        replica = await rig.ready(rig.handler(SLOW, memory_bytes=256 * MIB))
        rig.call(replica, b"hog")
        end = await rig.exited(replica)
        assert end.cause is RootCause.OUT_OF_MEMORY
        assert "256 MiB" in end.message

    play(tmp_path, scenario)


def test_a_template_that_dies_takes_its_replicas_and_is_replaced(tmp_path: Path) -> None:
    """kill -9 of the template: every replica is reported, and the next start works."""

    async def scenario(rig: Rig) -> None:
        replicas = [await rig.ready(rig.handler(SLOW)) for _ in range(2)]
        child = int((await rig.call(replicas[0], b"fork").ended()).body)
        pids = [rig.pid(replica) for replica in replicas]
        [(_, template, _)] = rig.engine.templates()
        os.kill(template, signal.SIGKILL)
        for replica in replicas:
            end = await rig.exited(replica)
            assert "template" in end.message
        for pid in (*pids, child):
            await gone(pid)
        await rig.ready(rig.handler(ECHO))
        assert rig.engine.templates()[0][1] != template

    play(tmp_path, scenario)
