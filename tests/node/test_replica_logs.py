"""Logs of replicas: bounded on disk and in memory, readable when the replica is gone."""

import asyncio
import os
from pathlib import Path

from coldspark.node.logs.log_pipe import LogPipe
from coldspark.node.logs.replica_logs import ENDED_MAX, FOLLOWER_LINES, TAIL_LINES, ReplicaLogs
from coldspark.spec.types import EndpointName, FleetId, ReplicaId

R, FLEET, ENDPOINT = ReplicaId("r-1"), FleetId("echo/main"), EndpointName("echo")


def test_lines_are_read_from_memory_and_from_disk(tmp_path: Path) -> None:
    """The tail is the same before and after the end."""
    logs = ReplicaLogs(tmp_path)
    log = logs.open(R, FLEET, 1_000_000)
    log.writer("stdout")(b"one\ntwo\n")
    log.append("said by us")
    log.writer("stderr")(b"three\n")

    living = logs.tail(R, 10)
    logs.close(R)

    assert living == ("one", "two", "said by us", "three")
    assert logs.tail(R, 10) == living
    assert logs.tail(R, 2) == ("said by us", "three")
    assert logs.tail(R, 0) == ()
    assert log.printed(10) == ("one", "two", "three")
    assert [(line.stream, line.text) for line in logs.newest(ENDPOINT, 2)] == [
        ("coldspark", "said by us"),
        ("stderr", "three"),
    ]


def test_a_log_never_takes_more_than_its_share_of_the_disk(tmp_path: Path) -> None:
    """Two halves are kept; the newest lines are always among them."""
    logs = ReplicaLogs(tmp_path)
    write = logs.open(R, FLEET, 20_000).writer("stdout")
    for number in range(5_000):
        write(b"line %d\n" % number)

    size_bytes = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())

    assert size_bytes <= 20_000
    assert logs.tail(R, TAIL_LINES)[-1] == "line 4999"
    assert len(logs.tail(R, TAIL_LINES + 100)) == TAIL_LINES + 100


def test_the_oldest_ended_replicas_are_forgotten(tmp_path: Path) -> None:
    """A fleet keeps the logs of so many ended replicas."""
    logs = ReplicaLogs(tmp_path)
    for number in range(ENDED_MAX + 5):
        replica = ReplicaId(f"r{number}")
        logs.open(replica, FLEET, 1_000).append(f"from {number}")
        os.utime(next(tmp_path.rglob(f"r{number}.log")), (number, number))
        logs.close(replica)

    texts = [line.text for line in logs.newest(ENDPOINT, 1_000)]

    assert len(texts) == ENDED_MAX
    assert "from 0" not in texts
    assert f"from {ENDED_MAX + 4}" in texts


def test_the_logs_of_an_earlier_run_are_forgotten_first(tmp_path: Path) -> None:
    """A restart knows of what lies there, by age."""
    for number in range(ENDED_MAX):
        earlier = ReplicaLogs(tmp_path)
        replica = ReplicaId(f"r{number}")
        earlier.open(replica, FLEET, 1_000).append(f"from {number}")
        os.utime(next(tmp_path.rglob(f"r{number}.log")), (number, number))
        earlier.close(replica)

    logs = ReplicaLogs(tmp_path)
    for name in ("new-a", "new-b"):
        logs.open(ReplicaId(name), FLEET, 1_000).append(f"from {name}")
        logs.close(ReplicaId(name))
    texts = [line.text for line in logs.newest(ENDPOINT, 1_000)]

    assert len(texts) == ENDED_MAX
    assert {"from 0", "from 1"}.isdisjoint(texts)
    assert {"from 2", "from new-a", "from new-b"} <= set(texts)


def test_names_climb_nowhere(tmp_path: Path) -> None:
    """A replica or variant with dots and slashes stays inside the directory."""
    logs = ReplicaLogs(tmp_path / "logs")
    replica = ReplicaId("../../evil")
    logs.open(replica, FleetId("echo/.."), 1_000).append("hello")

    assert logs.tail(replica, 1) == ("hello",)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert logs.newest(ENDPOINT, 1)[0].replica == replica


def test_a_disk_that_refuses_ends_nobody(tmp_path: Path) -> None:
    """The tail in memory still has the lines."""
    (tmp_path / "echo").write_text("a file where a directory should be")
    logs = ReplicaLogs(tmp_path)
    logs.open(R, FLEET, 1_000).append("hello")

    assert logs.tail(R, 1) == ("hello",)
    logs.close(R)


def test_a_slow_follower_loses_lines_and_is_told(tmp_path: Path) -> None:
    """Following never holds anybody up."""
    logs, calls = ReplicaLogs(tmp_path), []
    follower = logs.follow(ENDPOINT, lambda: calls.append(1))
    write = logs.open(R, FLEET, 10_000_000).writer("stdout")
    for number in range(FOLLOWER_LINES + 7):
        write(b"line %d\n" % number)

    lines = follower.take()
    logs.unfollow(ENDPOINT, follower)
    write(b"unheard\n")

    assert len(calls) == 1
    assert follower.dropped == 7
    assert [lines[0].text, lines[-1].text] == ["line 7", f"line {FOLLOWER_LINES + 6}"]
    assert follower.take() == []


def test_a_flood_does_not_hold_up_the_loop() -> None:
    """A writer that never rests takes turns with everybody else."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        received, turns = 0, 0
        enough = asyncio.Event()

        def take(data: bytes) -> None:
            nonlocal received
            received += len(data)
            if received >= 2_000_000:
                enough.set()

        pipe = LogPipe(loop, take)
        os.set_blocking(pipe.write_end, False)

        def flood() -> None:
            try:
                os.write(pipe.write_end, b"x\n" * 32_768)
            except BlockingIOError:
                pass

        def turn() -> None:
            nonlocal turns
            turns += 1
            flood()
            if not enough.is_set():
                loop.call_soon(turn)

        turn()
        async with asyncio.timeout(10):
            await enough.wait()
        # A pause follows every full read, so others ran far more often than the pipe was read.
        assert turns > received / 65_536
        pipe.drain()
        pipe.close()

    asyncio.run(scenario())


def test_draining_takes_the_last_words_and_closes() -> None:
    """What is in the pipe at the end is not lost, even while somebody holds the other end."""

    async def scenario() -> None:
        received: list[bytes] = []
        pipe = LogPipe(asyncio.get_running_loop(), received.append)
        os.write(pipe.write_end, b"last words")
        held = os.dup(pipe.write_end)
        pipe.drain()
        os.close(held)
        assert received == [b"last words", b""]

    asyncio.run(scenario())
