"""Parked replicas on this machine: frozen whole, thawed whole, ended like any other."""

import json
import os
import signal
from pathlib import Path

import pytest
from local_rig import ECHO, Rig, gone, play, spec, until
from test_local_commands import SERVER

from coldspark.node import parking
from coldspark.spec.types import Command, ReplicaId, RootCause

pytestmark = pytest.mark.process

HOOKED = """
import json
EVENTS = []
def model_fn(d): return {"on": "gpu"}
def park(model): EVENTS.append("park"); model["on"] = "host"
def unpark(model):
    EVENTS.append("unpark")
    if FAILS: raise RuntimeError("the device is gone")
    model["on"] = "gpu"
def transform_fn(model, data, content_type, accept):
    return json.dumps({"events": EVENTS, "on": model["on"]})
"""


SLEEPER = """
import http.server, os, sys
ASLEEP = []
WAKE_STATUS, SLEEP_STATUS = 200, 200
class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self): self.answer(200, b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/sleep?level=1":
            ASLEEP.append("slept")
            return self.answer(SLEEP_STATUS, b"")
        if self.path == "/wake_up":
            ASLEEP.append("woke")
            return self.answer(WAKE_STATUS, b"")
        self.answer(200, " ".join(ASLEEP).encode())
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
port = int(os.environ["PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Server).serve_forever()
"""


def sleeper(rig: Rig, text: str = SLEEPER) -> ReplicaId:
    """Start a server that can be put to sleep."""
    command = Command(
        argv=("python", "serve.py"), park_path="/sleep?level=1", unpark_path="/wake_up"
    )
    return rig.start(spec(command=command, model=rig.model("s", {"code/serve.py": text})))


def is_frozen(pid: int) -> bool:
    """Whether the kernel runs it at all: its cgroup is frozen, or it is stopped."""
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    if state == "T":
        return True
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, kind, path = line.split(":", 2)
        roots = ["unified", ""] if not kind else [kind]
        for root in roots if number == "0" or kind == "freezer" else []:
            events = Path("/sys/fs/cgroup") / root / path.lstrip("/") / "cgroup.events"
            if events.exists() and "frozen 1" in events.read_text():
                return True
    return False


async def parked(rig: Rig, replica: ReplicaId) -> int:
    """Park it, and return its process."""
    pid = rig.pid(replica)
    rig.engine.park(replica)
    await rig.listener.wait_for(replica, "parked")
    await until(lambda: is_frozen(pid))
    return pid


async def thawed(rig: Rig, replica: ReplicaId) -> None:
    """Unpark it, and wait until it takes calls."""
    before = rig.listener.heard[replica].count("ready")
    rig.engine.unpark(replica)
    await until(lambda: rig.listener.heard[replica].count("ready") > before)


def test_a_parked_handler_is_frozen_and_answers_once_it_is_thawed(tmp_path: Path) -> None:
    """The same process, as often as one likes."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler(ECHO))
        for number in range(3):
            pid = await parked(rig, replica)
            await thawed(rig, replica)
            answer = await rig.call(replica, b"%d" % number).ended()
            assert (answer.body, rig.pid(replica)) == (b"%d" % number, pid)

    play(tmp_path, scenario)


def test_a_parked_command_answers_once_it_is_thawed(tmp_path: Path) -> None:
    """Any server: it need know nothing of it."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.command(SERVER))
        await rig.call(replica, b"before").ended()
        await parked(rig, replica)
        await thawed(rig, replica)
        assert (await rig.call(replica, b"after").ended()).status == 200

    play(tmp_path, scenario)


def test_hooks_run_before_the_frost_and_after_it(tmp_path: Path) -> None:
    """The handler gives back what it should not hold, and takes it again."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler("FAILS = False\n" + HOOKED))
        await parked(rig, replica)
        await thawed(rig, replica)
        answer = json.loads((await rig.call(replica, b"{}").ended()).body)
        assert answer == {"events": ["park", "unpark"], "on": "gpu"}

    play(tmp_path, scenario)


def test_a_command_is_told_before_the_frost_and_after_it(tmp_path: Path) -> None:
    """By its own paths, as engines with a sleep mode have them."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(sleeper(rig))
        for times in (1, 2):
            await parked(rig, replica)
            await thawed(rig, replica)
            answer = await rig.call(replica).ended()
            assert answer.body.decode() == " ".join(["slept woke"] * times)

    play(tmp_path, scenario)


def test_a_command_that_does_not_sleep_is_not_frozen(tmp_path: Path) -> None:
    """Its status is looked at; it serves on."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(sleeper(rig, SLEEPER.replace("200, 200", "200, 503")))
        pid = rig.pid(replica)
        rig.engine.park(replica)
        words = "park failed: POST /sleep?level=1 answered 503"
        await until(lambda: words in rig.listener.heard[replica])
        assert not is_frozen(pid)
        assert (await rig.call(replica).ended()).status == 200

    play(tmp_path, scenario)


def test_a_command_that_does_not_wake_is_ended(tmp_path: Path) -> None:
    """The next start makes another, and the log says why."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(sleeper(rig, SLEEPER.replace("200, 200", "500, 200")))
        await parked(rig, replica)
        rig.engine.unpark(replica)
        await rig.exited(replica)
        tail = rig.engine.log_tail(replica, 20)
        assert any("POST /wake_up answered 500" in line for line in tail)

    play(tmp_path, scenario)


def test_a_command_that_hangs_in_its_sleep_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a deadline."""
    monkeypatch.setattr(parking, "_HOOK_WITHIN_S", 0.3)
    text = SLEEPER.replace('ASLEEP.append("slept")', "__import__('time').sleep(60)")

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(sleeper(rig, text))
        rig.engine.park(replica)
        await until(lambda: "no HTTP answer (it may take 0.3 s)" in rig.listener.heard[replica][-1])

    play(tmp_path, scenario)


def test_a_park_hook_that_raises_is_told_and_the_replica_serves_on(tmp_path: Path) -> None:
    """What it raised is the reason."""
    text = HOOKED.replace("""EVENTS.append("park"); model["on"] = "host\"""", "1 / 0")

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler("FAILS = False\n" + text))
        rig.engine.park(replica)
        await until(lambda: "division" in rig.listener.heard[replica][-1])
        assert (await rig.call(replica, b"{}").ended()).status == 200

    play(tmp_path, scenario)


def test_an_unpark_hook_that_raises_ends_the_replica(tmp_path: Path) -> None:
    """A replica without its model is of no use; the next start makes another."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler("FAILS = True\n" + HOOKED))
        await parked(rig, replica)
        rig.engine.unpark(replica)
        end = await rig.exited(replica)
        assert any("the device is gone" in line for line in end.log_tail)

    play(tmp_path, scenario)


@pytest.mark.parametrize("grace_s", [0.0, 5.0])
def test_a_parked_replica_can_be_stopped(tmp_path: Path, grace_s: float) -> None:
    """At once, or by a signal that it is thawed to hear."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler(ECHO))
        pid = await parked(rig, replica)
        rig.engine.stop(replica, grace_s)
        end = await rig.exited(replica)
        assert end.cause is RootCause.KILLED
        assert end.exit_status == -(signal.SIGTERM if grace_s else signal.SIGKILL)
        await gone(pid)

    play(tmp_path, scenario)


def test_the_death_of_a_parked_replica_is_told(tmp_path: Path) -> None:
    """Somebody kills it, or the kernel does, for memory."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler(ECHO))
        os.kill(await parked(rig, replica), signal.SIGKILL)
        assert (await rig.exited(replica)).exit_status == -signal.SIGKILL

    play(tmp_path, scenario)
