"""What the engine tells of warmth: where a wake began, what is held, and why not more."""

from pathlib import Path

import pytest
from local_rig import ECHO, Rig, play, spec, until

from coldspark.node.warmth import NextStart, WakeLevel
from coldspark.spec.types import Command, HandlerProgram, Revision, RevisionId, Spec

pytestmark = pytest.mark.process

SLEEPY = "import time\ntime.sleep(0.05)\n" + ECHO.replace("return None", "time.sleep(0.1)")
PRIVATE = ECHO.replace("return None", "return bytearray(b'x') * (64 * 2**20)")
THREADED = (
    "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(60,), daemon=True, name='ticker').start()\n" + ECHO
)
SOCKETED = "import socket\n" + ECHO.replace("return None", "return socket.socket()")


def warmth(rig: Rig, what: Spec) -> NextStart:
    """Return what the engine says of the revision that the rig starts."""
    return rig.engine.warmth(Revision(id=RevisionId("0" * 16), spec=what))


def test_a_wake_tells_the_rung_that_it_started_from(tmp_path: Path) -> None:
    """Without preparing, the first imports; a later one takes the process that stands by."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(SLEEPY)
        assert warmth(rig, what).rung is WakeLevel.REMOTE
        first = await rig.ready(rig.start(what))
        begun = rig.engine.start_of(first)
        assert begun is not None
        assert begun.rung is WakeLevel.CACHED
        await until(lambda: warmth(rig, what).rung is WakeLevel.STANDBY)
        second = await rig.ready(rig.start(what))
        again = rig.engine.start_of(second)
        assert again is not None
        assert again.rung is WakeLevel.STANDBY
        assert "with its model" in (again.started_by or "")

    play(tmp_path, scenario)


def test_what_is_prepared_wakes_from_a_standby(tmp_path: Path) -> None:
    """So does the first caller of a fresh endpoint."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(SLEEPY)
        await rig.engine.prepare(what, print)
        await until(lambda: warmth(rig, what).rung is WakeLevel.STANDBY)

    play(tmp_path, scenario)


def test_a_template_tells_import_from_loading(tmp_path: Path) -> None:
    """So that one knows which of the two to make faster."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(SLEEPY)
        await rig.ready(rig.start(what))
        template = warmth(rig, what).template
        assert template is not None
        assert template.import_us is not None
        assert template.load_us is not None
        assert template.import_us >= 50_000
        assert template.load_us >= 100_000

    play(tmp_path, scenario)


def test_a_template_tells_the_private_memory_of_its_model(tmp_path: Path) -> None:
    """What is copied at each fork: 64 MB here."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(PRIVATE)
        await rig.ready(rig.start(what))
        template = warmth(rig, what).template
        assert template is not None
        assert (template.load_private_bytes or 0) >= 60 * 2**20
        # Also while forks share it: all of it is held by the template.
        await until(lambda: rig.engine.template_pool().memory_bytes > 0)
        assert rig.engine.template_pool().memory_bytes >= 64 * 2**20

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("program", "rung", "words"),
    [
        (THREADED, WakeLevel.CACHED, "imported after the fork: the program started threads"),
        (SOCKETED, WakeLevel.STANDBY, "idle replicas end"),
    ],
)
def test_what_cannot_be_shared_is_no_higher_rung(
    tmp_path: Path, program: str, rung: WakeLevel, words: str
) -> None:
    """A template without the program spares no import; one without the model still does."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(program)
        await rig.ready(rig.start(what))
        await until(lambda: warmth(rig, what).rung is rung)
        told = warmth(rig, what)
        assert words in told.why
        assert told.template is not None
        assert not told.template.has_model
        assert told.template.reason

    play(tmp_path, scenario)


def test_a_command_is_never_imported_ahead(tmp_path: Path) -> None:
    """Its template holds nothing of it."""
    text = (
        "import http.server, os\n"
        "class Answer(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Answer)"
        ".serve_forever()\n"
    )

    async def scenario(rig: Rig) -> None:
        url = rig.model("model", {"code/serve.py": text})
        what = spec(command=Command(argv=("python", "serve.py")), model=url)
        replica = await rig.ready(rig.start(what))
        begun = rig.engine.start_of(replica)
        assert begun is not None
        assert begun.rung is WakeLevel.CACHED
        told = warmth(rig, what)
        assert (told.rung, told.template) == (WakeLevel.CACHED, None)
        assert "only a handler can be imported ahead" in told.why

    play(tmp_path, scenario)


def test_a_dropped_template_says_why_it_went(tmp_path: Path) -> None:
    """And its last replica's start still tells what it was."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(ECHO)
        replica = await rig.ready(rig.start(what))
        rig.engine.stop(replica, 0)
        await rig.exited(replica)
        await until(lambda: warmth(rig, what).template is None)
        told = warmth(rig, what)
        assert told.rung is WakeLevel.CACHED
        assert told.why == "no template: it had no replica for 0.05 s"
        begun = rig.engine.start_of(replica)
        assert begun is not None
        assert begun.template is not None
        assert begun.template.has_model

    play(tmp_path, scenario, template_idle_s=0.05)


def test_one_that_made_room_says_so(tmp_path: Path) -> None:
    """With the bound that was passed."""

    async def scenario(rig: Rig) -> None:
        for name in ("one", "two"):
            replica = await rig.ready(rig.handler(ECHO, name=name))
            rig.engine.stop(replica, 0)
            await rig.exited(replica)
        pool = rig.engine.template_pool()
        assert (pool.templates, pool.templates_max) == (1, 1)

    play(tmp_path, scenario, templates_max=1)


def test_sizes_are_measured_once_files_are_known(tmp_path: Path) -> None:
    """Of model and environment; before that nothing is claimed."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(ECHO)
        revision = Revision(id=RevisionId("0" * 16), spec=what)
        assert (await rig.engine.cached_files(revision)).model_bytes is None
        await rig.ready(rig.start(what))
        stock = await rig.engine.cached_files(revision)
        assert stock.model_bytes == len(ECHO)
        assert stock.has_own_environment is False

    play(tmp_path, scenario)


def test_an_environment_built_in_the_wake_is_told(tmp_path: Path) -> None:
    """A build has progress; a ready environment is silent."""

    async def scenario(rig: Rig) -> None:
        url = rig.model("model", {"code/inference.py": ECHO})
        what = Spec(handler=HandlerProgram(requirements=("numpy",)), model=url)
        replica = await rig.ready(rig.start(what))
        begun = rig.engine.start_of(replica)
        assert begun is not None
        assert begun.is_environment_built
        assert begun.rung is WakeLevel.REMOTE

    play(tmp_path, scenario)


def test_a_downloaded_model_is_no_environment_built(tmp_path: Path) -> None:
    """Both have progress to tell; only one of them is cured by building ahead."""

    async def scenario(rig: Rig) -> None:
        rig.artifacts.downloads = True
        replica = await rig.ready(rig.handler(ECHO))
        begun = rig.engine.start_of(replica)
        assert begun is not None
        assert not begun.is_environment_built

    play(tmp_path, scenario)
