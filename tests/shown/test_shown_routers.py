"""Several router processes on one port: ownership, hand-off, deaths, one placement, one bill."""

import http.client
import json
import os
import re
import signal
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pytest
from real_server import Server, is_running, until

from coldspark.cluster.ownership import owner_of
from coldspark.sdk.client import Client, ServerRefused
from coldspark.sdk.deploy import deploy
from coldspark.sdk.transport import ReplyBroken, ServerUnreachable

OWNERS = {name: owner_of(name, 2) for name in ("a", "b", "d", "e")}
THEIRS = [name for name, owner in OWNERS.items() if owner == 1]
OURS = [name for name, owner in OWNERS.items() if owner == 0]
RATE_NANOS_PER_MS = 100
"""$0.36 an hour."""
HANDLER = """
import os, time

def predict_fn(data, model):
    print("heard", data.get("n"), flush=True)
    time.sleep(data.get("sleep", 0))
    return {"pid": os.getpid(), "n": data.get("n")}
"""

CUT_OFF = ServerRefused | ServerUnreachable | ReplyBroken

pytestmark = pytest.mark.process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    flags = ("--routers", "2", "--simulate", "T4:1", "--machine-cost", "0.36")
    found = Server(tmp_path / "data", *flags)
    yield found
    if is_running(found.process.pid):
        found.stop()


def deployed(server: Server, folder: Path, *names: str, more: str = "") -> None:
    for name in names:
        own = folder / name
        own.mkdir(exist_ok=True)
        (own / "inference.py").write_text(HANDLER)
        (own / "coldspark.toml").write_text(f'name = "{name}"\nhandler = "inference.py"\n{more}')
        deploy(server.client, own)


def ask(server: Server, name: str, **data: object) -> Any:
    answer = Client(server.url).invoke(
        name, json.dumps(data).encode(), content_type="application/json"
    )
    return {"request": answer.request_id, **answer.json()}


def connection(server: Server) -> http.client.HTTPConnection:
    where = urlsplit(server.url)
    assert where.hostname is not None
    return http.client.HTTPConnection(where.hostname, where.port, timeout=60)


def post(line: http.client.HTTPConnection, path: str, body: bytes, **headers: str) -> Any:
    line.request("POST", path, body, {"content-type": "application/json", **headers})
    reply = line.getresponse()
    return reply.status, json.loads(reply.read())


def nanos(server: Server) -> tuple[int, int, int]:
    """Return what all lines say, how long the machine ran by them, and how many say that."""
    with closing(sqlite3.connect(server.data / "coldspark.db")) as db:
        used = db.execute("SELECT coalesce(sum(busy_nanos), 0) FROM usages").fetchone()[0]
        held = db.execute("SELECT coalesce(sum(nanos), 0) FROM holdings").fetchone()[0]
        ran_ms, lines = db.execute(
            "SELECT coalesce(sum(to_ms - from_ms), 0), count(*) FROM holdings"
            " WHERE state = 'overhead'"
        ).fetchone()
    return used + held, ran_ms, lines


def check_bill(server: Server) -> None:
    """All lines of all routers are the machine's bill, but for milliseconds being rounded."""
    total, ran_ms, lines = nanos(server)
    assert lines > 0
    assert abs(total - RATE_NANOS_PER_MS * ran_ms) <= RATE_NANOS_PER_MS * (lines + 1)


def ledger(server: Server) -> set[str]:
    with closing(sqlite3.connect(server.data / "coldspark.db")) as db:
        return {row[0] for row in db.execute("SELECT request FROM usages")}


def test_each_endpoint_has_one_owner_and_one_connection_reaches_all(
    server: Server, tmp_path: Path
) -> None:
    """One keep-alive connection goes from router to router; lists, logs and models show all."""
    assert THEIRS
    assert OURS
    deployed(server, tmp_path, *OWNERS)
    assert set(server.routers()) == {1}
    with closing(connection(server)) as line:
        for turn in range(3):
            for name in OWNERS:
                status, answer = post(line, f"/v1/endpoints/{name}/invoke", b'{"n": %d}' % turn)
                assert (status, answer["n"]) == (200, turn)
                status, _ = post(line, f"/endpoints/{name}/invocations", b"{}")
                assert status == 200
                line.request("GET", f"/v1/endpoints/{name}")
                seen = json.loads(line.getresponse().read())
                assert (seen["name"], seen["router"]) == (name, OWNERS[name])
                line.request("GET", "/v1/endpoints")
                every = json.loads(line.getresponse().read())["endpoints"]
                assert {one["name"]: one["router"] for one in every} == OWNERS
    for name in OWNERS:
        assert any("heard" in each["text"] for each in server.client.logs(name))
        assert server.client.requests(name)[0]["endpoint"] == name
    server.client.remove(THEIRS[0])
    with pytest.raises(ServerRefused) as refused:
        ask(server, THEIRS[0])
    assert refused.value.code == "NotFound"
    server.stop()
    check_bill(server)


def test_openai_bodies_name_the_owner_also_large_chunked_and_expected(
    server: Server, tmp_path: Path
) -> None:
    """The model is in the body, which is read before the connection goes."""
    deployed(server, tmp_path, *OWNERS)
    with closing(connection(server)) as line:
        for name in [*OWNERS, *reversed(OWNERS)]:
            body = json.dumps({"pad": "x" * 300_000, "n": 7, "model": name}).encode()
            status, answer = post(line, "/v1/chat/completions", body)
            assert (status, answer["n"]) == (200, 7)
            pieces = iter([body[:10], body[10:]])
            line.request(
                "POST",
                "/v1/chat/completions",
                pieces,
                {"content-type": "application/json"},
                encode_chunked=True,
            )
            assert json.loads(line.getresponse().read())["n"] == 7


def test_a_killed_router_takes_its_own_along_and_comes_back(server: Server, tmp_path: Path) -> None:
    """Others are unharmed; its callers are told; it wakes again; no line is lost, none twice."""
    deployed(server, tmp_path, *OWNERS)
    told = {ask(server, name, n=n)["request"] for n in range(10) for name in OWNERS}
    ours, theirs = OURS[0], THEIRS[0]
    before = ask(server, ours)["pid"]
    gone = server.started_by(1)
    assert gone
    pid = server.routers()[1]
    with ThreadPoolExecutor(4) as pool:
        held = [pool.submit(ask, server, theirs, sleep=60) for _ in range(2)]
        until(lambda: taken(server, theirs) == 2, "both requests are there")
        os.kill(pid, signal.SIGKILL)
        assert all(isinstance(caller.exception(60), CUT_OFF) for caller in held)
        told |= {ask(server, ours)["request"] for _ in range(20)}
    assert ask(server, ours)["pid"] == before
    until(lambda: server.routers().get(1, pid) != pid, "the router is there again")
    told.add(once_back(server, theirs)["request"])
    assert not any(map(is_running, gone))
    server.stop()
    assert told <= ledger(server)
    check_bill(server)


def once_back(server: Server, name: str, **data: object) -> Any:
    """Ask until a killed router's endpoints are served again."""
    answers: list[Any] = []

    def is_served() -> bool:
        with suppress(ServerRefused, ServerUnreachable, ReplyBroken):
            answers.append(ask(server, name, **data))
        return bool(answers)

    until(is_served, "the router serves again")
    return answers[0]


def taken(server: Server, name: str) -> int:
    """Return how many requests run or wait."""
    variant = server.client.endpoint(name)["variants"][0]
    return int(variant["queued"]) + sum(one["running"] for one in variant["replicas"])


def replicas(server: Server, name: str) -> list[Any]:
    try:
        return list(server.client.endpoint(name)["variants"][0]["replicas"])
    except (ServerRefused, OSError):
        return []


def test_a_killed_lead_takes_all_along_and_loses_no_line(server: Server, tmp_path: Path) -> None:
    """Every process ends; what was answered is in the ledger after the next start, whole."""
    deployed(server, tmp_path, *OWNERS)
    told = {ask(server, name, n=n)["request"] for n in range(10) for name in OWNERS}
    routers = server.routers()
    server.kill()
    until(lambda: not any(map(is_running, routers.values())), "the routers have ended")
    until(lambda: not server.replica_processes(), "the replicas have ended")
    again = Server(server.data, "--machine-cost", "0.36")
    try:
        assert again.routers() == {}
        told |= {ask(again, name)["request"] for name in OWNERS}
    finally:
        again.stop()
    assert told <= ledger(server)
    with closing(sqlite3.connect(server.data / "coldspark.db")) as db:
        boots = db.execute("SELECT boot, opened_ms FROM boots ORDER BY boot").fetchall()
        (first, opened_ms), (last, _) = boots[0], boots[-1]
        assert len(boots) == 3
        run = (first, last)
        used = db.execute(
            "SELECT sum(busy_nanos) FROM usages WHERE boot >= ? AND boot < ?", run
        ).fetchone()[0]
        held, ended_ms = db.execute(
            "SELECT sum(nanos), max(to_ms) FROM holdings WHERE boot >= ? AND boot < ?", run
        ).fetchone()
    assert used + held == RATE_NANOS_PER_MS * (ended_ms - opened_ms)


def test_endpoints_come_back_at_their_owner_alone(server: Server, tmp_path: Path) -> None:
    """After a start anew each is there once, and the primary has none of the other router's."""
    deployed(server, tmp_path, *OWNERS, more="[scale]\nmin = 1\n")
    server.stop()
    again = Server(server.data, "--routers", "2", "--simulate", "T4:1")
    try:
        assert [each["name"] for each in again.client.endpoints()] == sorted(OWNERS)
        pids = {name: ask(again, name)["pid"] for name in OWNERS}
        theirs = again.started_by(1)
        assert [name for name in OWNERS if pids[name] in theirs] == THEIRS
    finally:
        again.stop()


def test_endpoints_of_two_routers_share_one_device(server: Server, tmp_path: Path) -> None:
    """There is one placement: each gets the T4 in turn, and the idle one goes for it."""
    more = 'gpu = "T4"\n'
    deployed(server, tmp_path, OURS[0], THEIRS[0], more=more)
    for _ in range(2):
        for name in (OURS[0], THEIRS[0]):
            ask(server, name)
            assert [one["devices"] for one in replicas(server, name)] == [["T4 (simulated)"]]
    with ThreadPoolExecutor(8) as pool:
        names = [OURS[0], THEIRS[0]] * 4
        answers = list(pool.map(lambda name: ask(server, name, n=1, sleep=0.05), names))
    assert [answer["n"] for answer in answers] == [1] * 8
    os.kill(server.routers()[1], signal.SIGKILL)
    # What it held is free again.
    assert ask(server, OURS[0], n=2)["n"] == 2
    assert once_back(server, THEIRS[0], n=3)["n"] == 3


def test_windows_hold_at_their_owner_also_after_it_was_killed(
    server: Server, tmp_path: Path
) -> None:
    """A window that is always open: one replica is there without any request, and comes back."""
    window = '[[scale.windows]]\ncron = "0 * * * *"\nlasts = "2h"\nmin = 1\n'
    deployed(server, tmp_path, OURS[0], THEIRS[0], more=window)
    for name in (OURS[0], THEIRS[0]):
        until(lambda name=name: _ready(server, name) == 1, "the window's replica is ready")
        floor = server.client.endpoint(name)["variants"][0]["floor"]
        assert (floor["min"], floor["max"], floor["next"]) == (1, 1, None)
        assert floor["reason"].startswith("window 0 * * * * UTC: 1 replica until ")
    old = server.routers()[1]
    os.kill(old, signal.SIGKILL)
    until(lambda: server.routers().get(1, old) != old, "the router is there again")
    until(lambda: _ready(server, THEIRS[0]) == 1, "its window's replica is ready again")


def _ready(server: Server, name: str) -> int:
    with suppress(CUT_OFF):
        return sum(one["state"] == "ready" for one in replicas(server, name))
    return 0


def test_keys_hold_in_every_router_at_once(server: Server, tmp_path: Path) -> None:
    """A key made by the lead is asked for, and taken, everywhere; revoked, nowhere."""
    deployed(server, tmp_path, OURS[0], THEIRS[0])
    admin = server.client.create_key("admin", ["admin"])
    caller = Client(server.url, admin["token"])
    made = caller.create_key("app", ["invoke"])
    for name in (OURS[0], THEIRS[0]):
        with pytest.raises(ServerRefused) as refused:
            ask(server, name)
        assert refused.value.code == "Unauthenticated"
        Client(server.url, made["token"]).invoke(name, {"n": 1}).json()
    caller.remove_key(made["id"])
    for name in (OURS[0], THEIRS[0]):
        with pytest.raises(ServerRefused):
            Client(server.url, made["token"]).invoke(name, {"n": 1}).json()


def test_metrics_count_what_all_routers_answered(server: Server, tmp_path: Path) -> None:
    """Counters of all, added up, and they do not go back when a router dies."""
    deployed(server, tmp_path, *OWNERS)
    for name in OWNERS:
        ask(server, name)
    assert answered(server) == dict.fromkeys(OWNERS, 1)
    os.kill(server.routers()[1], signal.SIGKILL)
    once_back(server, THEIRS[0])
    until(
        lambda: answered(server) == dict.fromkeys(OWNERS, 1) | {THEIRS[0]: 2},
        "the counts go on",
    )


def answered(server: Server) -> dict[str, int]:
    with closing(connection(server)) as line:
        line.request("GET", "/metrics")
        text = line.getresponse().read().decode()
    found = re.findall(r'coldspark_requests_total\{endpoint="(\w+)",status="200"\} (\d+)', text)
    return {name: int(count) for name, count in found}


def raw(server: Server) -> socket.socket:
    where = urlsplit(server.url)
    return socket.create_connection((where.hostname, where.port), timeout=60)


def request(name: str, n: int) -> bytes:
    body = b'{"n": %d}' % n
    return (
        b"POST /v1/endpoints/%b/invoke HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (name.encode(), len(body), body)
    )


def answer(file: BinaryIO) -> tuple[int, bytes]:
    """Read one answer."""
    status = int(file.readline().split()[1])
    size = 0
    while (line := file.readline().strip()) != b"":
        if line.startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    return status, file.read(size)


def test_a_request_may_come_byte_by_byte_or_before_the_last_one_is_answered(
    server: Server, tmp_path: Path
) -> None:
    """The connection goes when nothing is in flight, and takes along what was read."""
    deployed(server, tmp_path, OURS[0], THEIRS[0])
    with raw(server) as line, line.makefile("rb") as file:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for name in (OURS[0], THEIRS[0], OURS[0]):
            for byte in request(name, 1):
                line.send(bytes([byte]))
            assert answer(file)[0] == 200
        line.send(request(OURS[0], 1))
        assert answer(file)[0] == 200
        # Whoever holds the connection now has learnt the head: the next ones come whole.
        for n in range(2, 12):
            line.send(request((OURS[0], THEIRS[0])[n % 2], n))
        found = []
        while len(found) < 10:
            status, body = answer(file)
            found.append((status, json.loads(body).get("n") if status == 200 else None))
            if status != 200:
                break
    # Requests that came in one piece with another router's are refused in so many words.
    assert [each for each in found if each[0] == 200] == [
        (200, n) for n in range(2, 2 + len([one for one in found if one[0] == 200]))
    ]
    assert {status for status, _ in found} <= {200, 421}


def test_one_piece_with_requests_for_two_routers_is_answered_up_to_the_stranger(
    server: Server, tmp_path: Path
) -> None:
    """421 tells the client to send it over another connection, which is then served."""
    deployed(server, tmp_path, OURS[0], THEIRS[0])
    with raw(server) as line, line.makefile("rb") as file:
        line.send(request(THEIRS[0], 1) + request(THEIRS[0], 2) + request(OURS[0], 3))
        assert [answer(file)[0] for _ in range(3)] == [200, 200, 421]
        assert file.read() == b""
