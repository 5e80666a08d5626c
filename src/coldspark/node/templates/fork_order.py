"""What is said of templates and to them: keys, orders to fork, failures, and who hears of forks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from coldspark.node.cgroups import Cgroup
from coldspark.spec.types import ReplicaId, RootCause


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateKey:
    """What must be equal for two replicas to be forks of one template."""

    interpreter: Path
    program: Path | None
    """None: the template of commands, which imports nothing."""
    paths: tuple[Path, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that the program may read while it is imported."""
    modified_ns: int | None = None
    """When the program was last written: one edited in place must not be served from memory."""
    model_dir: Path | None = None
    """The model that is loaded before the fork; None: each replica loads its own."""
    setup_dir: Path | None = None
    """Where the program's ``setup_fn`` runs before the fork although the model is loaded after."""
    memory_bytes: int | None = None
    """How much memory loading it may take: as much as a replica's."""

    @property
    def label(self) -> str:
        """Name it for people."""
        return "commands" if self.program is None else str(self.program)

    @property
    def file_name(self) -> str:
        """Name it in one word."""
        return "commands" if self.program is None else self.program.name


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFailure:
    """Why a template cannot be forked from."""

    cause: RootCause
    message: str
    log_tail: tuple[str, ...] = ()
    exit_status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkOrder:
    """What the template needs to know to fork one replica."""

    replica: ReplicaId
    argv: tuple[str, ...] | None
    environment: dict[str, str]
    cwd: Path
    model_dir: Path | None
    concurrency: int
    cgroups: tuple[str, ...]
    processes_max: int
    multi_model: dict[str, object] | None = None
    """What a handler of many models is told of its room: see ``worker/models``."""
    batch_size_max: int = 1
    batch_wait_s: float = 0.0
    standby: str | None = None
    """The process that shall become it; the cgroups are its own then."""


@dataclass(frozen=True, slots=True)
class Standby:
    """A process that was forked ahead, and the cgroup that it is in."""

    name: str
    cgroup: Cgroup | None


class TemplateUser(Protocol):
    """What a template says to a replica that is, or shall be, forked from it."""

    def on_forked(self, pid: int) -> None:
        """The process exists."""

    def on_process_exited(self, status: int) -> None:
        """The process was reaped."""

    def on_fork_failed(self, message: str) -> None:
        """There is no process."""

    def on_template_lost(self, failure: TemplateFailure) -> None:
        """The template died, and the replica's process with it."""

    def on_template_output(self, data: bytes) -> None:
        """The template printed something while it imported."""
