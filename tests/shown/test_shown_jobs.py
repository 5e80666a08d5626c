"""Jobs handed in at zero replicas, and drained through two kill -9 of the server.

``make test`` plays a tenth; ``make test-slow`` and ``make shown-jobs`` play it in full.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs_rig import (
    Webhook,
    check_answers,
    check_ends,
    deploy,
    hand_in,
    listening,
    wait_for,
    wait_for_notices,
)
from real_server import Server

JOBS = (1_000, pytest.param(10_000, marks=pytest.mark.slow))
NAME = "drain"

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture
def hook() -> Iterator[str]:
    """A webhook on this machine."""
    with listening() as url:
        yield url


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """Whoever is started last is ended, come what may."""
    started: list[Server] = []
    yield started
    if started and started[-1].process.poll() is None:
        started[-1].process.terminate()
        started[-1].process.wait(60)


@pytest.mark.parametrize("jobs", JOBS)
def test_jobs_survive_two_kills_of_the_server(
    tmp_path: Path, hook: str, servers: list[Server], jobs: int
) -> None:
    """Each has one final state, one answer and at least one notice; the handler may run twice."""
    data, effects = tmp_path / "data", tmp_path / "effects"
    servers.append(Server(data))
    deploy(servers[-1], hook, effects, [NAME])
    assert servers[-1].replicas(NAME) == 0
    began_s = time.monotonic()
    taken = hand_in(servers[-1], [NAME], jobs)
    handed_s = time.monotonic() - began_s
    downtime_s = 0.0
    for share in (3, 2):
        wait_for(data, jobs - jobs * share // 4)
        servers[-1].kill()
        killed_s = time.monotonic()
        servers.append(Server(data))
        downtime_s += time.monotonic() - killed_s
    wait_for(data, jobs)
    drained_s = time.monotonic() - began_s
    check_answers(servers[-1], taken)
    wait_for_notices(jobs)
    told_s = time.monotonic() - began_s
    servers[-1].stop()
    repeated = check_ends(data, effects, jobs)
    print(
        f"\n{jobs} jobs: handed in at {jobs / handed_s:.0f}/s, all ended after {drained_s:.1f} s"
        f" (of which {downtime_s:.1f} s without a server), all told after {told_s:.1f} s;"
        f" {repeated} were run again, {sum(Webhook.told.values()) - jobs} told again"
    )
