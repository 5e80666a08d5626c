"""Python environments, built by uv and shared by all revisions that ask for the same.

A directory is named by the hash of what was asked for, and built at its final path, because
virtual environments cannot be moved. ``.ready`` is written last: without it the directory is a
ruin, and built anew. One build per hash at a time, in this process and among all processes.
Bytecode is compiled at once: without it, imports take twice as long at every cold start.

uv does not read pip's configuration, so pip's find-links, indexes and constraints are passed on: a
machine that is set up for pip (a wheelhouse, a mirror) works with no second setup.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import sys
import sysconfig
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from coldspark.database.single_flight import SingleFlight
from coldspark.errors import Conflict, EnvironmentFailed

_BUILD_S = 3_600.0
_KEYS_MAX = 1_024
_LOCK_POLL_S = 0.1
_TAIL_LINES = 20
_LINE_BYTES_MAX = 1024**2
_LINE_CHARS_MAX = 400
_ASK_PIP_S = 30.0
_FLAGS = {
    "find-links": "--find-links",
    "extra-index-url": "--extra-index-url",
    "index-url": "--index-url",
    "constraint": "--constraints",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMENT = re.compile(r"(^|\s)#.*")
_KEY = re.compile(r"[0-9a-f]{32}")
_WALKED_MAX = 10_000
_CURES = (
    # (what uv says, in lower case; what to do about it)
    ("no solution found", "loosen or correct the versions in requirements"),
    ("no space left", "free disk space in the data directory"),
    ("failed to fetch", "check that this machine reaches its package index (pip config list)"),
    ("dns error", "check that this machine reaches its package index (pip config list)"),
    ("failed to build", "name a version that has a wheel for this machine in requirements"),
    ("couldn't parse", "correct the line in requirements"),
)
_CURE = "correct the lines of requirements"

Progress = Callable[[str], None]


class Environments:
    """The directory of environments."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._flights: SingleFlight[Path] = SingleFlight()
        self._keys: OrderedDict[tuple[tuple[str, ...], tuple[str, ...]], str] = OrderedDict()
        """By requirements and overrides, of those that name no file: theirs never change."""

    async def ready(
        self, requirements: tuple[str, ...], overrides: tuple[str, ...], progress: Progress
    ) -> Path:
        """Return the environment's interpreter, built if need be. Raises EnvironmentFailed.

        Without requirements it is the platform's own. Who joins a build that runs already hears
        no progress: its lines go to the one who began it.
        """
        if not _plain(requirements):
            return Path(sys.executable)
        key = await self._key(requirements, overrides)
        python = self._root / key / "bin" / "python"
        if (self._root / key / ".ready").exists():
            return python
        await self._flights.join(
            key, lambda: self._build(self._root / key, requirements, overrides, progress)
        )
        return python

    async def _key(self, requirements: tuple[str, ...], overrides: tuple[str, ...]) -> str:
        """Return the environment's name, which every wake asks for."""
        asked = requirements, overrides
        if asked in self._keys:
            self._keys.move_to_end(asked)
            return self._keys[asked]
        key = await asyncio.to_thread(environment_key, requirements, overrides)
        if not any(_local_paths(line) for lines in asked for line in _plain(lines)):
            self._keys[asked] = key
        while len(self._keys) > _KEYS_MAX:
            self._keys.popitem(last=False)
        return key

    def unused(self, keys_in_use: Collection[str]) -> list[str]:
        """Return the keys of what lies here and is not in use, ruins included."""
        if not self._root.is_dir():
            return []
        here = {path.name for path in self._root.iterdir() if _KEY.fullmatch(path.name)}
        return sorted(here.difference(keys_in_use))

    async def remove(self, key: str) -> None:
        """Delete an environment; none is fine. Raises Conflict while it is being built."""
        assert _KEY.fullmatch(key), f"{key!r} names no environment"
        path = self._root / key
        if not path.is_dir():
            return
        lock = _lock_file(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (path / ".ready").unlink(missing_ok=True)
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        except BlockingIOError:
            raise Conflict(f"environment {key} is being built; try again after that") from None
        finally:
            os.close(lock)

    async def _build(
        self,
        path: Path,
        requirements: Sequence[str],
        overrides: Sequence[str],
        progress: Progress,
    ) -> Path:
        await asyncio.to_thread(self._root.mkdir, mode=0o700, parents=True, exist_ok=True)
        lock = _lock_file(path)
        try:
            async with asyncio.timeout(_BUILD_S):
                await _locked(lock)
                if not (path / ".ready").exists():
                    await _made(path, requirements, overrides, progress)
        except TimeoutError:
            raise EnvironmentFailed(
                f"the environment was not built within {_BUILD_S:g} s; name fewer or exact"
                " versions in requirements",
                field="requirements",
            ) from None
        except OSError as error:
            raise EnvironmentFailed(
                f"the environment cannot be written: {error.strerror or error};"
                " free disk space in the data directory",
                field="requirements",
            ) from error
        finally:
            os.close(lock)
        return path


def environment_key(requirements: Sequence[str], overrides: Sequence[str]) -> str:
    """Name the environment.

    Order, spacing, comments and the spelling of names do not matter; interpreter, machine and the
    state of files that a line points to do.
    """
    lines, replaced = _plain(requirements), _plain(overrides)
    files = [_state(path) for line in lines + replaced for path in _local_paths(line)]
    python = (sys.implementation.cache_tag, platform.python_version())
    machine = (sysconfig.get_platform(), platform.libc_ver())
    asked = [sorted(lines), sorted(replaced), sorted(files), python, machine]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


def _plain(lines: Sequence[str]) -> list[str]:
    """Return the lines that say something, each written in one way."""
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    bare = (" ".join(_COMMENT.sub("", line).split()) for line in whole)
    return [_NAME.sub(_one_spelling, line, count=1) for line in bare if line]


def _one_spelling(name: re.Match[str]) -> str:
    # Only a name that begins its line; the rest may be a path.
    return name[0] if name.start() else re.sub(r"[-_.]+", "-", name[0]).lower()


def _local_paths(line: str) -> list[Path]:
    words = [word.partition(";")[0] for word in line.split()]
    urls = [Path(unquote(urlsplit(word).path)) for word in words if word.startswith("file:")]
    return urls + [Path(word) for word in words if word.startswith("/")]


def _state(path: Path) -> list[object]:
    """Return what changes when a file, or anything in a directory, is written."""
    below = islice(path.rglob("*"), _WALKED_MAX) if path.is_dir() else ()
    stats = [one.lstat() for one in (path, *below) if one.exists()]
    newest = max((stat.st_mtime_ns for stat in stats), default=0)
    return [str(path), len(stats), sum(stat.st_size for stat in stats), newest]


def _lock_file(path: Path) -> int:
    return os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)


async def _locked(lock: int) -> None:
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        await asyncio.sleep(_LOCK_POLL_S)


async def _made(
    path: Path, requirements: Sequence[str], overrides: Sequence[str], progress: Progress
) -> None:
    import uv

    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
    binary = uv.find_uv_bin()
    try:
        await _run(
            [binary, "venv", "--quiet", "--no-project", "--python", sys.executable, path], progress
        )
        install = [binary, "pip", "install", "--python", str(path / "bin" / "python")]
        install += ["--compile-bytecode", "-r", _listed(path / "requirements.txt", requirements)]
        if overrides:
            install += ["--overrides", _listed(path / "overrides.txt", overrides)]
        await _run([*install, *await package_sources()], progress)
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        raise
    (path / ".ready").touch()


def _listed(file: Path, lines: Sequence[str]) -> str:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(file)


async def _run(argv: Sequence[str | Path], progress: Progress) -> None:
    """Run uv; pass its lines on. Raises EnvironmentFailed with the last of them."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
        # What our own process runs in is no business of the new environment.
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
        # With what uv itself starts, it can be ended as one.
        start_new_session=True,
    )
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    try:
        assert process.stderr is not None
        async for line in _lines(process.stderr):
            tail.append(line)
            progress(line)
        status = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status != 0:
        raise _failed(status, list(tail))


def _failed(status: int, tail: list[str]) -> EnvironmentFailed:
    first = next((i for i, line in enumerate(tail) if line.startswith("error")), 0)
    said = " ".join(tail[first:])
    cure = next((cure for words, cure in _CURES if words in said.lower()), _CURE)
    return EnvironmentFailed(
        f"uv could not build the environment (exit status {status}): {said}; {cure},"
        " or drop an unwanted dependency: a line in overrides such as"
        " \"name ; python_version < '3'\" does",
        field="requirements",
        log_tail=tuple(tail),
    )


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    while block := await stream.readline():
        line = block.decode(errors="replace").strip()[:_LINE_CHARS_MAX]
        if line:
            yield line


async def package_sources() -> list[str]:
    """Return uv's options for what pip is configured with on this machine."""
    settings = parse_pip_config(await _pip_config())
    settings |= _from_environment(os.environ)
    return source_options(settings)


def parse_pip_config(text: str) -> dict[str, list[str]]:
    """Read ``pip config list``: lines such as ``global.find-links='/wheels /more'``."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        setting = name.rpartition(".")[2].strip()
        if equals and setting in _FLAGS:
            settings[setting] = _words(value)
    return settings


def source_options(settings: Mapping[str, list[str]]) -> list[str]:
    """Return uv's options for pip's settings; directories that are gone are left out."""
    options: list[str] = []
    for setting, flag in _FLAGS.items():
        for value in settings.get(setting, []):
            if _is_there(value):
                options += [flag, value]
    if settings.get("extra-index-url"):
        # pip takes the best version of all indexes; uv by default the first index that has any.
        options += ["--index-strategy", "unsafe-best-match"]
    return options


def _from_environment(environment: Mapping[str, str]) -> dict[str, list[str]]:
    names = {setting: f"PIP_{setting.upper().replace('-', '_')}" for setting in _FLAGS}
    return {
        setting: environment[name].split() for setting, name in names.items() if name in environment
    }


def _words(value: str) -> list[str]:
    """Undo pip's ``repr``, in which several values stand apart by spaces or ``\\n``."""
    plain = value.strip().replace("\\n", " ")
    return [word for part in shlex.split(plain) for word in part.split()]


def _is_there(value: str) -> bool:
    """Return whether a local directory exists; of what is remote, uv itself will say."""
    if value.startswith("file:"):
        return Path(unquote(urlsplit(value).path)).exists()
    return "://" in value or Path(value).exists()


async def _pip_config() -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pip", "config", "list"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_ASK_PIP_S):
            output, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
    return output.decode(errors="replace")
