"""The data directory: its layout, its lock, and the few things that make it one installation.

lock          held while a server runs; holds that server's pid
instance      random name of this installation, made once
boot          how often it was opened
master.key    32 random bytes that every API key's secret is derived from
coldspark.db  the database
journal/      ledger lines on their way into the database
artifacts/    code and model data
buckets/      the bytes of objects in buckets of this server's own
environments/ Python environments
captures/     captured requests on their way to their buckets, by router
logs/  run/   what replicas print; their sockets
routers/      a journal and run files of each router process beside the first
"""

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from coldspark.errors import ColdsparkError, Conflict, InvalidRequest

_FOLDERS = ("journal", "artifacts", "buckets", "environments", "logs", "run")
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDirectory:
    """An opened and locked data directory."""

    path: Path
    instance_id: str
    boot: int
    """1 at the first open, one more at each: durable before ``open`` returns."""
    master_key: bytes
    lock_fd: int

    @classmethod
    def open(cls, path: Path) -> "DataDirectory":
        """Create what is missing, take the lock and count the boot.

        Raises Conflict, naming the pid, when another server holds the directory; InvalidRequest
        where there can be none.
        """
        path = path.absolute()
        _make(path)
        lock_fd = _lock(path)
        try:
            for folder in _FOLDERS:
                (path / folder).mkdir(mode=0o700, exist_ok=True)
            return cls(
                path=path,
                instance_id=_once(path / "instance", secrets.token_hex(8).encode()).decode(),
                boot=_count(path / "boot"),
                master_key=_master_key(path / "master.key"),
                lock_fd=lock_fd,
            )
        except BaseException:
            os.close(lock_fd)
            raise

    @property
    def database(self) -> Path:
        """Return the database's path."""
        return self.path / "coldspark.db"

    @property
    def journal(self) -> Path:
        """Return the directory of the ledger's journal."""
        return self.path / "journal"

    @property
    def artifacts(self) -> Path:
        """Return the directory of code and model data."""
        return self.path / "artifacts"

    @property
    def buckets(self) -> Path:
        """Return the directory of objects' bytes."""
        return self.path / "buckets"

    @property
    def environments(self) -> Path:
        """Return the directory of Python environments."""
        return self.path / "environments"

    @property
    def logs(self) -> Path:
        """Return the directory of replicas' logs."""
        return self.path / "logs"

    @property
    def routers(self) -> Path:
        """Return the directory of the other routers' files."""
        return self.path / "routers"

    @property
    def run(self) -> Path:
        """Return the directory of sockets."""
        return self.path / "run"

    def next_boot(self) -> int:
        """Count one more boot: a process that serves beside the one that holds the lock."""
        return _count(self.path / "boot")

    def close(self) -> None:
        """Release the lock."""
        os.ftruncate(self.lock_fd, 0)
        os.close(self.lock_fd)


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be the data directory ({error.strerror}): name one that you may write",
            field="data",
        ) from error


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file so that after a power cut it holds the old content or the new, whole."""
    draft = path.with_name(path.name + ".new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(path: Path) -> int:
    # Python's descriptors close on exec, so no child keeps the lock after the server's end.
    fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise Conflict(
            f"the data directory {path} is in use by another coldspark server"
            f" (pid {pid or 'unknown'}). Stop that one, or choose another data directory."
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def _once(path: Path, content: bytes) -> bytes:
    """Return the file's content; write ``content`` first if there is no file."""
    if not path.exists():
        write_durably(path, content)
    return path.read_bytes()


def _count(path: Path) -> int:
    text = path.read_text() if path.exists() else "0"
    if not text.isdecimal():
        raise ColdsparkError(
            f"{path} should hold a number but holds {text[:40]!r}. Write into it a number larger"
            " than any boot before (the database's table boots lists them)."
        )
    boot = int(text) + 1
    write_durably(path, str(boot).encode())
    return boot


def read_master_key(path: Path) -> bytes:
    """Return the master key of a data directory that another process holds."""
    return _master_key(path / "master.key")


def _master_key(path: Path) -> bytes:
    key = _once(path, secrets.token_bytes(_KEY_BYTES))
    path.chmod(0o600)
    if len(key) != _KEY_BYTES:
        raise ColdsparkError(
            f"{path} should hold {_KEY_BYTES} bytes but holds {len(key)}. Restore it from a"
            " backup; a new one makes every API key invalid."
        )
    return key
