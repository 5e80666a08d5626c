"""Start processes, and keep what belongs to the platform out of them."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

INSTANCE_TAG = "COLDSPARK_INSTANCE"
"""Environment variable that every process of an installation carries: see ``leftovers``."""
REPLICA_TAG = "COLDSPARK_REPLICA"

_INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
)
_PROXIES = re.compile(r"(https?|no|all)_proxy", re.IGNORECASE)


def clean_environment(source: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that users' processes may inherit: no keys, no tokens.

    Proxy variables pass, for models that download; a proxy with a password in it does not.
    """
    source = os.environ if source is None else source
    kept = {name: source[name] for name in _INHERITED if name in source}
    for name, value in source.items():
        if _PROXIES.fullmatch(name) and "@" not in value:
            kept[name] = value
    kept.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    kept.setdefault("LANG", "C.UTF-8")
    return kept


def spawn(
    argv: Sequence[str], environment: Mapping[str, str], output: int, kept: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start a process in its own group, with ``output`` for stdout and stderr.

    Call it on a thread that lives as long as the process may: a parent-death signal is bound to
    the thread that started the child, not to the process. Raises OSError.
    """
    return subprocess.Popen(
        list(argv),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        close_fds=True,
        pass_fds=tuple(kept),
        process_group=0,
        cwd="/",
    )


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that is readable once the process has ended; None if it is gone."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def kill(pidfd: int) -> None:
    """SIGKILL the process of a pidfd, which cannot be another one by now."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass


def free_port() -> int:
    """Return a loopback port that nobody listens on now. Another process may still take it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tagged_processes(name: str, value: str) -> list[int]:
    """Return the pids (never our own) whose environment holds ``name=value``."""
    mark = f"{name}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


def kill_tagged(name: str, value: str) -> int:
    """SIGKILL every process that carries the mark, until none is left; return how many.

    A process may fork while the list is read, so it is read again until it is empty.
    """
    killed: set[int] = set()
    for _ in range(10):
        found = set(tagged_processes(name, value)) - _zombies(killed)
        if not found:
            break
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.add(pid)
    return len(killed)


def _zombies(pids: set[int]) -> set[int]:
    """Return those of ``pids`` that were killed already and only wait to be reaped."""
    dead = set()
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            dead.add(pid)
            continue
        if stat.rpartition(")")[2].split()[:1] in (["Z"], ["X"]):
            dead.add(pid)
    return dead
