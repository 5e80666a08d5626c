"""Commands on this machine: any HTTP server, its port, its health, its end."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import local_rig
import pytest
from local_rig import Rig, alive, gone, play, spec

from coldspark.node import processes
from coldspark.spec.types import Command, FailureKind, RootCause

pytestmark = pytest.mark.process

SERVER = """
import http.server, json, os, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"pong" if self.path == "/ping" else json.dumps(dict(os.environ)).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if body == b"exit":
            os._exit(7)
        if body == b"hang up":
            self.close_connection = True
            return
        if body == b"sleep":
            time.sleep(60)
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for _ in range(3):
                self.wfile.write(b"4\\r\\npart\\r\\n")
            self.wfile.write(b"0\\r\\n\\r\\n")
            return
        self.answer(body)

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

print("serving", flush=True)
port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def test_a_command_serves_whole_and_streamed_replies(tmp_path: Path) -> None:
    """Ready once its ping answers 200; called on its invoke path or any other."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.command(SERVER, concurrency=4))
        times = rig.listener.at_s
        spent_s = times[replica, "ready"] - times[replica, "fetched"]
        print(f"command, fetched -> ready: {spent_s * 1e3:.1f} ms")

        sinks = [rig.call(replica, b"%d" % number) for number in range(4)]
        for number, sink in enumerate(sinks):
            assert (await sink.ended()).body == b"%d" % number
        streamed = await rig.call(replica, b"", "/stream").ended()
        assert (streamed.status, streamed.body) == (200, b"partpartpart")
        assert streamed.handler_us is None
        assert rig.listener.heard[replica] == ["fetched", "booted", "ready"]
        assert "template commands" in (rig.engine.template(replica) or "")
        rig.engine.stop(replica, 10)
        assert (await rig.exited(replica)).exit_status == -signal.SIGTERM

    play(tmp_path, scenario)


def test_a_server_that_hangs_up_fails_the_call_and_serves_on(tmp_path: Path) -> None:
    """The process lives, so it is this call's failure only."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.command(SERVER))
        sink = await rig.call(replica, b"hang up").ended()
        assert sink.failure is not None
        assert sink.failure.kind is FailureKind.HANDLER_FAILED
        assert (await rig.call(replica, b"x").ended()).body == b"x"

    play(tmp_path, scenario)


def test_a_server_that_dies_in_a_call_voids_it(tmp_path: Path) -> None:
    """The broken connection waits for the exit, which speaks for the call."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.command(SERVER))
        sink = rig.call(replica, b"exit")
        end = await rig.exited(replica)
        assert end.exit_status == 7
        assert end.log_tail == ("serving",)
        assert not sink.over.is_set()

    play(tmp_path, scenario)


def test_an_abort_closes_the_connection(tmp_path: Path) -> None:
    """HTTP has no cancel; the sink hears its word at once."""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.command(SERVER, concurrency=2))
        sink = rig.call(replica, b"sleep")
        await rig.call(replica, b"x").ended()
        rig.engine.abort(replica, sink.request)  # type: ignore[attr-defined]
        await sink.ended()
        assert sink.failure is not None
        assert sink.failure.kind is FailureKind.CANCELLED

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("text", "cause", "words"),
    [
        ("print('did nothing')", RootCause.PORT_NEVER_OPENED, "must stay in the foreground"),
        ("import nonexistent_module", RootCause.IMPORT_ERROR, "nonexistent_module"),
        ("open('weights.bin')", RootCause.MODEL_FILE_MISSING, "weights.bin"),
    ],
)
def test_a_command_that_ends_early_says_why(
    tmp_path: Path, text: str, cause: RootCause, words: str
) -> None:
    """At once, not at the end of a timeout."""

    async def scenario(rig: Rig) -> None:
        replica = rig.command(text)
        end = await rig.exited(replica)
        assert end.cause is cause, end
        assert words in end.message
        assert "ready" not in rig.listener.heard[replica]

    play(tmp_path, scenario)


def test_a_program_that_does_not_exist_says_so(tmp_path: Path) -> None:
    """The child cannot execute it."""

    async def scenario(rig: Rig) -> None:
        replica = rig.start(spec(command=Command(argv=("no-such-program",))))
        end = await rig.exited(replica)
        assert end.exit_status == 127
        assert "no-such-program" in end.message

    play(tmp_path, scenario)


def test_a_port_that_never_opens_is_named_when_it_is_stopped(tmp_path: Path) -> None:
    """The fleet's start timeout stops it; the exit tells what was missing."""

    async def scenario(rig: Rig) -> None:
        replica = rig.command("import time; time.sleep(60)")
        await rig.listener.wait_for(replica, "booted")
        rig.engine.stop(replica, 1)
        end = await rig.exited(replica)
        assert end.cause is RootCause.PORT_NEVER_OPENED
        assert "SAGEMAKER_BIND_TO_PORT" in end.message

    play(tmp_path, scenario)


def test_a_port_taken_meanwhile_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between choosing a port and binding it, somebody else may come."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        real = processes.free_port
        ports = iter([squatter.getsockname()[1]])
        monkeypatch.setattr(processes, "free_port", lambda: next(ports, None) or real())

        async def scenario(rig: Rig) -> None:
            replica = await rig.ready(rig.command(SERVER))
            assert (await rig.call(replica, b"x").ended()).body == b"x"
            assert rig.listener.heard[replica] == ["fetched", "booted", "ready"]

        play(tmp_path, scenario)


def test_two_kinds_of_replicas_do_not_disturb_each_other(tmp_path: Path) -> None:
    """kill -9 of one command leaves the other, a fork of the same template, alone."""

    async def scenario(rig: Rig) -> None:
        one, other = rig.command(SERVER, name="one"), rig.command(SERVER, name="other")
        await rig.ready(one)
        await rig.ready(other)
        os.kill(rig.pid(one), signal.SIGKILL)
        assert (await rig.exited(one)).exit_status == -signal.SIGKILL
        assert (await rig.call(other, b"x").ended()).body == b"x"

    play(tmp_path, scenario)


OWNER = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from local_rig import SLOW, Rig
from test_local_commands import SERVER

async def main():
    rig = Rig(Path(sys.argv[1]), sys.argv[2])
    await rig.engine.open()
    handler, command = rig.handler(SLOW, name="a"), rig.command(SERVER, name="b")
    await rig.ready(handler)
    await rig.ready(command)
    child = int((await rig.call(handler, b"fork").ended()).body)
    templates = [pid for _, pid, _ in rig.engine.templates()]
    print(*templates, rig.pid(handler), rig.pid(command), child, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("stopped", [False, True], ids=["template's net", "reaper's net"])
def test_kill_9_of_the_owner_leaves_no_orphan(tmp_path: Path, stopped: bool) -> None:
    """Templates end by themselves; where they cannot, the next open() ends them all."""
    instance = f"test-{tmp_path.name[-40:]}-{os.getpid()}"

    async def run() -> None:
        owner = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            OWNER,
            str(tmp_path),
            instance,
            str(Path(local_rig.__file__).parent),
            str(Path(__file__).parent),
            stdout=asyncio.subprocess.PIPE,
        )
        assert owner.stdout is not None
        async with asyncio.timeout(30):
            pids = [int(word) for word in (await owner.stdout.readline()).split()]
        assert len(pids) == 5
        if stopped:
            # A stopped template sees nothing of its supervisor's end.
            for pid in pids[:2]:
                os.kill(pid, signal.SIGSTOP)
        owner.kill()
        await owner.wait()
        rig = Rig(tmp_path, instance)
        if not stopped:
            for pid in pids:
                await gone(pid)
        await rig.engine.open()
        for pid in pids:
            await gone(pid)
        assert not any(alive(pid) for pid in pids)
        replica = await rig.ready(rig.command(SERVER, name="b"))
        assert (await rig.call(replica, b"x").ended()).body == b"x"
        await rig.engine.close()

    asyncio.run(run())
