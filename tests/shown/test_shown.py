"""What the platform must show, on a real server: bursts, crashes, kill -9, updates."""

import json
import re
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from real_server import Server, is_running

from coldspark.sdk.client import Client, ServerRefused
from coldspark.sdk.deploy import deploy

HANDLER = """
import os, time

def predict_fn(data, model):
    if data.get("die"):
        os._exit(9)
    if data.get("fail"):
        raise ValueError("no such thing")
    time.sleep(data.get("sleep", 0))
    return {"pid": os.getpid(), "n": data.get("n"), "text": TEXT}
"""

pytestmark = pytest.mark.process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "data", "--simulate", "T4:1,A10G:1")
    yield found
    found.stop()


def deployed(
    server: Server, folder: Path, name: str = "e", text: str = "1", more: str = ""
) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "inference.py").write_text(f"TEXT = {text!r}\n{HANDLER}")
    (folder / "coldspark.toml").write_text(f'name = "{name}"\nhandler = "inference.py"\n{more}')
    deploy(server.client, folder)


def ask(server: Server, name: str = "e", **data: object) -> Any:
    return (
        Client(server.client.url)
        .invoke(name, json.dumps(data).encode(), content_type="application/json")
        .json()
    )


def view(server: Server, name: str = "e") -> Any:
    return server.client.endpoint(name)["variants"][0]


def test_fifty_callers_at_zero_are_all_answered_by_at_most_two_replicas(
    server: Server, tmp_path: Path
) -> None:
    """Max 2 replicas, concurrency 1."""
    deployed(server, tmp_path / "e", more="[scale]\nmax = 2\n")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: ask(server, n=n, sleep=0.01), range(50)))
    assert sorted(answer["n"] for answer in answers) == list(range(50))
    assert len({answer["pid"] for answer in answers}) <= 2


def test_a_replica_that_dies_is_told_and_the_next_request_is_served(
    server: Server, tmp_path: Path
) -> None:
    """The caller of the dead one gets a clear error; a raising handler is only its own error."""
    deployed(server, tmp_path / "e")
    first = ask(server)["pid"]
    with pytest.raises(ServerRefused) as refused:
        ask(server, die=True)
    assert refused.value.code == "ReplicaDied"
    assert ask(server)["pid"] != first
    with pytest.raises(ServerRefused) as failed:
        ask(server, fail=True)
    assert (failed.value.code, "no such thing" in str(failed.value)) == ("HandlerFailed", True)


def test_a_handler_that_hangs_past_its_limit_is_ended_and_the_platform_serves_on(
    server: Server, tmp_path: Path
) -> None:
    """One deadline, kept."""
    deployed(server, tmp_path / "e", more="[limits]\nrequest_timeout = 1\n")
    with pytest.raises(ServerRefused) as refused:
        ask(server, sleep=60)
    assert refused.value.code == "TimedOut"
    assert ask(server, n=1)["n"] == 1


def test_a_handler_that_exits_at_import_is_told_with_its_cause(
    server: Server, tmp_path: Path
) -> None:
    """The root cause reaches the caller at once."""
    deployed(server, tmp_path / "e", text="x")
    (tmp_path / "e/inference.py").write_text("import nothing_like_this\n")
    deploy(server.client, tmp_path / "e")
    with pytest.raises(ServerRefused) as refused:
        ask(server)
    assert refused.value.code == "StartFailed"
    assert "import error" in str(refused.value)


def test_an_update_under_load_fails_no_request(server: Server, tmp_path: Path) -> None:
    """Old and new revision answer until only the new one does."""
    deployed(server, tmp_path / "e", text="old", more="[scale]\nmax = 2\n")
    texts: list[str] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            texts.append(ask(server)["text"])

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(load) for _ in range(4)]
        deployed(server, tmp_path / "e", text="new", more="[scale]\nmax = 2\n")
        until = threading.Event()
        for _ in range(500):
            if texts[-1:] == ["new"]:
                break
            until.wait(0.02)
        stop.set()
        for job in jobs:
            job.result(30)
    assert texts[-1] == "new"


def test_kill_nine_and_a_restart_keep_endpoints_and_ledger_and_leave_no_orphan(
    tmp_path: Path,
) -> None:
    """Every answered request has its line, once."""
    server = Server(tmp_path / "data")
    deployed(server, tmp_path / "e")
    pids = {ask(server, n=n)["pid"] for n in range(5)}
    server.kill()
    again = Server(tmp_path / "data")
    assert [endpoint["name"] for endpoint in again.client.endpoints()] == ["e"]
    assert len(again.client.requests("e", limit=50)) == 5
    assert ask(again, n=7)["n"] == 7
    again.stop()
    assert not any(is_running(pid) for pid in pids)


def test_fifteen_gigabytes_on_a_t4_are_refused_with_the_type_that_fits(
    server: Server, tmp_path: Path
) -> None:
    """The smallest type that fits is named."""
    with pytest.raises(ServerRefused) as refused:
        deployed(server, tmp_path / "e", more='gpu = "T4"\ngpu_memory = "15GB"\n')
    assert re.search(r"A10G", str(refused.value))


def test_two_endpoints_that_want_one_device_are_both_served(server: Server, tmp_path: Path) -> None:
    """The idle one goes, and its decisions say why."""
    deployed(server, tmp_path / "a", name="a", more='gpu = "T4"\n')
    deployed(server, tmp_path / "b", name="b", more='gpu = "T4"\n')
    for name in ("a", "b", "a"):
        assert ask(server, name, n=1)["n"] == 1
    reasons = [decision["reason"] for decision in view(server, "b")["decisions"]]
    assert any("evicted: a/main needs T4" in reason for reason in reasons)


def test_a_full_disk_answers_what_runs_refuses_the_rest_and_loses_no_line(
    server: Server, tmp_path: Path
) -> None:
    """What was computed is the caller's; nothing new runs unbilled; space heals it, no restart."""
    deployed(server, tmp_path / "e", more="[scale]\nidle_timeout = 60\n")
    ask(server, n=0)
    _, unlimited = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, unlimited))

    assert ask(server, n=1)["n"] == 1
    with pytest.raises(ServerRefused, match="disk refuses the ledger") as refused:
        ask(server, n=2)
    assert refused.value.code == "StorageFull"

    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    pause = threading.Event()
    for _ in range(500):
        try:
            ask(server, n=3)
            break
        except ServerRefused:
            pause.wait(0.02)
    # Zero and one were billed; what was refused never ran.
    assert len(server.client.requests("e")) == 3


def test_a_server_stops_without_replacing_what_it_ends(tmp_path: Path) -> None:
    """A floor of replicas is not kept up while the server stops; all goes without a complaint."""
    said = tmp_path / "stderr"
    with said.open("w") as stderr:
        server = Server(tmp_path / "data", stderr=stderr)
        deployed(server, tmp_path / "e", more="[scale]\nmin = 2\nmax = 2\n")
        pid = ask(server)["pid"]
        server.stop()
    assert said.read_text() == ""
    assert not is_running(pid)
